"""`python -m goalsight` is `goalsight`."""

from goalsight.commands.cli import main

main()

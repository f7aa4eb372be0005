"""`python -m goalsight` is `goalsight`."""

from goalsight.cli import main

main()

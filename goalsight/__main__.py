"""`python -m goalsight` and the program `goalsight`: signals are heeded from the first line on."""

from goalsight.base.leaving import leave_on_signals


def main() -> None:
    """Run the command line; Ctrl-C, SIGTERM and a closed terminal give one line and exit code 130 at any moment."""
    leave_on_signals()
    from goalsight.commands import cli

    try:
        cli.main()
    finally:
        leave_on_signals()


if __name__ == "__main__":
    main()

"""What stands beside every result: the command, the date, the machine and the versions."""

import sys
from datetime import datetime
from pathlib import Path
from typing import Any

from goalsight.base.machine import describe_machine, versions


def now() -> str:
    """The time with its zone, to the second."""
    return datetime.now().astimezone().isoformat(timespec="seconds")


def command_line() -> list[str]:
    """The command that this process was started with, without the folder of the program."""
    return [Path(sys.argv[0]).name, *sys.argv[1:]]


def provenance() -> dict[str, Any]:
    """What a result needs to be repeated and judged."""
    return {"command": command_line(), "date": now(), "machine": describe_machine(), "versions": versions()}

"""What stands beside every figure: machine, date, command, versions, and how busy the machine was."""

import importlib.util
import os
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from goalsight.base.errors import UserError
from goalsight.base.machine import describe_machine, versions

RESULTS = Path(__file__).resolve().parent / "results"


def provenance() -> dict[str, Any]:
    """Return what a result needs to be repeated and judged."""
    return {
        "command": ["python", f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]],
        "date": datetime.now().astimezone().isoformat(timespec="seconds"),
        "machine": describe_machine(),
        # Other work on the machine, before the measurement began: figures taken above about 0.5 are worth little.
        "load_average_1min": round(os.getloadavg()[0], 2),
        "versions": versions(),
    }


def check_plotting() -> None:
    """Make sure, before the long work, that its plot can be drawn.

    Raises:
        UserError: it cannot.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise UserError("the plot needs matplotlib: pip install -c constraints.txt -e '.[bench]'")


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; all columns but the first are set to the right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def significant(value: float, digits: int = 3) -> float:
    """Round to so many significant digits; more would suggest a precision that timing does not have."""
    return float(f"{value:.{digits}g}")

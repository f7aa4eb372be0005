"""What stands beside every figure: machine, date, command, versions, and how busy the machine was."""

import importlib.util
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from goalsight.base.errors import UserError
from goalsight.base.provenance import provenance as base_provenance

RESULTS = Path(__file__).resolve().parent / "results"


def provenance() -> dict[str, Any]:
    """Return what a result needs to be repeated and judged."""
    about = base_provenance()
    about["command"] = ["python", f"benchmarks/{about['command'][0]}", *about["command"][1:]]
    # Other work on the machine, before the measurement began: figures taken above about 0.5 are worth little.
    return about | {"load_average_1min": round(os.getloadavg()[0], 2)}


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

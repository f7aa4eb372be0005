"""What stands beside every figure: machine, date, command, versions, and how busy the machine was."""

import contextlib
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import tyro

from goalsight.base.errors import UserError
from goalsight.base.files import atomic_write_json, read_json
from goalsight.base.interruption import interrupted
from goalsight.base.provenance import provenance as base_provenance
from goalsight.eval.stats import mean_over_seeds

Options = TypeVar("Options")

RESULTS = Path(__file__).resolve().parent / "results"


def provenance() -> dict[str, Any]:
    """Return what a result needs to be repeated and judged."""
    about = base_provenance()
    about["command"] = ["python", f"benchmarks/{about['command'][0]}", *about["command"][1:]]
    # Other work on the machine, before the measurement began: figures taken above about 0.5 are worth little.
    return about | {"load_average_1min": round(os.getloadavg()[0], 2)}


class Rows:
    """Rows of a sweep, written after each: a sweep that was stopped goes on with what its result lacks.

    A row says what was asked for under "asked", and among its own entries.

    Args:
        out: the result's JSON file.
        name: of the list of rows in it.

    Attributes:
        rows: what is there, in the order in which it was added.
        beside: what else the result holds, by name.
    """

    def __init__(self, out: Path, name: str = "rows") -> None:
        self._out, self._name = out, name
        self.beside: dict[str, Any] = read_json(out) if out.exists() else {}
        self.rows: list[dict[str, Any]] = self.beside.pop(name, [])

    def lacks(self, asked: dict[str, Any], *by: str) -> bool:
        """Whether there is no row of what is asked for.

        Args:
            asked: all that makes a row what it is.
            by: the names among it that tell rows apart; all of them unless given.

        Raises:
            UserError: if the row that is there was made with other options.
        """
        for row in self.rows:
            options = row.get("asked", {})
            made = row | options
            if any(made.get(name) != asked[name] for name in by or asked):
                continue
            for name in asked | options:
                if made.get(name) != asked.get(name):
                    raise UserError(
                        f"{self._out} holds {', '.join(f'{key} {asked[key]}' for key in by)} "
                        f"with {name} {made.get(name)}, now it is {asked.get(name)}; choose another --out"
                    )
            return False
        return True

    def put(self, row: dict[str, Any], *by: str) -> None:
        """Add a row and write the result; one that is equal in all names of `by` gives way."""
        if by:
            self.rows = [other for other in self.rows if any(other[name] != row[name] for name in by)]
        self.rows.append(row)
        self.write()

    def write(self) -> None:
        """Write the result."""
        self._out.parent.mkdir(parents=True, exist_ok=True)
        atomic_write_json(self._out, {**self.beside, self._name: self.rows})


def start(options: type[Options], main: Callable[[Options], None], *, orderly: bool = False) -> None:
    """Read options off the command line and measure; a mistake in them is one line.

    Args:
        options: the dataclass that they go into.
        main: measures; its module's docstring is the help.
        orderly: whether it looks for somebody who asks to stop, and leaves what it has.
    """
    try:
        with interrupted() if orderly else contextlib.nullcontext():
            main(tyro.cli(options, description=sys.modules[main.__module__].__doc__))
    except UserError as error:
        sys.exit(str(error))


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; all columns but the first are set to the right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def apart(ours: Sequence[float], theirs: Sequence[float], digits: int = 1) -> str:
    """Return the mean difference of values that are paired by seed, with Student's 95% interval over seeds, as text."""
    found = mean_over_seeds(np.subtract(ours, theirs))
    return f"{found.value:+.{digits}f} [{found.low:+.{digits}f}, {found.high:+.{digits}f}]"


def shared_seeds(rows: Sequence[dict[str, Any]], arms: Sequence[str]) -> list[list[dict[str, Any]]]:
    """Return the rows of each arm by seed, of the seeds that all arms have."""
    of = [{row["seed"]: row for row in rows if row["arm"] == arm} for arm in arms]
    seeds = sorted(set.intersection(*map(set, of)))
    return [[each[seed] for seed in seeds] for each in of]


def significant(value: float, digits: int = 3) -> float:
    """Round to so many significant digits; more would suggest a precision that timing does not have."""
    return float(f"{value:.{digits}g}")

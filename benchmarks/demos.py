"""What `goalsight demo` takes and reaches here: seconds of each stage, success with its interval and baselines."""

import contextlib
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import tyro
from reporting import RESULTS, Rows, markdown_table, provenance

from goalsight.base.errors import UserError
from goalsight.base.interruption import stopped_by
from goalsight.commands.demo import Demo, demo

KEPT = ("task", "env", "seed", "seconds", "total_seconds", "success", "baselines")


@dataclass(frozen=True)
class Demos:
    """Run the demos and keep their figures; a task's row replaces the one that was there."""

    tasks: tuple[Literal["reach", "push"], ...] = ("reach", "push")
    """Which to run."""
    seed: int = 0
    """Seed of play, encoder and agent."""
    out: Path = RESULTS / "demos.json"
    """The result."""


def measure(task: Literal["reach", "push"], seed: int) -> dict[str, Any] | None:
    """Return a demo's figures, None when someone asked to stop; its runs are not kept."""
    about = provenance()
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        result = demo(Demo(task=task, seed=seed, out=Path(folder) / task))
    if stopped_by():
        return None
    return {name: result[name] for name in KEPT} | about


def report(rows: list[dict[str, Any]]) -> str:
    """Return the rows as Markdown."""
    stages = list(rows[0]["seconds"])
    lines = []
    for row in rows:
        success = row["success"]
        reached = f"{success['count']} of {success['total']} [{success['low']:.0%}, {success['high']:.0%}]"
        seconds = [f"{row['seconds'][stage]:.0f}" for stage in stages]
        lines.append([row["task"], reached, *seconds, f"{row['total_seconds']:.0f}"])
    return markdown_table(["demo", "success", *(f"{stage} [s]" for stage in stages), "in all [s]"], lines)


def main(config: Demos) -> None:
    """Run what is asked for, and write the result after each."""
    rows = Rows(config.out, "demos")
    for task in config.tasks:
        row = measure(task, config.seed)
        if row is None:
            break
        rows.put(row, "task")
    if rows.rows:
        print(report(rows.rows))


if __name__ == "__main__":
    try:
        main(tyro.cli(Demos, description=__doc__))
    except UserError as error:
        sys.exit(str(error))

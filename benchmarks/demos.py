"""What `goalsight demo` takes and reaches here: seconds of each stage, success with its interval and baselines."""

import contextlib
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from reporting import RESULTS, Rows, markdown_table, provenance, start

from goalsight.base.interruption import stopped_by
from goalsight.commands.demo import Demo, Task, demo

KEPT = ("task", "env", "seed", "seconds", "total_seconds", "success", "without_video", "baselines")


@dataclass(frozen=True)
class Demos:
    """Run the demos and keep their figures; a task's row replaces the one that was there."""

    tasks: tuple[Task, ...] = get_args(Task)
    """Which to run."""
    seed: int = 0
    """Seed of play, encoder and agent."""
    out: Path = RESULTS / "demos.json"
    """The result."""


def measure(task: Task, seed: int) -> dict[str, Any] | None:
    """Return a demo's figures, None when someone asked to stop; its runs are not kept."""
    about = provenance()
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        result = demo(Demo(task=task, seed=seed, out=Path(folder) / task))
    if stopped_by():
        return None
    return {name: result[name] for name in KEPT if name in result} | about


def report(rows: list[dict[str, Any]]) -> str:
    """Return the rows as Markdown."""
    lines = []
    for row in rows:
        stages = ", ".join(f"{stage} {seconds:.0f}" for stage, seconds in row["seconds"].items())
        without = _share(row["without_video"]) if "without_video" in row else ""
        lines.append([row["task"], _share(row["success"]), without, f"{row['total_seconds']:.0f}", stages])
    return markdown_table(["demo", "success", "as many steps without video", "in all [s]", "stages [s]"], lines)


def _share(success: dict[str, Any]) -> str:
    return f"{success['count']} of {success['total']} [{success['low']:.0%}, {success['high']:.0%}]"


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
    start(Demos, main)

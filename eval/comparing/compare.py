"""`goalsight compare`: which way of training is better, by how much, and how sure that is."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

PAGE, RESULT = "compare.html", "compare.json"


@dataclass(frozen=True)
class Compare:
    """Compare training runs: learning curves, steps to a level, and final success, with intervals over seeds.

    Runs that were asked for the same but for their seed are one group.
    """

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Folders of training runs in one environment."""
    by: tuple[str, ...] = ()
    """Settings that make the groups, such as encoder; all in which the runs differ unless given."""
    metric: str = "eval/success"
    """What is compared, as metrics.jsonl names it; more is better."""
    reach: float = 0.8
    """The level of the metric whose first reaching is timed."""
    in_a_row: int = 1
    """Evaluations that must reach it one after the other; with 2 one lucky evaluation does not count."""
    out: Path | None = None
    """Folder for compare.html and compare.json; runs/compare-<date> unless given."""
    json: bool = False
    """Print the result as JSON."""


def compare(config: Compare) -> dict[str, Any]:
    """Compare runs, write the page and compare.json, print the tables, and return what compare.json holds.

    Raises:
        UserError: the runs cannot be compared, or the folder cannot be written; says why.
    """
    from goalsight.base.files import atomic_write_json, atomic_write_text, to_json, writing
    from goalsight.base.run_folders import fresh_folder
    from goalsight.eval.comparing.comparison import Asked, compared
    from goalsight.eval.comparing.page import render
    from goalsight.eval.comparing.record import record
    from goalsight.eval.comparing.wording import text

    found = compared(config.runs, Asked(config.metric, config.reach, config.in_a_row, config.by))
    result: dict[str, Any] = to_json(record(found))
    out = config.out or fresh_folder("compare", "")
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    atomic_write_json(out / RESULT, result)
    atomic_write_text(out / PAGE, render(found))
    print(json.dumps(result, indent=2) if config.json else f"{text(found)}\n{out / PAGE}")
    return result

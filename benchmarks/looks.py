"""What finished agents of `watching.py` come to when looks vary that never varied while they learnt.

No agent learns here: those with an encoder pretrained on the video, and those with a random one, seed by seed.
"""

import contextlib
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from reporting import RESULTS, Rows, apart, markdown_table, provenance, shared_seeds, start
from watching_arms import LOOKS

from goalsight.base.interruption import stopped_by
from goalsight.envs.config import EnvChanges
from goalsight.eval.evaluate import Eval, evaluate

CLEAN, ALL = "none", "all four"
VARIED: dict[str, tuple[str, ...]] = {CLEAN: (), **{look: (look,) for look in LOOKS}, ALL: LOOKS}
ARMS = ("points-1000", "random-1000")


@dataclass(frozen=True)
class Looks:
    """Evaluate agents under looks that vary; what the result holds already is skipped."""

    task: str = "push"
    """The task, with the Panda."""
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """Of the agents."""
    episodes: int = 200
    """Episodes that each is evaluated in; their starts and goals are the same whatever varies."""
    runs: Path = Path("runs/watching")
    """Where `watching.py` keeps them."""
    out: Path = RESULTS / "looks.json"
    """The result."""


def report(rows: list[dict[str, Any]]) -> str:
    """Return success as Markdown, and the paired differences."""
    lines = []
    for varies in VARIED:
        ours, theirs = shared_seeds([row for row in rows if row["varies"] == varies], ARMS)
        if len(ours) < 2:
            continue
        values = [[100 * row["success"] for row in some] for some in (ours, theirs)]
        shown = (f"{mean(one):.0f}% ({' '.join(f'{each:.0f}%' for each in one)})" for one in values)
        lines.append([varies, *shown, apart(values[0], values[1])])
    return markdown_table(["varies", "pretrained", "random", "difference [points]"], lines)


def main(config: Looks) -> None:
    """Evaluate what is missing, and write what all of it says."""
    result = Rows(config.out)
    asked = [
        {"task": config.task, "arm": arm, "seed": seed, "varies": varies, "episodes": config.episodes}
        for seed in config.seeds
        for arm in ARMS
        for varies in VARIED
    ]
    for one in asked:
        if not result.lacks(one):
            continue
        about = provenance()
        run = config.runs / f"{one['task']}-{one['arm']}-{one['seed']}"
        with contextlib.redirect_stdout(sys.stderr):
            changes = EnvChanges(vary=VARIED[str(one["varies"])])
            found = evaluate(Eval(run, env=changes, episodes=config.episodes, checkpoint="last"))
        if stopped_by():
            print("stopped; start again to go on", file=sys.stderr)
            break
        result.put({**one, "success": found["success"]["rate"], **about}, *one)
    text = report(result.rows)
    config.out.with_suffix(".md").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    start(Looks, main)

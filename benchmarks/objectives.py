"""What encoders know after equal steps of different objectives: `goalsight probe` of each, on the same recorded play.

One seed and a few minutes: whether the objectives work side by side, not which is the better one.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro
from reporting import RESULTS, markdown_table, provenance

from goalsight.base.files import atomic_write_json
from goalsight.base.runs import Run
from goalsight.eval.probes.probe import Probe, probe
from goalsight.pretrain.objectives import OBJECTIVES
from goalsight.pretrain.train import Pretrain, pretrain

TOKENISERS = {"points": "local", "replaced": "codes"}  # that an objective needs; all others take the default
KEPT = ("steps", "seconds", "flops", "flops_per_pair", "precision", "threads", "alarms")


@dataclass(frozen=True)
class Objectives:
    """Compare objectives at equal steps."""

    data: Path
    """Recorded play: a run of `goalsight collect`."""
    objectives: tuple[str, ...] = tuple(OBJECTIVES)
    """Objectives to compare."""
    steps: int = 400
    """Training steps of each."""
    threads: int = 0
    """Processor threads; 0 for one per core."""
    frames: int = 10_000
    """Frames that the probe uses, at most."""
    seed: int = 0
    """Seed of everything random."""
    out: Path = RESULTS / "objectives.json"
    """The result."""


def measure(objective: str, config: Objectives, folder: Path) -> dict[str, Any]:
    """Return what one objective cost, and what its encoder knows [cm]."""
    asked = Pretrain(
        data=(config.data,),
        objective=objective,
        tokeniser=TOKENISERS.get(objective, Pretrain.tokeniser),
        steps=config.steps,
        threads=config.threads,
        seed=config.seed,
        out=folder / objective,
        cache=folder / "frames",
    )
    run = Run.open(pretrain(asked))
    known = probe(Probe(run.path, data=config.data, frames=config.frames, seed=config.seed))
    return {
        "objective": objective,
        "options": run.config["objective_options"],
        **{name: run.summary[name] for name in KEPT},
        "effective_rank": run.summary.get("effective_rank"),
        "encoder": known["encoder"]["hash"],
        "data": known["data"]["hash"],
        "frames": known["frames"],
        "errors_cm": known["errors_cm"],
    }


def report(rows: list[dict[str, Any]]) -> str:
    """Return the rows as Markdown."""
    factors = list(rows[0]["errors_cm"]["encoder"])
    lines = [
        [
            *(row["objective"], str(row["steps"]), f"{row['flops']:.3g}", f"{row['seconds']:.0f}"),
            *(f"{row['errors_cm']['encoder'][factor]:.2f}" for factor in factors),
        ]
        for row in rows
    ]
    for name in list(rows[0]["errors_cm"])[1:]:
        lines.append([name, "", "", "", *(f"{rows[0]['errors_cm'][name][factor]:.2f}" for factor in factors)])
    return markdown_table(["objective", "steps", "operations", "s", *(f"{factor} [cm]" for factor in factors)], lines)


def main(config: Objectives) -> None:
    """Measure, write and print."""
    result = provenance()
    with tempfile.TemporaryDirectory() as folder:
        rows = [measure(objective, config, Path(folder)) for objective in config.objectives]
    config.out.parent.mkdir(parents=True, exist_ok=True)
    atomic_write_json(config.out, result | {"rows": rows})
    print(report(rows))


if __name__ == "__main__":
    main(tyro.cli(Objectives, description=__doc__))

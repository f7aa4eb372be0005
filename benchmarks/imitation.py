"""What imitating recorded expert play towards hindsight goals reaches on Push: success by seed, with intervals."""

import contextlib
import gc
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from reporting import RESULTS, Rows, markdown_table, provenance, start

from goalsight.agents.collecting.collect import Collect, PlayEnv, collect
from goalsight.agents.collecting.play import SKILLED
from goalsight.agents.train import Train, train
from goalsight.base.interruption import stopped_by
from goalsight.base.runs import Run
from goalsight.envs.config import EnvConfig
from goalsight.eval.evaluate import Eval, evaluate

ENV = "goalsight/PandaPush-v1"
RECORDING_SEED = 1_000_000  # of the recorded episodes: none of them is an evaluation's


@dataclass(frozen=True)
class Imitation:
    """Record the scripted expert with noise, imitate it, and judge what was learnt; a seed done before is kept."""

    obs: tuple[Literal["state", "pixels"], ...] = ("state", "pixels")
    """What the actors see."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """One actor each."""
    frames: int = 40_000
    """Frames of recorded play."""
    steps: int | None = None
    """Gradient steps; the algorithm's unless given."""
    encoder: str | None = None
    """Encoder of the actors from pixels: a pretraining run, or random."""
    tune_blocks: int = 0
    """Last blocks of the encoder that the actors from pixels train."""
    episodes: int = 200
    """Episodes that the finished actors are judged by, with the goals that every evaluation has."""
    threads: int = 0
    """Threads of the environments; 0 takes every CPU."""
    runs: Path = Path("runs/benchmarks")
    """Where the recording is kept; actors go to runs/."""
    out: Path = RESULTS / "imitation.json"
    """The result."""


def recording(config: Imitation) -> Path:
    """Return the recording, made unless it is there."""
    path = config.runs / f"expert-push-{config.frames}"
    if not path.exists():
        collect(Collect(env=PlayEnv(ENV), frames=config.frames, seed=RECORDING_SEED, mix=SKILLED, film=0, out=path))
    return path


def asked_of(obs: str, seed: int, config: Imitation) -> dict[str, Any]:
    """Return what makes an actor what it is, for its row."""
    pixels = {"encoder": config.encoder or "random", "tune_blocks": config.tune_blocks} if obs == "pixels" else {}
    return {"obs": obs, "seed": seed, "frames": config.frames, "steps": config.steps, **pixels}


def measure(asked: dict[str, Any], data: Path, config: Imitation) -> dict[str, Any] | None:
    """Train and judge one actor; None when someone asked to stop."""
    about = provenance()
    gc.collect()
    folder = train(
        Train(
            EnvConfig(ENV, obs=asked["obs"]),
            algorithm="bc",
            data=(data,),
            seed=asked["seed"],
            steps=asked["steps"],
            encoder=asked.get("encoder"),
            tune_blocks=asked.get("tune_blocks", 0),
            target_success=2.0,  # all updates are made
            threads=config.threads,
        )
    )
    if stopped_by():
        return None
    judged = evaluate(Eval(run=folder, checkpoint="last", episodes=config.episodes))
    if stopped_by():
        return None
    run = Run.open(folder)
    return {
        "asked": asked,
        "preset": run.config["preset"],
        "sources": run.manifest["sources"],
        "recording": {"moved_share": Run.open(data).summary.get("moved_share")},
        "seconds": run.summary["seconds"],
        "evaluations": [
            {"updates": row["step"], "success": row["eval/success"], "action_error": row["train/action_error"]}
            for row in run.metrics()
            if "eval/success" in row
        ],
        "final": {"checkpoint": "last", "success": judged["success"], "seed": judged["seed"]},
        "baselines": {name: row["success"]["rate"] for name, row in judged["baselines"].items()},
    } | about


def report(rows: list[dict[str, Any]]) -> str:
    """Return the rows as Markdown."""
    lines = []
    for row in rows:
        asked, success = row["asked"], row["final"]["success"]
        tuned = f", {asked['tune_blocks']} blocks tuned" if asked.get("tune_blocks") else ""
        sees = f"{asked['obs']} ({asked['encoder']} encoder{tuned})" if "encoder" in asked else asked["obs"]
        reached = f"{success['rate']:.0%} [{success['low']:.0%}, {success['high']:.0%}] of {success['total']}"
        lines.append([sees, str(asked["seed"]), reached, f"{row['seconds']:.0f}"])
    return markdown_table(["sees", "seed", "success", "imitating [s]"], lines)


def main(config: Imitation) -> None:
    """Measure what is not there yet, and write the result after each actor."""
    rows = Rows(config.out, "actors")
    with contextlib.redirect_stdout(sys.stderr):
        data = recording(config)
        for obs in config.obs:
            for seed in config.seeds:
                asked = asked_of(obs, seed, config)
                if not rows.lacks(asked):
                    continue
                row = measure(asked, data, config)
                if row is None:
                    return
                rows.put(row)
    print(report(rows.rows))


if __name__ == "__main__":
    start(Imitation, main)

"""What makes the default pretraining what it is: one thing is changed at a time, at equal FLOPs.

Encoders are asked what they know of recorded play, all alike, and skilled play is imitated from their frozen tokens:
what another share of hidden patches, another weight, distance in time, size, tokeniser or other data adds or takes, as
differences from the default that are paired by seed.
"""

import contextlib
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from reporting import RESULTS, Rows, apart, markdown_table, provenance, shared_seeds, start

from goalsight.agents.collecting.collect import Collect, PlayEnv, collect
from goalsight.agents.collecting.play import AIMLESS, SKILLED, Mix
from goalsight.agents.watching.experience import UNSKILLED
from goalsight.base.errors import UserError, choose
from goalsight.base.files import to_json
from goalsight.base.interruption import stopped_by
from goalsight.envs.ids import id_of
from goalsight.envs.tasks import TASKS
from goalsight.eval.objectives.analysis import MEAN
from goalsight.eval.objectives.control import imitate
from goalsight.eval.objectives.pieces import known, piece
from goalsight.eval.objectives.rows import on_shared_factors
from goalsight.pretrain.objectives.masked import Masked
from goalsight.pretrain.train import Pretrain

PLAY, REAL, SOUGHT = "play", "real video", "rare goals"
RECORDED: dict[str, tuple[str, Mix, int]] = {  # arm, behaviour, seed; judges' recordings have seeds of their own
    PLAY: ("panda", Mix(), 7),
    "expert": ("panda", SKILLED, 100_007),
    "random actions": ("panda", AIMLESS, 200_007),
    "other arm": ("ur5e", Mix(), 300_007),
    SOUGHT: ("panda", Mix(), 600_007),  # by the agent that is named
    "aimless": ("panda", UNSKILLED, 700_007),
    "asked": ("panda", Mix(), 400_007),
    "imitated": ("panda", SKILLED, 500_007),
}
DEFAULT = "default"


@dataclass(frozen=True)
class Change:
    """What is otherwise than by default."""

    options: dict[str, Any]
    data: tuple[str, ...] = (PLAY,)
    pooled: bool = False  # of the default encoder no more than the mean over tokens is read


CHANGES = {
    DEFAULT: Change({}),
    "50% of frame t hidden": Change({"objective_options": Masked(hide_self=0.5)}),
    "90% of frame t hidden": Change({"objective_options": Masked(hide_self=0.9)}),
    "75% of frame t+k hidden": Change({"objective_options": Masked(hide_next=0.75)}),
    "99% of frame t+k hidden": Change({"objective_options": Masked(hide_next=0.99)}),
    "what lies still counts a tenth": Change({"objective_options": Masked(still=0.1)}),
    "at most 1 frame apart": Change({"max_gap": 1}),
    "at most 24 frames apart": Change({"max_gap": 24}),
    "size tiny": Change({"size": "tiny"}),
    "read as the mean of its tokens": Change({}, pooled=True),
    "tokeniser patches": Change({"tokeniser": "patches"}),
    "tokeniser local": Change({"tokeniser": "local"}),
    "of the expert": Change({}, ("expert",)),
    "of random actions": Change({}, ("random actions",)),
    "of unskilled play": Change({}, ("aimless",)),
    "of an agent that seeks rare goals": Change({}, (SOUGHT,)),
    "of another arm": Change({}, ("other arm",)),
    "of real video": Change({}, (REAL,)),
    "of play and real video": Change({}, (PLAY, REAL)),
}


@dataclass(frozen=True)
class Ablations:
    """Pretrain with one thing changed at a time; what the result holds already is skipped."""

    changes: tuple[str, ...] = tuple(CHANGES)
    """What is changed."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """One encoder and one imitation for each."""
    flops: float = 3e12
    """Floating-point operations of each pretraining."""
    task: str = "pick_place"
    """The task, with the Panda unless another arm is recorded."""
    frames: int = 20_000
    """Frames of each recording that is learnt from."""
    asked: int = 3_000
    """Frames that encoders are asked about."""
    episodes: int = 100
    """Skilled episodes that are imitated."""
    updates: int = 3_000
    """Gradient steps of each imitation."""
    judged: int = 200
    """Episodes by which each imitation is judged."""
    real: Path | None = None
    """Folder of real video; without one the changes that need it are left out."""
    seeker: Path | None = None
    """A train run whose agent seeks rare goals; without one the change that needs it is left out."""
    runs: Path = Path("runs/ablations")
    """Where recordings and encoders are kept."""
    out: Path = RESULTS / "ablations.json"
    """The result; the table lies beside it."""

    def __post_init__(self) -> None:
        for name in self.changes:
            choose("change", name, CHANGES)
        choose("task", self.task, TASKS)


def recorded(name: str, config: Ablations) -> Path:
    """Return a recording, made unless it is there."""
    arm, mix, seed = RECORDED[name]
    frames = {"imitated": 50 * config.episodes, "asked": 2 * config.asked}.get(name, config.frames)
    path = config.runs / f"{config.task}-{name.replace(' ', '-')}-{frames}"
    if not path.exists():
        env, seek = PlayEnv(id_of(arm, TASKS[config.task])), config.seeker if name == SOUGHT else None
        collect(Collect(env=env, frames=frames, seed=seed, mix=mix, seek=seek, film=0, out=path))
    return path


def measure(name: str, seed: int, config: Ablations) -> dict[str, Any] | None:
    """Pretrain, ask, imitate and judge; None when someone asked to stop."""
    change = CHANGES[name]
    data = tuple(config.real if one == REAL else recorded(one, config) for one in change.data)
    asked = Pretrain(
        data=tuple(path for path in data if path is not None),
        flops=config.flops,
        seed=seed,
        threads=1,
        picture_every=1e9,
        cache=config.runs / "frames",
    )
    made = DEFAULT if change.pooled else name
    out = config.runs / f"{made.replace(' ', '-')}-{config.flops:.3g}-{seed}"
    found = piece(
        to_json(asdict(replace(asked, **change.options))), str(recorded("asked", config)), config.asked, str(out)
    )
    if "scores" not in found:
        return None
    if change.pooled:
        return found | known(recorded("asked", config), out, config.asked, seed, pooled=True)
    judges = {"play": str(recorded("imitated", config)), "updates": config.updates, "episodes": config.judged}
    control = imitate(str(out), seed, judges, str(out.with_name(f"{out.name}-control.json")))
    return None if "success" not in control else {**found, "success": control["success"] / config.judged}


def report(rows: Sequence[dict[str, Any]]) -> str:
    """Return what each change adds or takes, as Markdown."""
    rows, lines = on_shared_factors(rows)[0], []
    for name in CHANGES:
        pair = shared_seeds(rows, (name, DEFAULT))
        if not pair[0]:
            continue
        line = [name, f"{mean(row['steps'] for row in pair[0]):,.0f}"]
        for key, scale, unit, digits in (("mean_score", 1, "", 3), ("success", 100, "%", 0)):
            if any(key not in row for row in pair[0]):  # what is read otherwise is not imitated
                line += ["", ""]
                continue
            ours, theirs = ([scale * row[key] for row in some] for some in pair)
            line.append(f"{mean(ours):.{digits}f}{unit} ({' '.join(f'{one:.{digits}f}' for one in ours)})")
            line.append("" if name == DEFAULT or len(ours) < 2 else apart(ours, theirs, max(digits, 1)))
        lines.append([*line, f"{mean(row['errors_cm'].get('object', np.nan) for row in pair[0]):.2f} cm"])
    head = ["changed", "steps", MEAN, "difference", "success of those who imitate", "difference"]
    return markdown_table([*head, "object"], lines)


def main(config: Ablations) -> None:
    """Measure what is missing, and write what all of it says."""
    result = Rows(config.out)
    if any("mean_score" not in row for row in result.rows):
        raise UserError(f"{config.out} holds rows of an earlier version; choose another --out")
    needed = ((REAL, config.real), (SOUGHT, config.seeker))
    for seed in config.seeds:
        for name in config.changes:
            if any(given is None and kind in CHANGES[name].data for kind, given in needed):
                continue
            asked = {"arm": name, "seed": seed, "flops": config.flops, "task": config.task, "judged": config.judged}
            if not result.lacks(asked, "arm", "seed"):
                continue
            about = provenance()
            with contextlib.redirect_stdout(sys.stderr):
                found = measure(name, seed, config)
            if found is None or stopped_by():
                print("stopped; start again to go on", file=sys.stderr)
                return
            result.put({"asked": asked, "arm": name, **found, **about}, "arm", "seed")
            config.out.with_suffix(".md").write_text(report(result.rows) + "\n")
    print(report(result.rows))


if __name__ == "__main__":
    start(Ablations, main, orderly=True)

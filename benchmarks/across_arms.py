"""What can be read of another arm's video: the estimator that the Panda sees by, judged on frames of the UR5e.

The encoder is pretrained on the UR5e's silent video, as in the arm `points-1000-ur5e` of `watching.py`; the estimator
is taught by the Panda's own unskilled play. What it says of the expert's frames, of either arm, is held against the
truth; so is what inverse models, taught by the same play, say of the actions: one that sees places and their changes,
as an agent's does, and one that sees the changes alone.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any, Literal

import numpy as np
import torch
from eyes import ENV, PLAY_SEED, TEST_SEED, TESTS, VIEW, played
from numpy.typing import NDArray
from reporting import RESULTS, Rows, markdown_table, provenance, start
from watching_arms import ARMS
from watching_videos import VIDEO_SEEDS, pretrained, recorded

from goalsight.agents.networks.estimator import StateEstimator
from goalsight.agents.networks.features import find_encoder
from goalsight.agents.watching.estimating import Lessons, prepare, readings, teach
from goalsight.agents.watching.experience import Experience
from goalsight.agents.watching.inverse import InverseModel, bounds, explained, windows
from goalsight.agents.watching.options import Watching
from goalsight.base.interruption import stopped_by

Seen = Literal["places", "changes"]  # by an inverse model: changes come with both

OTHER, ARM, PLAY = "goalsight/Ur5ePush-v1", "points-1000-ur5e", 48  # episodes
AHEAD = 8  # frames, over which motion is looked at
AXES = ("depth", "width", "height")  # of an action, as the camera in front sees them
ASKED = {
    "object": "median error of the cube [cm]",
    "object_motion": "motion of the cube that is read",
    "tool": "median error of the hand [cm]",
    "tool_motion": "motion of the hand that is read",
    **{f"{axis}_places": f"actions read in {axis}, from places and changes" for axis in AXES},
    **{f"{axis}_changes": f"actions read in {axis}, from changes alone" for axis in AXES},
}


@dataclass(frozen=True)
class AcrossArms:
    """Teach estimators on one arm, and judge them on two; what the result holds already is skipped."""

    seeds: tuple[int, ...] = (0, 1, 2)
    """One play, one video and one estimator for each."""
    runs: Path = Path("runs/watching")
    """Where videos and encoders are kept, those of `watching.py`."""
    out: Path = RESULTS / "across_arms.json"
    """The result."""


def measure(seed: int, config: AcrossArms) -> dict[str, Any] | None:
    """Return by arm the median errors of places [m] and the share of their motion that is read; None when stopped."""
    torch.set_num_threads(1)
    video = recorded(ARMS[ARM], ENV, seed, config.runs / "videos")
    encoder = str(pretrained(video, seed, config.runs / f"push-{ARM}-{seed}-encoder"))
    if stopped_by():
        return None
    play, tool = played("clean", "unskilled", PLAY, PLAY_SEED + VIDEO_SEEDS * seed)
    torch.manual_seed(seed)
    whole = find_encoder(encoder, 64, seed, tokeniser="local").requires_grad_(True)
    estimator = StateEstimator(whole, play.targets.shape[-1])
    updates = ARMS[ARM].watching.estimator_updates
    assert updates is not None
    lessons = Lessons(play, VIEW, np.random.default_rng(seed))
    prepare(estimator.train(), lessons)
    for _ in teach(estimator, lessons, updates=updates):
        if stopped_by():
            return None
    estimator.eval()
    inverse: dict[Seen, InverseModel] = {seen: taught(estimator, play, seed, seen) for seen in ("places", "changes")}
    arms = {"panda": ENV, "ur5e": OTHER}
    return {
        name: judged(estimator, inverse, played("clean", "expert", TESTS, TEST_SEED, arm)[0], tool)
        for name, arm in arms.items()
    }


def taught(estimator: StateEstimator, play: Experience, seed: int, seen: Seen) -> InverseModel:
    """Return an inverse model that has learnt from play, and sees places, or nothing but how they change."""
    around = surroundings(read_off(estimator, play), seen)
    model = InverseModel(around.shape[-1], play.actions.shape[-1])
    updates, rng = Watching().settled(points=True).inverse_updates, np.random.default_rng(seed)
    for _ in model.fit(around, play.actions.reshape(len(around), -1), updates=updates, rng=rng):
        pass
    return model


def read_off(estimator: StateEstimator, seen: Experience) -> NDArray[np.float32]:
    """Return what is read off every frame, (E, T + 1, targets)."""
    frames = seen.frames[VIEW]
    return readings(estimator, frames.reshape(-1, *frames.shape[2:]), "cpu").reshape(*frames.shape[:2], -1)


def surroundings(read: NDArray[np.float32], seen: Seen) -> NDArray[np.float32]:
    """Return the windows in which an action was taken, (E T, ...)."""
    episodes, moments, numbers = read.shape
    around = windows(read.reshape(-1, numbers), *bounds(np.full(episodes, moments)))
    around = around.reshape(episodes, moments, -1)[:, :-1].reshape(episodes * (moments - 1), -1)
    return around if seen == "places" else np.ascontiguousarray(around[:, numbers:])


def judged(
    estimator: StateEstimator, inverse: dict[Seen, InverseModel], tests: Experience, tool: slice
) -> dict[str, float]:
    """Return median errors [m], and the shares that are read: of motion over `AHEAD` frames, and of the actions."""
    read = read_off(estimator, tests)
    found = {}
    for name, part in {"object": slice(tests.goals["desired_goal"].shape[1]), "tool": tool}.items():
        ours, truth = read[..., part], tests.targets[..., part]
        motions = [places[:, AHEAD:] - places[:, :-AHEAD] for places in (ours, truth)]
        rest, whole = np.square(motions[0] - motions[1]).sum(), np.square(motions[1] - motions[1].mean((0, 1))).sum()
        found[name] = float(np.median(np.linalg.norm(ours - truth, axis=-1)))
        found[f"{name}_motion"] = float(1 - rest / whole)
    for seen, model in inverse.items():
        actions, _ = model.label(surroundings(read, seen))
        shares = explained(tests.actions.reshape(actions.shape), actions)
        found |= {f"{axis}_{seen}": float(share) for axis, share in zip(AXES, shares, strict=True)}
    return found


def report(rows: list[dict[str, Any]]) -> str:
    """Return the errors as Markdown."""
    lines = []
    for key, said in ASKED.items():
        scale = 100 if said.endswith("[cm]") else 1
        values = ([scale * row[arm][key] for row in rows] for arm in ("panda", "ur5e"))
        lines.append([said, *(f"{mean(one):.2f} ({' '.join(f'{each:.2f}' for each in one)})" for one in values)])
    return markdown_table([f"taught on the Panda, {len(rows)} seeds", "on the Panda", "on the UR5e"], lines)


def main(config: AcrossArms) -> None:
    """Measure what is missing, and write what all of it says."""
    result = Rows(config.out)
    for seed in config.seeds:
        if not result.lacks({"seed": seed}):
            continue
        about = provenance()
        found = measure(seed, config)
        if found is None:
            print("stopped; start again to go on", file=sys.stderr)
            break
        result.put({"seed": seed, **found, **about}, "seed")
    if result.rows:
        config.out.with_suffix(".md").write_text(report(result.rows) + "\n")
        print(report(result.rows))


if __name__ == "__main__":
    start(AcrossArms, main, orderly=True)

"""How exactly places are read off images after so many labelled frames: an encoder pretrained on video beside none.

Frames of unskilled play are labelled by the simulator; the estimator that a watching agent sees by is taught by them,
and evaluated on frames of the expert, which touches objects as play hardly does.
"""

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from reporting import RESULTS, Rows, apart, markdown_table, provenance, shared_seeds, start
from watching_arms import ARMS, FEW, FEW_RANDOM, LOOKS
from watching_videos import VIDEO_SEEDS, pretrained, recorded

from goalsight.agents.networks.estimator import StateEstimator
from goalsight.agents.networks.features import find_encoder
from goalsight.agents.policies import Policy, make_policy
from goalsight.agents.watching.estimating import Lessons, prepare, readings, teach
from goalsight.agents.watching.experience import HELD_OUT, Experience, Noisy, gather, unskilled
from goalsight.base.interruption import stopped_by
from goalsight.envs.config import EnvConfig
from goalsight.envs.making import make
from goalsight.envs.vector import GoalVectorEnv

ENV, VIEW, STEPS = "goalsight/PandaPush-v1", "pixels", 40
PLAY_SEED, TEST_SEED = 5_000_000, 6_000_000  # of the first episode
TESTS = 64  # episodes
# An encoder pretrained on video, a random one with as many updates as pretraining and teaching take, and with as few.
Arm = Literal["points", "random", "random-short"]
UPDATES = {
    "points": FEW.estimator_updates,
    "random": FEW_RANDOM.estimator_updates,
    "random-short": FEW.estimator_updates,
}


@dataclass(frozen=True)
class Eyes:
    """Teach estimators, and measure them; what the result holds already is skipped."""

    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """One play, one video and one estimator of each kind for each."""
    taught: tuple[int, ...] = (7, 24, 170)
    """Episodes that are learnt from, of 41 labelled frames each."""
    looks: tuple[Literal["clean", "varied"], ...] = ("clean",)
    """Whether colours, light, camera and distractors stay or vary from episode to episode."""
    runs: Path = Path("runs/watching")
    """Where videos and encoders are kept, those of `watching.py`."""
    out: Path = RESULTS / "eyes.json"
    """The result."""


def played(
    looks: str, policy: Literal["unskilled", "expert"], episodes: int, seed: int, env_id: str = ENV
) -> tuple[Experience, slice]:
    """Return episodes, and where the end effector stands in their numbers.

    Args:
        looks: see `Eyes`.
        policy: plays.
        episodes: how many.
        seed: of the policy and of the first episode.
        env_id: where.
    """
    env = make(
        EnvConfig(env_id, obs="pixels", vary=LOOKS if looks == "varied" else ()),
        32,
        num_threads=1,
        max_episode_steps=STEPS,
        privileged=True,
        training_starts=policy == "unskilled",
    )
    assert isinstance(env, GoalVectorEnv)
    try:
        expert = Noisy(make_policy("expert", seed=seed), 0.3, seed)
        acts: Policy = unskilled(env, seed) if policy == "unskilled" else expert
        found = gather(env, acts, episodes=episodes, seed=seed)
        tool, goal = env.state_layout()["tool"], found.goals["desired_goal"].shape[1]
    finally:
        env.close()
    return found, slice(goal + tool.start, goal + tool.stop)


def measure(arm: Arm, looks: str, taught: int, seed: int, config: Eyes) -> dict[str, float] | None:
    """Teach an estimator, and return its errors on the expert's frames [m]; None when someone asked to stop."""
    torch.set_num_threads(1)
    shown = ARMS["points-1000-varied" if looks == "varied" else "points-1000"]
    encoder = "random"
    if arm == "points":
        video = recorded(shown, ENV, seed, config.runs / "videos")
        name = "push-points-1000" + ("-varied" if looks == "varied" else "")
        encoder = str(pretrained(video, seed, config.runs / f"{name}-{seed}-encoder"))
    if stopped_by():
        return None
    began = time.monotonic()
    play, tool = played(looks, "unskilled", -(-taught * HELD_OUT // (HELD_OUT - 1)), PLAY_SEED + VIDEO_SEEDS * seed)
    tests, _ = played(looks, "expert", TESTS, TEST_SEED)
    torch.manual_seed(seed)
    whole = find_encoder(encoder, 64, seed, tokeniser="local").requires_grad_(True)
    estimator, updates = StateEstimator(whole, play.targets.shape[-1]), UPDATES[arm]
    assert updates is not None
    lessons = Lessons(play, VIEW, np.random.default_rng(seed))
    prepare(estimator.train(), lessons)
    for _ in teach(estimator, lessons, updates=updates):
        if stopped_by():
            return None
    return errors(estimator.eval(), tests, tool) | {
        "labelled_frames": int((~play.held_out).sum()) * (STEPS + 1),
        "updates": updates,
        "seconds": round(time.monotonic() - began, 1),
    }


def errors(estimator: StateEstimator, tests: Experience, tool: slice) -> dict[str, float]:
    """Return the root mean squared distance of what is read from what is true [m], and its median of the object."""
    frames = tests.frames[VIEW]
    truth = tests.targets.reshape(-1, tests.targets.shape[-1])
    read = readings(estimator, frames.reshape(-1, *frames.shape[2:]), "cpu")
    size = tests.goals["desired_goal"].shape[1]
    images = readings(estimator, tests.goals[f"goal_{VIEW}"], "cpu")[:, :size]

    def apart(ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(np.linalg.norm(ours - theirs, axis=1))

    objects = apart(read[:, :size], truth[:, :size])
    rest = {"tool": apart(read[:, tool], truth[:, tool]), "goal": apart(images, tests.goals["desired_goal"])}
    squares = {name: float(np.sqrt((part**2).mean())) for name, part in {"object": objects, **rest}.items()}
    return squares | {"object_median": float(np.median(objects))}


def wanted(config: Eyes) -> Iterator[dict[str, Any]]:
    """Yield what is asked for, seed by seed."""
    for looks in config.looks:
        for seed in config.seeds:
            for taught in config.taught:
                for arm in UPDATES:
                    yield {"looks": looks, "taught": taught, "seed": seed, "arm": arm}


def report(rows: list[dict[str, Any]]) -> str:
    """Return the errors as Markdown, and their paired differences."""
    lines = []
    for looks, taught in sorted({(row["looks"], row["taught"]) for row in rows}):
        some = [row for row in rows if (row["looks"], row["taught"]) == (looks, taught)]
        arms = shared_seeds(some, list(UPDATES))
        if len(arms[0]) < 2:
            continue
        for what in ("object", "object_median", "goal", "tool"):
            values = [[100 * row[what] for row in arm] for arm in arms]
            shown = (f"{mean(one):.2f} ({' '.join(f'{each:.2f}' for each in one)})" for one in values)
            name = f"{looks}, {arms[0][0]['labelled_frames']:,} frames, {what.replace('_', ', ')}"
            lines.append([name, *shown, *(apart(values[0], random, digits=2) for random in values[1:])])
    head = ["pretrained", "random", "random, as few updates", "from random", "from as few updates"]
    return markdown_table(["error [cm]", *head], lines)


def main(config: Eyes) -> None:
    """Measure what is missing, and write what all of it says."""
    result = Rows(config.out)
    for asked in wanted(config):
        if not result.lacks(asked):
            continue
        about = provenance()
        print(asked, file=sys.stderr)
        found = measure(asked["arm"], asked["looks"], asked["taught"], asked["seed"], config)
        if found is None:
            print("stopped; start again to go on", file=sys.stderr)
            break
        result.put({**asked, **found, **about}, *asked)
    text = report(result.rows)
    config.out.with_suffix(".md").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    start(Eyes, main, orderly=True)

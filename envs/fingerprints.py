"""Fingerprints: what each id did when it was published, to tell whether it still does the same.

A fingerprint is a short trajectory under seeded actions and a small picture of its goal. Where one differs, results
are no longer comparable with those published under that id: its version must rise. `python -m
goalsight.envs.fingerprints` writes the file anew.
"""

import json
import sys
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from goalsight.envs.registration import env_ids, make_vector, source_of
from goalsight.errors import UserError

FILE = "fingerprints.json"  # in `goalsight.assets`
SEED = 7
MOMENTS = (0, 1, 10, 25)  # after so many steps the state is taken down
GRID = 8  # of the goal's picture: edge, in means over blocks of pixels
# Rounding differs between processors, and contact makes the difference grow.
STATE_TOLERANCE = 1e-4  # [m, rad, m/s or rad/s]
PICTURE_TOLERANCE = 2.0  # of 255


def fingerprint(env_id: str) -> dict[str, Any]:
    """Take the fingerprint of an environment: numbers that its dynamics, goals, rewards and pictures decide."""
    import mujoco

    env = make_vector(env_id, num_envs=1, num_threads=1)
    obs, _ = env.reset(seed=SEED)
    rng = np.random.default_rng(SEED)
    states, rewards = {}, 0.0
    goal_frame = env.goal_frames(size=64)[0].astype(np.float64)
    for step in range(max(MOMENTS) + 1):
        if step in MOMENTS:
            states[str(step)] = [*obs["observation"][0].tolist(), *obs["achieved_goal"][0].tolist()]
        obs, reward, *_ = env.step(rng.uniform(-1, 1, (1, env.sim.action_size)))
        rewards += float(reward[0])
    block = 64 // GRID
    picture = goal_frame.reshape(GRID, block, GRID, block, 3).mean(axis=(1, 3))
    env.close()
    return {
        "mujoco": mujoco.__version__,
        "goal": obs["desired_goal"][0].tolist(),
        "states": {moment: [round(number, 7) for number in state] for moment, state in states.items()},
        "rewards": rewards,
        "goal_picture": np.round(picture).astype(int).flatten().tolist(),
    }


def published() -> dict[str, dict[str, Any]]:
    """The fingerprints that came with this version, by id."""
    found: dict[str, dict[str, Any]] = json.loads(resources.files("goalsight.assets").joinpath(FILE).read_text())
    return found


def differences(ours: dict[str, Any], theirs: dict[str, Any]) -> list[str]:
    """Say in what two fingerprints differ; empty when they agree."""
    found = []
    if not _close(ours["goal"], theirs["goal"], STATE_TOLERANCE):
        found.append("its goal")
    for moment in theirs["states"]:
        if not _close(ours["states"].get(moment, []), theirs["states"][moment], STATE_TOLERANCE):
            found.append(f"its state after {moment} steps")
    if ours["rewards"] != theirs["rewards"]:
        found.append("its rewards")
    if not _close(ours["goal_picture"], theirs["goal_picture"], PICTURE_TOLERANCE):
        found.append("the picture of its goal")
    return found


def _close(ours: list[float], theirs: list[float], tolerance: float) -> bool:
    return len(ours) == len(theirs) and bool(np.all(np.abs(np.subtract(ours, theirs)) <= tolerance))


def compare(ids: Iterable[str]) -> dict[str, list[str]]:
    """For each id, in what it differs from what was published; empty lists where nothing does.

    Raises:
        UserError: an id that has no fingerprint.
    """
    known = published()
    found = {}
    for env_id in ids:
        if env_id not in known:
            raise UserError(f"{env_id} has no fingerprint; only ids that come with goalsight have one")
        found[env_id] = differences(fingerprint(env_id), known[env_id])
    return found


def own_ids() -> list[str]:
    """The ids that come with goalsight."""
    return [env_id for env_id in env_ids() if source_of(env_id) == "goalsight"]


def text(compared: dict[str, list[str]]) -> str:
    """What `compare` found, for people."""
    width = max(map(len, compared))
    return "\n".join(
        f"{env_id:{width}}  {'differs: ' + ', '.join(found) if found else 'as published'}"
        for env_id, found in compared.items()
    )


def write(path: Path) -> None:
    """Write the fingerprints of all of this project's ids."""
    lines = [f"{json.dumps(env_id)}: {json.dumps(fingerprint(env_id))}" for env_id in own_ids()]
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(str(resources.files("goalsight.assets"))) / FILE
    write(target)
    print(target)

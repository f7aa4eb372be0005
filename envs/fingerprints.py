"""Fingerprints: what each id did when it was published, to tell whether it still does the same.

A fingerprint is a short trajectory under seeded actions, then under the expert's, so that things are moved, and another
by joint control; rewards between start and goal; a small picture of the goal; and the numbers that decide success.
Where one differs, results are no longer comparable with those published under that id: its version must rise.
`python -m goalsight.envs.fingerprints` writes the file anew.
"""

import contextlib
import json
import sys
from collections.abc import Iterable, Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from goalsight.base.errors import UserError
from goalsight.envs.config import REWARDS
from goalsight.envs.ids import env_ids, source_of
from goalsight.envs.making import make_vector

if TYPE_CHECKING:
    from goalsight.envs.vector import GoalVectorEnv, Obs

FILE = "fingerprints.json"  # in `goalsight.assets`
SEED = 7
MOMENTS = (0, 1, 10, 25, 35, 49)  # after so many steps the state is taken down
RANDOM_STEPS = 25  # then the expert acts
JOINT_STEPS = 5  # random ones by joint control
SHARES = np.linspace(0, 1, 21)  # of the way from the start to the goal, where rewards are taken down
GRID = 8  # of the goal's picture: edge, in means over blocks of pixels
# Rounding differs between processors, and contact makes the difference grow.
STATE_TOLERANCE = 1e-4  # [m, rad, m/s or rad/s]
REWARD_TOLERANCE = 1e-5
PICTURE_TOLERANCE = 2.0  # of 255


def fingerprint(env_id: str) -> dict[str, Any]:
    """Take the fingerprint of an environment: numbers that its dynamics, goals, rewards and pictures decide."""
    import mujoco

    with contextlib.closing(make_vector(env_id, num_envs=1, num_threads=1)) as env:
        obs, _ = env.reset(seed=SEED)
        start, goal = obs["achieved_goal"][0], obs["desired_goal"][0]
        picture = _blocks(env.goal_frames(size=64)[0])
        states = _trajectory(env, obs, MOMENTS)
    with contextlib.closing(make_vector(env_id, num_envs=1, num_threads=1, control="joint")) as by_joints:
        obs, _ = by_joints.reset(seed=SEED)
        by_joint_control = _trajectory(by_joints, obs, (JOINT_STEPS,))
    way = (goal + SHARES[:, None] * (start - goal)).astype(np.float32)
    task = env.task
    return {
        "mujoco": mujoco.__version__,
        "goal": goal.tolist(),
        "states": states,
        "by_joint_control": by_joint_control,
        "rewards": {kind: _rounded(getattr(task, f"{kind}_reward")(way, goal)) for kind in REWARDS},
        "goal_picture": picture,
        "success": {
            "tolerance": task.tolerance,
            "hold_steps": task.hold_steps,
            "grasped": task.grasped,
            "max_episode_steps": task.max_episode_steps,
            "named_goals": {name: list(numbers) for name, numbers in task.named_goals},
        },
    }


def _trajectory(env: "GoalVectorEnv", obs: "Obs", moments: Sequence[int]) -> dict[str, list[float]]:
    """States at moments, by the number of steps, under random actions and then the expert's."""
    rng = np.random.default_rng(SEED)
    states = {}
    for step in range(max(moments) + 1):
        if step in moments:
            states[str(step)] = _rounded(np.concatenate([obs["observation"][0], obs["achieved_goal"][0]]))
        random = rng.uniform(-1, 1, (1, env.sim.action_size))
        obs, *_ = env.step(random if step < RANDOM_STEPS else env.expert_action())
    return states


def _rounded(numbers: Any) -> list[float]:
    return [round(float(number), 7) for number in numbers]


def _blocks(frame: NDArray[np.uint8]) -> list[int]:
    """Means of a picture (64, 64, 3) over blocks."""
    block = len(frame) // GRID
    means = frame.astype(np.float64).reshape(GRID, block, GRID, block, 3).mean(axis=(1, 3))
    return [int(number) for number in np.round(means).flatten()]


def published() -> dict[str, dict[str, Any]]:
    """The fingerprints that came with this version, by id."""
    found: dict[str, dict[str, Any]] = json.loads(resources.files("goalsight.assets").joinpath(FILE).read_text())
    return found


def differences(ours: dict[str, Any], theirs: dict[str, Any]) -> list[str]:
    """Say in what two fingerprints differ; empty when they agree."""
    found = []
    if not _close(ours["goal"], theirs["goal"], STATE_TOLERANCE):
        found.append("its goal")
    for moment, state in theirs["states"].items():
        if not _close(ours["states"].get(moment, []), state, STATE_TOLERANCE):
            found.append(f"its state after {moment} steps")
    for moment, state in theirs["by_joint_control"].items():
        if not _close(ours["by_joint_control"].get(moment, []), state, STATE_TOLERANCE):
            found.append(f"its state after {moment} steps by joint control")
    for kind, rewards in theirs["rewards"].items():
        if not _close(ours["rewards"].get(kind, []), rewards, REWARD_TOLERANCE):
            found.append(f"its {kind} rewards")
    if not _close(ours["goal_picture"], theirs["goal_picture"], PICTURE_TOLERANCE):
        found.append("the picture of its goal")
    found += [f"its {name}" for name, value in theirs["success"].items() if ours["success"].get(name) != value]
    if found and ours["mujoco"] != theirs["mujoco"]:
        found.append(f"and MuJoCo, which was {theirs['mujoco']} and is {ours['mujoco']}")
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

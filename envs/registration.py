"""Ids: `goalsight/PandaPush-v0` and its like, for `gymnasium.make`, `gymnasium.make_vec` and the command line."""

from typing import TYPE_CHECKING, Any

import gymnasium as gym

from goalsight.envs.arms import ARMS
from goalsight.envs.tasks import TASKS
from goalsight.errors import UserError, choose

if TYPE_CHECKING:
    from goalsight.envs.vector import GoalVectorEnv

NAMESPACE = "goalsight"
VERSION = "v0"


def _camel(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


def _specs() -> dict[str, dict[str, str]]:
    return {
        f"{NAMESPACE}/{_camel(arm)}{_camel(task)}-{VERSION}": {"task": task, "arm": arm}
        for arm in ARMS
        for task in TASKS
    }


def register_all() -> None:
    """Register every arm with every task, once. Nothing heavy is imported until an environment is made."""
    for env_id, kwargs in _specs().items():
        if env_id not in gym.registry:
            gym.register(
                env_id,
                entry_point="goalsight.envs.single:GoalEnv",
                vector_entry_point="goalsight.envs.vector:GoalVectorEnv",
                max_episode_steps=TASKS[kwargs["task"]].max_episode_steps,
                kwargs=kwargs,
            )


def env_ids() -> list[str]:
    """The ids of this project, sorted."""
    return sorted(_specs())


def resolve(env_id: str) -> str:
    """The full id meant by `env_id`: with or without "goalsight/" or "goalsight:" before it.

    Raises:
        UserError: naming the nearest id.
    """
    short = {full.removeprefix(f"{NAMESPACE}/"): full for full in env_ids()}
    name = env_id.removeprefix(f"{NAMESPACE}:").removeprefix(f"{NAMESPACE}/")
    return short[choose("environment", name, short)]


def make_vector(env_id: str, num_envs: int = 1, **kwargs: Any) -> "GoalVectorEnv":
    """A `GoalVectorEnv` by id; keyword arguments are those of its constructor.

    Raises:
        UserError: an unknown id or a bad argument.
    """
    from goalsight.envs.vector import GoalVectorEnv

    full = resolve(env_id)
    register_all()
    try:
        env = gym.make_vec(full, num_envs, **kwargs)
    except TypeError as error:
        raise UserError(f"{full}: {error}") from error
    assert isinstance(env, GoalVectorEnv)
    return env

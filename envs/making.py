"""Makes environments: from their description, or by id. What is heavy is imported when the first one is made."""

from typing import TYPE_CHECKING, Any

import gymnasium as gym

from goalsight.base.errors import UserError
from goalsight.envs.config import EnvConfig
from goalsight.envs.ids import resolve, spec_of

if TYPE_CHECKING:
    from goalsight.envs.foreign.adapter import AdaptedVectorEnv
    from goalsight.envs.vector import GoalVectorEnv

    GoalEnvs = GoalVectorEnv | AdaptedVectorEnv


def make(
    config: EnvConfig, num_envs: int = 1, *, num_threads: int = 0, autoreset_mode: str = "same_step", **changes: Any
) -> "GoalEnvs":
    """The environments that a description means.

    Args:
        config: how each is made.
        num_envs: how many, N.
        num_threads: of physics and of rendering; 0 means one for each CPU.
        autoreset_mode: how environments reset themselves; see `GoalVectorEnv`.
        changes: options of the description to have otherwise.

    Raises:
        UserError: an unknown id, a bad option, or one that does not go with environments of others.
    """
    config = config.change(**changes)
    running = {"num_threads": num_threads, "autoreset_mode": autoreset_mode}
    return make_goal_envs(config.id, num_envs, **running, **config.arguments())


def make_own(config: EnvConfig, num_envs: int = 1, *, num_threads: int = 0, **changes: Any) -> "GoalVectorEnv":
    """As `make`, for what needs the simulation itself.

    Raises:
        UserError: as `make`, or the environment was made elsewhere.
    """
    config = config.change(**changes)
    return make_vector(config.id, num_envs, num_threads=num_threads, **config.arguments())


def make_goal_envs(env_id: str, num_envs: int = 1, **kwargs: Any) -> "GoalEnvs":
    """A `GoalVectorEnv` by id, or goal environments of someone else's, adapted.

    Raises:
        UserError: an unknown id, a bad argument, or one that does not go with environments of others.
    """
    spec = spec_of(env_id)
    if spec.own:
        return make_vector(spec.id, num_envs, **kwargs)
    from goalsight.envs.foreign.adapter import adapt

    return adapt(spec.id, num_envs, **kwargs)


def make_vector(env_id: str, num_envs: int = 1, **kwargs: Any) -> "GoalVectorEnv":
    """A `GoalVectorEnv` by id; keyword arguments are those of its constructor.

    Raises:
        UserError: an unknown id or a bad argument.
    """
    from goalsight.envs.vector import GoalVectorEnv

    full = resolve(env_id)
    if not spec_of(full).own:
        raise UserError(f"{full} was made elsewhere; this needs one of goalsight's own environments")
    try:
        env = gym.make_vec(full, num_envs, **kwargs)
    except TypeError as error:
        raise UserError(f"{full}: {error}") from error
    assert isinstance(env, GoalVectorEnv)
    return env

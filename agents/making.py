"""The parts of a training, made from what was asked for: environments, replay, algorithm."""

from typing import TYPE_CHECKING, Any, cast

import torch
from gymnasium import spaces
from stable_baselines3.common.utils import set_random_seed

from goalsight.agents.algorithms.base import Algorithm, Scales, Setting
from goalsight.agents.networks.features import Features, FrozenFeatures
from goalsight.agents.networks.inputs import PIXELS, PRIVILEGED, STATE, Sight
from goalsight.agents.replay import GoalReplayBuffer
from goalsight.agents.vec_env import GoalVecEnv
from goalsight.base.errors import UserError
from goalsight.base.precision import fast_dtype
from goalsight.envs.config import EnvConfig
from goalsight.envs.making import make

if TYPE_CHECKING:
    from goalsight.agents.plan import Plan
    from goalsight.agents.train import Train
    from goalsight.envs.making import GoalEnvs


def make_training_envs(env: EnvConfig, plan: "Plan", *, threads: int, critic: str) -> "GoalEnvs":
    """Make the environments to learn in.

    Args:
        env: with its full id.
        plan: how many, and how long their episodes are.
        threads: of the environments.
        critic: "state" or "pixels", what critics see.

    Raises:
        UserError: if critics are to see a state that is not shown.
    """
    pixels = env.obs == "pixels"
    envs = make(
        env,
        plan.num_envs,
        num_threads=threads,
        max_episode_steps=plan.horizon,
        training_starts=True,
        privileged=pixels,
    )
    shown: Any = envs.single_observation_space
    if pixels and critic == "state" and "state" not in shown.spaces:
        envs.close()
        raise UserError(f"{env.id} shows no state beside its images; choose critic pixels")
    return envs


def make_replay(env: GoalVecEnv, config: "Train", plan: "Plan", *, relabelled: float, played: int) -> GoalReplayBuffer:
    """Make a replay for all steps of the training, those among them that have been played already."""
    horizon = env.env.horizon
    return GoalReplayBuffer(
        max(plan.steps, played + env.num_envs * horizon),
        cast(spaces.Dict, env.observation_space),
        env.action_space,  # type: ignore[arg-type]
        config.device,
        env.num_envs,
        goal_keys=env.goal_keys,
        compute_reward=env.env.compute_reward,
        horizon=horizon,
        relabelled=relabelled,
        seed=config.seed,
    )


def make_algorithm(
    kind: type[Algorithm],
    options: Any,
    config: "Train",
    features: Features | None,
    space: spaces.Dict,
    actions: spaces.Box,
    scales: Scales | None,
) -> Algorithm:
    """Make an algorithm for observations and actions; without scales those of its state will take their place."""
    if scales is None:
        scales = {key: (torch.zeros(part.shape), torch.ones(part.shape)) for key, part in space.spaces.items()}  # type: ignore[arg-type]
    state = config.env.obs == "state"
    actor_sees = STATE if state else PIXELS
    if features is not None and features.goal_size is not None:
        actor_sees = Sight((), tokens=True, goal_size=features.goal_size)
    setting = Setting(
        space,
        actions,
        actor_sees,
        STATE if state else {"state": PRIVILEGED, "pixels": actor_sees}[config.critic],
        scales,
        make_eye=features.make_eye if isinstance(features, FrozenFeatures) and config.tune_blocks else None,
        device=config.device,
        bfloat16=fast_dtype(config.device) == torch.bfloat16,
    )
    set_random_seed(config.seed)  # weights, and what is drawn in updates
    return kind(setting, options)

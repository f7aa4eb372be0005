"""A short random play before training: the scales of the vectors an agent sees, and frames to fit features on."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from goalsight.agents.vec_env import image_keys

if TYPE_CHECKING:
    from goalsight.envs.making import GoalEnvs

EPISODES = 128  # begun; starts and goals differ more than what random play makes of them
STEPS = 8  # of each
LEAST_SPREAD = 0.1  # a number that hardly varies in random play may vary later [its own unit]
# Positions of one kind: they must stay comparable.
TOGETHER = ("achieved_goal", "desired_goal")


@dataclass(frozen=True)
class Calibration:
    """What random play showed."""

    scales: dict[str, tuple[Tensor, Tensor]]  # centre and scale of each vector, by key
    frames: NDArray[np.uint8] | None  # (n, H, W, 3), views and goal images, where there are pixels
    steps: int  # environment steps it took


def calibrate(env: "GoalEnvs", seed: int) -> Calibration:
    """Play at random for a moment.

    Args:
        env: is reset, several times.
        seed: of the episodes and of the actions.
    """
    rng = np.random.default_rng(seed)
    vectors: dict[str, list[NDArray[Any]]] = {}
    frames: list[NDArray[np.uint8]] = []
    rounds = max(1, EPISODES // env.num_envs)
    views = image_keys(env)
    images = {key for pair in views for key in pair}
    for number in range(rounds):
        obs, _ = env.reset(seed=seed + number * env.num_envs)
        frames += [obs[goal] for _, goal in views]
        for _ in range(STEPS):
            for key in obs.keys() - images:
                vectors.setdefault(key, []).append(obs[key])
            frames += [obs[frame] for frame, _ in views]
            actions = rng.uniform(-1, 1, env.action_space.shape).astype(np.float32)
            obs, *_ = env.step(actions)
    seen = {key: np.concatenate(parts) for key, parts in vectors.items()}
    both = np.concatenate([seen[key] for key in TOGETHER])
    seen |= dict.fromkeys(TOGETHER, both)
    return Calibration(
        {key: _scale(values) for key, values in seen.items()},
        np.concatenate(frames) if frames else None,
        rounds * STEPS * env.num_envs,
    )


def _scale(values: NDArray[Any]) -> tuple[Tensor, Tensor]:
    """Centre (k,) and scale (k,) that bring values (n, k) to about unit spread around zero."""
    spread = np.maximum(values.std(0, dtype=np.float64), LEAST_SPREAD)
    centre = values.mean(0, dtype=np.float64)
    return torch.tensor(centre, dtype=torch.float32), torch.tensor(1 / spread, dtype=torch.float32)

"""The scales of the vectors an agent sees, by a short random play before training, and frames to fit features on."""

from collections.abc import Mapping
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


def calibration_steps(num_envs: int) -> int:
    """Return the environment steps that `calibrate` takes."""
    return _rounds(num_envs) * STEPS * num_envs


def _rounds(num_envs: int) -> int:
    return max(1, EPISODES // num_envs)


def calibrate(env: "GoalEnvs", seed: int) -> Calibration:
    """Play at random for a moment.

    Args:
        env: is reset, several times.
        seed: of the episodes and of the actions.
    """
    rng = np.random.default_rng(seed)
    vectors: dict[str, list[NDArray[Any]]] = {}
    frames: list[NDArray[np.uint8]] = []
    views = image_keys(env)
    images = {key for pair in views for key in pair}
    for number in range(_rounds(env.num_envs)):
        obs, _ = env.reset(seed=seed + number * env.num_envs)
        frames += [obs[goal] for _, goal in views]
        for _ in range(STEPS):
            for key in obs.keys() - images:
                vectors.setdefault(key, []).append(obs[key])
            frames += [obs[frame] for frame, _ in views]
            actions = rng.uniform(-1, 1, env.action_space.shape).astype(np.float32)
            obs, *_ = env.step(actions)
    seen = {key: np.concatenate(parts) for key, parts in vectors.items()}
    return Calibration(scales_of(seen), np.concatenate(frames) if frames else None)


def scales_of(vectors: Mapping[str, NDArray[Any]]) -> dict[str, tuple[Tensor, Tensor]]:
    """Return centre and scale of each vector (n, k), by key; what is achieved and what is desired share theirs."""
    both = np.concatenate([vectors[key] for key in TOGETHER])
    return {key: _scale(values) for key, values in {**vectors, **dict.fromkeys(TOGETHER, both)}.items()}


def _scale(values: NDArray[Any]) -> tuple[Tensor, Tensor]:
    """Centre (k,) and scale (k,) that bring values (n, k) to about unit spread around zero."""
    spread = np.maximum(values.std(0, dtype=np.float64), LEAST_SPREAD)
    centre = values.mean(0, dtype=np.float64)
    return torch.tensor(centre, dtype=torch.float32), torch.tensor(1 / spread, dtype=torch.float32)

"""Estimates as features: what an actor sees of a frame is where things are, as a state estimator reads it."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Self

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor

from goalsight.agents.networks.estimator import StateEstimator
from goalsight.base.training_state import State
from goalsight.pretrain.encoders.features import in_batches
from goalsight.pretrain.encoders.vit import EncoderConfig, VideoEncoder

ESTIMATOR = "estimator."  # prefix of weights
LIMIT = 5.0  # standard deviations
AT_ONCE = 64  # frames; with 256 one took half as long again, on a busy machine


class Estimates:
    """Frames to the numbers that are read off them, those of what is achieved first.

    Args:
        estimator: stays as it is.
        kept: which of its numbers are believed.
        goal_size: how many of them say what is achieved; of a goal image no more is seen.
    """

    tune_blocks = 0

    def __init__(self, estimator: StateEstimator, kept: Sequence[int], goal_size: int) -> None:
        self.estimator = estimator.eval().requires_grad_(False)
        self.kept, self.goal_size = tuple(int(number) for number in kept), goal_size

    @property
    def encoder(self) -> VideoEncoder:
        """What the estimator looks through."""
        return self.estimator.encoder

    @property
    def shape(self) -> tuple[int]:
        """Of what is stored of a moment."""
        return (len(self.kept),)

    @property
    def space(self) -> spaces.Box:
        """The space of what is stored of a moment."""
        return spaces.Box(-LIMIT, LIMIT, self.shape, np.float32)

    def __call__(self, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(n, H, W, 3) uint8 -> float32 (n, kept), centred and scaled."""
        return self.look(frames)[:, : len(self.kept)]

    def look(self, frames: NDArray[np.uint8], *, threads: int = 1) -> NDArray[np.float32]:
        """(n, H, W, 3) uint8 -> numbers that are kept, and the points they are read from, (n, kept + points).

        No bit depends on the threads.
        """
        kept = torch.tensor(self.kept)
        device = self.estimator.mean.device
        parts = []
        for points in in_batches(self.estimator.points, frames, device=device, batch=AT_ONCE, threads=threads):
            with torch.inference_mode():
                numbers = self.estimator.numbers(points.float())[:, kept].clamp(-LIMIT, LIMIT)
                parts.append(torch.cat([numbers, points.float()], 1).cpu())
        return torch.cat(parts).numpy()

    def to(self, device: torch.device | str) -> Self:
        """Compute on `device` from now on."""
        self.estimator.to(device)
        return self

    # Keeping ------------------------------------------------------------------------------------------------------

    def tensors(self) -> dict[str, Tensor]:
        """The weights, by their names in a checkpoint."""
        weights = self.estimator.state_dict()
        inner = {name: weight for name, weight in weights.items() if name.startswith("encoder.")}
        return inner | {f"{ESTIMATOR}{name}": weight for name, weight in weights.items() if name not in inner}

    def describe(self) -> dict[str, Any]:
        """What `from_kept` needs beside the tensors, in JSON's own types."""
        estimates = {"kept": list(self.kept), "goal_size": self.goal_size, "targets": self.estimator.targets}
        return {"tune_blocks": 0, "encoder": asdict(self.encoder.config), "estimates": estimates}

    @classmethod
    def from_kept(cls, tensors: dict[str, Tensor], meta: dict[str, Any]) -> Self:
        """Make them again.

        Raises:
            KeyError, RuntimeError: if something is missing or does not fit.
        """
        about = meta["estimates"]
        estimator = StateEstimator(VideoEncoder(EncoderConfig(**meta["encoder"])), int(about["targets"]))
        estimator.load_state_dict(
            {
                _as_now(name.removeprefix(ESTIMATOR)): weight
                for name, weight in tensors.items()
                if name.startswith(("encoder.", ESTIMATOR))
            }
        )
        return cls(estimator, about["kept"], int(about["goal_size"]))

    def state(self) -> State:
        """All that they are made of."""
        return {"estimates": {"tensors": self.tensors(), "meta": self.describe()}}


def _as_now(name: str) -> str:
    """The name of an estimator's weight, which older runs may keep by another."""
    return f"own.{name}" if name.startswith(("maps.", "places.")) else name

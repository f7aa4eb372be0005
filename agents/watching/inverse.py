"""Which action led from one frame to the next: an inverse dynamics model on what an estimator sees.

Actions are read from the arm's own play, where they are known, and then off video, where they are not (Torabi et al.
2018, BCO; Baker et al. 2022, VPT). Several members, trained from different weights on different batches, say by their
disagreement where the video shows what play has not.
"""

from collections.abc import Generator, Sequence
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from goalsight.agents.algorithms.base import descend, set_rate, settling
from goalsight.agents.networks.policy import Stacked

MEMBERS, HIDDEN = 3, 256
BATCH, RATE, DECAY = 256, 1e-3, 1e-2
OFFSETS = (-1, 0, 1, 2)  # frames that are looked at, from the one in which the action is chosen


def windows(
    values: NDArray[np.float32], first: NDArray[np.intp], last: NDArray[np.intp], offsets: Sequence[int] = OFFSETS
) -> NDArray[np.float32]:
    """What lies around each frame of some episodes: itself, and the changes from one frame looked at to the next.

    Args:
        values: of all frames, (F, D).
        first: index of the first frame of each frame's episode, (F,).
        last: index of its last frame, (F,); beyond both ends the episode stands still.
        offsets: frames that are looked at, from each, ascending.

    Returns:
        (F, len(offsets) D).
    """
    rows = np.arange(len(values))
    seen = [values[np.clip(rows + offset, first, last)] for offset in offsets]
    return np.concatenate([values, *(later - earlier for earlier, later in pairwise(seen))], 1)


def bounds(lengths: NDArray[np.integer]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """First and last frame of each frame's episode, (F,) each, for episodes of these lengths, one after another."""
    ends = np.cumsum(lengths)
    return np.repeat(ends - lengths, lengths), np.repeat(ends - 1, lengths)


class InverseModel(nn.Module):
    """Members side by side, each from windows to an action.

    Args:
        inputs: numbers in a window.
        actions: size of an action.

    Attributes:
        size: of an action.
    """

    centre: Tensor
    scale: Tensor

    def __init__(self, inputs: int, actions: int) -> None:
        super().__init__()
        self.size = actions
        self.register_buffer("centre", torch.zeros(inputs))
        self.register_buffer("scale", torch.ones(inputs))
        sizes = ((inputs, HIDDEN), (HIDDEN, HIDDEN), (HIDDEN, actions))
        self.layers = nn.ModuleList(Stacked(MEMBERS, inner, outer) for inner, outer in sizes)

    def forward(self, seen: Tensor) -> Tensor:
        """(MEMBERS or 1, B, inputs) -> actions (MEMBERS, B, A)."""
        x = ((seen - self.centre) * self.scale).expand(MEMBERS, -1, -1)
        for layer in self.layers[:-1]:
            x = F.relu(layer(x))
        return self.layers[-1](x)

    def fit(
        self, seen: NDArray[np.float32], actions: NDArray[np.float32], *, updates: int, rng: np.random.Generator
    ) -> Generator[float]:
        """Learn from windows (n, inputs) and the actions (n, A) taken in them; yields the loss of each update."""
        inputs, wanted = torch.from_numpy(seen), torch.from_numpy(actions)
        self.centre.copy_(inputs.mean(0))
        self.scale.copy_(1 / inputs.std(0).clamp_min(1e-3))
        optimiser = torch.optim.AdamW(self.parameters(), lr=RATE, weight_decay=DECAY, fused=True)
        for update in range(updates):
            set_rate([optimiser], settling(RATE, 1 - update / updates))
            rows = torch.from_numpy(rng.integers(len(inputs), size=MEMBERS * BATCH))
            drawn = inputs[rows].unflatten(0, (MEMBERS, BATCH))
            loss = F.mse_loss(self(drawn), wanted[rows].unflatten(0, (MEMBERS, BATCH)))
            descend(optimiser, loss)
            yield float(loss.detach())

    @torch.inference_mode()
    def label(self, seen: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Windows (n, inputs) -> actions in [-1, 1], and the members' standard deviation, (n, A) each."""
        labels = torch.cat([self(part[None]) for part in torch.from_numpy(seen).split(4096)], 1).clamp(-1, 1)
        return labels.mean(0).numpy(), labels.std(0).numpy()


def explained(truth: NDArray[np.float32], read: NDArray[np.float32]) -> NDArray[np.float32]:
    """Share of the variance that is explained, of each column of (n, A): the coefficient of determination."""
    variance = np.maximum(truth.var(0), 1e-12)
    return np.asarray(1 - ((truth - read) ** 2).mean(0) / variance, np.float32)

"""Small networks that read factors off features, and one that is trained with labels from its first layer on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from goalsight.pretrain.encoders.points import Points
from goalsight.pretrain.encoders.vit import check_map, random_encoder

UPDATES, BATCH, RATE, DECAY = 1000, 256, 1e-3, 1e-2
LOOKS = 20  # at what is held out, the best of which is kept
HIDDEN, HEADS, POINTS = 128, 4, 32
LABELLED_BATCH = 64


@dataclass(frozen=True)
class Lesson:
    """Inputs (n, ...) and targets (n, K)."""

    x: NDArray[Any]
    y: NDArray[np.float32]


class Mlp(nn.Module):
    """Features to numbers, by two hidden layers."""

    def __init__(self, shape: Sequence[int], targets: int) -> None:
        super().__init__()
        size = int(np.prod(shape))
        self.layers = nn.Sequential(
            *(nn.LayerNorm(size), nn.Linear(size, 2 * HIDDEN), nn.GELU(), nn.Linear(2 * HIDDEN, HIDDEN), nn.GELU()),
            nn.Linear(HIDDEN, targets),
        )

    def forward(self, features: Tensor) -> Tensor:
        """(B, ...) -> (B, targets)."""
        read: Tensor = self.layers(features.flatten(1))
        return read


class Attentive(nn.Module):
    """Tokens to numbers: for each factor a query asks all tokens, and a small network reads what they answer.

    Source: the attentive probe of Bardes et al. 2024 (V-JEPA), with a query to a factor.
    """

    def __init__(self, shape: Sequence[int], sizes: Sequence[int]) -> None:
        super().__init__()
        tokens, features = shape
        self.sizes = list(sizes)
        self.embed = nn.Sequential(nn.LayerNorm(features), nn.Linear(features, HIDDEN))
        self.place = nn.Parameter(0.02 * torch.randn(tokens, HIDDEN))
        self.query = nn.Parameter(torch.randn(len(sizes), HIDDEN))
        self.attend = nn.MultiheadAttention(HIDDEN, HEADS, batch_first=True)
        self.read = nn.Sequential(nn.LayerNorm(HIDDEN), nn.Linear(HIDDEN, HIDDEN), nn.GELU())
        self.last = nn.ModuleList(nn.Linear(HIDDEN, size) for size in sizes)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, T, D) -> (B, targets)."""
        seen = self.embed(tokens) + self.place
        said, _ = self.attend(self.query.expand(len(tokens), -1, -1), seen, seen, need_weights=False)
        read = self.read(said)
        return torch.cat([last(read[:, number]) for number, last in enumerate(self.last)], 1)


class Labelled(nn.Module):
    """Frames to numbers: a convolutional stem with points on its map and a small network, all trained with labels."""

    def __init__(self, image_size: int, frames: int, targets: int, seed: int) -> None:
        super().__init__()
        self.stem = check_map(random_encoder(image_size=image_size, seed=seed, tokeniser="local"))
        self.points = Points(POINTS, image_size // self.stem.stride)
        self.read = Mlp((2 * POINTS * frames,), targets)

    def forward(self, frames: Tensor) -> Tensor:
        """(B, F, H, W, 3) uint8 -> (B, targets)."""
        places = self.points(self.stem.map(frames.flatten(0, 1))).unflatten(0, frames.shape[:2])
        read: Tensor = self.read(places)
        return read


def fit(head: nn.Module, train: Lesson, validation: Lesson, *, seed: int, updates: int = UPDATES) -> nn.Module:
    """Train a head, and keep it as it was when it read best what is held out.

    Args:
        head: reads targets, each centred and divided by its spread.
        train: learnt from; targets (n, K) centred and scaled.
        validation: held out; likewise.
        seed: of the batches.
        updates: gradient steps.
    """
    rng = np.random.default_rng(seed)
    optimiser = torch.optim.AdamW(head.parameters(), lr=RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, updates)
    best, kept = float("inf"), {name: value.clone() for name, value in head.state_dict().items()}
    batch = LABELLED_BATCH if isinstance(head, Labelled) else BATCH
    for update in range(1, updates + 1):
        rows = rng.integers(len(train.x), size=batch)
        loss = F.mse_loss(head(torch.from_numpy(train.x[rows])), torch.from_numpy(train.y[rows]))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        if update % max(updates // LOOKS, 1) == 0 or update == updates:
            error = float(np.square(read(head, validation.x) - validation.y).mean())
            if error < best:
                best, kept = error, {name: value.clone() for name, value in head.state_dict().items()}
    head.load_state_dict(kept)
    return head


@torch.inference_mode()
def read(head: nn.Module, x: NDArray[Any]) -> NDArray[np.float32]:
    """Inputs (n, ...) -> what a head reads, (n, K)."""
    return torch.cat([head(torch.from_numpy(part)) for part in np.array_split(x, -(-len(x) // BATCH))]).numpy()

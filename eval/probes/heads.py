"""Small networks that read factors off features, and one that is trained with labels from its first layer on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from goalsight.agents.networks.policy import Stacked
from goalsight.base.precision import autocast
from goalsight.pretrain.encoders.points import Points
from goalsight.pretrain.encoders.vit import check_map, random_encoder

UPDATES, BATCH, RATE, DECAY = 1000, 128, 1e-3, 1e-2
LOOKS = 20  # at what is held out, the best of which is kept
PATIENCE = 6  # looks that find nothing better, after which it is over
HIDDEN, POINTS = 128, 32
QUERIES = 4  # of each factor


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
    """Tokens to numbers: for each factor some queries ask all tokens, and a small network reads what they answer.

    What is answered is the mean of the tokens that were listened to, and where they lie on their grid, which is finer
    than a token. Keys need no weights of their own where queries are the same for all frames.

    Source: after the attentive probe of Bardes et al. 2024 (V-JEPA).
    """

    places: Tensor

    def __init__(self, shape: Sequence[int], sizes: Sequence[int]) -> None:
        super().__init__()
        tokens, features = shape
        self.heads = len(sizes)
        self.norm = nn.LayerNorm(features)
        self.ask = nn.Linear(features, len(sizes) * QUERIES)
        self.bias = nn.Parameter(torch.zeros(tokens, len(sizes) * QUERIES))
        size = QUERIES * (features + 2)
        self.read = Stacked(len(sizes), size, HIDDEN)
        self.last = nn.ModuleList(nn.Linear(HIDDEN, size) for size in sizes)
        side = -(-tokens // max(int(tokens**0.5), 1))
        rows, columns = np.divmod(np.arange(tokens), side)
        places = np.stack([rows, columns], 1) / max(side - 1, 1) * 2 - 1
        self.register_buffer("places", torch.from_numpy(places.astype(np.float32)), persistent=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, T, D) -> (B, targets)."""
        seen = self.norm(tokens)
        heard = (self.ask(seen) + self.bias).softmax(1).transpose(1, 2)  # (B, factors * QUERIES, T)
        said = torch.cat([heard @ seen, heard @ self.places], 2)
        answers = said.unflatten(1, (self.heads, QUERIES)).flatten(2).transpose(0, 1)  # (factors, B, QUERIES (D + 2))
        read = F.gelu(self.read(answers))
        return torch.cat([last(one) for last, one in zip(self.last, read, strict=True)], 1)


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


def fit(head: nn.Module, train: Lesson, validation: Lesson, *, seed: int, updates: int) -> None:
    """Train a head, and keep it as it was when it read best what is held out.

    Args:
        head: reads targets, each centred and divided by its spread.
        train: learnt from; targets (n, K) centred and scaled.
        validation: held out; likewise.
        seed: of the batches.
        updates: gradient steps, at most.
    """
    rng = np.random.default_rng(seed)
    optimiser = torch.optim.AdamW(head.parameters(), lr=RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, updates)
    best, kept = float("inf"), {name: value.clone() for name, value in head.state_dict().items()}
    in_vain = 0
    for update in range(1, updates + 1):
        rows = rng.integers(len(train.x), size=min(BATCH, len(train.x)))
        with autocast():
            said = head(torch.from_numpy(train.x[rows]))
        loss = F.mse_loss(said.float(), torch.from_numpy(train.y[rows]))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        if update % max(updates // LOOKS, 1) == 0 or update == updates:
            error, in_vain = float(np.square(read(head, validation.x) - validation.y).mean()), in_vain + 1
            if error < best:
                best, kept = error, {name: value.clone() for name, value in head.state_dict().items()}
                in_vain = 0
            if in_vain == PATIENCE:
                break
    head.load_state_dict(kept)


@torch.inference_mode()
def read(head: nn.Module, x: NDArray[Any]) -> NDArray[np.float32]:
    """Inputs (n, ...) -> what a head reads, (n, K)."""
    return torch.cat([head(torch.from_numpy(part)) for part in np.array_split(x, -(-len(x) // (2 * BATCH)))]).numpy()

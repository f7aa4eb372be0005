"""State estimation from a frame: where things are, read off points on the map of an encoder's stem.

The points are those that the encoder has learnt to find from video, if it has; otherwise they are learnt here, from
nothing but what is to be read. Stem and points are trained along.
"""

import torch
from torch import Tensor, nn

from goalsight.pretrain.encoders.points import Points
from goalsight.pretrain.encoders.vit import VideoEncoder, check_map

POINTS, HIDDEN = 32, 128


class StateEstimator(nn.Module):
    """An encoder's stem with a head that reads numbers, such as positions, off single frames.

    Args:
        encoder: whose stem and points it begins with, and trains along; give a copy of one that must stay.
        targets: how many numbers are read.

    Attributes:
        mean: of the numbers, (targets,).
        spread: their standard deviation, (targets,).
        linear: reads what is linear in the places of points that were found before; None where they are learnt here.

    Raises:
        UserError: if the encoder's stem makes no map.
    """

    mean: Tensor
    spread: Tensor

    def __init__(self, encoder: VideoEncoder, targets: int) -> None:
        super().__init__()
        side = encoder.config.image_size // check_map(encoder).stride
        self.encoder = encoder
        self.own = None if encoder.points is not None else Points(POINTS, side)
        last = nn.Linear(HIDDEN, targets)
        self.read = nn.Sequential(nn.Linear(2 * self.finder.number, HIDDEN), nn.LayerNorm(HIDDEN), nn.ReLU(), last)
        self.linear: nn.Linear | None = None
        if self.own is None:
            self.linear = nn.Linear(2 * self.finder.number, targets)
            for layer in (self.linear, last):
                nn.init.zeros_(layer.weight)
                nn.init.zeros_(layer.bias)
        self.register_buffer("mean", torch.zeros(targets))
        self.register_buffer("spread", torch.ones(targets))

    @property
    def targets(self) -> int:
        """How many numbers are read."""
        return len(self.mean)

    @property
    def finder(self) -> Points:
        """Finds the points."""
        found = self.encoder.points or self.own
        assert found is not None
        return found

    def points(self, frames: Tensor) -> Tensor:
        """(B, H, W, 3) uint8 -> points (B, 2 K) in [-1, 1]."""
        places: Tensor = self.finder(check_map(self.encoder).map(frames))
        return places

    def numbers(self, points: Tensor) -> Tensor:
        """Points (B, 2 K) -> numbers (B, targets), centred and scaled."""
        read: Tensor = self.read(points)
        return (read if self.linear is None else read + self.linear(points)).float()

    def forward(self, frames: Tensor) -> Tensor:
        """(B, H, W, 3) uint8 -> numbers (B, targets), centred and scaled."""
        return self.numbers(self.points(frames))

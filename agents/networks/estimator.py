"""State estimation from a frame: where things are, read off the finer map of an encoder's stem.

Spatial softmax (Levine et al. 2016, section 5.1; Finn et al. 2016) turns maps into points, so that a place is known
more finely than the map's cells, and far more finely than a token's. The stem is trained along.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from goalsight.base.errors import UserError
from goalsight.pretrain.encoders.vit import VideoEncoder
from goalsight.pretrain.tokenisers.local import CHANNELS, LocalStem

POINTS, HIDDEN = 32, 128


class SpatialSoftmax(nn.Module):
    """Maps to the expected place of each, in [-1, 1] across the image."""

    grid: Tensor

    def __init__(self, maps: int, side: int) -> None:
        super().__init__()
        self.sharpness = nn.Parameter(torch.ones(maps, 1))  # logarithm of the inverse temperature
        line = torch.linspace(-1, 1, side)
        down, across = torch.meshgrid(line, line, indexing="ij")
        self.register_buffer("grid", torch.stack([across.flatten(), down.flatten()], 1), persistent=False)

    def forward(self, maps: Tensor) -> Tensor:
        """(B, maps, side, side) -> (B, 2 maps): across and down of each map."""
        weights = (maps.float().flatten(2) * self.sharpness.exp()).softmax(-1)
        places: Tensor = weights @ self.grid  # (B, maps, 2)
        return places.flatten(1)


def check_stem(encoder: VideoEncoder) -> LocalStem:
    """Return the stem of an encoder, off whose map places can be read.

    Raises:
        UserError: if it makes no map.
    """
    stem = encoder.embedding.stem
    if not isinstance(stem, LocalStem):
        raise UserError(
            f"places are read off the map of the tokeniser local, this encoder's is {encoder.config.tokeniser}; "
            "pretrain one by --tokeniser local, or choose random"
        )
    return stem


class StateEstimator(nn.Module):
    """An encoder's stem with a head that reads numbers, such as positions, off single frames.

    Args:
        encoder: whose stem it begins with, and trains along; give a copy of one that must stay.
        targets: how many numbers are read.

    Attributes:
        mean: of the numbers, (targets,).
        spread: their standard deviation, (targets,).

    Raises:
        UserError: if the encoder's stem makes no map.
    """

    mean: Tensor
    spread: Tensor

    def __init__(self, encoder: VideoEncoder, targets: int) -> None:
        super().__init__()
        check_stem(encoder)
        self.encoder = encoder
        self.maps = nn.Conv2d(CHANNELS[-1], POINTS, 3, padding=1)
        self.places = SpatialSoftmax(POINTS, encoder.config.image_size // 2)
        self.read = nn.Sequential(
            nn.Linear(2 * POINTS, HIDDEN), nn.LayerNorm(HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, targets)
        )
        self.register_buffer("mean", torch.zeros(targets))
        self.register_buffer("spread", torch.ones(targets))

    @property
    def targets(self) -> int:
        """How many numbers are read."""
        return len(self.mean)

    def points(self, frames: Tensor) -> Tensor:
        """(B, H, W, 3) uint8 -> points (B, 2 POINTS) in [-1, 1]."""
        stem: LocalStem = self.encoder.embedding.stem  # type: ignore[assignment]
        return self.places(self.maps(F.relu(stem.map(frames))))

    def forward(self, frames: Tensor) -> Tensor:
        """(B, H, W, 3) uint8 -> numbers (B, targets), centred and scaled."""
        return self.read(self.points(frames)).float()

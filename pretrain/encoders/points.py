"""Points: where each of a few learnt things lies in a frame.

Spatial softmax (Levine et al. 2016, section 5.1; Finn et al. 2016) turns maps into points, so that a place is known
more finely than the map's cells, and far more finely than a token's.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from goalsight.pretrain.tokenisers.local import CHANNELS


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


class Points(nn.Module):
    """Finds points on the map that a stem makes of a frame.

    Args:
        number: of points, K.
        side: of the map.
    """

    def __init__(self, number: int, side: int) -> None:
        super().__init__()
        self.maps = nn.Conv2d(CHANNELS[-1], number, 3, padding=1)
        self.places = SpatialSoftmax(number, side)

    @property
    def number(self) -> int:
        """How many points."""
        return self.maps.out_channels

    def forward(self, found: Tensor) -> Tensor:
        """The stem's map (B, CHANNELS[-1], side, side) -> (B, 2 K): across and down of each point, in [-1, 1]."""
        places: Tensor = self.places(self.maps(F.relu(found)))
        return places

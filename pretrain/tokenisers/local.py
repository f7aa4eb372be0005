"""Small convolutional networks over patches: overlapping kernels that never look across a patch's border.

Within a patch the kernels overlap, so that they find edges and blobs wherever these lie; across its border they see
nothing, so that no token tells of its hidden neighbours. Over a whole frame the same kernels make a map of a quarter of
the frame's pixels, from which a place can be read more finely than by tokens.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from goalsight.base.errors import UserError
from goalsight.pretrain.tokenisers.base import centred
from goalsight.pretrain.tokenisers.patches import Patches, PatchTokeniser

CHANNELS = (24, 32)  # of the first map and of the last


@dataclass(frozen=True)
class Local(Patches):
    """Tokens from a small convolutional network over each patch.

    Raises:
        UserError: when the side is not positive and even.
    """

    def __post_init__(self) -> None:
        """Refuse what cannot be cut."""
        super().__post_init__()
        if self.side % 2:
            raise UserError(f"the side of a patch must be even for the tokeniser local, got {self.side}")


class LocalTokeniser(PatchTokeniser):
    """Square patches, looked at by convolutions."""

    Options = Local

    def make_stem(self, width: int) -> nn.Module:
        """Return the convolutions and one linear layer over what they find in a patch."""
        return LocalStem(self.side, width)


class LocalStem(nn.Module):
    """Convolutions of kernel 5 with stride 2 and of kernel 3, and a linear layer.

    Args:
        side: of a patch [px].
        width: of a token.

    Attributes:
        stride: pixels to a cell of the map.
    """

    stride = 2

    def __init__(self, side: int, width: int) -> None:
        super().__init__()
        self.side = side
        self.convolutions = nn.Sequential(
            nn.Conv2d(3, CHANNELS[0], 5, stride=self.stride, padding=2),
            nn.ReLU(),
            nn.Conv2d(CHANNELS[0], CHANNELS[1], 3, padding=1),
        )
        self.linear = nn.Linear((side // 2) ** 2 * CHANNELS[1], width)

    def map(self, frames: Tensor) -> Tensor:
        """(B, H, W, 3), uint8 or floats in [0, 1], -> (B, CHANNELS[-1], H / 2, W / 2)."""
        images = centred(frames).permute(0, 3, 1, 2)
        return self.convolutions(images.contiguous(memory_format=torch.channels_last))

    def forward(self, pieces: Tensor, visible: Tensor | None = None) -> Tensor:
        """(B, K, P), uint8 or floats in [0, 1], -> (B, K, width)."""
        patches = pieces.flatten(0, 1).unflatten(1, (self.side, self.side, 3))
        found = torch.relu(self.map(patches)).flatten(1)
        return self.linear(found).unflatten(0, pieces.shape[:2])

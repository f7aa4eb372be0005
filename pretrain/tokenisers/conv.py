"""Convolutions of kernel 2 and stride 2, so that a token sees its own patch and nothing else.

Overlapping kernels would let a visible token see the border of its hidden neighbours, and an objective could be won by
copying; with this stem hidden tokens can also simply be dropped, which makes hiding 75% four times cheaper.
"""

import itertools
from dataclasses import dataclass

from torch import Tensor, nn

from goalsight.base.errors import UserError
from goalsight.pretrain.tokenisers.base import PixelTokeniser, centred


@dataclass(frozen=True)
class Conv:
    """Tokens from convolutions of kernel 2 and stride 2.

    Raises:
        UserError: when the grid is not positive.
    """

    grid: int = 8
    """Tokens per side, at every image size."""

    def __post_init__(self) -> None:
        """Refuse what cannot be cut."""
        if self.grid < 1:
            raise UserError(f"the grid of the tokeniser conv must be at least 1, got {self.grid}")


class ConvTokeniser(PixelTokeniser):
    """Patches whose pixels stand in quad-tree order, merged four at a time."""

    Options = Conv

    def __init__(self, image_size: int, options: Conv) -> None:
        """Fit the grid to the frames.

        Raises:
            UserError: when the image is not grid x 2^k pixels wide.
        """
        super().__init__(image_size, patch_side(image_size, options.grid))

    def cut(self, frames: Tensor) -> Tensor:
        """(B, H, W, 3) -> (B, tokens, side * side * 3)."""
        return patchify(frames, self.grid[0])

    def put_together(self, pieces: Tensor) -> Tensor:
        """(B, tokens, side * side * 3) -> (B, H, W, 3)."""
        return unpatchify(pieces, self.grid[0])

    def make_stem(self, width: int) -> nn.Module:
        """Return the convolutions, as linear layers."""
        return ConvStem(self.side, width)


class ConvStem(nn.Sequential):
    """Convolutions of kernel 2 and stride 2 over patches in quad-tree order, as linear layers.

    The width halves from the token's towards the pixels, and never falls below 32.
    """

    def __init__(self, side: int, width: int) -> None:
        levels = side.bit_length() - 1
        widths = [3] + [max(32, width >> (levels - 1 - level)) for level in range(levels - 1)] + [width]
        layers: list[nn.Module] = []
        for inner, outer in itertools.pairwise(widths):
            layers += [_MergeFour(), nn.Linear(4 * inner, outer), nn.GELU()]
        super().__init__(*layers[:-1])

    def forward(self, pieces: Tensor, visible: Tensor | None = None) -> Tensor:
        """(B, K, P), uint8 or floats in [0, 1], -> (B, K, width)."""
        merged: Tensor = super().forward(centred(pieces).unflatten(2, (-1, 3)))
        return merged.squeeze(2)


class _MergeFour(nn.Module):
    """(..., 4 n, c) -> (..., n, 4 c): in quad-tree order, the four pixels of a 2x2 block become one."""

    def forward(self, pixels: Tensor) -> Tensor:
        """Reshape; nothing is computed."""
        return pixels.unflatten(-2, (-1, 4)).flatten(-2)


def patch_side(image_size: int, grid: int) -> int:
    """Return the side of a patch [pixels]: image_size / grid.

    Raises:
        UserError: when the image is not grid x 2^k pixels wide.
    """
    side = image_size // grid
    if side * grid != image_size or side < 2 or side & (side - 1):
        choices = ", ".join(str(grid * 2**k) for k in range(1, 7))
        raise UserError(
            f"image size {image_size} does not fit the tokeniser conv with a grid of {grid}; choices: {choices}"
        )
    return side


def patchify(frames: Tensor, grid: int) -> Tensor:
    """Cut frames into patches, row major: (B, H, W, 3) -> (B, grid * grid, side * side * 3).

    Within a patch the pixels stand in quad-tree order (each run of 4 pixels is a 2x2 block, each run of 16 a 4x4
    block), so that a convolution of kernel 2 and stride 2 is one matrix product on a reshaped array.
    """
    side = patch_side(frames.shape[1], grid)
    levels, channels = side.bit_length() - 1, frames.shape[3]
    sides = [grid] + [2] * levels
    split = frames.reshape(len(frames), *sides, *sides, channels)  # (B, grid, 2..., grid, 2..., 3)
    in_order = split.permute(0, *_quad_order(levels), 2 * levels + 3)
    return in_order.reshape(len(frames), grid * grid, side * side * channels)


def unpatchify(patches: Tensor, grid: int) -> Tensor:
    """Undo `patchify`: (B, grid * grid, side * side * 3) -> (B, H, W, 3)."""
    levels = (patches.shape[2] // 3).bit_length() // 2
    order = _quad_order(levels)
    back = [order.index(axis) + 1 for axis in range(1, len(order) + 1)]
    split = patches.reshape(len(patches), grid, grid, *[2] * (2 * levels), 3)
    image_size = grid << levels
    return split.permute(0, *back, 2 * levels + 3).reshape(len(patches), image_size, image_size, 3)


def _quad_order(levels: int) -> list[int]:
    """Interleave the row axes (grid row, then the bits of the row within it) with the column axes."""
    return [axis for level in range(levels + 1) for axis in (1 + level, 2 + levels + level)]

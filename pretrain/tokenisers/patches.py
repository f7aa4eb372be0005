"""Frames as an 8x8 grid of patches, and which of them are hidden."""

from dataclasses import dataclass

import torch
from torch import Tensor

from goalsight.base.errors import UserError

GRID = 8  # tokens per side, at every image size
TOKENS = GRID * GRID


def patch_side(image_size: int) -> int:
    """Return the side of a patch [pixels]: image_size / 8.

    Raises:
        UserError: when the image is not 8 x 2^k pixels wide.
    """
    side = image_size // GRID
    if side * GRID != image_size or side < 2 or side & (side - 1):
        raise UserError(f"image size {image_size} does not fit the encoder; choices: 16, 32, 64, 128, 256, 512")
    return side


def patchify(frames: Tensor) -> Tensor:
    """Cut frames into 64 patches, row major: (B, H, W, 3) -> (B, 64, side * side * 3).

    Within a patch the pixels stand in quad-tree order (each run of 4 pixels is a 2x2 block, each run of 16 a 4x4
    block), so that a convolution of kernel 2 and stride 2 is one matrix product on a reshaped array.
    """
    levels = patch_side(frames.shape[1]).bit_length() - 1
    side = [GRID] + [2] * levels
    split = frames.reshape(len(frames), *side, *side, frames.shape[3])  # (B, 8, 2..., 8, 2..., 3)
    return split.permute(0, *_quad_order(levels), 2 * levels + 3).reshape(len(frames), TOKENS, -1)


def unpatchify(patches: Tensor) -> Tensor:
    """Undo `patchify`: (B, 64, side * side * 3) -> (B, H, W, 3)."""
    levels = (patches.shape[2] // 3).bit_length() // 2
    order = _quad_order(levels)
    back = [order.index(axis) + 1 for axis in range(1, len(order) + 1)]
    split = patches.reshape(len(patches), GRID, GRID, *[2] * (2 * levels), 3)
    image_size = GRID << levels
    return split.permute(0, *back, 2 * levels + 3).reshape(len(patches), image_size, image_size, 3)


def _quad_order(levels: int) -> list[int]:
    """Interleave the row axes (grid row, then the bits of the row within it) with the column axes."""
    return [axis for level in range(levels + 1) for axis in (1 + level, 2 + levels + level)]


@dataclass(frozen=True)
class Hidden:
    """A random split of the tokens into visible and hidden, and all that undoes it.

    Attributes:
        visible: (B, K) indices of the visible tokens, in random order.
        restore: (B, N) where each token stands in [visible tokens, hidden tokens].
        mask: (B, N) True where a token is hidden.
    """

    visible: Tensor
    restore: Tensor
    mask: Tensor


def hide_tokens(batch: int, tokens: int, hidden_share: float, generator: torch.Generator) -> Hidden:
    """Hide the same number of tokens, chosen at random, in every row (He et al. 2022, section 3).

    Args:
        batch: rows.
        tokens: tokens per row.
        hidden_share: the share to hide, in (0, 1); at least one token stays visible.
        generator: the source of randomness; its device is the result's.
    """
    if not 0 < hidden_share < 1:
        raise ValueError(f"hidden_share must lie in (0, 1), got {hidden_share}")
    keep = max(1, round(tokens * (1 - hidden_share)))
    order = torch.rand(batch, tokens, generator=generator, device=generator.device).argsort(1)
    restore = order.argsort(1)
    return Hidden(visible=order[:, :keep], restore=restore, mask=restore >= keep)


def take(values: Tensor, rows: Tensor) -> Tensor:
    """Pick tokens by index: (B, N, D), (B, K) -> (B, K, D)."""
    return values.gather(1, rows.unsqueeze(2).expand(-1, -1, values.shape[2]))

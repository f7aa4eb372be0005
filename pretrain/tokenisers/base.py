"""What every tokeniser is: frames to tokens, to what can be predicted of them, and back."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from goalsight.base.errors import UserError

OVER = 0.1  # that floats may lie outside of [0, 1], as interpolation leaves them
SMALLEST_ERROR = 1e-10  # mean squared error below which PSNR is called 100 dB


class Tokeniser(nn.Module, ABC):
    """Cuts frames into pieces on a grid, one token each, row major.

    A piece is whatever can be picked out and hidden by its index: the encoder looks at the pieces that are visible, and
    an objective predicts the targets of those that are not.

    What a tokeniser learns itself, such as a code book, is learnt beside the objective, by a loss of its own.

    Attributes:
        Options: the dataclass of its options; shown by the command line, kept with every encoder.
        vocabulary: how many different targets there are; None where they are continuous.
        image_size: height and width of the frames [pixels].
        grid: rows and columns of tokens.
        target_size: numbers in a continuous target.
    """

    Options: ClassVar[type]
    vocabulary: int | None = None

    def __init__(self, image_size: int, *, grid: tuple[int, int], target_size: int) -> None:
        """Keep the measures.

        Raises:
            UserError: the grid does not divide the frames.
        """
        super().__init__()
        if min(grid) < 1 or any(image_size % side for side in grid):
            raise UserError(f"a grid of {grid[0]} x {grid[1]} tokens does not divide frames of {image_size} pixels")
        self.image_size = image_size
        self.grid = grid
        self.target_size = target_size

    @property
    def tokens(self) -> int:
        """Tokens in a frame."""
        return self.grid[0] * self.grid[1]

    @abstractmethod
    def cut(self, frames: Tensor) -> Tensor:
        """(B, H, W, 3), uint8 or floats in [0, 1], -> pieces (B, tokens, P) of the same type."""

    @abstractmethod
    def make_stem(self, width: int) -> nn.Module:
        """Return a new module that turns pieces into tokens (B, K, width), without positions.

        It is called with pieces (B, K, P) and with where they lie on the grid, (B, K) indices or None for all in order.
        Its linear layers and embeddings are drawn by the encoder, from the encoder's seed.
        """

    @abstractmethod
    def targets(self, pieces: Tensor) -> Tensor:
        """Pieces (B, tokens, P) -> (B, tokens, target_size) floats in [0, 1], or codes (B, tokens) int64."""

    @abstractmethod
    def frames(self, targets: Tensor) -> Tensor:
        """Undo `targets` and `cut`: -> (B, H, W, 3) uint8. Predictions out of range are clipped."""

    def enlarge(self, of_tokens: Tensor) -> Tensor:
        """Paint each token's patch with what is said of it: (B, tokens, ...) -> (B, H, W, ...)."""
        (rows, columns), size = self.grid, self.image_size
        grid = of_tokens.unflatten(1, self.grid)
        return grid.repeat_interleave(size // rows, 1).repeat_interleave(size // columns, 2)

    def loss(self, frames: Tensor) -> tuple[Tensor, dict[str, float]] | None:
        """Return what it learns by itself: a loss, and metrics named `pretrain/...`; None where there is nothing.

        Args:
            frames: (B, H, W, 3) uint8.
        """
        return None


class PixelTokeniser(Tokeniser):
    """A tokeniser whose pieces are a patch's pixels in some order, and whose targets are their values.

    Args:
        image_size: height and width of the frames [pixels].
        side: height and width of a patch [pixels].
    """

    def __init__(self, image_size: int, side: int) -> None:
        self.side = side
        super().__init__(image_size, grid=(image_size // side, image_size // side), target_size=3 * side**2)

    @abstractmethod
    def put_together(self, pieces: Tensor) -> Tensor:
        """Undo `cut`: (B, tokens, P) -> (B, H, W, 3) of the same type."""

    def targets(self, pieces: Tensor) -> Tensor:
        """Pixels as bytes, or as floats in [0, 1], -> floats in [0, 1]."""
        return pieces.float() / 255 if pieces.dtype == torch.uint8 else pieces

    def frames(self, targets: Tensor) -> Tensor:
        """Round to bytes: (B, tokens, target_size) -> (B, H, W, 3) uint8."""
        return self.put_together(targets.clamp(0, 1).mul(255).round().to(torch.uint8))


def as_frames(frames: Tensor | NDArray[Any], size: int) -> Tensor:
    """Return frames (B, size, size, 3), uint8 or floats in [0, 1], as a tensor that can be cut; floats as float32.

    Raises:
        UserError: they are of another shape or type, or floats of another range; of these nothing is asked while they
            are compiled or exported.
    """
    found = torch.as_tensor(np.ascontiguousarray(frames) if isinstance(frames, np.ndarray) else frames)
    wanted = f"this encoder takes frames (B, {size}, {size}, 3), uint8 or floats in [0, 1]"
    if found.ndim != 4 or tuple(found.shape[1:]) != (size, size, 3):
        raise UserError(f"{wanted}, got {tuple(found.shape)}")
    if found.dtype == torch.uint8:
        return found
    if not found.is_floating_point():
        raise UserError(f"{wanted}, got {found.dtype}".replace("torch.", ""))
    if found.numel() and not torch.compiler.is_compiling():
        low, high = (float(bound.detach()) for bound in found.aminmax())
        if not -OVER <= low <= high <= 1 + OVER:
            raise UserError(f"{wanted}, got floats in [{low:g}, {high:g}]")
    return found.float()


def centred(pieces: Tensor) -> Tensor:
    """(B, K, P) uint8 or floats in [0, 1] -> floats of about unit variance around zero."""
    floats = pieces.float().div_(255) if pieces.dtype == torch.uint8 else pieces
    return floats * 4 - 2


def psnr(error: Tensor) -> float:
    """Peak signal-to-noise ratio [dB] of a mean squared error on the scale of [0, 1] pixels."""
    return float(-10 * error.detach().clamp(min=SMALLEST_ERROR).log10())

"""Codes: each patch becomes one of a thousand signs, by finite scalar quantisation (Mentzer et al. 2023).

A small network turns a patch into a few numbers, each of which is rounded to one of its levels; another, and a table
with a row for each code, turn those back into pixels. All are learnt beside the objective, by the error of the patch
that comes back, so that what it costs to learn the code book is charged to the same budget. Patches that look alike to
the bit count by the root of their number, or the bare table would leave no codes for a small object. A patch is looked
at alone: no code tells of its neighbours.
"""

from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor, nn

from goalsight.base.errors import UserError
from goalsight.pretrain.tokenisers.base import Tokeniser, centred, psnr
from goalsight.pretrain.tokenisers.patches import Patches, PatchTokeniser

HIDDEN = 128  # units of the layer between a patch and its numbers
MOST = 2**16  # codes: each is a row of a table, and a score wherever it could stand
MARGIN = 1e-3  # by which the outermost levels lie inside of what the numbers can reach


@dataclass(frozen=True)
class Codes(Patches):
    """Tokens from codes: each patch as one of a number of signs, which are learnt.

    Raises:
        UserError: when the side is not positive, a number has fewer than two levels, or there are too many codes.
    """

    levels: tuple[int, ...] = (8, 5, 5, 5)
    """Levels that each number of a patch is rounded to; their product is the number of codes."""

    def __post_init__(self) -> None:
        """Refuse what cannot be cut or coded."""
        super().__post_init__()
        if not self.levels or min(self.levels) < 2:
            raise UserError(f"levels must be one or more numbers of at least 2, got {self.levels}")
        if prod(self.levels) > MOST:
            raise UserError(f"levels make {prod(self.levels):,} codes, which is more than {MOST:,}")


class CodeTokeniser(Tokeniser):
    """Patches to codes and back. Its pieces are the codes, (B, tokens, 1) int64."""

    Options = Codes

    def __init__(self, image_size: int, options: Codes) -> None:
        """Fit the patches to the frames, and draw the networks.

        Raises:
            UserError: when the image size does not divide by the patch's side.
        """
        patches = PatchTokeniser(image_size, options)
        super().__init__(image_size, grid=patches.grid, target_size=1)
        self.patches = patches
        self.vocabulary = prod(options.levels)
        self.quantiser = Quantiser(options.levels)
        size = patches.target_size
        self.code = nn.Sequential(nn.Linear(size, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, len(options.levels)))
        self.decode = nn.Sequential(nn.Linear(len(options.levels), HIDDEN), nn.GELU(), nn.Linear(HIDDEN, size))
        self.table = nn.Embedding(self.vocabulary, size)  # what the network leaves out
        nn.init.zeros_(self.table.weight)

    @torch.no_grad()
    def cut(self, frames: Tensor) -> Tensor:
        """(B, H, W, 3), uint8 or floats in [0, 1], -> codes (B, tokens, 1) int64."""
        return self.quantiser.codes(self._numbers(self.patches.cut(frames))).unsqueeze(2)

    def make_stem(self, width: int) -> nn.Module:
        """Return one vector for each code."""
        assert self.vocabulary is not None
        return CodeStem(self.vocabulary, width)

    def targets(self, pieces: Tensor) -> Tensor:
        """Codes (B, tokens, 1) -> (B, tokens)."""
        return pieces.squeeze(2)

    @torch.no_grad()
    def frames(self, targets: Tensor) -> Tensor:
        """Codes (B, tokens) -> (B, H, W, 3) uint8."""
        return self.patches.frames(self._patches(self.quantiser.levels_of(targets), targets))

    def loss(self, frames: Tensor) -> tuple[Tensor, dict[str, float]]:
        """Return the mean squared error of the patches that come back, on the scale of [0, 1] pixels.

        Args:
            frames: (B, H, W, 3) uint8; n patches of them that are alike count as the root of n.

        Returns:
            the loss; and metrics: the PSNR of all patches [dB], and how many codes the frames use, as the exponential
            of the entropy of their shares.
        """
        patches = self.patches.cut(frames).flatten(0, 1)
        _, look, times = torch.unique(patches, dim=0, return_inverse=True, return_counts=True)
        levels = self.quantiser(self._numbers(patches))
        codes = self.quantiser.index(levels)
        errors = (self._patches(levels, codes) - self.patches.targets(patches)).square().mean(1)
        weight = times[look].float().rsqrt()
        loss = (weight * errors).sum() / weight.sum()
        with torch.no_grad():
            used = torch.bincount(codes, minlength=self.vocabulary or 0)
            entropy = torch.special.entr(used / used.sum()).sum()
        parts = {"psnr_codes": psnr(errors.mean()), "codes_used": float(entropy.exp())}
        return loss, {f"pretrain/{name}": value for name, value in parts.items()}

    def _patches(self, levels: Tensor, codes: Tensor) -> Tensor:
        """Levels (..., numbers) and their codes (...) -> (..., P) floats, about in [0, 1]."""
        made: Tensor = self.decode(levels) + self.table(codes)
        return made.float() + 0.5

    def _numbers(self, patches: Tensor) -> Tensor:
        """Patches (B, tokens, P) -> what is rounded, (B, tokens, numbers) float32."""
        numbers: Tensor = self.code(centred(patches))
        return numbers.float()


class Quantiser(nn.Module):
    """Rounds numbers to levels; gradients pass as if it did not.

    Args:
        levels: of each number.
    """

    levels: Tensor
    steps: Tensor

    def __init__(self, levels: tuple[int, ...]) -> None:
        super().__init__()
        self.register_buffer("levels", torch.tensor(levels), persistent=False)
        self.register_buffer("steps", torch.tensor([prod(levels[:i]) for i in range(len(levels))]), persistent=False)

    def forward(self, numbers: Tensor) -> Tensor:
        """(..., numbers), any real, -> the levels they are rounded to, within [-1, 1]."""
        reach = (self.levels - 1) * (1 + MARGIN) / 2
        offset = (self.levels % 2 == 0) * 0.5  # an even number of levels has none at zero
        bounded = torch.tanh(numbers + torch.atanh(offset / reach)) * reach - offset
        rounded = bounded + (bounded.round() - bounded).detach()
        return rounded / (self.levels // 2)

    def index(self, levels: Tensor) -> Tensor:
        """Levels (..., numbers) -> the code of each (...) int64."""
        half = self.levels // 2
        return ((levels * half).round().long() + half).mul(self.steps).sum(-1)

    def codes(self, numbers: Tensor) -> Tensor:
        """(..., numbers) -> codes (...) int64."""
        return self.index(self(numbers))

    def levels_of(self, codes: Tensor) -> Tensor:
        """Undo `index`: (...) int64 -> (..., numbers)."""
        half = self.levels // 2
        return (codes.unsqueeze(-1) // self.steps % self.levels - half) / half


class CodeStem(nn.Module):
    """A learnt vector for each code."""

    def __init__(self, vocabulary: int, width: int) -> None:
        super().__init__()
        self.book = nn.Embedding(vocabulary, width)

    def forward(self, pieces: Tensor, visible: Tensor | None = None) -> Tensor:
        """Codes (B, K, 1) -> (B, K, width)."""
        tokens: Tensor = self.book(pieces.squeeze(2))
        return tokens

"""Plain square patches and one linear layer, as in vision transformers (Dosovitskiy et al. 2021, section 3.1)."""

from dataclasses import dataclass

from torch import Tensor, nn

from goalsight.base.errors import UserError
from goalsight.pretrain.tokenisers.base import PixelTokeniser, centred


@dataclass(frozen=True)
class Patches:
    """Tokens from plain patches, by one linear layer.

    Raises:
        UserError: when the side is not positive.
    """

    side: int = 8
    """Side of a patch [pixels]; the image size must divide by it."""

    def __post_init__(self) -> None:
        """Refuse what cannot be cut."""
        if self.side < 1:
            raise UserError(f"the side of a patch must be at least 1, got {self.side}")


class PatchTokeniser(PixelTokeniser):
    """Square patches, their pixels row by row."""

    Options = Patches

    def __init__(self, image_size: int, options: Patches) -> None:
        """Fit the patches to the frames.

        Raises:
            UserError: when the image size does not divide by the patch's side.
        """
        if image_size < 1 or image_size % options.side:
            fitting = ", ".join(str(side) for side in range(1, image_size + 1) if image_size % side == 0)
            raise UserError(
                f"image size {image_size} does not divide into patches of {options.side} pixels; choices: {fitting}"
            )
        super().__init__(image_size, options.side)

    def cut(self, frames: Tensor) -> Tensor:
        """(B, H, W, 3) -> (B, tokens, side * side * 3)."""
        rows, columns = self.grid
        split = frames.reshape(len(frames), rows, self.side, columns, self.side, 3)
        return split.transpose(2, 3).reshape(len(frames), self.tokens, self.target_size)

    def put_together(self, pieces: Tensor) -> Tensor:
        """(B, tokens, side * side * 3) -> (B, H, W, 3)."""
        rows, columns = self.grid
        split = pieces.reshape(len(pieces), rows, columns, self.side, self.side, 3)
        return split.transpose(2, 3).reshape(len(pieces), self.image_size, self.image_size, 3)

    def make_stem(self, width: int) -> nn.Module:
        """Return one linear layer."""
        return PatchStem(self.target_size, width)


class PatchStem(nn.Sequential):
    """One linear layer over all pixels of a patch."""

    def __init__(self, values: int, width: int) -> None:
        super().__init__(nn.Linear(values, width))

    def forward(self, pieces: Tensor, visible: Tensor | None = None) -> Tensor:
        """(B, K, P), uint8 or floats in [0, 1], -> (B, K, width)."""
        tokens: Tensor = super().forward(centred(pieces))
        return tokens

"""Raw values: every pixel is looked at by itself, by attention from a few tokens to all of them.

After Perceiver (Jaegle et al. 2021): thousands of pixels, each of three values and a place, are read by as many tokens
as there are cells on a grid, in one cross-attention, so that what follows costs no more than for patches. Nothing says
which pixels belong to which token but their places. A pixel of a hidden cell is seen by no token.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from goalsight.base.errors import UserError
from goalsight.pretrain.encoders.transformer import CrossAttention, grid_positions
from goalsight.pretrain.tokenisers.base import centred
from goalsight.pretrain.tokenisers.patches import Patches, PatchTokeniser


@dataclass(frozen=True)
class Values(Patches):
    """Tokens that look at every single pixel, of all visible cells.

    Raises:
        UserError: when the side is not positive, or the attention has no such size.
    """

    features: int = 64
    """Features of a pixel."""
    heads: int = 4
    """Attention heads by which tokens look at pixels."""

    def __post_init__(self) -> None:
        """Refuse what cannot be built."""
        super().__post_init__()
        if self.heads < 1 or self.features < 1 or self.features % (4 * self.heads):
            raise UserError(f"features must divide by 4 x heads, got {self.features} and {self.heads}")


class ValueTokeniser(PatchTokeniser):
    """Cells on a grid, whose pixels are read one by one."""

    Options = Values

    def __init__(self, image_size: int, options: Values) -> None:
        """Fit the cells to the frames.

        Raises:
            UserError: when the image size does not divide by the cell's side.
        """
        super().__init__(image_size, options)
        self._options = options

    def make_stem(self, width: int) -> nn.Module:
        """Return the attention from cells to pixels."""
        return ValueStem(self, self._options, width)


class ValueStem(nn.Module):
    """One cross-attention from tokens, which know only where they are, to pixels."""

    pixel_positions: Tensor
    token_positions: Tensor

    def __init__(self, tokeniser: PatchTokeniser, options: Values, width: int) -> None:
        super().__init__()
        size, features = tokeniser.image_size, options.features
        (rows, columns), side = tokeniser.grid, tokeniser.side
        of_pixels = grid_positions(features, (size, size)).view(rows, side, columns, side, features)
        of_cells = grid_positions(features, tokeniser.grid)
        # (tokens, side * side, features) and (tokens, features)
        self.register_buffer("pixel_positions", of_pixels.transpose(1, 2).reshape(len(of_cells), -1, features), False)
        self.register_buffer("token_positions", of_cells, persistent=False)
        self.pixel = nn.Linear(3, features)
        self.query = nn.Linear(features, features)
        self.norm = nn.LayerNorm(features)
        self.attention = CrossAttention(features, options.heads)
        self.linear = nn.Linear(features, width)

    def forward(self, pieces: Tensor, visible: Tensor | None = None) -> Tensor:
        """(B, K, P), uint8 or floats in [0, 1], of the `visible` (B, K) cells, -> (B, K, width)."""
        everywhere = visible is None
        places = self.pixel_positions if everywhere else self.pixel_positions[visible]
        cells = self.token_positions.expand(len(pieces), -1, -1) if everywhere else self.token_positions[visible]
        pixels = self.norm(self.pixel(centred(pieces).unflatten(2, (-1, 3))) + places)
        tokens: Tensor = self.linear(self.attention(self.query(cells), pixels.flatten(1, 2)))
        return tokens

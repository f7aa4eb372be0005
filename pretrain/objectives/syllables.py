"""Sentences as tokens: four bytes each."""

from torch import Tensor, nn

from goalsight.pretrain.data.wordings import LONGEST
from goalsight.pretrain.encoders.transformer import grid_positions

SYLLABLE = 4  # bytes to a token of text
SYLLABLES = LONGEST // SYLLABLE  # of a sentence


class Syllables(nn.Module):
    """Bytes to tokens that know where they stand.

    Args:
        features: of a byte.
        width: of a token.
    """

    positions: Tensor

    def __init__(self, features: int, width: int) -> None:
        super().__init__()
        self.byte = nn.Embedding(256, features)
        self.token = nn.Linear(SYLLABLE * features, width)
        self.register_buffer("positions", grid_positions(width, (1, SYLLABLES)), persistent=False)

    def forward(self, text: Tensor) -> Tensor:
        """(B, LONGEST) uint8, zeros where it has ended, -> (B, SYLLABLES, width)."""
        tokens: Tensor = self.token(self.byte(text.long()).unflatten(1, (-1, SYLLABLE)).flatten(2)) + self.positions
        return tokens


def spoken(text: Tensor) -> Tensor:
    """Say which syllables hold anything: (B, LONGEST) uint8 -> (B, SYLLABLES) bool."""
    return (text > 0).unflatten(1, (-1, SYLLABLE)).any(2)

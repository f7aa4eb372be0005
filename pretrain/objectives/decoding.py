"""What objectives share that say something of every token, hidden or not: a narrow decoder beside the encoder.

It looks at the encoder's tokens by cross-attention only (CrossMAE, Fu et al. 2024), which keeps what is known in the
encoder and the decoder cheap.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from goalsight.base.errors import UserError
from goalsight.pretrain.encoders.transformer import CrossBlock, grid_positions, initialise
from goalsight.pretrain.encoders.vit import VideoEncoder
from goalsight.pretrain.masking import Hidden
from goalsight.pretrain.objectives.base import Objective

GREY = torch.tensor(128, dtype=torch.uint8)  # of what is hidden, in pictures


@dataclass(frozen=True)
class Decoding:
    """The decoder's size.

    Raises:
        UserError: when it cannot be built.
    """

    decoder_width: int = 64
    """Decoder: features per token."""
    decoder_depth: int = 2
    """Decoder: cross-attention blocks."""
    decoder_heads: int = 2
    """Decoder: attention heads."""

    def __post_init__(self) -> None:
        """Refuse decoders that cannot be built."""
        if min(self.decoder_depth, self.decoder_heads) < 1 or self.decoder_width < 1:
            raise UserError("decoder_width, decoder_depth and decoder_heads must be at least 1")
        if self.decoder_width % (4 * self.decoder_heads):
            raise UserError(f"decoder_width must divide by 4 x decoder_heads, got {self.decoder_width}")


class DecodingObjective(Objective):
    """The encoder with a decoder that says something of every token."""

    positions: Tensor

    def __init__(self, encoder: VideoEncoder, options: Decoding, *, size: int, marks: int, seed: int) -> None:
        """Wrap an encoder.

        Args:
            encoder: trained in place.
            options: the decoder's size.
            size: numbers said of a token.
            marks: kinds of frames that are told apart, by one learnt vector each.
            seed: of the decoder's weights.
        """
        super().__init__(encoder)
        width = options.decoder_width
        with torch.random.fork_rng(devices=[]):
            self.narrow = nn.Linear(encoder.config.width, width)
            self.blocks = nn.ModuleList(CrossBlock(width, options.decoder_heads) for _ in range(options.decoder_depth))
            self.norm = nn.LayerNorm(width)
            self.out = nn.Linear(width, size)
        self.frame_mark = nn.Parameter(torch.zeros(marks, width))
        self.blank = nn.Parameter(torch.zeros(width))
        self.register_buffer("positions", grid_positions(width, encoder.tokeniser.grid), persistent=False)
        generator = torch.Generator().manual_seed(seed + 1)
        for part in (self.narrow, self.blocks):
            initialise(part, generator)
        # The first thing said is zero: random predictions would cost the first steps.
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def remember(self, looked: Tensor, visible: Tensor | None = None) -> Tensor:
        """Prepare tokens for the decoder: (B, K, width) of the `visible` (B, K) -> (B, K, decoder width)."""
        positions = self.positions if visible is None else self.positions[visible]
        narrow: Tensor = self.narrow(looked) + positions
        return narrow

    def blanks(self, count: int) -> Tensor:
        """Return tokens of which nothing is known but where they lie, (count, tokens, decoder width)."""
        return (self.blank + self.positions).expand(count, -1, -1)

    def decode(self, tokens: Tensor, memory: Tensor) -> Tensor:
        """(B, tokens, decoder width), (B, M, decoder width) -> (B, tokens, size) float32."""
        for block in self.blocks:
            tokens = block(tokens, memory)
        said: Tensor = self.out(self.norm(tokens)).float()
        return said

    def greyed(self, pieces: Tensor, hidden: Hidden) -> Tensor:
        """Return frames whose hidden tokens are painted grey: (B, tokens, P) -> (B, H, W, 3) uint8."""
        tokeniser = self.encoder.tokeniser
        frames = tokeniser.frames(tokeniser.targets(pieces))
        return torch.where(tokeniser.enlarge(hidden.mask).unsqueeze(3), GREY.to(frames.device), frames)

    def painted(self, colours: Tensor) -> Tensor:
        """Colours of tokens (B, tokens, 3) in [0, 1] -> (B, H, W, 3) uint8."""
        return self.encoder.tokeniser.enlarge(colours.clamp(0, 1).mul(255).to(torch.uint8))


def put(visible: Tensor, hidden: Hidden, rest: Tensor) -> Tensor:
    """Put visible tokens (B, K, D) in their places among the rest (B, tokens, D)."""
    return rest.scatter(1, hidden.visible.unsqueeze(2).expand_as(visible), visible.to(rest.dtype))

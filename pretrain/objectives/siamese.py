"""What objectives share that fill in hidden tokens: of frame t from itself, of frame t+k from frame t.

After masked autoencoders (He et al. 2022) and siamese masked autoencoders (Gupta et al. 2023). The decoder looks at the
encoder's tokens by cross-attention only (CrossMAE, Fu et al. 2024), which keeps what is known in the encoder and the
decoder cheap. What is filled in, pixels or features, is up to the objective.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from goalsight.base.errors import UserError
from goalsight.pretrain.data.clips import Batch, Clips
from goalsight.pretrain.data.format import PIXELS
from goalsight.pretrain.encoders.transformer import CrossBlock, grid_positions, initialise
from goalsight.pretrain.encoders.vit import VideoEncoder
from goalsight.pretrain.masking import Hidden, hide_tokens
from goalsight.pretrain.objectives.base import Objective

GREY = torch.tensor(128, dtype=torch.uint8)  # of what is hidden, in pictures


@dataclass(frozen=True)
class Hiding:
    """What is hidden, and the decoder's size.

    Raises:
        UserError: when a share does not lie in (0, 1), or the decoder has no such size.
    """

    hide_self: float = 0.75
    """Share of frame t's tokens hidden where it is filled in from itself."""
    hide_next: float = 0.95
    """Share of frame t+k's tokens hidden where it is predicted from frame t."""
    decoder_width: int = 64
    """Decoder: features per token."""
    decoder_depth: int = 2
    """Decoder: cross-attention blocks."""
    decoder_heads: int = 2
    """Decoder: attention heads."""

    def __post_init__(self) -> None:
        """Refuse shares that hide nothing or everything, and decoders that cannot be built."""
        for name in ("hide_self", "hide_next"):
            if not 0 < getattr(self, name) < 1:
                raise UserError(f"{name} must lie in (0, 1), got {getattr(self, name)}")
        if min(self.decoder_depth, self.decoder_heads) < 1 or self.decoder_width < 1:
            raise UserError("decoder_width, decoder_depth and decoder_heads must be at least 1")
        if self.decoder_width % (4 * self.decoder_heads):
            raise UserError(f"decoder_width must divide by 4 x decoder_heads, got {self.decoder_width}")


@dataclass(frozen=True)
class Filled:
    """What the two tasks were shown and what they made of it.

    Attributes:
        now: (B, tokens, P) the pieces of frame t.
        later: (B, tokens, P) those of frame t+k.
        rebuilt: (B, tokens, size) what is said of frame t from its visible tokens.
        predicted: (B, tokens, size) what is said of frame t+k from frame t and its own visible tokens.
        hidden_now: what of frame t was hidden where it was rebuilt.
        hidden_later: what of frame t+k was hidden.
    """

    now: Tensor
    later: Tensor
    rebuilt: Tensor
    predicted: Tensor
    hidden_now: Hidden
    hidden_later: Hidden


class SiamesePrediction(Objective):
    """The encoder with a decoder that says something of every token, hidden or not."""

    positions: Tensor

    def __init__(self, encoder: VideoEncoder, options: Hiding, *, size: int, seed: int) -> None:
        """Wrap an encoder.

        Args:
            encoder: trained in place.
            options: what is hidden and the decoder's size.
            size: numbers said of a token.
            seed: of the decoder's weights.
        """
        super().__init__(encoder)
        self.options = options
        width = options.decoder_width
        with torch.random.fork_rng(devices=[]):
            self.narrow = nn.Linear(encoder.config.width, width)
            self.blocks = nn.ModuleList(CrossBlock(width, options.decoder_heads) for _ in range(options.decoder_depth))
            self.norm = nn.LayerNorm(width)
            self.out = nn.Linear(width, size)
        # Tokens of frame t and of frame t+k are told apart by one learnt vector each.
        self.frame_mark = nn.Parameter(torch.zeros(2, width))
        self.blank = nn.Parameter(torch.zeros(width))
        self.register_buffer("positions", grid_positions(width, encoder.tokeniser.grid), persistent=False)
        generator = torch.Generator().manual_seed(seed + 1)
        for part in (self.narrow, self.blocks):
            initialise(part, generator)
        # The first thing said is zero: random predictions would cost the first steps.
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def reads(self, max_gap: int) -> Clips:
        """Return pairs of frames (t, t+k)."""
        return Clips(gaps=((1, max_gap),))

    def fill_in(self, batch: Batch, generator: torch.Generator) -> Filled:
        """Hide, encode, decode.

        Args:
            batch: pixels (B, 2, H, W, 3) uint8, frames t and t+k.
            generator: draws what is hidden.
        """
        clip = batch[PIXELS]
        count, tokens = len(clip), self.encoder.tokens
        now, later = self.encoder.embedding.cut(clip[:, 0]), self.encoder.embedding.cut(clip[:, 1])
        hidden_now = hide_tokens(count, tokens, self.options.hide_self, generator)
        hidden_later = hide_tokens(count, tokens, self.options.hide_next, generator)
        part_of_now = self._remember(now, hidden_now.visible, frame=0)
        all_of_now = self._remember(now, None, frame=0)
        part_of_later = self._remember(later, hidden_later.visible, frame=1)
        blank = (self.blank + self.positions).expand(count, -1, -1)
        # What is hidden of frame t+k starts from what frame t shows there: a small object that lies still has
        # only to be passed on, and is learnt long before attention has learnt to find it.
        return Filled(
            now=now,
            later=later,
            rebuilt=self._decode(_put(part_of_now, hidden_now, blank), part_of_now),
            predicted=self._decode(
                _put(part_of_later, hidden_later, all_of_now), torch.cat([all_of_now, part_of_later], 1)
            ),
            hidden_now=hidden_now,
            hidden_later=hidden_later,
        )

    def greyed(self, pieces: Tensor, hidden: Hidden) -> Tensor:
        """Return frames whose hidden tokens are painted grey: (B, tokens, P) -> (B, H, W, 3) uint8."""
        tokeniser = self.encoder.tokeniser
        frames = tokeniser.frames(tokeniser.targets(pieces))
        return torch.where(tokeniser.enlarge(hidden.mask).unsqueeze(3), GREY, frames)

    def _remember(self, pieces: Tensor, visible: Tensor | None, *, frame: int) -> Tensor:
        """Encode what is visible and prepare it for the decoder: (B, tokens, P) -> (B, K, decoder width)."""
        positions = self.positions if visible is None else self.positions[visible]
        return self.narrow(self.encoder.encode(pieces, visible)) + positions + self.frame_mark[frame]

    def _decode(self, tokens: Tensor, memory: Tensor) -> Tensor:
        """(B, tokens, decoder width), (B, M, decoder width) -> (B, tokens, size)."""
        for block in self.blocks:
            tokens = block(tokens, memory)
        said: Tensor = self.out(self.norm(tokens)).float()
        return said


def _put(visible: Tensor, hidden: Hidden, rest: Tensor) -> Tensor:
    """Put visible tokens (B, K, D) in their places among the rest (B, tokens, D)."""
    return rest.scatter(1, hidden.visible.unsqueeze(2).expand_as(visible), visible.to(rest.dtype))

"""What objectives share that fill in hidden tokens: of frame t from itself, of frame t+k from frame t.

After masked autoencoders (He et al. 2022) and siamese masked autoencoders (Gupta et al. 2023). What is filled in,
pixels or features, is up to the objective.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from goalsight.base.errors import UserError
from goalsight.pretrain.data.clips import Batch, Clips
from goalsight.pretrain.data.format import PIXELS
from goalsight.pretrain.encoders.vit import VideoEncoder
from goalsight.pretrain.masking import Hidden, hide_tokens
from goalsight.pretrain.objectives.decoding import Decoding, DecodingObjective, put


@dataclass(frozen=True)
class Hiding(Decoding):
    """What is hidden, and the decoder's size.

    Raises:
        UserError: when a share does not lie in (0, 1), or the decoder has no such size.
    """

    hide_self: float = 0.75
    """Share of frame t's tokens hidden where it is filled in from itself."""
    hide_next: float = 0.95
    """Share of frame t+k's tokens hidden where it is predicted from frame t."""

    def __post_init__(self) -> None:
        """Refuse shares that hide nothing or everything, and decoders that cannot be built."""
        for name in ("hide_self", "hide_next"):
            if not 0 < getattr(self, name) < 1:
                raise UserError(f"{name} must lie in (0, 1), got {getattr(self, name)}")
        super().__post_init__()


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


class SiamesePrediction(DecodingObjective):
    """The encoder with a decoder that says something of every token, hidden or not."""

    def __init__(self, encoder: VideoEncoder, options: Hiding, *, size: int, seed: int) -> None:
        """Wrap an encoder.

        Args:
            encoder: trained in place.
            options: what is hidden and the decoder's size.
            size: numbers said of a token.
            seed: of the decoder's weights.
        """
        super().__init__(encoder, options, size=size, marks=2, seed=seed)  # frame t, and frame t+k
        self.options = options

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
        part_of_now = self._look(now, hidden_now.visible, frame=0)
        all_of_now = self._look(now, None, frame=0)
        part_of_later = self._look(later, hidden_later.visible, frame=1)
        # What is hidden of frame t+k starts from what frame t shows there: a small object that lies still has
        # only to be passed on, and is learnt long before attention has learnt to find it.
        return Filled(
            now=now,
            later=later,
            rebuilt=self.decode(put(part_of_now, hidden_now, self.blanks(count)), part_of_now),
            predicted=self.decode(
                put(part_of_later, hidden_later, all_of_now), torch.cat([all_of_now, part_of_later], 1)
            ),
            hidden_now=hidden_now,
            hidden_later=hidden_later,
        )

    def _look(self, pieces: Tensor, visible: Tensor | None, *, frame: int) -> Tensor:
        """Encode what is visible, and prepare it: (B, tokens, P) -> (B, K, decoder width)."""
        return self.remember(self.encoder.encode(pieces, visible), visible) + self.frame_mark[frame]

"""Autoregressive prediction: what every token of a later frame will be, from frames up to now.

After GPT (Radford et al. 2018) and its kind for video (Toto, Rajasegaran et al. 2025), by blocks: each frame of a clip
is seen as a whole, those before it too, and none after it. What is predicted lies a drawn number of frames ahead, which
is said; so that one frame ahead is not all that is learnt, of which copying tells most. Tokens that stay as they are
count for little, for the same reason; input tokens are dropped, so that none is relied on.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from goalsight.base.errors import UserError
from goalsight.base.options import check_positive
from goalsight.pretrain.data.clips import Batch, Clips
from goalsight.pretrain.data.format import PIXELS
from goalsight.pretrain.encoders.vit import VideoEncoder
from goalsight.pretrain.masking import hide_tokens
from goalsight.pretrain.objectives.base import Alarm
from goalsight.pretrain.objectives.decoding import Decoding, DecodingObjective, put
from goalsight.pretrain.objectives.saying import saying, weighed

SLOWEST = 100.0  # of the waves that say how far ahead: about so many frames over 2 pi


@dataclass(frozen=True)
class Autoregressive(Decoding):
    """Predict the pixels or codes of frames to come from those up to now.

    Raises:
        UserError: when a share does not lie in (0, 1), no frame is looked at, or the decoder has no such size.
    """

    frames: int = 3
    """Frames in a row that are looked at; from each, those before it and it are known."""
    drop: float = 0.4
    """Share of the tokens dropped from each look."""
    still: float = 0.1
    """Weight of tokens that stay as they are; of those that change it is 1."""

    def __post_init__(self) -> None:
        """Refuse what cannot be predicted."""
        check_positive(self, "frames", "still")
        if not 0 < self.drop < 1:
            raise UserError(f"drop must lie in (0, 1), got {self.drop}")
        super().__post_init__()


class AutoregressivePrediction(DecodingObjective):
    """The encoder with a decoder that is told how far to look ahead."""

    Options = Autoregressive

    def __init__(self, encoder: VideoEncoder, options: Autoregressive | None = None, *, seed: int = 0) -> None:
        """Wrap an encoder.

        Args:
            encoder: trained in place.
            options: what is looked at and the decoder's size.
            seed: of the decoder's weights.
        """
        self.options = options = options or Autoregressive()
        self.saying = saying(encoder.tokeniser)
        # A mark for each number of frames that lie between a look and the last frame that is known.
        super().__init__(encoder, options, size=self.saying.size, marks=options.frames, seed=seed)
        self.ahead = nn.Parameter(torch.zeros(options.decoder_width, options.decoder_width))
        nn.init.eye_(self.ahead)

    def reads(self, max_gap: int) -> Clips:
        """Return frames in a row: those that are looked at, and `max_gap` more."""
        return Clips(gaps=((1, 1),) * (self.options.frames - 1 + max_gap), less="--max-gap")

    def loss(self, batch: Batch, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        """Return the loss and what it is made of.

        Args:
            batch: pixels (B, frames + max_gap, H, W, 3) uint8.
            generator: draws how far ahead, and what is dropped.

        Returns:
            the weighted mean over tokens of the squared error of pixels, on the scale of [0, 1], or of the
            cross-entropy of codes [nats]; and metrics as of `Saying.metrics`, copying being that of the last frame
            that is known.
        """
        clip = batch[PIXELS]
        most = clip.shape[1] - self.options.frames
        ahead = torch.randint(1, most + 1, (len(clip),), generator=generator, device=clip.device)
        said, now, later = self.predict(clip, ahead, generator)
        loss = weighed(self.saying.errors(said, later), self.saying.moved(now, later), self.options.still)
        return loss, self.saying.metrics(loss, said, now, later)

    def predict(self, clip: Tensor, ahead: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Say what lies so many frames after each frame that is looked at.

        Args:
            clip: (B, frames + most ahead, H, W, 3) uint8.
            ahead: (B,) frames, of each clip.
            generator: draws what is dropped.

        Returns:
            what is said (frames x B, tokens, size), of the first frame first; and the pieces of the frames from which
            and of which it is, (frames x B, tokens, P).
        """
        count, known = len(clip), self.options.frames
        cut = self.encoder.embedding.cut
        now = cut(clip[:, :known].transpose(0, 1).flatten(0, 1))
        times = torch.arange(known, device=clip.device)[:, None] + ahead  # (frames, B)
        later = cut(clip[torch.arange(count, device=clip.device), times].flatten(0, 1))
        dropped = hide_tokens(len(now), self.encoder.tokens, self.options.drop, generator)
        looked = self.remember(self.encoder.encode(now, dropped.visible), dropped.visible)
        asked = self.told(ahead).to(looked.dtype)
        # What is to come starts from what is seen there now, as in masked prediction of a later frame.
        tokens = put(looked, dropped, self.blanks(len(now))).unflatten(0, (known, count)) + asked.unsqueeze(1)
        looks = looked.unflatten(0, (known, count))
        said = []
        for last in range(known):
            memory = [looks[frame] + self.frame_mark[last - frame] for frame in range(last + 1)]
            said.append(self.decode(tokens[last], torch.cat(memory, 1)))
        return torch.cat(said), now, later

    def told(self, ahead: Tensor) -> Tensor:
        """Say how far ahead: (B,) frames -> (B, decoder width), sines and cosines through a learnt matrix."""
        half = self.options.decoder_width // 2
        frequencies = SLOWEST ** -(torch.arange(half, device=ahead.device) / half)
        angles = ahead.unsqueeze(1) * frequencies
        return torch.cat([angles.sin(), angles.cos()], 1) @ self.ahead

    def decode(self, tokens: Tensor, memory: Tensor) -> Tensor:
        """Say what each token will be, starting from grey, or from all codes alike."""
        return super().decode(tokens, memory) + self.saying.first

    @torch.no_grad()
    def visualise(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Return the frames that are looked at, and frames one, half way and farthest ahead: predicted, and true."""
        clip, known = batch[PIXELS], self.options.frames
        most = clip.shape[1] - known
        names = [f"t-{known - 1 - frame}" for frame in range(known - 1)] + ["frame t"]
        columns = {name: clip[:, frame] for frame, name in enumerate(names)}
        for far in sorted({1, max(1, most // 2), most}):
            ahead = torch.full((len(clip),), far, device=clip.device)
            said, _, _ = self.predict(clip, ahead, generator)
            columns[f"t+{far} predicted"] = self.saying.frames(said[-len(clip) :])
            columns[f"t+{far} true"] = clip[:, known - 1 + far]
        return columns

    def headline(self, metrics: Mapping[str, float]) -> str:
        """Say how well frames to come are predicted, beside copying the last one."""
        return self.saying.headline(metrics)

    def alarms(self, metrics: Mapping[str, float]) -> tuple[Alarm, ...]:
        """Warn when what changes is predicted no better than by copying the last frame."""
        return self.saying.alarms(metrics)

"""Masked frame prediction: frame t from a quarter of itself, frame t+k from frame t and a twentieth of itself.

After masked autoencoders (He et al. 2022) and siamese masked autoencoders (Gupta et al. 2023). Targets are raw
pixels of ALL patches, not normalised per patch: on the flat images of a simulator, normalising amplifies noise,
and a small object is most of what varies. Where tokens are codes, they are predicted (BEiT, Bao et al. 2022).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from goalsight.base.options import check_positive
from goalsight.pretrain.data.clips import Batch
from goalsight.pretrain.data.format import PIXELS
from goalsight.pretrain.encoders.vit import VideoEncoder
from goalsight.pretrain.objectives.base import Alarm
from goalsight.pretrain.objectives.saying import Pixels, saying, weighed
from goalsight.pretrain.objectives.siamese import Hiding, SiamesePrediction
from goalsight.pretrain.tokenisers.base import psnr


@dataclass(frozen=True)
class Masked(Hiding):
    """Predict the pixels or codes of hidden patches: of a frame from its rest, of a later frame from this one.

    Raises:
        UserError: as of `Hiding`, or when `still` is not positive.
    """

    still: float = 1.0
    """Weight of a token that does not change from frame t to frame t+k; one that does has 1."""

    def __post_init__(self) -> None:
        """Refuse what cannot be weighed."""
        check_positive(self, "still")
        super().__post_init__()


class MaskedPrediction(SiamesePrediction):
    """The encoder with the decoder that trains it."""

    Options = Masked
    options: Masked

    def __init__(self, encoder: VideoEncoder, options: Masked | None = None, *, seed: int = 0) -> None:
        """Wrap an encoder.

        Args:
            encoder: trained in place.
            options: what is hidden and the decoder's size.
            seed: of the decoder's weights.
        """
        self.saying = saying(encoder.tokeniser)
        super().__init__(encoder, options or Masked(), size=self.saying.size, seed=seed)

    def loss(self, batch: Batch, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        """Return the loss and what it is made of.

        Args:
            batch: pixels (B, 2, H, W, 3) uint8, frames t and t+k.
            generator: draws what is hidden.

        Returns:
            the sum over both tasks of the weighted mean over tokens of the squared error of pixels, on the scale of
            [0, 1], or of the cross-entropy of codes [nats]; and metrics: PSNR of both tasks [dB], and of guessing that
            frame t+k looks like frame t, over all pixels and over those that changed; or, of codes, bits.
        """
        seen = self.fill_in(batch, generator)
        errors = self.saying.errors(seen.rebuilt, seen.now), self.saying.errors(seen.predicted, seen.later)
        moved = self.saying.moved(seen.now, seen.later)
        now, later = (weighed(error, moved, self.options.still) for error in errors)
        loss = now + later
        parts = self.saying.metrics(loss, seen.predicted, seen.now, seen.later)
        if isinstance(self.saying, Pixels):
            parts["pretrain/psnr_self"] = psnr(errors[0].mean())
        return loss, parts

    def decode(self, tokens: Tensor, memory: Tensor) -> Tensor:
        """Say what each token is, starting from grey, or from all codes alike."""
        return super().decode(tokens, memory) + self.saying.first

    @torch.no_grad()
    def visualise(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Return what is seen, hidden, predicted and true, as named columns of (B, H, W, 3) uint8 frames."""
        seen, clip, frames = self.fill_in(batch, generator), batch[PIXELS], self.saying.frames
        return {
            "frame t": clip[:, 0],
            "visible of t": self.greyed(seen.now, seen.hidden_now),
            "t rebuilt": frames(seen.rebuilt),
            "visible of t+k": self.greyed(seen.later, seen.hidden_later),
            "t+k predicted": frames(seen.predicted),
            "t+k true": clip[:, 1],
        }

    def headline(self, metrics: Mapping[str, float]) -> str:
        """Say how well the next frame is predicted, beside copying the last one."""
        return self.saying.headline(metrics)

    def alarms(self, metrics: Mapping[str, float]) -> tuple[Alarm, ...]:
        """Warn when what changed is predicted no better than by copying the last frame."""
        return self.saying.alarms(metrics)

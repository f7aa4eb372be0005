"""Masked frame prediction: frame t from a quarter of itself, frame t+k from frame t and a twentieth of itself.

After masked autoencoders (He et al. 2022) and siamese masked autoencoders (Gupta et al. 2023). Targets are raw
pixels of ALL patches, not normalised per patch: on the flat images of a simulator, normalising amplifies noise,
and a small object is most of what varies.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from goalsight.base.errors import UserError
from goalsight.pretrain.data.clips import Batch
from goalsight.pretrain.data.format import PIXELS
from goalsight.pretrain.encoders.vit import VideoEncoder
from goalsight.pretrain.objectives.base import Alarm
from goalsight.pretrain.objectives.next_frame import copying, next_frame, next_frame_metrics, psnr
from goalsight.pretrain.objectives.siamese import Hiding, SiamesePrediction


@dataclass(frozen=True)
class Masked(Hiding):
    """Predict the pixels of hidden patches: of a frame from its rest, of a later frame from this one."""


class MaskedPrediction(SiamesePrediction):
    """The encoder with the decoder that trains it."""

    Options = Masked

    def __init__(self, encoder: VideoEncoder, options: Masked | None = None, *, seed: int = 0) -> None:
        """Wrap an encoder.

        Args:
            encoder: trained in place.
            options: what is hidden and the decoder's size.
            seed: of the decoder's weights.

        Raises:
            UserError: when the tokeniser's targets are codes.
        """
        if encoder.tokeniser.vocabulary is not None:
            raise UserError(
                f'masked predicts pixels, and the tokeniser "{encoder.config.tokeniser}" gives codes; choose another'
            )
        super().__init__(encoder, options or Masked(), size=encoder.tokeniser.target_size, seed=seed)

    def loss(self, batch: Batch, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        """Return the loss and what it is made of.

        Args:
            batch: pixels (B, 2, H, W, 3) uint8, frames t and t+k.
            generator: draws what is hidden.

        Returns:
            the mean squared error over all pixels of both tasks, on the scale of [0, 1] pixels, and metrics:
            PSNR of both tasks [dB], and of guessing that frame t+k looks like frame t, over all pixels and over
            those that changed.
        """
        seen = self.fill_in(batch, generator)
        now, later = (self.encoder.tokeniser.targets(pieces) for pieces in (seen.now, seen.later))
        error_now = (seen.rebuilt - now).square().mean()
        error_later = (seen.predicted - later).square()
        loss = error_now + error_later.mean()
        return loss, _metrics(loss, error_now, error_later, (now - later).square())

    def _decode(self, tokens: Tensor, memory: Tensor) -> Tensor:
        # The first guess is plain grey.
        return super()._decode(tokens, memory) + 0.5

    @torch.no_grad()
    def visualise(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Return what is seen, hidden, predicted and true, as named columns of (B, H, W, 3) uint8 frames."""
        seen, clip, frames = self.fill_in(batch, generator), batch[PIXELS], self.encoder.tokeniser.frames
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
        return next_frame(metrics)

    def alarms(self, metrics: Mapping[str, float]) -> tuple[Alarm, ...]:
        """Warn when what changed is predicted no better than by copying the last frame."""
        return copying(metrics)


@torch.no_grad()
def _metrics(loss: Tensor, error_now: Tensor, error_later: Tensor, copy_error: Tensor) -> dict[str, float]:
    parts = next_frame_metrics(loss, error_later, copy_error)
    return parts | {"pretrain/psnr_self": psnr(error_now)}

"""Masked features of an averaged teacher: hidden tokens of frame t and of frame t+k, as a slower self sees them.

After I-JEPA (Assran et al. 2023) and data2vec (Baevski et al. 2022): the teacher is a moving average of the encoder and
sees whole frames; its last features, normalised in each token and freed of what all frames share at its position, are
predicted by a narrow decoder where they are hidden. Nothing in the loss forbids features that are all the same; the
effective rank tells.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import smooth_l1_loss

from goalsight.pretrain.data.clips import Batch
from goalsight.pretrain.data.format import PIXELS
from goalsight.pretrain.encoders.vit import VideoEncoder
from goalsight.pretrain.masking import Hidden
from goalsight.pretrain.objectives.base import Alarm
from goalsight.pretrain.objectives.rank import effective_rank
from goalsight.pretrain.objectives.siamese import Hiding, SiamesePrediction
from goalsight.pretrain.objectives.teaching import Teaching, colours_of, targets

COLLAPSED = 0.1  # share of the width below which an effective rank means collapse


@dataclass(frozen=True)
class Latent(Teaching, Hiding):
    """Predict the features of hidden patches, as an averaged copy of the encoder (the teacher) sees them.

    Raises:
        UserError: when a momentum does not lie in [0, 1].
    """

    def __post_init__(self) -> None:
        """Refuse what is no average."""
        Teaching.__post_init__(self)
        Hiding.__post_init__(self)


class LatentPrediction(SiamesePrediction):
    """The encoder with its teacher and the decoder that predicts what the teacher sees."""

    Options = Latent
    options: Latent

    def __init__(self, encoder: VideoEncoder, options: Latent | None = None, *, seed: int = 0) -> None:
        """Wrap an encoder; the teacher starts as its copy.

        Args:
            encoder: trained in place.
            options: what is hidden, the decoder's size and the teacher's pace.
            seed: of the decoder's weights.
        """
        super().__init__(encoder, options or Latent(), size=encoder.config.width, seed=seed)
        self.teacher = copy.deepcopy(encoder).requires_grad_(False)

    def loss(self, batch: Batch, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        """Return the loss and what it is made of.

        Args:
            batch: pixels (B, 2, H, W, 3) uint8, frames t and t+k.
            generator: draws what is hidden.

        Returns:
            the smooth L1 distance between predicted features and the teacher's, over the hidden tokens of both tasks;
            and metrics: the mean squared errors of both tasks (1 is that of saying what all frames share), and of
            guessing that the features of frame t+k are those of frame t.
        """
        seen = self.fill_in(batch, generator)
        now, later = targets(self.teach(torch.cat([seen.now, seen.later]))).chunk(2)
        loss = hidden_mean(smooth_l1_loss(seen.rebuilt, now, reduction="none"), seen.hidden_now) + hidden_mean(
            smooth_l1_loss(seen.predicted, later, reduction="none"), seen.hidden_later
        )
        with torch.no_grad():
            parts = {
                "loss": float(loss),
                "error_self": float(hidden_mean((seen.rebuilt - now).square(), seen.hidden_now)),
                "error_next": float(hidden_mean((seen.predicted - later).square(), seen.hidden_later)),
                "error_copy": float(hidden_mean((now - later).square(), seen.hidden_later)),
            }
        return loss, {f"pretrain/{name}": value for name, value in parts.items()}

    def monitor(self, batch: Batch, generator: torch.Generator) -> dict[str, float]:
        """Return the effective rank of the teacher's features of all frames; nothing is drawn."""
        features = self.teach(self.encoder.embedding.cut(batch[PIXELS].flatten(0, 1)))
        return {"pretrain/effective_rank": effective_rank(features)}

    @torch.no_grad()
    def teach(self, pieces: Tensor) -> Tensor:
        """Return what the teacher sees in whole frames: pieces (B, tokens, P) -> (B, tokens, width) float32."""
        return self.teacher.encode(pieces).float()

    def after_step(self, spent: float) -> None:
        """Move the teacher towards the encoder."""
        self.options.follow(self.teacher, self.encoder, spent)

    @torch.no_grad()
    def visualise(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Return frames, and the features of frame t+k as colours: the teacher's first three principal components."""
        seen, clip = self.fill_in(batch, generator), batch[PIXELS]
        later = targets(self.teach(torch.cat([seen.now, seen.later]))).chunk(2)[1]
        colour = colours_of(later)
        return {
            "frame t": clip[:, 0],
            "visible of t": self.greyed(seen.now, seen.hidden_now),
            "visible of t+k": self.greyed(seen.later, seen.hidden_later),
            "t+k predicted": self.painted(colour(seen.predicted)),
            "t+k by teacher": self.painted(colour(later)),
            "t+k true": clip[:, 1],
        }

    def headline(self, metrics: Mapping[str, float]) -> str:
        """Say how well the next frame's features are predicted, beside copying, and in how many directions all vary."""
        return (
            f"hidden features of the next frame with an error of {metrics['error_next']:.2f} "
            f"(copying the last frame's: {metrics['error_copy']:.2f}, guessing: 1), "
            f"effective rank {metrics['effective_rank']:.1f} of {self.encoder.config.width}"
        )

    def alarms(self, metrics: Mapping[str, float]) -> tuple[Alarm, ...]:
        """Warn when the features have collapsed to a few directions, or nothing is said of what is hidden."""
        rank, width = metrics["effective_rank"], self.encoder.config.width
        found = []
        if rank < COLLAPSED * width:
            words = f"the features have collapsed: an effective rank of {rank:.1f}, their width is {width}"
            found.append(Alarm("collapse", words))
        if metrics["error_self"] >= 1:
            found.append(Alarm("unsaid", "of hidden features no more is said than where they lie"))
        return tuple(found)


def hidden_mean(errors: Tensor, hidden: Hidden) -> Tensor:
    """Return the mean error over hidden tokens: (B, tokens, D) -> ()."""
    return errors.mean(2)[hidden.mask].mean()

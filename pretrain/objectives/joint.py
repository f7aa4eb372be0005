"""Generative and discriminative at once: fill in what is hidden of two frames, and tell that they are of one moment.

After CAN (Mishra et al. 2022): both frames are seen once, with half of their tokens hidden, and what is seen serves
both parts. A decoder fills in the rest, of frame t+k with frame t before its eyes; and frame t+k is to be chosen for
frame t among those of other clips and later ones of the same (`contrastive`). The two must pull alike: an alarm tells
when one part's gradient is lost beside the other's.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from goalsight.base.options import check_positive
from goalsight.pretrain.data.clips import Batch, Clips
from goalsight.pretrain.data.format import PIXELS
from goalsight.pretrain.encoders.vit import VideoEncoder
from goalsight.pretrain.masking import Hidden, hide_tokens
from goalsight.pretrain.objectives.base import Alarm
from goalsight.pretrain.objectives.contrastive import Comparing, choose, chosen, placeless, places_told
from goalsight.pretrain.objectives.decoding import Decoding, DecodingObjective, put
from goalsight.pretrain.objectives.placed import Summary
from goalsight.pretrain.objectives.saying import saying

LEAST = 0.01  # of one part's gradient, that of the other


@dataclass(frozen=True)
class Joint(Comparing, Decoding):
    """Fill in half of two frames, and find the one that comes shortly after the other.

    Raises:
        UserError: when a number is not positive, or `hide` does not lie in (0, 1).
    """

    weight: float = 0.001
    """Of the contrast; that of filling in is 1."""

    def __post_init__(self) -> None:
        """Refuse what cannot be filled in or compared."""
        check_positive(self, "weight")
        Comparing.__post_init__(self)
        Decoding.__post_init__(self)


@dataclass(frozen=True)
class Halves:
    """Both parts of the loss, and what they come from.

    Attributes:
        pieces: (B, tokens, P) of frames t and t+k.
        looked: (B, K, width) what the encoder says of what is shown of both.
        said: (B, tokens, size) what frame t+k is filled in to.
        filling: () the error of filling in.
        telling: () the cross-entropy of finding each for the other [nats].
        metrics: of the latter, without prefix.
    """

    pieces: list[Tensor]
    looked: list[Tensor]
    said: Tensor
    filling: Tensor
    telling: Tensor
    metrics: dict[str, float]


class JointPrediction(DecodingObjective):
    """The encoder with a decoder, and with what turns its tokens into one direction for each frame."""

    Options = Joint
    whole_batch = True

    def __init__(self, encoder: VideoEncoder, options: Joint | None = None, *, seed: int = 0) -> None:
        """Wrap an encoder.

        Args:
            encoder: trained in place.
            options: what is hidden and compared, and the decoder's size.
            seed: of the weights that are its own.
        """
        self.options = options = options or Joint()
        self.saying = saying(encoder.tokeniser)
        super().__init__(encoder, options, size=self.saying.size, marks=2, seed=seed)  # frame t, and frame t+k
        sizes = {"token_features": options.token_features, "features": options.features}
        self.summary = Summary(encoder, **sizes, seed=seed + 2)

    def reads(self, max_gap: int) -> Clips:
        """Return frames (t, t+k) with k at most `near`, and later ones, each at least `max_gap` further on."""
        return self.options.clips(max_gap)

    def fill_in(self, looked: list[Tensor], hidden: list[Hidden]) -> list[Tensor]:
        """Say what frames t and t+k are, all over.

        Args:
            looked: what was seen of each, (B, K, width).
            hidden: what was not.

        Returns:
            of each what is said, (B, tokens, size).
        """
        pairs = zip(looked, hidden, self.frame_mark, strict=True)
        now, later = (self.remember(tokens, one.visible) + mark for tokens, one, mark in pairs)
        blank = self.blanks(len(now))
        rebuilt = self.decode(put(now, hidden[0], blank), now)
        return [rebuilt, self.decode(put(later, hidden[1], blank), torch.cat([now, later], 1))]

    def decode(self, tokens: Tensor, memory: Tensor) -> Tensor:
        """Say what each token is, starting from grey, or from all codes alike."""
        return super().decode(tokens, memory) + self.saying.first

    def directions(self, pieces: Tensor) -> Tensor:
        """Return what frames are compared by, nothing hidden: (B, tokens, P) -> (B, features), each of length 1."""
        return normalize(self.summary(self.encoder, pieces), dim=1)

    def halves(self, clip: Tensor, generator: torch.Generator) -> Halves:
        """Look once at frames (B, 2 + negatives, H, W, 3), of which half of the tokens are hidden, for both parts."""
        pieces = [self.encoder.embedding.cut(frames) for frames in clip.unbind(1)]
        hidden = [hide_tokens(len(clip), self.encoder.tokens, self.options.hide, generator) for _ in pieces]
        looked = [self.encoder.encode(*one) for one in zip(pieces, (one.visible for one in hidden), strict=True)]
        said = self.fill_in(looked[:2], hidden[:2])
        errors = [self.saying.errors(*one).mean() for one in zip(said, pieces[:2], strict=True)]
        found = [self.summary.of(tokens, one.visible) for tokens, one in zip(looked, hidden, strict=True)]
        now, later, *rest = (normalize(vectors, dim=1) for vectors in found)
        telling, metrics = choose(now, later, rest, self.options.temperature)
        return Halves(pieces[:2], looked[:2], said[1], torch.stack(errors).sum(), telling, metrics)

    def loss(self, batch: Batch, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        """Return the loss and what it is made of.

        Args:
            batch: pixels (B, 2 + negatives, H, W, 3) uint8.
            generator: draws what is hidden.

        Returns:
            the error of filling in frames t and t+k, over all their tokens, plus `weight` times the cross-entropy of
            finding each for the other [nats]; and metrics as of both halves.
        """
        halves = self.halves(batch[PIXELS], generator)
        loss = halves.filling + self.options.weight * halves.telling
        parts = halves.metrics | {
            "loss_filling": float(halves.filling.detach()),
            "loss_telling": float(halves.telling.detach()),
        }
        del parts["loss"]  # that of the contrast alone
        metrics = self.saying.metrics(loss, halves.said, *halves.pieces)
        return loss, metrics | {f"pretrain/{name}": value for name, value in parts.items()}

    @torch.enable_grad()
    def monitor(self, batch: Batch, generator: torch.Generator) -> dict[str, float]:
        """Return whether places are told, and how strongly each half pulls.

        Args:
            batch: pixels (B, 2 + negatives, H, W, 3) uint8.
            generator: draws what is hidden, and where squares lie.

        Returns:
            the norms of both parts' gradients with respect to what the encoder says of frames t and t+k; and the share
            of pairs told apart that differ in a square's place alone.
        """
        clip = batch[PIXELS]
        halves = self.halves(clip, generator)
        return {
            "pretrain/gradient_filling": _norm(halves.filling, halves.looked),
            "pretrain/gradient_telling": self.options.weight * _norm(halves.telling, halves.looked),
            "pretrain/places_told": places_told(self.directions, self.encoder.embedding.cut, clip, generator),
        }

    @torch.no_grad()
    def visualise(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Return frames t and t+k, what was seen of each and what it is filled in to, and which is chosen for t."""
        clip = batch[PIXELS]
        frames = clip.transpose(0, 1)
        pieces = [self.encoder.embedding.cut(one) for one in frames]
        hidden = [hide_tokens(len(clip), self.encoder.tokens, self.options.hide, generator) for _ in range(2)]
        looked = [self.encoder.encode(*one) for one in zip(pieces[:2], (one.visible for one in hidden), strict=True)]
        now, *others = (self.directions(one) for one in pieces)
        first = (now @ torch.cat(others).T).argmax(1)
        columns: dict[str, Tensor] = {}
        for name, frame, one, of_one, said in zip(
            ("t", "t+k"), frames[:2], pieces[:2], hidden, self.fill_in(looked, hidden), strict=True
        ):
            filled = self.saying.frames(said)
            columns |= {
                f"frame {name}": frame,
                f"visible of {name}": self.greyed(one, of_one),
                f"{name} filled": filled,
            }
        return columns | {"chosen for t": frames[1:].flatten(0, 1)[first]}

    def headline(self, metrics: Mapping[str, float]) -> str:
        """Say how well frames are filled in and found."""
        return f"{self.saying.headline(metrics)}; {chosen(metrics)}"

    def alarms(self, metrics: Mapping[str, float]) -> tuple[Alarm, ...]:
        """Warn when one part's gradient is lost beside the other's, or one of the parts has failed."""
        filling, telling = metrics.get("gradient_filling", 0.0), metrics.get("gradient_telling", 0.0)
        found = []
        if min(filling, telling) < LEAST * max(filling, telling):
            weak, strong = ("contrast", "filling in") if telling < filling else ("filling in", "contrast")
            ratio = min(filling, telling) / max(filling, telling)
            found.append(Alarm("imbalance", f"the gradient of the {weak} is {ratio:.4f} of that of the {strong}"))
        return *found, *self.saying.alarms(metrics), *placeless(metrics)


def _norm(part: Tensor, looked: list[Tensor]) -> float:
    """Return the norm of the gradient of a part of the loss with respect to tokens, (B, K, width) each."""
    gradients = torch.autograd.grad(part, looked, retain_graph=True)
    return float(torch.stack([gradient.float().norm() for gradient in gradients]).norm())

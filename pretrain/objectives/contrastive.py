"""Contrast in time: which of many frames comes shortly after this one?

After time-contrastive networks (Sermanet et al. 2018) and R3M (Nair et al. 2022), by the loss of SimCLR (Chen et al.
2020): two frames near in time are one scene, all others of the batch are not. Frames of the same video are among those,
so that to tell videos apart is not enough. What is compared reads each token by weights of its own place, because a
mean over tokens would throw away where things are.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from goalsight.base.distributed import gather_rows, group
from goalsight.base.errors import UserError
from goalsight.base.options import check_positive
from goalsight.pretrain.data.clips import Batch, Clips
from goalsight.pretrain.data.format import PIXELS
from goalsight.pretrain.encoders.vit import VideoEncoder
from goalsight.pretrain.objectives.base import Alarm, Objective
from goalsight.pretrain.objectives.placed import TOLD, Summary, squares


@dataclass(frozen=True)
class Comparing:
    """What is compared with what.

    Raises:
        UserError: when a number is not positive, or `hide` does not lie in (0, 1).
    """

    near: int = 3
    """The frame to be found comes at most so many frames later."""
    negatives: int = 2
    """Frames of the same video that are not to be taken for it, each at least `--max-gap` frames further on."""
    hide: float = 0.5
    """Share of the tokens hidden from each look, so that no single one decides."""
    temperature: float = 0.1
    """By which similarities, in [-1, 1], are divided."""
    features: int = 128
    """Numbers that are compared."""
    token_features: int = 16
    """Numbers of each token that they are made from."""

    def __post_init__(self) -> None:
        """Refuse what cannot be compared."""
        check_positive(self, "near", "negatives", "temperature", "features", "token_features")
        if not 0 < self.hide < 1:
            raise UserError(f"hide must lie in (0, 1), got {self.hide}")

    def clips(self, max_gap: int) -> Clips:
        """Return frames (t, t+k) with k at most `near`, and later ones, each at least `max_gap` further on."""
        gaps = ((1, self.near), *((max_gap, 2 * max_gap),) * self.negatives)
        return Clips(gaps=gaps, less="--max-gap")


@dataclass(frozen=True)
class Contrastive(Comparing):
    """Find the frame that comes shortly after this one, among those of other clips and later ones of the same."""


class Contrast(Objective):
    """The encoder with what turns its tokens into one direction for each frame."""

    Options = Contrastive
    whole_batch = True

    def __init__(self, encoder: VideoEncoder, options: Contrastive | None = None, *, seed: int = 0) -> None:
        """Wrap an encoder.

        Args:
            encoder: trained in place.
            options: what is compared with what.
            seed: of the weights that are its own.
        """
        super().__init__(encoder)
        self.options = options = options or Contrastive()
        self.summary = Summary(encoder, token_features=options.token_features, features=options.features, seed=seed + 1)

    def reads(self, max_gap: int) -> Clips:
        """Return frames (t, t+k) with k at most `near`, and later ones, each at least `max_gap` further on."""
        return self.options.clips(max_gap)

    def directions(self, pieces: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return what frames are compared by.

        Args:
            pieces: (B, tokens, P).
            generator: draws the tokens that are hidden; none are unless given.

        Returns:
            (B, features) float32, each of length 1.
        """
        return normalize(self.summary(self.encoder, pieces, self.options.hide, generator), dim=1)

    def loss(self, batch: Batch, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        """Return the loss and what it is made of.

        Args:
            batch: pixels (B, 2 + negatives, H, W, 3) uint8.
            generator: draws what is hidden.

        Returns:
            the cross-entropy of choosing frame t+k from frame t and frame t from frame t+k [nats], mean of both, among
            the B frames of all clips and their B x negatives later ones; and metrics: that of guessing, the share of
            frames t+k that are the first choice, and the share that lie nearer than any later frame of their own video.
        """
        clip = batch[PIXELS]
        pieces = self.encoder.embedding.cut(clip.transpose(0, 1).flatten(0, 1))
        now, later, *rest = self.directions(pieces, generator).split(len(clip))
        loss, parts = choose(now, later, rest, self.options.temperature)
        return loss, {f"pretrain/{name}": value for name, value in parts.items()}

    def monitor(self, batch: Batch, generator: torch.Generator) -> dict[str, float]:
        """Return the share of pairs told apart that differ in a square's place alone; where it lies is drawn."""
        return {"pretrain/places_told": self.places_told(batch[PIXELS], generator)}

    def places_told(self, clip: Tensor, generator: torch.Generator) -> float:
        """Return how often the place of an object decides, as of `places_told`."""
        return places_told(self.directions, self.encoder.embedding.cut, clip, generator)

    @torch.no_grad()
    def visualise(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Return frames t and t+k, which of all candidates is chosen for t, and the later ones of the same video."""
        frames = batch[PIXELS].transpose(0, 1)
        now, *others = (self.directions(self.encoder.embedding.cut(one)) for one in frames)
        chosen = (now @ torch.cat(others).T).argmax(1)
        columns = {"frame t": frames[0], "chosen": frames[1:].flatten(0, 1)[chosen], "t+k": frames[1]}
        return columns | {f"later {number}": frame for number, frame in enumerate(frames[2:], 1)}

    def headline(self, metrics: Mapping[str, float]) -> str:
        """Say how often the right frame is chosen, and whether the place of an object decides."""
        return chosen(metrics)

    def alarms(self, metrics: Mapping[str, float]) -> tuple[Alarm, ...]:
        """Warn when frames that differ in an object's place alone are not told apart."""
        return placeless(metrics)


def choose(now: Tensor, later: Tensor, rest: Sequence[Tensor], temperature: float) -> tuple[Tensor, dict[str, float]]:
    """Compare frames, those of all processes with each other.

    Args:
        now: directions of frames t, (B, D).
        later: those of frames t+k.
        rest: those of later frames of the same videos.
        temperature: by which similarities are divided.

    Returns:
        the cross-entropy of choosing frame t+k from frame t and frame t from frame t+k, mean of both [nats]; and it,
        that of guessing, the share of frames t+k that are the first choice, and the share that lie nearer than any
        later frame of their own video.
    """
    now, later, *rest = map(gather_rows, (now, later, *rest))

    def alike(anchors: Tensor, first: Tensor) -> Tensor:
        return anchors @ torch.cat([first, *rest]).T / temperature

    right = torch.arange(len(now), device=now.device)
    ahead, back = alike(now, later), alike(later, now)  # (B, B + later frames)
    loss = (cross_entropy(ahead, right) + cross_entropy(back, right)) / 2
    with torch.no_grad():
        own = torch.stack([(now * other).sum(1) for other in (later, *rest)])  # (1 + later frames, B)
        parts = {
            "loss": float(loss),
            "loss_guessing": math.log(ahead.shape[1]),
            "found": float((ahead.argmax(1) == right).float().mean()),
            "found_in_own": float((own[0] > own[1:].amax(0)).float().mean()),
        }
    # Gradients reach the rows of this process alone, and its share of the batch is what they will be weighed by.
    return loss + (group().size - 1) * (loss - loss.detach()), parts


@torch.no_grad()
def places_told(
    directions: Callable[[Tensor], Tensor], cut: Callable[[Tensor], Tensor], clip: Tensor, generator: torch.Generator
) -> float:
    """Return how often the place of an object decides, where nothing else does.

    A square of one colour is put into frame t, and into frame t+k once at the same place and once at another. It is
    told apart where the first is nearer to frame t.

    Args:
        directions: pieces (B, tokens, P) -> (B, D), each of length 1.
        cut: frames (B, H, W, 3) -> pieces.
        clip: (B, 2 or more, H, W, 3) uint8.
        generator: draws places and colours.
    """
    frames = squares(clip[:, 0], clip[:, 1], generator)
    now, same, moved = directions(cut(torch.cat(frames))).chunk(3)
    return float(((now * same).sum(1) > (now * moved).sum(1)).float().mean())


def chosen(metrics: Mapping[str, float]) -> str:
    """Say how often the right frame is chosen, and whether the place of an object decides."""
    among = round(math.exp(metrics["loss_guessing"]))
    return (
        f"the next frame is chosen among {among} in {metrics['found']:.0%} of cases, among those of its own "
        f"video in {metrics['found_in_own']:.0%}; an object's place alone decides in {metrics['places_told']:.0%}"
    )


def placeless(metrics: Mapping[str, float]) -> tuple[Alarm, ...]:
    """Warn when frames that differ in an object's place alone are not told apart."""
    told = metrics["places_told"]
    if told >= TOLD:
        return ()
    words = f"of frames that differ in an object's place alone {told:.0%} are told apart, where 50% is chance"
    return (Alarm("placeless", words),)

"""Time as distance: how many steps is it from this frame to that one?

The goal-conditioned value of HILP (Park et al. 2024) and GCIVL (Park et al. 2023), learnt from video without actions:
minus the distance of two frames' vectors is the value of the one where the other is the goal, each step costs 1 and is
discounted. It is learnt by expectile regression on the next frame's value, as of a slower self (Kostrikov et al. 2022),
so that it is the value of the quickest way that the video knows, and not of the one that was taken.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from goalsight.base.errors import UserError
from goalsight.base.options import check_positive
from goalsight.pretrain.data.clips import Batch, Clips
from goalsight.pretrain.data.format import PIXELS
from goalsight.pretrain.encoders.vit import VideoEncoder
from goalsight.pretrain.objectives.base import Alarm, Objective
from goalsight.pretrain.objectives.placed import TOLD, Summary, squares

RANKED = 0.6  # least rank correlation of values and true steps
SMALL = 1e-6  # added to squared distances, whose root has no gradient at zero
BAR = 16  # of a frame's height, that of the bar which shows a distance: one to so many


@dataclass(frozen=True)
class Temporal:
    """Learn how many steps lie between two frames.

    Raises:
        UserError: when a number is not positive, or a share does not lie in (0, 1).
    """

    discount: float = 0.98
    """Of each further step."""
    expectile: float = 0.9
    """Above 0.5 ways count that are quicker than the one taken; 0.5 is the mean."""
    momentum: float = 0.99
    """Share of the slower self that each step leaves as it is."""
    features: int = 32
    """Numbers of a frame between which distances are taken."""
    token_features: int = 16
    """Numbers of each token that they are made from."""

    def __post_init__(self) -> None:
        """Refuse what is no value."""
        check_positive(self, "features", "token_features")
        for name in ("discount", "expectile", "momentum"):
            if not 0 < getattr(self, name) < 1:
                raise UserError(f"{name} must lie in (0, 1), got {getattr(self, name)}")


class TemporalDistance(Objective):
    """The encoder with what places its frames, and a slower self of both."""

    Options = Temporal

    def __init__(self, encoder: VideoEncoder, options: Temporal | None = None, *, seed: int = 0) -> None:
        """Wrap an encoder; the slower self starts as its copy.

        Args:
            encoder: trained in place.
            options: what a value is.
            seed: of the weights that are its own.
        """
        super().__init__(encoder)
        self.options = options = options or Temporal()
        sizes = {"token_features": options.token_features, "features": options.features}
        self.summary = Summary(encoder, **sizes, seed=seed + 1)
        self.slower = copy.deepcopy(nn.ModuleList([encoder, self.summary])).requires_grad_(False)

    def reads(self, max_gap: int) -> Clips:
        """Return frames t and t+1 and three goals; of the last steps to each other, the largest is `max_gap`."""
        gaps = (1, max(1, max_gap // 4), max(1, max_gap // 2), max_gap)
        return Clips(gaps=tuple((gap, gap) for gap in gaps), less="--max-gap")

    def place(self, frames: Tensor) -> Tensor:
        """Place frames where minus their distance is a value: (B, H, W, 3) uint8 -> (B, features) float32."""
        found: Tensor = self.summary(self.encoder, self.encoder.embedding.cut(frames))
        return found

    def loss(self, batch: Batch, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        """Return the loss and what it is made of.

        Args:
            batch: pixels (B, 5, H, W, 3) uint8.
            generator: not used.

        Returns:
            the expectile loss of the values of frame t, over the clip's later frames and a later frame of another clip
            as goals; and metrics: the rank correlation of values and true steps, the mean over the clips, and the
            distance of another clip's frame [discounted steps].
        """
        clip = batch[PIXELS]
        frames = clip.transpose(0, 1).flatten(0, 1)
        placed = self.place(frames).unflatten(0, (-1, len(clip)))  # (5, B, features)
        with torch.no_grad():
            encoder, summary = self.slower
            slower = summary(encoder, self.encoder.embedding.cut(frames)).unflatten(0, (-1, len(clip)))
            ahead = distances(slower[1], _with_another(slower[1:]))
            target = -1 - self.options.discount * ahead
        value = -distances(placed[0], _with_another(placed[1:]))  # (5, B)
        surplus = target - value
        weight = torch.where(surplus > 0, self.options.expectile, 1 - self.options.expectile)
        loss = (weight * surplus.square()).mean()
        parts = {
            "loss": float(loss.detach()),
            "rank_correlation": float(rank_correlation(-value.detach()[:-1].T)),
            "distance_other": float(-value.detach()[-1].mean()),
        }
        return loss, {f"pretrain/{name}": number for name, number in parts.items()}

    def monitor(self, batch: Batch, generator: torch.Generator) -> dict[str, float]:
        """Return the share of pairs told apart that differ in a square's place alone; where it lies is drawn."""
        return {"pretrain/places_told": self.places_told(batch[PIXELS], generator)}

    @torch.no_grad()
    def places_told(self, clip: Tensor, generator: torch.Generator) -> float:
        """Return how often a goal is farther where an object lies elsewhere, and nothing else differs.

        Args:
            clip: (B, 2 or more, H, W, 3) uint8.
            generator: draws places and colours.
        """
        frames = torch.cat(squares(clip[:, 0], clip[:, -1], generator))
        now, same, moved = self.place(frames).chunk(3)
        nearer, farther = distances(now, torch.stack([same, moved]))
        return float((nearer < farther).float().mean())

    @torch.no_grad()
    def after_step(self, spent: float) -> None:
        """Move the slower self towards the encoder: slower <- m slower + (1 - m) encoder."""
        torch._foreach_lerp_(
            list(self.slower.parameters()),
            [*self.encoder.parameters(), *self.summary.parameters()],
            1 - self.options.momentum,
        )

    @torch.no_grad()
    def visualise(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Return frame t and its goals, each with a bar whose length is its distance, as a share of the longest."""
        clip = batch[PIXELS]
        frames = clip.transpose(0, 1)
        goals = _with_another(frames[1:])
        far = distances(self.place(frames[0]), torch.stack([self.place(one) for one in goals]))
        names = ["t+1", *(f"later {number}" for number in range(1, len(goals) - 1)), "another clip's"]
        return {"frame t": frames[0]} | {
            name: _with_bar(goal, share) for name, goal, share in zip(names, goals, far / far.amax(), strict=True)
        }

    def headline(self, metrics: Mapping[str, float]) -> str:
        """Say whether values follow time, and whether the place of an object decides."""
        return (
            f"values follow true steps with a rank correlation of {metrics['rank_correlation']:.2f}; "
            f"an object's place alone decides in {metrics['places_told']:.0%}"
        )

    def alarms(self, metrics: Mapping[str, float]) -> tuple[Alarm, ...]:
        """Warn when values do not follow time, or are blind to an object that lies elsewhere."""
        found = []
        if metrics["rank_correlation"] < RANKED:
            correlation = f"{metrics['rank_correlation']:.2f}"
            words = f"values do not follow time: their rank correlation with true steps is {correlation}"
            found.append(Alarm("timeless", words))
        if metrics["places_told"] < TOLD:
            told = f"{metrics['places_told']:.0%}"
            words = (
                f"values are blind to an object: where nothing but its place differs {told} are right, 50% is chance"
            )
            found.append(Alarm("blind", words))
        return tuple(found)


def distances(one: Tensor, others: Tensor) -> Tensor:
    """Return the distances of vectors (B, D) from others (G, B, D), as (G, B)."""
    return ((one - others).square().sum(-1) + SMALL).sqrt()


def rank_correlation(values: Tensor) -> Tensor:
    """Return Spearman's rank correlation of rows of values (B, K) with 1 to K, the mean over the rows; () in [-1, 1].

    Values that are equal are ranked as they come.
    """
    count = values.shape[1]
    ranks = values.argsort(1).argsort(1)
    apart = (ranks - torch.arange(count, device=values.device)).square().sum(1).float()
    return (1 - 6 * apart / (count * (count**2 - 1))).mean()


def _with_another(goals: Tensor) -> Tensor:
    """Add to goals (G, B, ...) the last ones of the clips before: (G + 1, B, ...); a single clip gets its own again."""
    return torch.cat([goals, goals[-1:].roll(1, 1)])


def _with_bar(frames: Tensor, shares: Tensor) -> Tensor:
    """Frames (B, H, W, 3) uint8 with a yellow bar below, as long as shares (B,) of the width say."""
    _, height, width, _ = frames.shape
    long = torch.arange(width, device=frames.device) < (shares * width)[:, None]  # (B, W)
    low = torch.arange(height, device=frames.device) >= height - max(1, height // BAR)
    yellow = torch.tensor([255, 210, 0], dtype=torch.uint8, device=frames.device)
    return torch.where((low[:, None] & long[:, None])[..., None], yellow, frames)

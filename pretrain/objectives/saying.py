"""What a model says of tokens, right and wrong: the values of their pixels, or a score for each code."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from goalsight.pretrain.objectives.base import Alarm
from goalsight.pretrain.objectives.next_frame import changed, copying, next_frame, next_frame_metrics
from goalsight.pretrain.tokenisers.base import Tokeniser

LEAST_CHANGED = 1e-4  # share of codes that are taken to change, at least, by who copies


class Saying(ABC):
    """Says something of every token, and measures it.

    Attributes:
        size: numbers said of a token.
        first: what each number is before anything is learnt.
    """

    size: int
    first: float

    def __init__(self, tokeniser: Tokeniser) -> None:
        self.tokeniser = tokeniser

    @abstractmethod
    def errors(self, said: Tensor, pieces: Tensor) -> Tensor:
        """Return what is minimised: (B, N, size), pieces (B, N, P) -> (B, N), a mean over each token."""

    @abstractmethod
    def moved(self, now: Tensor, later: Tensor) -> Tensor:
        """Return which tokens changed: pieces (B, N, P) of two frames -> (B, N) bool."""

    @abstractmethod
    def frames(self, said: Tensor) -> Tensor:
        """Return what was said as frames: (B, tokens, size) -> (B, H, W, 3) uint8."""

    @abstractmethod
    def metrics(self, loss: Tensor, said: Tensor, now: Tensor, later: Tensor) -> dict[str, float]:
        """Return metrics of what is said of a later frame, beside those of copying this one.

        Args:
            loss: of the objective.
            said: of the later frame, (B, N, size).
            now: pieces of this frame (B, N, P).
            later: those of the later one.
        """

    @abstractmethod
    def headline(self, metrics: Mapping[str, float]) -> str:
        """Say how well the later frame is predicted, beside copying."""

    @abstractmethod
    def alarms(self, metrics: Mapping[str, float]) -> tuple[Alarm, ...]:
        """Warn when what changed is predicted no better than by copying."""


def weighed(errors: Tensor, moved: Tensor, still: float) -> Tensor:
    """Return the mean of the errors of tokens, (B, N); those that have not moved, (B, N) bool, count `still` each."""
    weight = torch.where(moved, 1.0, still)
    return (weight * errors).sum() / weight.sum()


class Pixels(Saying):
    """Values in [0, 1], by their squared error."""

    first = 0.5  # plain grey

    def __init__(self, tokeniser: Tokeniser) -> None:
        super().__init__(tokeniser)
        self.size = tokeniser.target_size

    def errors(self, said: Tensor, pieces: Tensor) -> Tensor:
        """Return the mean squared error of each token."""
        return (said - self.tokeniser.targets(pieces)).square().mean(2)

    def moved(self, now: Tensor, later: Tensor) -> Tensor:
        """Return which tokens have a pixel that changed."""
        difference = self.tokeniser.targets(now) - self.tokeniser.targets(later)
        return changed(difference.square().unflatten(2, (-1, 3))).flatten(2).any(2)

    def frames(self, said: Tensor) -> Tensor:
        """Return what was said, clipped and rounded."""
        return self.tokeniser.frames(said)

    @torch.no_grad()
    def metrics(self, loss: Tensor, said: Tensor, now: Tensor, later: Tensor) -> dict[str, float]:
        """Return PSNR [dB] over all pixels and over those that changed, of what was said and of copying."""
        before, after = self.tokeniser.targets(now), self.tokeniser.targets(later)
        return next_frame_metrics(loss, (said - after).square(), (before - after).square())

    def headline(self, metrics: Mapping[str, float]) -> str:
        """Say so in decibels."""
        return next_frame(metrics)

    def alarms(self, metrics: Mapping[str, float]) -> tuple[Alarm, ...]:
        """Warn in decibels."""
        return copying(metrics)


class Codes(Saying):
    """A score for each code, by the cross-entropy of the right one."""

    first = 0.0  # all codes alike

    def __init__(self, tokeniser: Tokeniser) -> None:
        super().__init__(tokeniser)
        assert tokeniser.vocabulary is not None
        self.size = tokeniser.vocabulary

    def errors(self, said: Tensor, pieces: Tensor) -> Tensor:
        """Return the cross-entropy of each token [nats]."""
        return cross_entropy(said.transpose(1, 2), self.tokeniser.targets(pieces), reduction="none")

    def moved(self, now: Tensor, later: Tensor) -> Tensor:
        """Return which tokens have another code."""
        return self.tokeniser.targets(now) != self.tokeniser.targets(later)

    def frames(self, said: Tensor) -> Tensor:
        """Return what the likeliest codes stand for."""
        return self.tokeniser.frames(said.argmax(2))

    @torch.no_grad()
    def metrics(self, loss: Tensor, said: Tensor, now: Tensor, later: Tensor) -> dict[str, float]:
        """Return bits per token, and per token that changed, of what was said and of copying.

        Who copies knows how many tokens change, takes each to do so with that probability, and any other code to be as
        likely as the next.
        """
        moved = self.moved(now, later)
        share = float(moved.float().mean())
        parts = {"loss": float(loss), "changed_share": share}
        if share > 0:
            bits = self.errors(said, later) / math.log(2)
            known = max(share, LEAST_CHANGED)
            copied = math.log2((self.size - 1) / known)
            stays = -math.log2(1 - known) if known < 1 else 0.0
            parts |= {
                "bits_next": float(bits.mean()),
                "bits_copy": share * copied + (1 - share) * stays,
                "bits_next_changed": float(bits[moved].mean()),
                "bits_copy_changed": copied,
            }
        return {f"pretrain/{name}": value for name, value in parts.items()}

    def headline(self, metrics: Mapping[str, float]) -> str:
        """Say so in bits."""
        if "bits_next" not in metrics:
            return "no code changes in these clips"
        return (
            f"next frame {metrics['bits_next']:.2f} bits per token (copying: {metrics['bits_copy']:.2f}), where it "
            f"changed {metrics['bits_next_changed']:.1f} (copying: {metrics['bits_copy_changed']:.1f})"
        )

    def alarms(self, metrics: Mapping[str, float]) -> tuple[Alarm, ...]:
        """Warn in bits."""
        said, copied = metrics.get("bits_next_changed"), metrics.get("bits_copy_changed")
        if said is None or copied is None or said < copied:
            return ()
        words = f"what changes in the next frame takes {said:.1f} bits per token, no fewer than copying ({copied:.1f})"
        return (Alarm("copying", words),)


def saying(tokeniser: Tokeniser) -> Saying:
    """Return what can be said of a tokeniser's tokens."""
    return Pixels(tokeniser) if tokeniser.vocabulary is None else Codes(tokeniser)

"""A teacher: a copy of what learns that follows it slowly."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm

from goalsight.base.options import check_share

ALIKE = 1e-2  # what is left of targets that differ by rounding alone is not made large


@dataclass(frozen=True)
class Teaching:
    """The pace at which a teacher follows.

    Raises:
        UserError: when a momentum does not lie in [0, 1].
    """

    momentum: float = 0.99
    """Share of the teacher that each step leaves as it is, at the start."""
    last_momentum: float = 0.9995
    """The same at the end; in between it rises in proportion to the budget that is spent."""

    def __post_init__(self) -> None:
        """Refuse what is no average."""
        check_share(self, "momentum", "last_momentum")

    @torch.no_grad()
    def follow(self, teacher: nn.Module, learner: nn.Module, spent: float) -> None:
        """Move a teacher towards whom it is a copy of: teacher <- m teacher + (1 - m) learner.

        Args:
            teacher: moved in place.
            learner: has the same weights, trained.
            spent: share of the budget that is spent.
        """
        momentum = self.momentum + (self.last_momentum - self.momentum) * min(spent, 1.0)
        torch._foreach_lerp_(list(teacher.parameters()), list(learner.parameters()), 1 - momentum)


def targets(features: Tensor, there: Tensor | None = None) -> Tensor:
    """Return what is to be said of a teacher's features: what each token shows, and not where it lies.

    Each token is normalised to zero mean and unit variance. Then the mean over the batch at each position is taken
    away, and the rest is scaled: 1 is the mean squared error of whoever says nothing but that mean. Without this most
    of what is to be said is the position, which a fixed camera makes certain (data2vec 2.0 normalises over a sequence
    for the same end).

    Args:
        features: (B, T, D).
        there: (B, T) bool, which tokens count; all unless given.

    Returns:
        (B, T, D); zero where nothing is.
    """
    normal = layer_norm(features, features.shape[-1:])
    counts = normal.new_ones(normal.shape[:2]) if there is None else there.to(normal.dtype)
    counts = counts.unsqueeze(2)
    mean = (counts * normal).sum(0) / counts.sum(0).clamp_min(1)
    rest = counts * (normal - mean)
    square = rest.square().mean(2).sum() / counts.sum().clamp_min(1)
    return rest / square.sqrt().clamp_min(ALIKE)


def colours_of(features: Tensor) -> Callable[[Tensor], Tensor]:
    """Return a map from features (B, tokens, D) to colours in [0, 1]: three principal components of `features`."""
    rows = features.flatten(0, 1)
    mean = rows.mean(0)
    variances, vectors = torch.linalg.eigh((rows - mean).T @ (rows - mean) / len(rows))  # ascending
    basis = vectors[:, -3:].flip(1) / (4 * variances[-3:].flip(0).clamp_min(1e-12).sqrt())  # +-2 deviations
    return lambda others: (others - mean) @ basis + 0.5

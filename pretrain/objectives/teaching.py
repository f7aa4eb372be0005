"""A teacher: a copy of what learns that follows it slowly."""

from dataclasses import dataclass

import torch
from torch import nn

from goalsight.base.options import check_share


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

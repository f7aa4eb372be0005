"""How long to train: until the first of several budgets is spent."""

import math
from dataclasses import dataclass

from goalsight.base.errors import UserError


@dataclass(frozen=True)
class Budget:
    """Limits of which the first that is reached ends the training; None is no limit.

    Raises:
        UserError: when no limit is given, or one is not positive.
    """

    seconds: float | None = None  # wall-clock [s]
    steps: int | None = None  # training steps
    flops: float | None = None  # floating-point operations, all that the objective does

    def __post_init__(self) -> None:
        """Refuse budgets that cannot end."""
        given = {name: value for name, value in vars(self).items() if value is not None}
        if not given:
            raise UserError("give a budget: seconds, steps or flops")
        for name, value in given.items():
            if not (value > 0 and math.isfinite(value)):
                raise UserError(f"the budget in {name} must be positive, got {value}")

    def spent(self, *, seconds: float, steps: int, flops: float) -> float:
        """Return the spent share of the budget that is nearest its end; 1 or more means stop."""
        used = ((seconds, self.seconds), (steps, self.steps), (flops, self.flops))
        return max(done / limit for done, limit in used if limit is not None)


def learning_rate(spent: float, peak: float, *, warmup: float = 0.05) -> float:
    """Return the learning rate after a share of the budget: a linear rise, then half a cosine to zero.

    Args:
        spent: share of the budget, in [0, 1].
        peak: the largest learning rate.
        warmup: share of the budget in which it is reached.
    """
    if spent < warmup:
        return peak * spent / warmup
    return peak * (1 + math.cos(math.pi * min(1.0, (spent - warmup) / (1 - warmup)))) / 2

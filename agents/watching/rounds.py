"""The rounds of watching that a training has gone through, before any step of trial."""

from collections.abc import Iterable
from typing import Any

SUCCESS, STEPS = "success", "env_steps"


class Rounds:
    """What each round measured: env steps until then, how well it read, and success once that has been judged.

    Args:
        measured: of each, in order.
    """

    def __init__(self, measured: Iterable[dict[str, Any]] = ()) -> None:
        self.measured = list(measured)

    def __bool__(self) -> bool:
        """Whether there has been any."""
        return bool(self.measured)

    @property
    def env_steps(self) -> int:
        """Env steps that all of them took."""
        return int(self.measured[-1][STEPS]) if self.measured else 0

    @property
    def last(self) -> float | None:
        """Success of the last one; None where it has not been judged."""
        return self.measured[-1].get(SUCCESS) if self.measured else None

    @property
    def best(self) -> float | None:
        """The highest success of those that have been judged; None where none has been."""
        return max((one[SUCCESS] for one in self.measured if SUCCESS in one), default=None)

    def awaits_judgement(self, steps: int) -> bool:
        """Whether no step of trial has been taken, and what the last round came to is still to be judged."""
        return bool(self) and steps == self.env_steps and self.last is None

    def judge(self, steps: int, success: float) -> None:
        """Note how much was reached with what the last round taught, where no step of trial has been taken."""
        if self.awaits_judgement(steps):
            self.measured[-1][SUCCESS] = success

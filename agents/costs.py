"""What a training run costs: seconds and floating-point operations, stage by stage."""

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from goalsight.base.flops import count_flops
from goalsight.base.training_state import State

# Stages that more than one kind of training has.
CALIBRATING, LEARNING, EVALUATING, SAVING = "calibrating", "learning", "evaluating", "saving"
COUNTED = 12  # of the calls of a kind: a multiple of the usual periods in which algorithms skip a part of their work
Result = TypeVar("Result")


class Costs:
    """Seconds and operations by stage.

    Stages that go on beside each other are each counted in full, so that their seconds add up to more than the clock's.

    Attributes:
        seconds: by stage [s].
        operations: floating-point operations of matrix products and convolutions, by stage.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.operations: dict[str, float] = {}
        self._kinds: dict[tuple[str, str], tuple[int, int, float]] = {}  # calls counted, their units and operations

    @property
    def flops(self) -> float:
        """Operations of all stages."""
        return sum(self.operations.values())

    @contextlib.contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add the time until the context is left to a stage."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.add_seconds(stage, time.monotonic() - began)

    def add_seconds(self, stage: str, seconds: float) -> None:
        """Add to the time of a stage [s]."""
        self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds

    def spend(self, stage: str, work: Callable[[], Result], *, kind: str = "", units: int = 1) -> Result:
        """Do some work, add its time and operations to a stage, and return its result, which counting does not change.

        Args:
            stage: what it belongs to.
            work: the first calls of a kind are counted; later ones are taken to cost as much a unit.
            kind: calls of one stage and kind cost the same, on average over `COUNTED` of them.
            units: how much work it is, such as frames.
        """
        calls, seen, spent = self._kinds.get((stage, kind), (0, 0, 0.0))
        if calls >= COUNTED:
            with self.timed(stage):
                result = work()
            self._add(stage, spent / seen * units)
            return result
        results: list[Result] = []
        with self.timed(stage):
            now = count_flops(lambda: results.append(work()))
        self._kinds[stage, kind] = calls + 1, seen + units, spent + now
        self._add(stage, now)
        return results[0]

    def _add(self, stage: str, operations: float) -> None:
        self.operations[stage] = self.operations.get(stage, 0.0) + operations

    def summary(self) -> dict[str, Any]:
        """What a run's summary says of them."""
        return {
            "flops": self.flops,
            "stage_seconds": {stage: round(seconds, 2) for stage, seconds in self.seconds.items()},
            "stage_flops": dict(self.operations),
        }

    def state(self) -> State:
        """All that was counted."""
        kinds = [[*key, *counts] for key, counts in self._kinds.items()]
        return {"seconds": dict(self.seconds), "operations": dict(self.operations), "kinds": kinds}

    def load(self, state: State) -> None:
        """Go back to a state."""
        self.seconds, self.operations = dict(state["seconds"]), dict(state["operations"])
        self._kinds = {(stage, kind): (calls, seen, spent) for stage, kind, calls, seen, spent in state["kinds"]}

"""Learning from a recording: no arm plays while it is learnt from."""

from collections.abc import Callable
from typing import Any

from goalsight.agents.algorithms.base import Algorithm
from goalsight.agents.costs import LEARNING, Costs
from goalsight.agents.recordings import Recording
from goalsight.base.training_state import State


class Offline:
    """Updates an algorithm from a recording.

    Args:
        algorithm: learns.
        recording: what from.
        batch_size: rows per update.
        total: updates.
        costs: takes what learning costs.

    Attributes:
        steps: updates so far.
        saw: is told of training episodes, of which there are none.
    """

    unit = "update"

    def __init__(
        self, algorithm: Algorithm, recording: Recording, *, batch_size: int, total: int, costs: Costs | None = None
    ) -> None:
        self._costs = costs or Costs()
        self.algorithm, self.recording, self.total, self.steps = algorithm, recording, total, 0
        self.saw: Callable[[Any], None] = lambda infos: None
        self._batch_size = batch_size

    @property
    def facts(self) -> dict[str, int]:
        """How far it is, as results name it."""
        return {"env_steps": 0, "recorded_frames": len(self.recording)}

    def run(self, rest: Callable[[], bool]) -> None:
        """Learn until the updates are done, or `rest`, which is called before each of them, says no."""
        while rest() and self.steps < self.total:
            self._costs.spend(LEARNING, self._update)
            self.steps += 1

    def _update(self) -> None:
        batch = self.recording.sample(self._batch_size)
        self.algorithm.update(batch, 1.0 - self.steps / self.total)

    def state(self) -> State:
        """All that decides what comes next."""
        return {"steps": self.steps, "recording": self.recording.state()}

    def load(self, state: State) -> None:
        """Go back to a state."""
        self.steps = state["steps"]
        self.recording.load(state["recording"])

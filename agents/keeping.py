"""What a training goes on from: everything that decides what comes next, kept so that it can be read without pickle."""

import shutil
from typing import TYPE_CHECKING

import torch

from goalsight.agents.online import Online
from goalsight.agents.replay_files import ReplayFiles
from goalsight.base.runs import Run
from goalsight.base.training_state import State, restoring

if TYPE_CHECKING:
    from goalsight.agents.learning import Learner
    from goalsight.agents.watch import Watch

REPLAY = "replay"  # folder of the replay's segments in the run


class Keeper:
    """Gathers the training state of a learner at a moment of rest, and puts a learner back into it.

    Args:
        learner: learns.
        run: where the replay's frames are kept; the rest goes into a checkpoint.
    """

    def __init__(self, learner: "Learner", run: Run) -> None:
        self._learner, self._folder = learner, run.path / REPLAY
        loop = learner.loop
        self._files = ReplayFiles(self._folder, loop.replay) if isinstance(loop, Online) else None

    def state(self, watch: "Watch") -> State:
        """Everything that decides what comes next; writes what changed of the replay."""
        learner, features = self._learner, self._learner.features
        state: State = {
            "algorithm": learner.algorithm.state(),
            "loop": learner.loop.state(),
            "watch": watch.state(),
            "torch": torch.get_rng_state(),
        }
        if torch.cuda.is_available() and learner.config.device == "cuda":
            state["cuda"] = torch.cuda.get_rng_state()
        if features is not None:
            state |= features.state()
        if learner.rounds:
            state["rounds"] = learner.rounds.measured
        if isinstance(learner.loop, Online) and learner.loop.recording is not None:
            state["recording"] = learner.loop.recording.whole()
        if self._files is not None:
            state["replay_files"] = self._files.save()
        return state

    def load(self, state: State, watch: "Watch") -> None:
        """Put learner and watch back into a state.

        Raises:
            UserError: if the replay's files are missing or damaged, or the state does not fit.
        """
        learner = self._learner
        with restoring(f"run {self._folder.parent}"):
            if self._files is not None:
                self._files.read(state["replay_files"])
            learner.algorithm.load(state["algorithm"])
            learner.loop.load(state["loop"])
            watch.load(state["watch"])
            # Last: whatever was made before has drawn from the generators.
            torch.set_rng_state(state["torch"])
            if "cuda" in state:
                torch.cuda.set_rng_state(state["cuda"])

    def tidy(self) -> None:
        """Remove what the latest state, which is safe now, needs no more."""
        if self._files is not None:
            self._files.tidy()

    def clear(self) -> None:
        """Remove what a finished training needs no more."""
        shutil.rmtree(self._folder, ignore_errors=True)

"""What goes on around a training run: it is shown, evaluated, logged and saved."""

import time
from collections import deque
from math import isfinite
from typing import TYPE_CHECKING, Any

import numpy as np

from goalsight.agents.algorithms.base import come_apart
from goalsight.agents.checking import Check, judgement
from goalsight.agents.costs import SAVING
from goalsight.base.progress import progress
from goalsight.base.runs import Run
from goalsight.base.training_state import State

if TYPE_CHECKING:
    from goalsight.agents.keeping import Keeper
    from goalsight.agents.learning import Learner

RECENT = 100  # training episodes over which success is averaged
SAVE_EVERY = 50.0  # between checkpoints, at most; evaluations may delay one [s]
FIRST_SAVE_AT = 0.01  # of the steps


class Watch:
    """Shows, evaluates, logs and saves a training run while it goes on.

    Args:
        learner: what learns.
        run: takes measurements and checkpoints.
        kept: what the training goes on from.
        seconds: that went by before, such as those of watching video [s].
    """

    def __init__(self, learner: "Learner", run: Run, kept: "Keeper", *, seconds: float = 0.0) -> None:
        self._learner, self._run, self._kept = learner, run, kept
        self._plan, self._loop, self._algorithm = learner.plan, learner.loop, learner.algorithm
        self._check = Check(learner.env, self._plan.eval_episodes, learner.threads, run, learner.costs)
        self._recent: deque[bool] = deque(maxlen=RECENT)
        self._evaluations: list[float] = []
        self._evaluated = 0  # steps at the latest evaluation
        self._best = learner.rounds.best
        self._seconds = seconds  # before it began, and of the processes before
        self._began = time.monotonic()
        self._saved: float | None = None  # when; None before the first time
        self._saved_step = -1
        self._diverged = 0
        self._reached = False
        self._bar = progress(
            total=self._plan.steps, desc=f"train {learner.task}", unit=self._loop.unit, unit_scale=True
        )

    def __enter__(self) -> "Watch":
        """Nothing more to open."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the bar and the evaluation's environments."""
        self._bar.close()
        self._check.close()

    def saw(self, infos: list[dict[str, Any]]) -> None:
        """Count the training episodes that ended with a step."""
        for info in infos:
            if "terminal_observation" in info:
                self._diverged += info["diverged"]
                self._recent.append(info["is_success"])

    def rest(self) -> bool:
        """Judge and save while nothing is under way; false where the training shall end."""
        self._bar.update(self._loop.steps - self._bar.n)
        due = self._loop.steps // self._plan.eval_every > self._evaluated // self._plan.eval_every
        if due or self._learner.rounds.awaits_judgement(self._loop.steps):
            self._evaluate()
        if self._saved is None:
            # Early, so that a run is never without; not at once, when there is nothing to lose.
            due = self._loop.steps >= FIRST_SAVE_AT * self._plan.steps or self._elapsed() > SAVE_EVERY
        else:
            due = time.monotonic() - self._saved > SAVE_EVERY
        if due and self._loop.steps:
            self.save(best=False)
        return not (self._reached or self._run.stopped)

    def _check_numbers(self) -> None:
        """Refuse to judge or keep what has come apart.

        Raises:
            UserError: losses are no numbers any more.
        """
        lost = [name for name, loss in self._algorithm.losses().items() if not isfinite(loss)]
        if lost:
            done, rate = f"{self._loop.steps:,} {self._loop.unit}s", self._learner.options.learning_rate
            raise come_apart(f"losses ({', '.join(lost)}) are no numbers any more", done, rate)

    def _evaluate(self) -> None:
        self._check_numbers()
        episodes = self._check(self._learner.agent())
        if episodes is None:
            return
        self._evaluated = self._loop.steps
        measured = judgement(episodes)
        success = measured["eval/success"]
        self._evaluations.append(success)
        self._learner.rounds.judge(self._loop.steps, success)
        measured |= {f"train/{name}": value for name, value in self._progress().items() if value is not None}
        measured |= {f"train/{name}": value for name, value in self._algorithm.losses().items()}
        self._run.log(self._loop.steps, measured | {"flops": self._learner.costs.flops})
        shown = {"train": f"{np.mean(self._recent):.0%}"} if self._recent else {}
        self._bar.set_postfix(shown | {"eval": f"{success:.0%}"})
        best = self._best is None or success >= self._best
        self._best = success if best else self._best
        self._reached = self._has_reached()
        if best:
            self.save(best=True)

    def _progress(self) -> dict[str, float | None]:
        recent = float(np.mean(self._recent)) if self._recent else None
        return {"success": recent, **self._loop.facts, "updates": self._algorithm.updates}

    def finish(self) -> None:
        """Save once more: what to go on from where it was stopped, the agent alone where it is done.

        What is done is evaluated as it is in the end, whatever the steps between evaluations.
        """
        if self.done and self._evaluated < self._loop.steps and not self._run.stopped:
            self._evaluate()
        if self._run.stopped and not self.done:
            self.save(best=False)
        elif self._saved_step != self._loop.steps:  # what was judged at the last step stays as it was judged
            self._publish(best=False, state=None)

    @property
    def done(self) -> bool:
        """Whether there is nothing left to do."""
        return self._reached or self._loop.steps >= self._plan.steps

    def save(self, *, best: bool) -> None:
        """Publish the agent as it is now and what to go on from, unless this step has been, or it is the best one.

        What was judged is never replaced by what updates have made of it since, without an environment step.
        """
        if best or self._saved_step != self._loop.steps:
            self._check_numbers()
            with self._learner.costs.timed(SAVING):
                self._publish(best=best, state=self._kept.state(self))
                self._kept.tidy()
            self._saved, self._saved_step = time.monotonic(), self._loop.steps

    def _publish(self, *, best: bool, state: State | None) -> None:
        self._learner.publish(self._run, self._loop.steps, state, best=best, keep=best)

    # Going on -----------------------------------------------------------------------------------------------------

    def state(self) -> State:
        """What has been seen so far."""
        return {
            "recent": list(self._recent),
            "evaluations": list(self._evaluations),
            "evaluated": self._evaluated,
            "best": self._best,
            "diverged": self._diverged,
            "seconds": self._elapsed(),
            "costs": self._learner.costs.state(),
        }

    def load(self, state: State) -> None:
        """Go back to a state."""
        self._recent.extend(bool(float(reached)) for reached in state["recent"])
        self._evaluations = [float(success) for success in state["evaluations"]]
        self._best = None if state["best"] is None else float(state["best"])
        self._evaluated, self._diverged = int(state["evaluated"]), int(state["diverged"])
        self._seconds, self._saved = float(state["seconds"]), time.monotonic()
        self._saved_step = self._loop.steps  # where the state was published, it may be as the best one
        if "costs" in state:  # runs of an earlier version have counted none
            self._learner.costs.load(state["costs"])
        self._reached = self._has_reached()

    def _has_reached(self) -> bool:
        return len(self._evaluations) > 1 and min(self._evaluations[-2:]) >= self._plan.target_success

    def _elapsed(self) -> float:
        return self._seconds + time.monotonic() - self._began

    def summary(self) -> dict[str, Any]:
        """Return what came of it."""
        progress = self._progress()
        return {
            **self._loop.facts,
            "updates": self._algorithm.updates,
            "seconds": round(self._elapsed(), 1),
            **self._learner.costs.summary(),
            "best_success": self._best,
            "last_success": self._evaluations[-1] if self._evaluations else None,
            "train_success": progress["success"],
            "diverged_episodes": self._diverged,
            "reached_target": self._reached,
        }

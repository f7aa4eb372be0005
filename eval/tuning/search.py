"""Optuna as a sweep sees it: it says which values to try next, and is told what came of them.

What it knows lies in a journal of JSON lines, so that a sweep that was stopped goes on, and nothing is ever unpickled.
"""

import warnings
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from goalsight.base.errors import UserError
from goalsight.eval.tuning.ranges import Range, Value

if TYPE_CHECKING:
    import optuna

JOURNAL = "optuna.jsonl"


def check_optuna() -> None:
    """Make sure that Optuna is there; nothing of it is imported.

    Raises:
        UserError: it is not installed.
    """
    if find_spec("optuna") is None:
        raise UserError("sweep needs the package optuna: pip install 'goalsight[sweep]'")


@dataclass(frozen=True)
class Trial:
    """Values to try."""

    number: int
    values: dict[str, Value]
    status: str  # running, finished, failed
    success: float | None = None  # in [0, 1], where it is finished


class Search:
    """The trials of a sweep, past and to come.

    Args:
        folder: holds the journal.
        ranges: what to vary.
        seed: of what is drawn; each trial has a generator of its own, so that going on makes no difference.
    """

    def __init__(self, folder: Path, ranges: list[Range], seed: int) -> None:
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._seed = seed
        self._distributions = {one.name: _distribution(one) for one in ranges}
        self._study = optuna.create_study(
            study_name="sweep",
            storage=JournalStorage(JournalFileBackend(str(folder / JOURNAL))),
            direction="maximize",
            load_if_exists=True,
        )
        for trial in self.trials:  # killed while it was drawn
            if trial.status == "running" and set(trial.values) != set(self._distributions):
                self.tell(trial.number, None)

    @property
    def trials(self) -> list[Trial]:
        """All trials so far, in the order in which they began."""
        status = {"COMPLETE": "finished", "FAIL": "failed"}
        return [
            Trial(trial.number, dict(trial.params), status.get(trial.state.name, "running"), trial.value)
            for trial in self._study.get_trials(deepcopy=False)
        ]

    def ask(self) -> Trial:
        """The next values to try; the trial has begun."""
        import optuna

        number = len(self._study.get_trials(deepcopy=False))
        drawn = int(np.random.SeedSequence([self._seed, number]).generate_state(1)[0])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            self._study.sampler = optuna.samplers.TPESampler(seed=drawn)
        trial = self._study.ask(self._distributions)
        return Trial(trial.number, dict(trial.params), "running")

    def tell(self, number: int, success: float | None) -> None:
        """Note what came of a trial: its success in [0, 1], or None where it failed."""
        import optuna

        failed = optuna.trial.TrialState.FAIL if success is None else None
        self._study.tell(number, success, state=failed)


def _distribution(one: Range) -> "optuna.distributions.BaseDistribution":
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if one.choices:
        return CategoricalDistribution(one.choices)
    span: dict[str, Any] = {"low": one.low, "high": one.high, "log": one.log}
    return IntDistribution(**span) if one.whole else FloatDistribution(**span)

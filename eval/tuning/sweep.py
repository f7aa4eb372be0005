"""`goalsight sweep`: finds options that a training does well with."""

import json
import shlex
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import tyro

from goalsight.agents.many import asked_of, check, seeds_of, training_job
from goalsight.agents.train import Train
from goalsight.base.command_lines import words_of
from goalsight.base.errors import UserError
from goalsight.base.files import atomic_write_json
from goalsight.base.interruption import stopped_by
from goalsight.base.options import check_positive
from goalsight.base.provenance import provenance
from goalsight.base.run_folders import fresh_folder
from goalsight.base.run_groups import run_group
from goalsight.base.workers import workers_of
from goalsight.base.workers.following import follow
from goalsight.base.workers.job import Job
from goalsight.eval.tuning.judging import MOST_EPISODES, TUNING_SEED, try_out
from goalsight.eval.tuning.ranges import Range, ranges_of, with_values
from goalsight.eval.tuning.search import Search, Trial, check_optuna

NEVER = 2.0  # a success that stops no training: trials are compared at equal steps
RESULT = "result.json"


@dataclass(frozen=True)
class Sweep(Train):
    """Tune options of `goalsight train`, by Optuna; the same command goes on with what is not finished."""

    over: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """An option to vary: learning_rate=1e-4..1e-2:log, gamma=0.9..0.99, or batch_size=128,256. May be repeated."""
    trials: int = 20
    """Combinations of options to try, including those already in the folder."""
    seeds: tuple[str, ...] = ("100", "101")
    """Seeds that each combination is trained with; keep others for the results you report."""
    episodes: int = 100
    """Episodes that each trained agent is evaluated on; their goals occur in no other evaluation."""
    workers: str = "1"
    """How training runs are made at once: a number of processes, ray, or ray:ADDRESS."""
    out: Path | None = None
    """Folder of the sweep; runs/sweep-<task>-<date> unless given."""
    seed: int = 0
    """Seed of the search; with one worker the same seed tries the same combinations."""
    target_success: float | None = None
    """Stop a run when the success of two evaluations in a row reaches this; never unless given, so that all trials take
    equal steps."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(self, "trials", "episodes")
        if self.episodes > MOST_EPISODES:
            raise UserError(f"episodes must be at most {MOST_EPISODES:,}, got {self.episodes}")


def sweep(config: Sweep) -> Path | int:
    """Try combinations of options, each by several seeds; keep and print how well each did, and the best.

    Returns:
        the folder; 1 where no trial came to an end.

    Raises:
        UserError: what was asked for does not exist or does not fit, or Optuna is not installed.
    """
    check_optuna()
    hands, seeds = workers_of(config.workers), seeds_of(config.seeds)
    training = replace(Train(**{one.name: getattr(config, one.name) for one in fields(Train)}), seed=0)
    ranges = ranges_of(config.over, training)
    task = check(training)
    for one in ranges:
        for value in one.ends:
            check(with_values(training, {one.name: value}))
    folder = config.out or fresh_folder("sweep", task)
    asked = {"over": [asdict(one) for one in ranges], "seeds": seeds, "episodes": config.episodes, "seed": config.seed}
    with run_group(folder, "sweep", asked_of(training) | asked):
        search = Search(folder, ranges, config.seed)
        _try_all(search, _Trials(training, folder, seeds, config), hands)
        result = _result(search.trials, training, folder)
        atomic_write_json(folder / RESULT, result | provenance())
    print(json.dumps(result) if config.json else table(result, ranges))
    return folder if result["best"] or stopped_by() else 1


@dataclass(frozen=True)
class _Trials:
    """What the trials of a sweep have in common, and the jobs that each takes."""

    training: Train
    folder: Path
    seeds: list[int]
    config: Sweep

    def jobs(self, trial: Trial) -> Iterator[Job]:
        """A job for each seed."""
        config = replace(with_values(self.training, trial.values), json=False)
        config = config if config.target_success is not None else replace(config, target_success=NEVER)
        for seed in self.seeds:
            out = self.folder / "trials" / f"{trial.number:04d}" / f"seed-{seed}"
            job = training_job(replace(config, seed=seed), out)
            arguments = job.arguments | {"episodes": self.config.episodes}
            yield replace(job, function=f"{try_out.__module__}:{try_out.__name__}", arguments=arguments)


def _try_all(search: Search, trials: _Trials, hands: Any) -> None:
    """Make the trials that are lacking; a trial fails where one of its seeds does."""
    waits: dict[str, int] = {}  # the trial of each job
    came: dict[int, list[float | None]] = {}  # of each trial, by seed

    def jobs() -> Iterator[Job]:
        left = [trial for trial in search.trials if trial.status == "running"]
        while left or len(search.trials) < trials.config.trials:
            trial = left.pop(0) if left else search.ask()
            for job in trials.jobs(trial):
                Path(job.arguments["out"]).parent.mkdir(parents=True, exist_ok=True)
                waits[job.name] = trial.number
                yield job

    done = sum(trial.status != "running" for trial in search.trials)
    total = (trials.config.trials - done) * len(trials.seeds)
    for outcome in follow(hands, jobs(), total=max(0, total), what="sweep"):
        if not outcome.error and outcome.result["status"] != "finished":
            continue  # it was stopped, and is gone on with
        number = waits[outcome.job.name]
        successes = came.setdefault(number, [])
        successes.append(None if outcome.error else outcome.result["success"])
        if len(successes) == len(trials.seeds):
            known = [success for success in successes if success is not None]
            search.tell(number, sum(known) / len(known) if len(known) == len(successes) else None)


def _result(trials: list[Trial], training: Train, folder: Path) -> dict[str, Any]:
    """The trials, and the best of them as a command; the earliest among equals."""
    finished = [trial for trial in trials if trial.success is not None]
    best = max(finished, key=lambda trial: trial.success or 0.0, default=None)
    found = None
    if best is not None:
        words = words_of(replace(with_values(training, best.values), out=None, json=False))
        found = asdict(best) | {"command": shlex.join(["goalsight", "train", *words])}
    judged = {"first_seed": TUNING_SEED, "checkpoint": "last"}
    return {"out": str(folder), "best": found, "trials": [asdict(trial) for trial in trials], "judged_by": judged}


def table(result: dict[str, Any], ranges: list[Range]) -> str:
    """The trials as text for people, best first, and the best as a command."""
    names = [one.name for one in ranges]
    rows = [["trial", *names, "success"]]
    for trial in sorted(result["trials"], key=_rank):
        values = [trial["values"].get(name, "-") for name in names]
        shown = [f"{value:.4g}" if isinstance(value, float) else str(value) for value in values]
        success = trial["status"] if trial["success"] is None else f"{trial['success']:.1%}"
        rows.append([str(trial["number"]), *shown, success])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True)) for row in rows]
    best = result["best"]
    return "\n".join([*lines, best["command"] if best else "no trial came to an end", result["out"]])


def _rank(trial: dict[str, Any]) -> float:
    """What sorts the best trials to the front, and those without a success to the end."""
    return 1.0 if trial["success"] is None else -float(trial["success"])

"""`goalsight train --seeds`: the same training by several seeds, some of them at once; each is a run of its own."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from goalsight.agents.train import Train, resume, train
from goalsight.base.errors import UserError
from goalsight.base.files import to_json
from goalsight.base.interruption import stopped_by
from goalsight.base.run_folders import MANIFEST, fresh_folder
from goalsight.base.run_groups import run_group
from goalsight.base.runs import Run
from goalsight.base.workers import workers_of
from goalsight.base.workers.following import follow
from goalsight.base.workers.job import Job

MOST_SEEDS = 1_000
APART = ("seed", "out", "json", "track", "threads")  # in which the runs of one group may differ


@dataclass(frozen=True)
class TrainSeeds(Train):
    """Train an agent to reach goals it is shown, or several agents with a seed each."""

    seeds: tuple[str, ...] = ()
    """Seeds of several runs, such as 0 1 2, or 0-4. Each is a folder in --out; the same command goes on with what is
    not finished."""
    workers: str | None = None
    """How several runs are made at once: a number of processes (1 unless given), ray, or ray:ADDRESS. Each takes one
    thread unless --threads says otherwise."""


def command(config: TrainSeeds) -> Path | int:
    """Train once, or by each of several seeds.

    Returns:
        the folder; 1 where a run failed.

    Raises:
        UserError: if what was asked for does not exist or does not fit.
    """
    alone = Train(**{option.name: getattr(config, option.name) for option in fields(Train)})
    if not config.seeds:
        if config.workers is not None:
            raise UserError(f"--workers {config.workers} is for several runs; name their --seeds")
        return train(alone)
    if config.seed:
        raise UserError(f"choose --seed {config.seed}, or --seeds {' '.join(config.seeds)}")
    folder, runs = train_seeds(alone, seeds_of(config.seeds), config.workers or "1")
    print(json.dumps({"out": str(folder), "runs": runs}) if config.json else table(folder, runs))
    failed = [row for row in runs if "error" in row]
    return 1 if failed and not stopped_by() else folder


def seeds_of(words: tuple[str, ...]) -> list[int]:
    """The seeds that words such as "7" and "0-4", which are five, stand for.

    Raises:
        UserError: a word is neither, a seed is named twice, or there are too many.
    """
    seeds: list[int] = []
    for word in words:
        first, _, last = word.partition("-")
        if not (first.isdecimal() and (last or first).isdecimal() and int(first) <= int(last or first)):
            raise UserError(f'seeds are numbers, or ranges such as 0-4, got "{word}"')
        if int(last or first) - int(first) >= MOST_SEEDS:
            raise UserError(f"at most {MOST_SEEDS:,} seeds, got {word}")
        seeds += range(int(first), int(last or first) + 1)
    if len(set(seeds)) < len(seeds):
        raise UserError(f"name each seed once, got {' '.join(words)}")
    return seeds


def train_seeds(config: Train, seeds: list[int], workers: str) -> tuple[Path, list[dict[str, Any]]]:
    """Train by each seed; what is finished in the folder stays, and what was begun is gone on with.

    Args:
        config: what the runs have in common; its `out` is the folder of all.
        seeds: one run each.
        workers: as in `workers_of`.

    Returns:
        the folder, and a row for each seed that was done: "seed", and the run's summary or an "error".

    Raises:
        UserError: what was asked for does not exist or does not fit, or the folder holds other runs.
    """
    hands = workers_of(workers)
    task = check(config)
    folder = config.out or fresh_folder("train", task)
    rows = {}
    with run_group(folder, "seeds", asked_of(config)):
        jobs = (training_job(replace(config, seed=seed), folder / f"seed-{seed}") for seed in seeds)
        for outcome in follow(hands, jobs, total=len(seeds), what="train"):
            seed = outcome.job.arguments["config"]["seed"]
            rows[seed] = {"seed": seed} | ({"error": outcome.error} if outcome.error else outcome.result)
    return folder, [rows[seed] for seed in seeds if seed in rows]


def check(config: Train) -> str:
    """Refuse what no training could be made of, before many are begun; return the task's name."""
    from goalsight.agents.learning import Learner

    return Learner(config).task


def asked_of(config: Train) -> dict[str, Any]:
    """What the runs of a group have in common, in JSON's own types."""
    return {name: value for name, value in to_json(asdict(config)).items() if name not in APART}


def training_job(config: Train, out: Path) -> Job:
    """The job of making a run, or what is left of it."""
    asked = to_json(asdict(replace(config, threads=config.threads or 1, out=None)))
    log = out.with_name(f"{out.name}.log")
    gpus = int(config.device != "cpu")
    return Job(str(out), f"{__name__}:train_or_go_on", {"config": asked, "out": str(out)}, str(log), gpus)


def train_or_go_on(config: dict[str, Any], out: str) -> dict[str, Any]:
    """Make a run, go on with one that was begun, or leave one that is finished; return its summary and status."""
    path = Path(out)
    if not (path / MANIFEST).exists():
        train(replace(Train.recorded(config), out=path))
    elif Run.open(path).status != "finished":
        with Run.resume(path) as run:
            resume(run)
    run = Run.open(path)
    return {"run": out, "status": run.status, **run.summary}


def table(folder: Path, runs: list[dict[str, Any]]) -> str:
    """The runs as text for people, and where they are."""
    return "\n".join(_lines(runs)) + f"\n{folder}"


def _lines(runs: list[dict[str, Any]]) -> Iterator[str]:
    yield f"{'seed':>6}  {'status':11}  {'best':>5}  {'last':>5}  {'steps':>9}  {'seconds':>7}"
    for row in runs:
        if "error" in row:
            yield f"{row['seed']:>6}  failed: {row['error']}"
            continue
        best, last = (
            f"{row[name]:.0%}" if row.get(name) is not None else "-" for name in ("best_success", "last_success")
        )
        steps = row.get("env_steps") or row.get("updates") or 0
        yield f"{row['seed']:>6}  {row['status']:11}  {best:>5}  {last:>5}  {steps:>9,}  {row.get('seconds', 0):>7.0f}"

"""`goalsight compare objectives`: which objective makes an encoder know most, at equal operations."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from goalsight.base.errors import UserError, choose
from goalsight.base.options import check_positive

ASKED = ("data", "tuning_flops", "tuning_seed", "rates", "size", "batch", "frames")  # all trainings share them
PAGE, RESULT, PICTURE = "objectives.html", "objectives.json", "objectives.svg"
IN_CONTROL = "control.svg"
TOKENISERS = {"points": "local", "replaced": "codes"}  # that an objective needs; all others take the default


@dataclass(frozen=True)
class CompareObjectives:
    """Pretrain an encoder by each objective, and compare what they know at equal operations.

    Each objective takes the learning rate, of those given, that does best on another seed. The same command goes on
    with what is not finished.
    """

    data: Path
    """Recorded play, to learn from and to be asked about: a run of `goalsight collect`."""
    objectives: tuple[str, ...] = ()
    """Objectives to compare; all unless given."""
    flops: tuple[float, ...] = (3e11, 1e12, 3e12, 1e13)
    """Budgets of floating-point operations, each a training of its own."""
    seeds: tuple[str, ...] = ("0-2",)
    """Seeds of each, such as 0 1 2, or 0-2."""
    rates: tuple[float, ...] = (0.001, 0.0025)
    """Learning rates that each objective tries."""
    tuning_flops: float = 1e12
    """Budget of each trial of a learning rate."""
    tuning_seed: int = 100
    """Seed of the trials; none of those that are reported."""
    size: str = "nano"
    """Encoder size."""
    batch: int = 32
    """Clips per training step."""
    frames: int = 3_000
    """Frames that encoders are asked about, at most; six in ten are learnt from."""
    control: Path | None = None
    """Skilled play to imitate from every encoder's frozen tokens, a run of `goalsight collect`: how often the goal is
    reached stands beside what the encoder knows, and which of that goes with it."""
    control_updates: int = 3_000
    """Gradient steps of each imitation."""
    control_episodes: int = 200
    """Episodes by which each imitation is judged."""
    workers: str = "1"
    """How trainings are made at once: a number of processes, ray, or ray:ADDRESS. Each takes one thread."""
    out: Path | None = None
    """Folder; runs/objectives-<date> unless given."""
    json: bool = False
    """Print the result as JSON."""

    def __post_init__(self) -> None:
        check_positive(self, "tuning_flops", "batch", "frames", "control_updates", "control_episodes")
        if not self.flops or min(self.flops) <= 0 or not self.rates or min(self.rates) <= 0:
            raise UserError("flops and rates must name at least one, all above 0")


def compare_objectives(config: CompareObjectives) -> Path | int:
    """Make all encoders that are lacking, ask them, and write the page and the result.

    Returns:
        the folder; 1 where a training failed.

    Raises:
        UserError: what was asked for does not exist, or the folder holds another comparison.
    """
    from goalsight.agents.many import seeds_of
    from goalsight.base.interruption import stopped_by
    from goalsight.base.run_folders import fresh_folder
    from goalsight.base.run_groups import run_group
    from goalsight.base.workers import workers_of
    from goalsight.eval.objectives.analysis import analyse, table
    from goalsight.eval.objectives.control import check_control
    from goalsight.eval.objectives.pieces import references
    from goalsight.eval.probes.probe import open_labelled
    from goalsight.pretrain.objectives import OBJECTIVES

    names = tuple(choose("objective", name, OBJECTIVES) for name in config.objectives) or tuple(OBJECTIVES)
    seeds = seeds_of(config.seeds)
    if config.tuning_seed in seeds:
        raise UserError(f"learning rates are tuned on seed {config.tuning_seed}, so it must not be among --seeds")
    hands = workers_of(config.workers)
    open_labelled(config.data)
    if config.control is not None:
        check_control(config.control, config.data)
    folder = config.out or fresh_folder("objectives", "")
    asked = {name: value for name, value in asdict(config).items() if name in ASKED}
    with run_group(folder, "objectives", asked):
        pieces = _Pieces(config, folder, names, seeds)
        failed = pieces.make(hands)
        rows = pieces.rows()
        result: dict[str, Any] = {
            "asked": asked | {"objectives": names, "seeds": seeds},
            "references": references(config.data, config.size, config.frames, folder),
            "rows": rows,
        }
        if rows:
            result |= analyse(rows, pieces.unlearnt())
            _publish(result, folder)
    print(json.dumps(result, default=str) if config.json else f"{table(result)}\n{folder / PAGE}")
    return folder if rows and (not failed or stopped_by()) else 1


def _publish(result: dict[str, Any], folder: Path) -> None:
    """Write the result, its page and its pictures."""
    from goalsight.base.files import atomic_write_json, atomic_write_text
    from goalsight.base.provenance import provenance
    from goalsight.eval.objectives.page import control_plot, curves_plot, render

    atomic_write_json(folder / RESULT, result | provenance())
    atomic_write_text(folder / PAGE, render(result))
    atomic_write_text(folder / PICTURE, curves_plot(result))
    if result["control"]["curves"]:
        atomic_write_text(folder / IN_CONTROL, control_plot(result))


class _Pieces:
    """All trainings of a comparison, each a job that keeps its row."""

    def __init__(self, config: CompareObjectives, folder: Path, names: tuple[str, ...], seeds: list[int]) -> None:
        self._config, self._folder, self._names, self._seeds = config, folder, names, seeds

    def make(self, hands: Any) -> int:
        """Make what is lacking and return how many failed: trials of learning rates, all budgets and seeds, control."""
        from goalsight.base.interruption import stopped_by
        from goalsight.base.workers.following import follow

        failed = 0
        for what, lacking in (("tune", self._trials), ("pretrain", self._trainings), ("imitate", self._imitations)):
            jobs = [] if stopped_by() else list(lacking())
            if jobs:
                failed += sum(bool(outcome.error) for outcome in follow(hands, jobs, total=len(jobs), what=what))
        return failed

    def rows(self) -> list[dict[str, Any]]:
        """What has been measured of all that is asked for, by objective, budget and seed."""
        from goalsight.base.files import read_json

        found = []
        for path in self._paths():
            if _row(path).exists():
                row = read_json(_row(path))
                if self._imitated(path):
                    row["control"] = read_json(_control(path))
                found.append(row)
        return found

    def _paths(self) -> Iterator[Path]:
        for name in self._names:
            for flops in self._budgets:
                yield from (self._path(name, flops, seed) for seed in self._seeds)

    @property
    def _budgets(self) -> list[float]:
        return sorted(self._config.flops)

    def _path(self, name: str, flops: float, seed: int, rate: float | None = None) -> Path:
        tried = f"-{rate:g}" if rate else ""
        return self._folder / name / f"{flops:.3g}{tried}-{seed}"

    def _trials(self) -> Iterator[Any]:
        if len(self._config.rates) < 2:
            return
        for name in self._names:
            for rate in self._config.rates:
                path = self._path(name, self._config.tuning_flops, self._config.tuning_seed, rate)
                if not _row(path).exists():
                    yield self._job(name, self._config.tuning_flops, self._config.tuning_seed, rate, path)

    def _trainings(self) -> Iterator[Any]:
        for flops in self._budgets:
            for seed in self._seeds:
                for name in self._names:
                    path = self._path(name, flops, seed)
                    rate = self._best_rate(name)
                    if rate is not None and not _row(path).exists():
                        yield self._job(name, flops, seed, rate, path)

    def _imitations(self) -> Iterator[Any]:
        from goalsight.base.workers.job import Job

        if self._config.control is None:
            return
        encoders = {path: str(path) for path in self._paths() if _row(path).exists()}
        encoders |= dict.fromkeys(self._random(), "random")
        for path, encoder in encoders.items():
            if not self._imitated(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                seed = int(path.name.rpartition("-")[2])
                arguments = {"encoder": encoder, "seed": seed, "asked": self._control, "out": str(_control(path))}
                log = path.with_name(f"{path.name}-control.log")
                yield Job(f"{path} in control", "goalsight.eval.objectives.control:imitate", arguments, str(log))

    def _random(self) -> list[Path]:
        """Where what is imitated from random encoders is kept, by seed."""
        return [self._folder / "random" / f"untrained-{seed}" for seed in self._seeds]

    def unlearnt(self) -> list[float]:
        """Success of those who imitate from random encoders."""
        from goalsight.base.files import read_json

        found = [read_json(_control(path)) for path in self._random() if self._imitated(path)]
        return [one["success"] / one["asked"]["episodes"] for one in found]

    @property
    def _control(self) -> dict[str, Any]:
        """How encoders are imitated from, as it is kept beside what came of it."""
        config = self._config
        return {"play": str(config.control), "updates": config.control_updates, "episodes": config.control_episodes}

    def _imitated(self, path: Path) -> bool:
        from goalsight.base.files import read_json

        return _control(path).exists() and read_json(_control(path))["asked"] == self._control

    def _best_rate(self, name: str) -> float | None:
        """The learning rate after which most was told; None where no trial came to an end."""
        from goalsight.base.files import read_json

        rates = self._config.rates
        if len(rates) < 2:
            return rates[0]
        tried = {
            rate: _row(self._path(name, self._config.tuning_flops, self._config.tuning_seed, rate)) for rate in rates
        }
        scores = {rate: read_json(path)["mean_told"] for rate, path in tried.items() if path.exists()}
        return max(scores, key=lambda rate: scores[rate]) if scores else None

    def _job(self, name: str, flops: float, seed: int, rate: float, path: Path) -> Any:
        from goalsight.base.files import to_json
        from goalsight.base.workers.job import Job
        from goalsight.pretrain.train import Pretrain

        path.parent.mkdir(parents=True, exist_ok=True)
        asked = Pretrain(
            data=(self._config.data,),
            objective=name,
            tokeniser=TOKENISERS.get(name, Pretrain.tokeniser),
            size=self._config.size,
            batch=self._config.batch,
            flops=flops,
            lr=rate,
            seed=seed,
            threads=1,
            picture_every=1e9,
        )
        about = {"data": str(self._config.data), "frames": self._config.frames}
        arguments = {"config": to_json(asdict(asked)), **about, "out": str(path)}
        log = path.with_name(f"{path.name}.log")
        return Job(str(path), "goalsight.eval.objectives.pieces:piece", arguments, str(log))


def _row(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def _control(path: Path) -> Path:
    return path.with_name(f"{path.name}-control.json")

"""The jobs of a comparison of objectives: trials of learning rates, trainings, and imitation from their encoders."""

import re
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from goalsight.base.files import read_json, to_json
from goalsight.base.interruption import stopped_by
from goalsight.base.workers.contract import Workers
from goalsight.base.workers.following import follow
from goalsight.base.workers.job import Job
from goalsight.eval.objectives.held_out import ASKED, CHOOSING, write_watched
from goalsight.pretrain.objectives import OBJECTIVES
from goalsight.pretrain.train import Pretrain

if TYPE_CHECKING:
    from goalsight.eval.objectives.compare import CompareObjectives
    from goalsight.pretrain.data.store import FrameStore

RANDOM = "random"  # the folder of what is imitated from random encoders
TRAINED = re.compile(r"[0-9.]+(e\+[0-9]+)?-[0-9]+")  # the name of a training: its FLOPs and its seed
TOKENISERS = {"points": "local", "replaced": "codes"}  # that an objective needs; all others take the default


def tokeniser_of(objective: str) -> str:
    """The tokeniser that an objective is compared with."""
    return TOKENISERS.get(objective, Pretrain.tokeniser)


class Jobs:
    """All trainings of a comparison, each a job that keeps its row.

    Args:
        config: what was asked for.
        store: the recording.
        folder: of the comparison.
        names: of the objectives.
        seeds: of each.
    """

    def __init__(
        self,
        config: "CompareObjectives",
        store: "FrameStore",
        folder: Path,
        names: tuple[str, ...],
        seeds: list[int],
    ) -> None:
        self._config, self._store, self._folder = config, store, folder
        self._names, self._seeds = names, seeds

    def check(self) -> None:
        """See to it that all that is lacking can be trained, before anything is.

        Raises:
            UserError: the recording lacks what an objective reads, or a budget pays for no step of it.
        """
        from goalsight.pretrain.trainer import Trainer

        least = min([*self._budgets, *([self._config.tuning_flops] if len(self._config.rates) > 1 else [])])
        for name in self._names:
            rows = [_row(self._path(name, flops, seed)) for flops in self._budgets for seed in self._seeds]
            if not all(row.exists() for row in rows):
                with Trainer(self._asked(name, least, self._seeds[0], self._config.rates[0])) as trainer:
                    trainer.open(self._store)

    def make(self, hands: Workers) -> int:
        """Make what is lacking and return how many failed: trials of learning rates, all budgets and seeds, control."""
        write_watched(self._store, self._watched)
        failed = 0
        for what, lacking in (("tune", self._trials), ("pretrain", self._trainings), ("imitate", self._imitations)):
            jobs = [] if stopped_by() else list(lacking())
            if jobs:
                failed += sum(bool(outcome.error) for outcome in follow(hands, jobs, total=len(jobs), what=what))
        return failed

    def rows(self) -> list[dict[str, Any]]:
        """What has been measured in this folder, now or before, by objective, budget and seed."""
        found = []
        for name in OBJECTIVES:
            made = [
                path.with_suffix("") for path in (self._folder / name).glob("*.json") if TRAINED.fullmatch(path.stem)
            ]
            rows = [(read_json(_row(path)), path) for path in made]
            for row, path in sorted(rows, key=lambda one: (one[0]["asked_flops"], one[0]["seed"])):
                found.append(row | ({"control": read_json(_control(path))} if self._imitated(path) else {}))
        return found

    @property
    def _watched(self) -> Path:
        return self._folder / "watched"

    @property
    def _budgets(self) -> list[float]:
        return sorted(self._config.flops)

    def _path(self, name: str, flops: float, seed: int, rate: float | None = None) -> Path:
        tried = f"-{rate:g}" if rate else ""
        return self._folder / name / f"{flops:.3g}{tried}-{seed}"

    def _trials(self) -> Iterator[Job]:
        if len(self._config.rates) < 2:
            return
        for name in self._names:
            for rate in self._config.rates:
                path = self._path(name, self._config.tuning_flops, self._config.tuning_seed, rate)
                if not _row(path).exists():
                    yield self._job(name, self._config.tuning_flops, self._config.tuning_seed, rate, path, CHOOSING)

    def _trainings(self) -> Iterator[Job]:
        for flops in self._budgets:
            for seed in self._seeds:
                for name in self._names:
                    path = self._path(name, flops, seed)
                    rate = self._best_rate(name)
                    if rate is not None and not _row(path).exists():
                        yield self._job(name, flops, seed, rate, path, ASKED)

    def _imitations(self) -> Iterator[Job]:
        if self._config.control is None:
            return
        # The largest budgets first: they say most, should somebody stop before the others are judged.
        every = [
            self._path(name, flops, seed)
            for flops in reversed(self._budgets)
            for seed in self._seeds
            for name in self._names
        ]
        encoders = dict.fromkeys(self._random(), "random")
        encoders |= {path: str(path) for path in every if _row(path).exists()}
        if otherwise := [path for path in encoders if _control(path).exists() and not self._imitated(path)]:
            said = f"encoders imitated from by other options of --control before, and anew now: {len(otherwise)}"
            print(f"goalsight: {said}", file=sys.stderr)
        for path, encoder in encoders.items():
            if not self._imitated(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                seed = int(path.name.rpartition("-")[2])
                arguments = {"encoder": encoder, "seed": seed, "asked": self._control, "out": str(_control(path))}
                log = path.with_name(f"{path.name}-control.log")
                yield Job(f"{path} in control", "goalsight.eval.objectives.control:imitate", arguments, str(log))

    def _random(self) -> list[Path]:
        """Where what is imitated from random encoders is kept, by seed."""
        return [self._folder / RANDOM / f"untrained-{seed}" for seed in self._seeds]

    def unlearnt(self) -> list[float]:
        """Success of those who imitate from random encoders, by seed, now or before."""
        files = sorted((self._folder / RANDOM).glob("*-control.json"))
        paths = [path.with_name(path.name.removesuffix("-control.json")) for path in files]
        found = [read_json(_control(path)) for path in paths if self._imitated(path)]
        return [one["success"] / one["asked"]["episodes"] for one in found]

    @property
    def _control(self) -> dict[str, Any]:
        """How encoders are imitated from, as it is kept beside what came of it."""
        config = self._config
        return {"play": str(config.control), "updates": config.control_updates, "episodes": config.control_episodes}

    def _imitated(self, path: Path) -> bool:
        there = _control(path).exists()
        return there and (self._config.control is None or read_json(_control(path))["asked"] == self._control)

    def _best_rate(self, name: str) -> float | None:
        """The learning rate with the highest mean score; None where no trial came to an end."""
        rates = self._config.rates
        if len(rates) < 2:
            return rates[0]
        tried = {
            rate: _row(self._path(name, self._config.tuning_flops, self._config.tuning_seed, rate)) for rate in rates
        }
        scores = {rate: read_json(path)["mean_score"] for rate, path in tried.items() if path.exists()}
        return max(scores, key=lambda rate: scores[rate]) if scores else None

    def _asked(self, name: str, flops: float, seed: int, rate: float) -> Pretrain:
        return Pretrain(
            data=(self._watched,),
            objective=name,
            tokeniser=tokeniser_of(name),
            image_size=self._store.image_size,
            size=self._config.size,
            batch=self._config.batch,
            flops=flops,
            lr=rate,
            seed=seed,
            threads=1,
            picture_every=1e9,
        )

    def _job(self, name: str, flops: float, seed: int, rate: float, path: Path, share: str) -> Job:
        path.parent.mkdir(parents=True, exist_ok=True)
        asked = self._asked(name, flops, seed, rate)
        about = {"data": str(self._config.data), "frames": self._config.frames, "share": share}
        arguments = {"config": to_json(asdict(asked)), **about, "out": str(path)}
        log = path.with_name(f"{path.name}.log")
        return Job(str(path), "goalsight.eval.objectives.pieces:piece", arguments, str(log))


def _row(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def _control(path: Path) -> Path:
    return path.with_name(f"{path.name}-control.json")

"""`goalsight compare objectives`: which objective makes an encoder know most, at equal FLOPs."""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from goalsight.base.errors import UserError, choose
from goalsight.base.files import atomic_write_json, atomic_write_text, read_json, to_json
from goalsight.base.options import check_positive

if TYPE_CHECKING:
    from goalsight.eval.objectives.jobs import Jobs
    from goalsight.pretrain.data.store import FrameStore

VARIED = {"objectives": "objective", "budgets": "asked_flops", "seeds": "seed"}  # by the row's name of it
SHARED = ("data", "tuning_flops", "tuning_seed", "rates", "size", "batch", "frames")  # all trainings share them
PAGE, RESULT, PICTURE = "objectives.html", "objectives.json", "objectives.svg"
IN_CONTROL = "control.svg"


@dataclass(frozen=True)
class CompareObjectives:
    """Pretrain an encoder by each objective, and compare what they know at equal FLOPs.

    Encoders watch six in ten of the episodes and are asked about a quarter, which none has watched. Each objective
    takes the learning rate, of those given, that does best on another seed and on the rest of the episodes. The same
    command goes on with what is not finished.
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
    """Encoder size: nano, tiny, small or base, or width x depth, as 128x4."""
    batch: int = 32
    """Clips per training step."""
    frames: int = 3_000
    """Frames of the held-out episodes that are asked about, at most; ridge regression learns from six in ten."""
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
        UserError: what was asked for does not exist, the recording is too short or of a size that does not fit, or the
            folder holds another comparison.
    """
    from goalsight.agents.many import seeds_of
    from goalsight.base.interruption import stopped_by
    from goalsight.base.run_folders import fresh_folder
    from goalsight.base.run_groups import run_group
    from goalsight.base.workers import workers_of
    from goalsight.eval.objectives.held_out import SAID
    from goalsight.eval.objectives.jobs import Jobs
    from goalsight.eval.objectives.wording import table
    from goalsight.eval.probes.probe import open_labelled
    from goalsight.pretrain.objectives import OBJECTIVES

    names = tuple(choose("objective", name, OBJECTIVES) for name in config.objectives) or tuple(OBJECTIVES)
    seeds = seeds_of(config.seeds)
    if config.tuning_seed in seeds:
        raise UserError(f"learning rates are tuned on seed {config.tuning_seed}, so it must not be among --seeds")
    hands, store = workers_of(config.workers), open_labelled(config.data)
    _check(config, store, names, seeds)
    folder = config.out or fresh_folder("objectives", "")
    asked = {name: value for name, value in asdict(config).items() if name in SHARED}
    asked |= {"data_hash": store.content_hash}
    jobs = Jobs(config, store, folder, names, seeds)
    jobs.check()
    with run_group(folder, "objectives", asked):
        failed = jobs.make(hands)
        measured = _measured(config, jobs, folder)
        of = {name: list(dict.fromkeys(row[key] for row in measured.get("rows", ()))) for name, key in VARIED.items()}
        result = {"asked": asked | of, "held_out": SAID} | measured
        if measured:
            _publish(result, folder)
    where = folder / PAGE if measured else folder
    print(json.dumps(to_json(result)) if config.json else f"{table(result)}\n{where}")
    return folder if measured and (not failed or stopped_by()) else 1


def _check(config: CompareObjectives, store: "FrameStore", names: tuple[str, ...], seeds: list[int]) -> None:
    """Refuse before anything is made what would come to nothing in the end.

    Raises:
        UserError: naming what does not fit.
    """
    from goalsight.eval.objectives.control import check_control
    from goalsight.eval.objectives.held_out import ASKED, CHOOSING, episodes_of
    from goalsight.eval.objectives.jobs import tokeniser_of
    from goalsight.eval.probes.parts import parted_by_seen
    from goalsight.eval.probes.subjects import check_sides
    from goalsight.pretrain.encoders.vit import shape_of

    shape = shape_of(config.size)
    for name in names:
        # Whether it takes images of this size is found out by describing it.
        replace(shape, image_size=store.image_size, tokeniser=tokeniser_of(name), tokeniser_options=None)
    check_sides(store.image_size)
    if config.control is not None:
        check_control(config.control, config.data)
    if len(config.rates) > 1:
        parted_by_seen(store, config.frames, config.tuning_seed, episodes=episodes_of(store, CHOOSING))
    for seed in seeds:
        parted_by_seen(store, config.frames, seed, episodes=episodes_of(store, ASKED))
    before = config.out and config.out / RESULT
    if before and before.exists() and "data_hash" not in read_json(before).get("asked", {}):
        raise UserError(
            f"{config.out} holds a comparison of an earlier version, whose encoders watched the episodes that they "
            "were asked about; choose another --out"
        )


def _measured(config: CompareObjectives, jobs: "Jobs", folder: Path) -> dict[str, Any]:
    """What is known of all that was ever asked for here, beside the references; empty before anything is."""
    from goalsight.eval.objectives.analysis import analyse
    from goalsight.eval.objectives.pieces import references

    if not (rows := jobs.rows()):
        return {}
    seeds = sorted({row["seed"] for row in rows})
    beside = [references(config.data, config.size, config.frames, seed, folder) for seed in seeds]
    return analyse(rows, [row for some in beside for row in some], jobs.unlearnt())


def _publish(result: dict[str, Any], folder: Path) -> None:
    """Write the result, its page and its pictures."""
    from goalsight.base.provenance import provenance
    from goalsight.eval.objectives.page import control_plot, curves_plot, render

    atomic_write_json(folder / RESULT, result | provenance())
    atomic_write_text(folder / PAGE, render(result))
    atomic_write_text(folder / PICTURE, curves_plot(result))
    if result["control"]["curves"]:
        atomic_write_text(folder / IN_CONTROL, control_plot(result))

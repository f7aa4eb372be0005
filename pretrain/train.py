"""Train an encoder on video: what can be asked for, and what is done with it."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from goalsight.base.distributed import group
from goalsight.base.errors import UserError
from goalsight.base.machine import check_threads
from goalsight.base.parts import settled, with_every_option
from goalsight.base.tables import counted
from goalsight.base.trackers import check_trackers
from goalsight.pretrain.data import CACHE

if TYPE_CHECKING:
    from goalsight.base.registry import Registry
    from goalsight.base.runs import Run
    from goalsight.pretrain.data.store import FrameStore
    from goalsight.pretrain.trainer import Trainer


@dataclass(frozen=True)
class Pretrain:
    """Train an encoder on video.

    Budgets may be combined; the first that is spent ends the training. Several processes that `torchrun` starts train
    as one: torchrun --nproc-per-node 2 -m goalsight pretrain ...
    """

    data: tuple[Path, ...]
    """Videos, folders of videos or images, recorded play, frame stores, or LeRobot data sets."""
    size: str = "nano"
    """Encoder size: nano, tiny, small or base, or width x depth, as 128x4."""
    objective: str = "masked"
    """What the encoder learns from; its own options are below, under its name."""
    objective_options: tyro.conf.Suppress[Any] = None
    """The objective's options, its own dataclass; its defaults unless given."""
    tokeniser: str = "conv"
    """How frames are cut into tokens; its own options are below, under its name."""
    tokeniser_options: tyro.conf.Suppress[Any] = None
    """The tokeniser's options, its own dataclass; its defaults unless given."""
    image_size: int = 64
    """Side of the frames [pixels]; for the tokeniser conv, its grid x 2^k."""
    fps: float = 10.0
    """Real video is thinned to about this rate [frames/s]; 0 keeps every frame."""
    max_gap: int = 8
    """Frame t+k is at most this far after frame t [frames]; refused where an objective reads no such frame."""
    batch: int = 32
    """Clips per training step, in all processes together; on a CPU they are split into shards of 16."""
    lr: float | None = None
    """Largest learning rate; 0.24 / the encoder's width unless given."""
    seconds: float | None = None
    """Budget of wall-clock time [s]; 120 where no budget is given."""
    steps: int | None = None
    """Budget of training steps."""
    flops: float | None = None
    """Budget of floating-point operations, such as 1e14."""
    seed: int = 0
    """Seed of weights, clips and masks."""
    threads: int = 0
    """CPU threads; 0 for one per CPU."""
    device: str = "auto"
    """Device that computes the networks: auto, cpu or cuda."""
    out: Path | None = None
    """Run folder to make; by default one under runs/."""
    cache: Path = CACHE
    """Folder in which decoded video is kept for the next time."""
    picture_every: float = 30.0
    """Time between pictures of what the model sees [s]."""
    save_every: float = 60.0
    """Time between checkpoints [s]; the first comes within seconds, and the last step is always saved."""
    track: tuple[str, ...] = ()
    """Trackers that measurements also go to: tensorboard, trackio, wandb, mlflow; metrics.jsonl is always written."""
    json: bool = False
    """Print the summary as JSON."""

    def __post_init__(self) -> None:
        """Refuse numbers that cannot be meant."""
        for name in ("max_gap", "batch"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} must be at least 1, got {getattr(self, name)}")
        check_threads(self.threads)
        for name in ("fps", "seed", "picture_every", "save_every"):
            if not getattr(self, name) >= 0:
                raise UserError(f"{name} must not be negative, got {getattr(self, name)}")
        check_trackers(self.track)
        if self.lr is not None and not 0 < self.lr < 1:
            raise UserError(f"lr must lie in (0, 1), got {self.lr}")

    @classmethod
    def for_command_line(cls, arguments: list[str]) -> type["Pretrain"]:
        """Return this class with the options of every objective and tokeniser."""
        return with_every_option(cls, *_registries())

    def settled(self) -> "Pretrain":
        """Return what was asked for, with the options of the objective and the tokeniser that were chosen.

        Raises:
            UserError: there is no such part, or options of another one are given.
        """
        return settled(self, Pretrain, *_registries())


def pretrain(config: Pretrain) -> Path:
    """Decode the data, train, and keep everything in a run.

    Args:
        config: what was asked for.

    Returns:
        the run's folder: `load_encoder` reads it, also when the training was interrupted. Nothing in a process that
        does not lead.

    Raises:
        UserError: for data that cannot be read, names that do not exist, a disk that refuses, or a loss that is
            no number any more.
    """
    from goalsight.base.run_folders import check_free
    from goalsight.base.runs import Run
    from goalsight.pretrain.trainer import Trainer

    check_free(config.out)
    with Trainer(config) as trainer:  # first, because mistakes in the options should not wait for the decoding
        config = trainer.config
        store = _read(config)
        _open(trainer, store)
        if not trainer.group.leads:
            trainer.train(None)
            return Path()
        sources = {"data": store.content_hash}
        with Run.start("pretrain", config, out=config.out, seed=config.seed, sources=sources, name=config.size) as run:
            return _train(trainer, store, run)


def resume(run: "Run") -> Path:
    """Go on with a pretraining that was stopped, to the bit where its budget is in steps and it runs on a CPU.

    Args:
        run: held by `Run.resume`.

    Returns:
        the run's folder.

    Raises:
        UserError: when the data are not those that it began with; or as of `pretrain`.
    """
    from goalsight.base.options import options_from
    from goalsight.pretrain.trainer import Trainer

    with Trainer(options_from(Pretrain, run.config)) as trainer:
        store = _read(trainer.config)
        if store.content_hash != run.manifest["sources"].get("data"):
            raise UserError(f"{store.path} has changed since {run.path} began, so it cannot go on; train anew")
        state = run.load_state()
        if state is not None:
            trainer.load(state)
        _open(trainer, store)
        return _train(trainer, store, run)


def _registries() -> "tuple[Registry, ...]":
    from goalsight.pretrain.objectives import OBJECTIVES
    from goalsight.pretrain.tokenisers import TOKENISERS

    return TOKENISERS, OBJECTIVES


def _read(config: Pretrain) -> "FrameStore":
    from goalsight.pretrain.data.ingest import cached_ingest

    store = cached_ingest(config.data, config.cache, config.image_size, fps=config.fps)
    if not config.json and group().leads:
        held = f"{counted(store.num_frames, 'frame')} in {counted(store.num_episodes, 'episode')}"
        print(f"{held}: {store.path}", file=sys.stderr)
    return store


def _open(trainer: "Trainer", store: "FrameStore") -> None:
    """Let a trainer take the data; what it lacks is said of the data as it was given, wherever it was decoded to."""
    try:
        trainer.open(store)
    except UserError as error:
        given = " ".join(str(path) for path in trainer.config.data)
        raise UserError(str(error).replace(str(store.path), given)) from None


def _train(trainer: "Trainer", store: "FrameStore", run: "Run") -> Path:
    summary = trainer.train(run)
    summary = {"run": str(run.path), "data": str(store.path), "frames": store.num_frames, **summary}
    run.finish(summary)
    for alarm in summary["alarms"].values():
        print(f"warning: {alarm}", file=sys.stderr)
    print(json.dumps(summary) if trainer.config.json else _about_training(summary, trainer))
    return run.path


def _about_training(summary: dict[str, Any], trainer: "Trainer") -> str:
    done = (
        f"{summary['steps']} steps in {summary['seconds']:.0f} s, {summary['pairs_per_s']:.0f} pairs/s, "
        f"{summary['flops']:.2g} operations ({summary['share_of_peak']:.0%} of the matrix peak)"
    )
    learnt = trainer.objective.headline(trainer.means()) if trainer.recent else "stopped before the first step"
    return f"{done}; {learnt}: {summary['run']}"

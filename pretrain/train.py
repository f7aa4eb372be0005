"""Train an encoder on video: what can be asked for, and what is done with it."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from goalsight.base.errors import UserError

if TYPE_CHECKING:
    from goalsight.pretrain.data.store import FrameStore


@dataclass(frozen=True)
class Pretrain:
    """Train an encoder on video.

    Budgets may be combined; the first that is spent ends the training.
    """

    data: tuple[Path, ...]
    """Videos, folders of videos or images, recorded play, or frame stores."""
    size: str = "nano"
    """Encoder size: nano, tiny, small or base."""
    objective: str = "masked"
    """What the encoder learns from: masked."""
    image_size: int = 64
    """Side of the frames [pixels]: 8 x 2^k."""
    fps: float = 10.0
    """Real video is thinned to about this rate [frames/s]; 0 keeps every frame."""
    max_gap: int = 8
    """Frame t+k is at most this far after frame t [frames]."""
    batch: int = 32
    """Pairs of frames per step; a processor learns from 16 in each thread."""
    lr: float | None = None
    """Largest learning rate; 0.24 / the encoder's width unless given."""
    seconds: float | None = None
    """Budget of wall-clock time [s]; 120 where no budget is given."""
    steps: int | None = None
    """Budget of training steps."""
    flops: float | None = None
    """Budget of floating-point operations, such as 1e14."""
    seed: int = 0
    """Of weights, pairs and masks."""
    threads: int = 0
    """Processor threads; 0 for one per core."""
    device: str = "auto"
    """auto, cpu or cuda."""
    out: Path | None = None
    """Run folder to make; by default one under runs/."""
    cache: Path = Path("runs/frames")
    """Where decoded video is kept for the next time."""
    picture_every: float = 30.0
    """Time between pictures of what the model sees [s]."""
    save_every: float = 300.0
    """Time between checkpoints [s]; the last step is always saved."""
    json: bool = False
    """Print the summary as JSON."""

    def __post_init__(self) -> None:
        """Refuse numbers that cannot be meant."""
        for name in ("max_gap", "batch"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("fps", "threads", "seed", "picture_every", "save_every"):
            if not getattr(self, name) >= 0:
                raise UserError(f"{name} must not be negative, got {getattr(self, name)}")
        if self.lr is not None and not 0 < self.lr < 1:
            raise UserError(f"lr must lie in (0, 1), got {self.lr}")


def pretrain(config: Pretrain) -> Path:
    """Decode the data, train, and keep everything in a run.

    Args:
        config: what was asked for.

    Returns:
        the run's folder: `load_encoder` reads it, also when the training was interrupted.

    Raises:
        UserError: for data that cannot be read, names that do not exist, a disk that refuses, or a loss that is
            no number any more.
    """
    from goalsight.base.runs import Run
    from goalsight.pretrain.data.ingest import cached_ingest
    from goalsight.pretrain.trainer import Trainer

    with Trainer(config) as trainer:  # first, because mistakes in the options should not wait for the decoding
        store = cached_ingest(config.data, config.cache, config.image_size, fps=config.fps)
        if not config.json:
            print(_about_data(store), file=sys.stderr)
        with Run.start(
            "pretrain", config, out=config.out, seed=config.seed, sources={"data": store.content_hash}, name=config.size
        ) as run:
            summary = trainer.train(store, run, run.stop)
            summary = {"run": str(run.path), "data": str(store.path), "frames": store.num_frames, **summary}
            run.finish(summary)
    print(json.dumps(summary) if config.json else _about_training(summary))
    return run.path


def _about_data(store: "FrameStore") -> str:
    return f"{store.num_frames} frames in {store.num_episodes} episodes: {store.path}"


def _about_training(summary: dict[str, Any]) -> str:
    return (
        f"{summary['steps']} steps in {summary['seconds']:.0f} s, {summary['pairs_per_s']:.0f} pairs/s, "
        f"{summary['flops']:.2g} operations; next frame {summary['psnr_next']:.1f} dB, where it changed "
        f"{summary['psnr_next_changed']:.1f} dB (copying the last frame: {summary['psnr_copy_changed']:.1f} dB): "
        f"{summary['run']}"
    )

"""The same objective at every level of abstraction: what is rebuilt of a frame, and what survives of a small object.

Each level is trained by as many floating-point operations, its tokeniser's among them. A picture shows the same frames
as each level rebuilds them from a quarter of its tokens, and the table says how well, over the frame and around the
object, and what ridge regression reads off the tokens.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from reporting import RESULTS, markdown_table, provenance, start

from goalsight.base.files import atomic_write_json
from goalsight.base.runs import Run
from goalsight.eval.objectives.held_out import SAID_OF_ALL
from goalsight.eval.probes.probe import Probe, probe
from goalsight.pretrain.data.clips import Batch, Clips
from goalsight.pretrain.data.format import PIXELS, PLACE
from goalsight.pretrain.data.ingest import cached_ingest
from goalsight.pretrain.data.samplers import ClipSampler
from goalsight.pretrain.data.store import FrameStore
from goalsight.pretrain.objectives.placed import SQUARE
from goalsight.pretrain.pictures import picture_grid
from goalsight.pretrain.tokenisers.base import psnr
from goalsight.pretrain.train import Pretrain
from goalsight.pretrain.trainer import Trainer

REBUILT = "t rebuilt"  # what `masked` calls it in its pictures
SHOWN, MEASURED = 6, 256  # clips in the picture, and clips that errors are means over
GAP = 8  # frames, at most, between the two of a clip


@dataclass(frozen=True)
class Levels:
    """Compare levels of abstraction at equal operations."""

    data: Path
    """Recorded play: a run of `goalsight collect`."""
    levels: tuple[str, ...] = ("values", "patches", "conv", "codes")
    """Tokenisers to compare."""
    flops: float = 3e12
    """Floating-point operations of each."""
    threads: int = 0
    """Processor threads; 0 for one per core."""
    frames: int = 4_000
    """Frames that the probe uses, at most."""
    seed: int = 0
    """Seed of everything random."""
    out: Path = RESULTS / "levels.json"
    """The result; the table and the picture lie beside it."""


def around_object(batch: Batch) -> torch.Tensor:
    """Return which pixels of frames t lie near a thing that is not the gripper, (B, H, W)."""
    side = batch[PIXELS].shape[2]
    pixels = (torch.arange(side) + 0.5) / side
    near = torch.zeros(len(batch[PIXELS]), side, side, dtype=torch.bool)
    for name, place in batch.items():
        if name.startswith(PLACE) and name != f"{PLACE}gripper":
            across, down = ((pixels - place[:, 0, axis, None]).abs() < 0.5 / SQUARE for axis in (0, 1))
            near |= down[:, :, None] & across[:, None]
    return near


def measure(level: str, config: Levels, store: FrameStore, folder: Path) -> tuple[dict[str, Any], NDArray[np.uint8]]:
    """Return what one level cost and came to, and the frames that it rebuilt."""
    asked = Pretrain(
        data=(config.data,),
        tokeniser=level,
        flops=config.flops,
        threads=config.threads,
        seed=config.seed,
        cache=folder / "frames",
        picture_every=1e9,
    )
    with Trainer(asked) as trainer:
        trainer.open(store)
        with Run.start("pretrain", asked, out=folder / level, seed=config.seed) as run:
            run.finish(trainer.train(run))
        seen, draws = clips(store, config.seed), torch.Generator().manual_seed(config.seed)
        rebuilt = trainer.objective.visualise(seen, draws)[REBUILT]
    errors = (rebuilt.float() - seen[PIXELS][:, 0].float()).square().mean(3) / 255**2
    known = probe(Probe(run.path, data=config.data, frames=config.frames, seed=config.seed))
    row = {
        "level": level,
        **{name: run.summary[name] for name in ("steps", "seconds", "flops", "flops_per_pair", "alarms")},
        "psnr": round(psnr(errors.mean()), 2),
        "psnr_object": round(psnr(errors[around_object(seen)].mean()), 2),
        "errors_cm": known["errors_cm"]["encoder"],
        "errors_random_cm": known["errors_cm"]["random encoder"],
    }
    return row, rebuilt[:SHOWN].numpy()


def clips(store: FrameStore, seed: int) -> Batch:
    """Return the clips that every level is measured by."""
    reads = Clips(gaps=((1, GAP),), also=PLACE)
    return ClipSampler(store, reads, batch=MEASURED, seed=seed + 1).sample()


def report(rows: list[dict[str, Any]]) -> str:
    """Return the rows as Markdown."""
    factors = list(rows[0]["errors_cm"])
    head = ["level", "steps", "FLOPs", "s", "rebuilt [dB]", "around the object [dB]"]
    head += [f"{factor} [cm] (random weights)" for factor in factors]
    lines = [
        [
            *(row["level"], str(row["steps"]), f"{row['flops']:.3g}", f"{row['seconds']:.0f}"),
            *(f"{row['psnr']:.1f}", f"{row['psnr_object']:.1f}"),
            *(f"{row['errors_cm'][factor]:.2f} ({row['errors_random_cm'][factor]:.2f})" for factor in factors),
        ]
        for row in rows
    ]
    return markdown_table(head, lines)


def main(config: Levels) -> None:
    """Measure, write and print."""
    result = provenance()
    with tempfile.TemporaryDirectory() as folder:
        store = cached_ingest([config.data], Path(folder) / "frames")
        pictures = {"frame": clips(store, config.seed)[PIXELS][:SHOWN, 0].numpy()}
        rows = []
        for level in config.levels:
            row, pictures[level] = measure(level, config, store, Path(folder))
            rows.append(row)
    config.out.parent.mkdir(parents=True, exist_ok=True)
    atomic_write_json(config.out, result | {"held_out": SAID_OF_ALL, "rows": rows})
    config.out.with_suffix(".md").write_text(f"{report(rows)}\n")
    Image.fromarray(picture_grid(pictures)).save(config.out.with_suffix(".png"))
    print(report(rows))


if __name__ == "__main__":
    start(Levels, main)

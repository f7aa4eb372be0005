"""What an encoder's features know: where gripper and object are, read out by ridge regression, in cm.

Beside the trained encoder stand the same architecture with random weights, the pixels averaged down, and the mean
position. All get the same regression on the same frames; episodes are held out whole.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import tyro
from numpy.typing import NDArray

from goalsight.base.errors import UserError
from goalsight.eval.probes.ridge import Split, distances, position_errors

if TYPE_CHECKING:
    from goalsight.pretrain.data.store import FrameStore
    from goalsight.pretrain.encoders.vit import VideoEncoder

Frames = NDArray[np.uint8]  # (n, H, W, 3)

RESULT = "probe.json"  # in the encoder's run
SHARES = {"train": 0.6, "validation": 0.15, "test": 0.25}  # of the episodes
TABLE = -0.01  # what lies lower has fallen off the table, whose top is at 0 [m]


@dataclass(frozen=True)
class Probe:
    """Measure what an encoder knows, in cm."""

    encoder: Annotated[Path, tyro.conf.Positional]
    """A pretraining run."""
    data: Path
    """Recorded play: a collect run, or a frame store with positions."""
    frames: int = 10_000
    """Maximum number of frames to use."""
    seed: int = 0
    """Seed of the split into episodes and of the random encoder."""
    json: bool = False
    """Print the result as JSON."""

    def __post_init__(self) -> None:
        if self.frames < 100:
            raise UserError(f"frames must be at least 100, got {self.frames}")


def probe(config: Probe) -> dict[str, Any]:
    """Regress positions on features.

    Args:
        config: which encoder, on which frames.

    Returns:
        the result, also kept as `probe.json` in the encoder's run; errors are mean Euclidean distances [cm].

    Raises:
        UserError: if there is no encoder, no store, no positions in it, or too few episodes.
    """
    from goalsight.base.files import atomic_write_json
    from goalsight.pretrain.encoders.vit import VideoEncoder, load_encoder

    encoder = load_encoder(config.encoder)
    store = _open_store(config.data)
    fallen = out_of_sight(store)
    parts = split_episodes(store, config.frames, config.seed, leave_out=fallen)
    frames = {name: store.frames(rows) for name, rows in parts.items()}
    targets = {
        name: np.concatenate([label[rows] for label in store.labels.values()], 1) for name, rows in parts.items()
    }
    untrained = VideoEncoder(encoder.config, seed=config.seed)
    readers = {
        "encoder": lambda images: learnt_features(encoder, images),
        "random encoder": lambda images: learnt_features(untrained, images),
        "pixels 16x16": lambda images: averaged(images, 16),
        "pixels 8x8": lambda images: averaged(images, 8),
    }
    errors = {}
    for name, read in readers.items():
        errors[name] = position_errors(*(Split(read(frames[part]), targets[part]) for part in SHARES))
    truth = targets["test"]
    errors["mean position"] = distances(np.broadcast_to(targets["train"].mean(axis=0), truth.shape), truth)
    counts = {name: len(rows) for name, rows in parts.items()} | {"left out": int(fallen.sum())}
    result = _result(config, encoder, store, counts, errors)
    print(json.dumps(result, default=str) if config.json else table(result))
    if (config.encoder / "manifest.json").exists():
        atomic_write_json(config.encoder / RESULT, result)
    return result


def _open_store(path: Path) -> "FrameStore":
    from goalsight.pretrain.data.store import FrameStore, is_store

    nested = path / "frames"
    store = FrameStore.open(nested if is_store(nested) else path)
    if not store.labels:
        raise UserError(f"{path} holds frames without positions; record play with `goalsight collect`")
    return store


def out_of_sight(store: "FrameStore") -> NDArray[np.bool_]:
    """Frames (num_frames,) in which something lies beyond the picture's edge (NaN) or has fallen off the table."""
    return ~np.all([label[:, 2] >= TABLE for label in store.labels.values()], axis=0)


def split_episodes(
    store: "FrameStore", frames: int, seed: int, *, leave_out: NDArray[np.bool_]
) -> dict[str, NDArray[np.int64]]:
    """Frames of the training, validation and test episodes.

    Args:
        store: episodes are shuffled and dealt out whole.
        frames: as many at most, evenly spread over each part's episodes.
        seed: of the shuffle.
        leave_out: frames not to use, (num_frames,).

    Returns:
        indices into the store, ascending, for each of `SHARES`.

    Raises:
        UserError: if a part would have no episode.
    """
    if store.num_episodes < 8:
        raise UserError(f"a probe needs at least 8 episodes to hold some out, {store.path} has {store.num_episodes}")
    order = np.random.default_rng(seed).permutation(store.num_episodes)
    ends = np.round(np.cumsum(list(SHARES.values())) * store.num_episodes).astype(int)
    parts = {}
    for name, members in zip(SHARES, np.split(order, ends[:-1]), strict=True):
        rows = np.flatnonzero(np.isin(store.episode_of_frame, members) & ~leave_out)
        wanted = min(len(rows), round(frames * SHARES[name]))
        parts[name] = rows[np.linspace(0, len(rows) - 1, wanted).round().astype(int)]
    return parts


def learnt_features(encoder: "VideoEncoder", frames: Frames) -> NDArray[np.float32]:
    """What an encoder has learnt to say of each frame, flat: where its points lie, (n, 2 points), or all its tokens."""
    import torch

    from goalsight.pretrain.encoders.features import EncoderFeatures, in_batches

    if encoder.points is None:
        return EncoderFeatures(encoder)(frames).reshape(len(frames), -1)
    return torch.cat([places.float() for places in in_batches(encoder.places, frames)]).numpy()


def averaged(frames: Frames, side: int) -> NDArray[np.float32]:
    """Frames averaged down to side x side pixels, flat, in [0, 1]: (n, side * side * 3)."""
    count, size = frames.shape[:2]
    if size % side:
        raise UserError(f"frames of {size} pixels cannot be averaged down to {side}")
    blocks = frames.reshape(count, side, size // side, side, size // side, 3)
    return blocks.mean(axis=(2, 4), dtype=np.float32).reshape(count, -1) / np.float32(255)


def _result(
    config: Probe,
    encoder: "VideoEncoder",
    store: "FrameStore",
    frames: dict[str, int],
    errors: dict[str, NDArray[np.float64]],
) -> dict[str, Any]:
    factors = list(store.labels)
    table_cm = {
        name: {factor: round(100 * float(error), 3) for factor, error in zip(factors, row, strict=True)}
        for name, row in errors.items()
    }
    worst = max(table_cm["encoder"], key=lambda factor: table_cm["encoder"][factor])
    return {
        "worst": {"factor": worst, **{name: row[worst] for name, row in table_cm.items()}},
        "errors_cm": table_cm,
        "frames": frames,
        "encoder": {"path": config.encoder, "hash": encoder.content_hash(), **asdict(encoder.config)},
        "data": {"path": store.path, "hash": store.content_hash},
        "seed": config.seed,
    }


def table(result: dict[str, Any]) -> str:
    """The result as text for people."""
    worst, rows = result["worst"], result["errors_cm"]
    factors = list(rows["encoder"])
    lines = [
        f"worst factor: {worst['factor']}, {worst['encoder']:.2f} cm "
        f"(random encoder {worst['random encoder']:.2f} cm, mean position {worst['mean position']:.2f} cm)",
        f"mean error on held-out episodes, {result['frames']['test']} frames; ridge on {result['frames']['train']}",
        f"  {'features':15}" + "".join(f"{factor:>12}" for factor in factors),
    ]
    for name, row in rows.items():
        lines.append(f"  {name:15}" + "".join(f"{row[factor]:>9.2f} cm" for factor in factors))
    return "\n".join(lines)

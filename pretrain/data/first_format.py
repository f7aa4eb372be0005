"""The first format of frame stores: pixels in shards `frames-NNNNN.u8`, positions in `label-NAME.npy`."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from goalsight.pretrain.data.format import FIRST_FORMAT, POSITION
from goalsight.pretrain.data.shards import Shards


def open_first_format(
    path: Path, index: dict[str, Any], num_frames: int
) -> tuple[Shards, dict[str, NDArray[np.float32]]]:
    """Map a store of the first format: its pixels, and its labels as columns of positions.

    Raises:
        OSError, ValueError, KeyError: when it is damaged.
    """
    side = int(index["image_size"])
    shards = Shards([_map(path / shard["file"], (shard["frames"], side, side, 3)) for shard in index["shards"]])
    if not index["shards"] or len(shards) != num_frames:
        raise ValueError("shards and episodes differ in length")
    labels = {f"{POSITION}{name}": _label(path, name, (num_frames, size)) for name, size in index["labels"].items()}
    return shards, labels


def first_hash(
    index: dict[str, Any], episodes: Iterable[NDArray[np.uint8]], labels: Mapping[str, NDArray[np.float32]]
) -> str:
    """The hash of all that a store of the first format holds: sizes, pixels, and labels in the order of their names."""
    pixels = hashlib.sha256()
    for frames in episodes:
        pixels.update(np.ascontiguousarray(frames).data)
    lengths = [episode["length"] for episode in index["episodes"]]
    content = hashlib.sha256(json.dumps([FIRST_FORMAT, index["image_size"], lengths]).encode())
    content.update(pixels.digest())
    for name, values in sorted(labels.items()):
        content.update(name.encode() + values.tobytes())
    return content.hexdigest()


def _map(file: Path, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    size = file.stat().st_size
    if size != np.prod(shape):
        raise ValueError(f"{file.name} has {size} bytes, not {np.prod(shape)}")
    return np.asarray(np.memmap(file, np.uint8, mode="r", shape=shape))


def _label(path: Path, name: str, shape: tuple[int, int]) -> NDArray[np.float32]:
    try:
        values = np.load(path / f"label-{name}.npy", mmap_mode="r", allow_pickle=False)
    except EOFError as error:
        raise ValueError(f'label "{name}" is empty') from error
    if values.shape != shape or values.dtype != np.float32:
        raise ValueError(f'label "{name}" is {values.dtype} {values.shape}')
    return values

"""Whether a store still holds what was written: its hashes are checked once, and again when a file has changed."""

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

CHECKED = ".checked"  # beside the index: sizes and times of the files that were checked
OWN = "sha256"  # of an index: over all that it says besides
Stamps = list[list[Any]]


def index_hash(index: Mapping[str, Any]) -> str:
    """Sha256 over all that an index says besides."""
    return hashlib.sha256(
        json.dumps({name: value for name, value in index.items() if name != OWN}).encode()
    ).hexdigest()


def check_index(index: Mapping[str, Any]) -> None:
    """Compare an index with its own hash, which older ones have not.

    Raises:
        ValueError: if they differ.
    """
    if OWN in index and index[OWN] != index_hash(index):
        raise ValueError("its index is not what was written")


def content_hash(kind: str, columns: Mapping[str, Any], episodes: Iterable[tuple[int, str]]) -> str:
    """Sha256 over a format, the kinds of the columns, and each episode's length and hash."""
    return hashlib.sha256(json.dumps([kind, columns, list(episodes)]).encode()).hexdigest()


def episode_hash(instruction: str, frames: Iterable[NDArray[np.uint8]], columns: Mapping[str, NDArray[Any]]) -> str:
    """Sha256 over all that is kept of an episode.

    Args:
        instruction: what happens in it.
        frames: each (H, W, 3) uint8.
        columns: all but the pixels, each (T, ...).
    """
    digest = hashlib.sha256(instruction.encode())
    for frame in frames:
        digest.update(np.ascontiguousarray(frame).data)
    return hash_columns(digest, columns)


def hash_columns(digest: "hashlib._Hash", columns: Mapping[str, NDArray[Any]]) -> str:
    """Take an episode's columns into its hash, after its instruction and its pixels."""
    for name, values in sorted(columns.items()):
        digest.update(name.encode() + values.tobytes())
    return digest.hexdigest()


def check_held(
    index: Mapping[str, Any], pixels: Callable[[slice], NDArray[np.uint8]], columns: Mapping[str, NDArray[Any]]
) -> None:
    """Compare all that a store holds with the hashes in its index.

    Args:
        index: of the store.
        pixels: gives those of some rows.
        columns: all but the pixels, each (num_frames, ...).

    Raises:
        ValueError: if they differ.
    """
    hashed = ((episode["length"], episode["sha256"]) for episode in index["episodes"])
    if content_hash(index["format"], index["columns"], hashed) != index["content_hash"]:
        raise ValueError("its index is not what was written")
    start = 0
    for i, episode in enumerate(index["episodes"]):
        rows = slice(start, start := start + episode["length"])
        part = {name: values[rows] for name, values in columns.items()}
        if episode_hash(episode["instruction"], pixels(rows), part) != episode["sha256"]:
            raise ValueError(f"episode {i} is not what was written")


def is_checked(folder: Path) -> bool:
    """Whether the files are those that were checked last."""
    try:
        return json.loads((folder / CHECKED).read_text()) == stamps(folder)
    except (OSError, ValueError, RecursionError):
        return False


def mark_checked(folder: Path, found: Stamps | None = None) -> None:
    """Remember that the files are as they should be; where the folder cannot be written they are checked again.

    Args:
        folder: the store's.
        found: the files' stamps before they were read; as they are now unless given.
    """
    with contextlib.suppress(OSError):
        (folder / CHECKED).write_text(json.dumps(stamps(folder) if found is None else found))


def stamps(folder: Path) -> Stamps:
    """Return the names, sizes and times of a store's files, which tell whether it was changed."""
    files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    return [[path.name, path.stat().st_size, path.stat().st_mtime_ns] for path in files]

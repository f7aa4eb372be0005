"""Whether a store still holds what was written: its hashes are checked once, and again when a file has changed."""

import contextlib
import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

CHECKED = ".checked"  # beside the index: sizes and times of the files that were checked


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


def is_checked(folder: Path) -> bool:
    """Whether the files are those that were checked last."""
    try:
        return json.loads((folder / CHECKED).read_text()) == stamps(folder)
    except (OSError, ValueError):
        return False


def mark_checked(folder: Path) -> None:
    """Remember that the files are as they should be; where the folder cannot be written they are checked again."""
    with contextlib.suppress(OSError):
        (folder / CHECKED).write_text(json.dumps(stamps(folder)))


def stamps(folder: Path) -> list[list[Any]]:
    """Return the names, sizes and times of a store's files, which tell whether it was changed."""
    files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    return [[path.name, path.stat().st_size, path.stat().st_mtime_ns] for path in files]

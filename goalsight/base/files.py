"""Files that are either whole or absent: written beside their place, flushed to the disk, then renamed."""

import glob
import json
import math
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from goalsight.base.errors import UserError
from goalsight.base.records import json_object


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what the disk refuses (full, read-only, not a folder) into one line that a user can act on.

    Args:
        path: what is being written; named in the error.

    Raises:
        UserError: instead of any OSError raised inside.
    """
    try:
        yield
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error


def to_json(value: Any) -> Any:
    """Return `value` in JSON's own types.

    Dataclasses become objects, paths strings, arrays and tuples lists. Numbers that are not finite become
    null, because JSON has no word for them.
    """
    if is_dataclass(value) and not isinstance(value, type):
        return to_json(asdict(value))
    if isinstance(value, dict):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [to_json(item) for item in value]
    if isinstance(value, Enum):
        return to_json(value.value)
    if isinstance(value, bool | int | str) or value is None:
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if hasattr(value, "tolist"):  # NumPy arrays and scalars, torch tensors
        return to_json(value.tolist())
    return str(value)


def flush_to_disk(path: Path) -> None:
    """Return once the file or folder at `path` is on the disk and not only in the system's cache."""
    if sys.platform == "win32" and path.is_dir():
        return  # Windows opens no folders
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_flushed(path: Path, data: bytes) -> None:
    """Write a file and wait until it is on the disk."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def remove_leftovers(folder: Path, before: str, after: str) -> None:
    """Remove what killed processes had not finished writing.

    Args:
        folder: where they wrote.
        before: what the names of their files begin with, up to the number of the process.
        after: what follows the number.
    """
    for entry in folder.glob(f"{glob.escape(before)}*{glob.escape(after)}"):
        number = entry.name.removeprefix(before).removesuffix(after)
        if number.isdigit() and not _lives(int(number)):
            entry.unlink(missing_ok=True)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def atomic_write_bytes(path: Path, data: bytes) -> None:
    """Replace the file at `path` in one step: a reader sees the old content or the new, never a part.

    Raises:
        UserError: if the disk refuses; the old file is then still there.
    """
    sibling = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with writing(path):
        remove_leftovers(path.parent, f".{path.name}.", ".tmp")
        try:
            write_flushed(sibling, data)
            os.replace(sibling, path)
        except BaseException:
            sibling.unlink(missing_ok=True)
            raise
        flush_to_disk(path.parent)


def atomic_write_text(path: Path, text: str) -> None:
    """Replace the text file at `path` in one step; see `atomic_write_bytes`."""
    atomic_write_bytes(path, text.encode())


def atomic_write_json(path: Path, value: Any) -> None:
    """Replace the JSON file at `path` in one step; see `to_json` for what `value` may hold."""
    atomic_write_text(path, json.dumps(to_json(value), indent=2, allow_nan=False) + "\n")


def plain_bytes(path: Path) -> bytes:
    """Return what a file holds that may be a stranger's, or a link; reading a pipe or a device might never end.

    Raises:
        UserError: it cannot be read, or is no plain file.
    """
    try:
        if path.exists() and not path.is_file():
            raise UserError(f"{path}: it is no plain file")
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}") from error


def read_json(path: Path, *, finite: bool = True, form: Any = None) -> dict[str, Any]:
    """Return the JSON object in the file at `path`; see `records.json_object` for the options.

    Raises:
        UserError: if it cannot be read, or holds anything else.
    """
    try:
        data = plain_bytes(path)
    except UserError as error:
        raise UserError(f"cannot read {error}") from error
    return json_object(path, data, finite=finite, form=form)

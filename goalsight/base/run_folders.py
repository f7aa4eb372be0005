"""Folders of runs: made so that exactly one process gets each, found, and named where one is missing."""

import contextlib
import itertools
import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from goalsight.base.errors import UserError
from goalsight.base.files import writing
from goalsight.base.life import FolderLock

CONFIG, MANIFEST = "config.json", "manifest.json"
BEGUN = ".begun"  # lies in the folder until the manifest does
ENCODER_PATH = "encoder_path"  # among the sources in a manifest: where the encoder was found


def fresh_folder(kind: str, name: str) -> Path:
    """Make a folder under runs/; two runs that begin in the same second get one each."""
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    stem = "-".join(part for part in (kind, name.replace("/", "-"), stamp) if part)
    for count in itertools.count(1):
        path = Path("runs") / (stem if count == 1 else f"{stem}-{count}")
        with writing(path), contextlib.suppress(FileExistsError):
            path.mkdir(parents=True)
            break
    return path


@contextlib.contextmanager
def claimed(path: Path) -> Iterator[FolderLock]:
    """Take a run's folder for this process alone; what is written inside the `with` block makes it a run.

    Args:
        path: the folder; may exist if it is empty, or holds what a killed process had begun and nothing more.

    Yields:
        the lock, to be held as long as the run is written; it is released when the block fails.

    Raises:
        UserError: the folder holds anything, another process has it, or the disk refuses.
    """
    with writing(path):
        path.mkdir(parents=True, exist_ok=True)
        lock = FolderLock(path)
    try:
        with writing(path):
            _clear_what_was_begun(path, lock)
            _check_is_empty(path)
            # Where folders cannot be locked, only one process can make this file.
            os.close(os.open(path / BEGUN, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
        yield lock
        (path / BEGUN).unlink()
    except FileExistsError:
        lock.release()
        raise UserError(f"another process is writing {path}; choose another folder") from None
    except BaseException:
        lock.release()
        raise


def check_free(path: Path | None) -> None:
    """Refuse a folder that no run can be made in, before what takes time; `claimed` decides in the end.

    Args:
        path: the folder; None for one that is still to be chosen.

    Raises:
        UserError: it holds anything but what a killed process had begun.
    """
    if path is not None and path.is_dir() and not (path / BEGUN).exists():
        _check_is_empty(path)


def _clear_what_was_begun(path: Path, lock: FolderLock) -> None:
    """Remove what a process left that was killed before the folder was a run."""
    if not (path / BEGUN).exists() or (path / MANIFEST).exists() or not lock.held:
        return
    for entry in path.iterdir():
        if entry.name in (CONFIG, BEGUN) or entry.name.startswith((f".{CONFIG}.", f".{MANIFEST}.")):
            entry.unlink()


def _check_is_empty(path: Path) -> None:
    found = {entry.name for entry in path.iterdir()} - {BEGUN}
    if CONFIG in found:
        raise UserError(f"{path} holds a run already; choose another folder")
    if found:
        raise UserError(f"{path} is not empty; choose another folder")


def clear_leftovers(path: Path) -> None:
    """Remove what killed processes had not finished writing in a run's folder, and in its folders."""
    for leftover in [*path.glob(".*.tmp"), *path.glob("*/.*.tmp"), *path.glob("videos/.*.partial.*")]:
        if leftover.is_file():
            leftover.unlink(missing_ok=True)


def check_is_run(path: Path) -> None:
    """Refuse what is no run's folder.

    Raises:
        UserError: it is missing, holds no run, or was left half-written; names the newest runs near it.
    """
    if not path.is_dir():
        what = "is not a run folder" if path.exists() else "does not exist"
        raise UserError(f"run {path} {what}; {_runs_near(path)}")
    missing = [name for name in (CONFIG, MANIFEST) if not (path / name).is_file()]
    if missing:
        raise UserError(f"{path} is not a run, or half-written: no {missing[0]}; {_runs_near(path)}")


def _runs_near(path: Path) -> str:
    """Return the names of the newest runs beside `path`, or under runs/, as part of a sentence."""
    for folder in (path.parent, path, Path("runs")):
        found = sorted(folder.glob(f"*/{MANIFEST}"), key=lambda file: file.stat().st_mtime, reverse=True)
        if found:
            return f"newest runs: {', '.join(str(file.parent) for file in found[:5])}"
    return "there are no runs nearby"

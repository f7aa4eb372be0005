"""The sole right to write at a place: a lock that the system takes back when the process ends, however it ends."""

import contextlib
import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

from goalsight.base.errors import UserError
from goalsight.base.files import writing
from goalsight.base.life import try_lock

LOCK, PARTIAL = ".lock", ".partial"  # hidden neighbours of the place, `.NAME.lock` and `.NAME.partial`
LOOK_EVERY = 0.2  # [s]


class Claim:
    """A claim to a place; held from `take` to `release`."""

    def __init__(self, place: Path) -> None:
        """A claim to write at `place`, which need not exist; nothing is taken yet."""
        self._place = Path(place)
        self._lock = hidden_neighbour(place, LOCK)
        self._handle: int | None = None

    def take(self, *, wait: bool = False, keep: bool = False) -> None:
        """Take the place, and remove what a process that was killed has left unfinished there.

        Args:
            wait: until whoever has it is done, with a line on stderr, rather than refuse.
            keep: what was left unfinished, to go on with it.

        Raises:
            UserError: when another process has it, or the folder cannot be written.
        """
        said = False
        while not self._taken():
            if not wait:
                raise UserError(f"{self._place} is being written by another process")
            if not said:
                print(f"goalsight: waiting for another process that writes {self._place}", file=sys.stderr)
                said = True
            time.sleep(LOOK_EVERY)
        if not keep:
            remove(hidden_neighbour(self._place, PARTIAL))

    def release(self) -> None:
        """Give the place back; harmless when it is not held."""
        if self._handle is not None:
            self._lock.unlink(missing_ok=True)
            os.close(self._handle)
            self._handle = None

    def _taken(self) -> bool:
        with writing(self._place):
            self._lock.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        # Where this disk locks nothing, nobody else could tell either.
        ours = try_lock(handle) is not False and self._is_file_of(handle)
        if ours:
            self._handle = handle
        else:
            os.close(handle)
        return ours

    def _is_file_of(self, handle: int) -> bool:
        """Whoever had the place may have removed the file in between; then a lock is on nothing."""
        try:
            return os.fstat(handle).st_ino == self._lock.stat().st_ino
        except FileNotFoundError:
            return False


def hidden_neighbour(place: Path, ending: str) -> Path:
    """The hidden path beside `place` that ends in `ending`."""
    return place.with_name(f".{place.name}{ending}")


def clear_leftovers(folder: Path, *, keep: Callable[[Path], bool] = lambda _: False) -> None:
    """Remove from a folder what killed processes have left unfinished; what is being written stays.

    Args:
        folder: where.
        keep: says of something unfinished whether it stays.
    """
    for partial in folder.glob(f".*{PARTIAL}"):
        if keep(partial):
            continue
        claim = Claim(folder / partial.name.removesuffix(PARTIAL).removeprefix("."))
        with contextlib.suppress(UserError):
            claim.take()  # removes it
            claim.release()


def remove(path: Path) -> None:
    """Remove a file or a folder if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)

"""Who writes a folder, and whether that process still lives.

The writer holds a lock on the folder itself, which the system drops when the process ends, however it ends. Where
folders cannot be locked, as on some network disks, the process that the run names is looked up instead.
"""

import errno
import os
import platform
import sys
import time
from pathlib import Path
from typing import Any

from goalsight.base.errors import UserError

if sys.platform != "win32":  # where nothing is locked
    import fcntl

RETRIES, PAUSE = 5, 0.02  # who only looks holds the lock for a moment; times, and seconds between them


def this_process() -> dict[str, Any]:
    """What tells this process from every other one: its number, when it began, since which boot, and where."""
    return {"pid": os.getpid(), "began": _began(os.getpid()), "boot": _boot(), "host": platform.node()}


def is_same_process_alive(process: dict[str, Any]) -> bool:
    """Whether the process that `this_process` described lives; one on another machine is taken to."""
    if not isinstance(process.get("pid"), int):
        return False
    if process.get("boot") != _boot():
        return process.get("host") != platform.node()
    return process.get("began") == _began(process["pid"]) != ""


def _began(pid: int) -> str:
    """When a process began, as the system counts it; empty where there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        if Path("/proc/self/stat").exists():
            return ""
        return _looked_up(pid)
    fields = text.rpartition(")")[2].split()  # the name before it may hold anything
    return "" if fields[0] in "ZX" else fields[19]  # a zombie has died


def _boot() -> str:
    """What names the time since the machine was started."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        import psutil

        return str(round(psutil.boot_time()))


def _looked_up(pid: int) -> str:
    """`_began`, where the system has no files that say it."""
    import psutil

    try:
        process = psutil.Process(pid)
        return "" if process.status() == psutil.STATUS_ZOMBIE else str(process.create_time())
    except psutil.Error:
        return ""


def try_lock(handle: int, *, shared: bool = False) -> bool | None:
    """Lock an open file or folder for this process, until it is closed.

    Returns:
        False where another process holds it, None where this disk locks nothing.
    """
    if sys.platform == "win32":
        return None
    try:
        fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError as error:
        return False if error.errno in (errno.EWOULDBLOCK, errno.EAGAIN) else None
    return True


class FolderLock:
    """The right to write a folder, held until `release` or the process's end.

    Attributes:
        held: False where the disk locks no folders, and after `release`.

    Raises:
        UserError: another process holds it.
    """

    def __init__(self, folder: Path) -> None:
        self._handle = _opened(folder)
        self.held = False
        for left in reversed(range(RETRIES)):
            locked = None if self._handle is None else try_lock(self._handle)
            if locked is not False:
                self.held = bool(locked)
                return
            if left:
                time.sleep(PAUSE)
        self.release()
        raise UserError(f"another process is writing {folder}; wait for it, or choose another folder")

    def release(self) -> None:
        """Let others write the folder."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle, self.held = None, False


def is_written(folder: Path, process: dict[str, Any]) -> bool:
    """Whether a process that lives writes the folder.

    Args:
        folder: any folder.
        process: what `this_process` said when the writing began; asked where folders cannot be locked.
    """
    handle = _opened(folder)
    try:
        locked = None if handle is None else try_lock(handle, shared=True)
        return is_same_process_alive(process) if locked is None else not locked
    finally:
        if handle is not None:
            os.close(handle)


def _opened(folder: Path) -> int | None:
    """A handle of a folder; None on Windows, which has none."""
    if sys.platform == "win32":
        return None
    return os.open(folder, os.O_RDONLY)

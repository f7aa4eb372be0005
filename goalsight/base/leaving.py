"""Ending at once: what SIGINT, SIGTERM and SIGHUP do where nothing needs an orderly end. Imports next to nothing."""

import os
import signal
import sys
from os import _exit  # itself: while plug-ins are loaded, os._exit is another
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import subprocess

INTERRUPTED = 130  # the exit code


def ending_signals() -> list[signal.Signals]:
    """The signals that ask this process to end; a hang-up only where `nohup` has not said to ignore it."""
    if sys.platform == "win32" or signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        return [signal.SIGINT, signal.SIGTERM]
    return [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


def leave(number: int, frame: FrameType | None) -> None:
    """End the process here and now, with one line; a handler of signals."""
    os.write(2, b"goalsight: interrupted\n")
    _exit(INTERRUPTED)


def leave_on_signals() -> None:
    """Let the signals end the process at once."""
    for number in ending_signals():
        signal.signal(number, leave)


def kill(process: "subprocess.Popen[bytes]") -> None:
    """Kill a process that was started in a session of its own, with all that it has started; Windows spares those."""
    if sys.platform == "win32":
        process.kill()
        return
    try:  # noqa: SIM105  # without an import
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass

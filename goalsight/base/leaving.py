"""Ending at once: what SIGINT, SIGTERM and SIGHUP do where nothing needs an orderly end. Imports next to nothing."""

import os
import signal
from types import FrameType

INTERRUPTED = 130  # the exit code


def ending_signals() -> list[signal.Signals]:
    """The signals that ask this process to end; a hang-up only where `nohup` has not said to ignore it."""
    ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return [signal.SIGINT, signal.SIGTERM, *([] if ignored else [signal.SIGHUP])]


def leave(number: int, frame: FrameType | None) -> None:
    """End the process here and now, with one line; a handler of signals."""
    os.write(2, b"goalsight: interrupted\n")
    os._exit(INTERRUPTED)


def leave_on_signals() -> None:
    """Let the signals end the process at once."""
    for number in ending_signals():
        signal.signal(number, leave)

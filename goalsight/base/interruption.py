"""Ctrl-C, SIGTERM and a closed terminal as a request that a loop can honour: finish the step, save, return."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType


def handled() -> list[signal.Signals]:
    """The signals that ask this process to end; a hang-up only where `nohup` or a shell has not said to ignore it."""
    ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return [signal.SIGINT, signal.SIGTERM, *([] if ignored else [signal.SIGHUP])]


@dataclass
class Stop:
    """Whether someone asked this process to stop."""

    requested: bool = False
    signal_name: str = ""


# Signals belong to the process, so the record of the last loop's request does too.
_latest = Stop()


def stopped_by() -> str:
    """Return the name of the signal that ended the latest `interrupted()` loop, or an empty string."""
    return _latest.signal_name


def forget_stop() -> None:
    """Start anew, as the next command in the same process does."""
    global _latest
    _latest = Stop()


@contextmanager
def interrupted() -> Iterator[Stop]:
    """Let a loop end cleanly on SIGINT, SIGTERM or SIGHUP, which `nohup` keeps away.

    The first signal sets `stop.requested`; a second one raises KeyboardInterrupt at once. Outside the main
    thread, where Python delivers no signals, nothing is changed.

    Yields:
        the record to look at after every step.
    """
    global _latest
    stop = _latest = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def request(number: int, frame: FrameType | None) -> None:
        if stop.requested:
            raise KeyboardInterrupt
        stop.requested = True
        stop.signal_name = signal.Signals(number).name
        print("stopping after this step, then saving; once more stops at once", file=sys.stderr)

    before = {number: signal.signal(number, request) for number in handled()}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

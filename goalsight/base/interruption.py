"""Ctrl-C, SIGTERM and a closed terminal as a request that a loop can honour: finish the step, save, return."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from goalsight.base.distributed import group
from goalsight.base.leaving import ending_signals, leave


@dataclass
class Stop:
    """Whether someone asked this process to stop."""

    requested: bool = False
    signal_name: str = ""


# Signals belong to the process, so the record of the last loop's request does too.
_latest = Stop()
_leaving = False


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

    The first signal sets `stop.requested`; a second one raises KeyboardInterrupt at once, but for the one that
    `torchrun` adds to Ctrl-C. Outside the main thread, where Python delivers no signals, nothing is changed.

    Yields:
        the record to look at after every step.

    Raises:
        KeyboardInterrupt: a signal came before, and what it raised was swallowed.
    """
    global _latest
    if _leaving:
        raise KeyboardInterrupt
    stop = _latest = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def request(number: int, frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        if stop.requested:
            if group().size > 1 and name != stop.signal_name:
                return
            raise KeyboardInterrupt
        stop.requested = True
        stop.signal_name = name
        if not group().leads:
            return
        print("stopping after this step, then saving; once more stops at once", file=sys.stderr)

    before = {number: signal.signal(number, request) for number in ending_signals()}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def interrupting() -> Iterator[None]:
    """Let SIGINT, SIGTERM and SIGHUP raise KeyboardInterrupt where no loop heeds them, so that all is put in order."""
    global _leaving
    _leaving = False

    def raise_it(number: int, frame: FrameType | None) -> None:
        global _leaving
        _leaving = True
        if _is_importing(frame):  # some packages swallow what is raised while they are imported
            leave(number, frame)
        raise KeyboardInterrupt

    before = {number: signal.signal(number, raise_it) for number in ending_signals()}
    try:
        yield
    finally:
        _leaving = False
        for number, handler in before.items():
            signal.signal(number, handler)


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False


def asked_to_leave() -> bool:
    """Whether a signal has raised KeyboardInterrupt inside `interrupting`."""
    return _leaving

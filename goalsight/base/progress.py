"""Bars of long work: on a terminal as they are, elsewhere as a line now and then."""

import io
import sys
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from tqdm import tqdm

LINE_EVERY = 30.0  # seconds from line to line where stderr is no terminal


def progress(**options: Any) -> "tqdm[Any]":
    """Return tqdm's bar on stderr; where that is no terminal, it is a line after half a minute, and after each more.

    Args:
        **options: as `tqdm.tqdm` takes them.
    """
    from tqdm import tqdm

    if sys.stderr.isatty():
        return tqdm(**options)
    seldom = {"mininterval": LINE_EVERY, "maxinterval": LINE_EVERY, "delay": LINE_EVERY}
    return tqdm(**(options | seldom | {"file": _Lines(sys.stderr), "dynamic_ncols": False}))


class _Lines(io.TextIOBase):
    """Makes lines of what is written over and over at the same place."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def write(self, text: str) -> int:
        for line in text.replace("\r", "\n").split("\n"):
            if line.strip():
                self._out.write(line.rstrip() + "\n")
        return len(text)

    def flush(self) -> None:
        self._out.flush()

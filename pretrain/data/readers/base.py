"""What a reader is: it knows its kind of data when it sees it, and gives its episodes as pixels and columns."""

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

from numpy.typing import NDArray

from goalsight.pretrain.data.format import Column
from goalsight.pretrain.data.pictures import Frame, UnreadableError


@dataclass(frozen=True)
class Reading:
    """How data is to be read."""

    image_size: int  # height and width of the frames [pixels]
    fps: float  # video is thinned to about this rate [frames/s]; 0 keeps every frame


@dataclass(frozen=True)
class Recorded:
    """One episode: frames that follow each other in time, and what else is known at each of them."""

    pixels: Iterable[Frame]  # a stream, each (image_size, image_size, 3) uint8
    source: str  # where it came from, for people
    instruction: str = ""  # what happens in it, as a sentence; empty where nobody knows
    columns: Mapping[str, NDArray[Any]] = field(default_factory=dict)  # each (T, ...)


class Reader(Protocol):
    """One kind of data.

    A reader without columns may say `APART: ClassVar = True`: its files are then decoded in a process of its own, where
    one that hangs or crashes the decoder does no harm.
    """

    KIND: ClassVar[str]  # what it reads, for a sentence
    OWNS_FOLDERS: ClassVar[bool]  # whether all in and below a folder that it knows is its own

    def detect(self, path: Path) -> bool:
        """Say whether a file or folder is of this kind; it may still turn out to be damaged."""

    def files(self, path: Path) -> tuple[Path, ...]:
        """What is read: data that was decoded before is decoded again when one of these has changed."""

    def rate(self, path: Path, how: Reading) -> float:
        """Frames a second of what `episodes` gives; 0 where nobody knows.

        Raises:
            UnreadableError: if it is damaged.
        """

    def size(self, path: Path) -> tuple[int, int] | None:
        """Height and width of the pictures as they were recorded [pixels]; None where nobody knows.

        Raises:
            UnreadableError: if it is damaged.
        """

    def columns(self, path: Path) -> dict[str, Column]:
        """The columns that every episode has besides its pixels.

        Raises:
            UnreadableError: if it is damaged.
        """

    def episodes(self, path: Path, how: Reading) -> Iterator[Recorded]:
        """Go through the episodes; each one's pixels are to be read before the next is asked for.

        Raises:
            UnreadableError: if it is damaged or too short, also while the pixels are read.
        """


def at_least_two(path: Path, frames: Iterator[Frame]) -> Iterator[Frame]:
    """Return the frames if there are two.

    Raises:
        UnreadableError: if there are fewer: nothing could be learnt of what follows what.
    """
    first = list(itertools.islice(frames, 2))
    if len(first) < 2:
        count = "only one frame" if first else "no frame that can be read"
        raise UnreadableError(f"{path} has {count}; learning needs pairs of frames")
    return itertools.chain(first, frames)

"""What a frame store looks like on disk; shared by its reader and its writer.

A store is a folder with one flat file per column, `NAME.raw` (a row for each frame, in C order), and `index.json`,
which says how many rows of which kind count. Files only grow, and the index is replaced in one step after they are on
the disk, so a store is whole at every moment: what lies beyond the rows that the index names does not exist yet.

Columns that recorded play has; video has `pixels` alone:

- `pixels` uint8 (H, W, 3): frame t;
- `action` float32: what was done after frame t. In an episode's last row too, though what came of it is not shown;
- `proprioception`, `state` float32: what the arm feels, and all there is to know, at frame t;
- `achieved_goal`, `desired_goal` float32: what frame t achieves, and what was asked for;
- `reward` float32, `success` bool, both (1,): what the action after frame t brought;
- `position.NAME` float32 (3,): where a thing is at frame t [m], NaN where it lies outside the picture;
- `place.NAME` float32 (2,): where it is in the picture, across and down, as shares of its side;
- `touched.NAME` bool (1,): whether the arm touches a thing at frame t.

Each episode also has a `source`, for people, and an `instruction`: what happens in it, as a sentence.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

INDEX = "index.json"
FORMAT = "goalsight-store-2"
FIRST_FORMAT = "goalsight-frames-1"  # pixels in shards, positions as float32 .npy files; still read
PIXELS = "pixels"
POSITION = "position."  # begins the names of columns that hold where something is
PLACE = "place."  # and of those that hold where it is in the picture
TOUCHED = "touched."  # and of those that say whether the arm touches it
DTYPES = ("bool", "uint8", "int32", "int64", "float32", "float64")


@dataclass(frozen=True)
class Column:
    """What a column holds for each frame."""

    dtype: str  # one of DTYPES
    shape: tuple[int, ...]  # of a row

    @classmethod
    def of(cls, values: NDArray[Any]) -> "Column":
        """The column that holds such values, (T, ...)."""
        return cls(values.dtype.name, tuple(values.shape[1:]))

    @property
    def row_bytes(self) -> int:
        """Size of a row [bytes]."""
        return int(np.prod(self.shape, dtype=np.int64)) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class Episode:
    """Frames that follow each other in time, and where they came from."""

    length: int
    source: str
    instruction: str
    sha256: str  # over the instruction, the pixels and the columns in the order of their names


def column_file(name: str) -> str:
    """Name the file that holds a column."""
    return f"{name}.raw"

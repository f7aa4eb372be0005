"""What a frame store looks like on disk; shared by its reader and its writer.

A store is a folder: `frames-00000.u8, ...` (raw frames, one episode never split over two shards), one
`label-NAME.npy` per label, and `index.json`, which is written last.
"""

from dataclasses import dataclass

INDEX = "index.json"
FORMAT = "goalsight-frames-1"


@dataclass(frozen=True)
class Shard:
    """One raw file of frames, (frames, image_size, image_size, 3) uint8."""

    file: str
    frames: int


@dataclass(frozen=True)
class Episode:
    """Frames that follow each other in time, and where they came from."""

    length: int
    source: str


def label_file(name: str) -> str:
    """Name the file that holds a label."""
    return f"label-{name}.npy"

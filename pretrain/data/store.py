"""A frame store: episodes of pixels and named columns, decoded or recorded once and read through memory maps."""

import contextlib
import json
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from goalsight.base.errors import UserError, in_one_line
from goalsight.pretrain.data.first_format import first_hash, open_first_format
from goalsight.pretrain.data.format import (
    DTYPES,
    FIRST_FORMAT,
    FORMAT,
    INDEX,
    PIXELS,
    POSITION,
    Column,
    column_file,
)
from goalsight.pretrain.data.integrity import check_held, check_index, is_checked, mark_checked, stamps
from goalsight.pretrain.data.shards import Shards
from goalsight.pretrain.data.writer import FrameStoreWriter

__all__ = ["FrameStore", "FrameStoreWriter", "find_store", "is_store"]

IN_RUN = "frames"  # the store's folder in a run that recorded play


def is_store(path: Path) -> bool:
    """Say whether a folder looks like a frame store (its index may still turn out to be damaged)."""
    try:
        head = json.loads((Path(path) / INDEX).read_bytes())
    except OSError:
        return False
    except (ValueError, RecursionError):
        return True
    return not isinstance(head, dict) or "format" in head


def find_store(path: Path) -> Path | None:
    """The store that a path stands for: the folder itself, or the one in a run; None where there is none."""
    return next((folder for folder in (Path(path), Path(path) / IN_RUN) if is_store(folder)), None)


class FrameStore:
    """A store, read through memory maps.

    Attributes:
        path: the store's folder.
        image_size: height and width of the frames [pixels].
        fps: at which the frames were recorded [frames/s]; 0 where nobody knows.
        complete: false while the store is being recorded, and after that was broken off.
        notes: what the recorder wrote down for itself.
        episode_lengths: (num_episodes,) int64.
        episode_starts: (num_episodes,) int64, the index of each episode's first frame.
        sources: where each episode came from.
        instructions: what happens in each episode, as a sentence; empty where nobody knows.
        columns: all but the pixels, by name, read-only, each (num_frames, ...); see `format` for what they mean.
    """

    def __init__(self, path: Path, index: dict[str, Any]) -> None:
        """Map what the index names; use `open`, which turns damage into a `UserError`."""
        self.path = Path(path)
        episodes = index["episodes"]
        self.episode_lengths = np.array([episode["length"] for episode in episodes], np.int64)
        if (self.episode_lengths < 1).any():
            raise ValueError("an episode has no frames")
        self.episode_starts = np.cumsum(self.episode_lengths) - self.episode_lengths
        self.sources = tuple(str(episode["source"]) for episode in episodes)
        self.instructions = tuple(str(episode.get("instruction", "")) for episode in episodes)
        self.complete = bool(index.get("complete", True))
        self.fps = float(index.get("fps", 0.0))
        self.notes: dict[str, Any] = dict(index.get("notes", {}))
        self._hash = str(index["content_hash"])
        self._mapped: dict[Path, int] = {}  # what each file must hold at least [bytes]
        self._pixels: Shards
        self.columns: dict[str, NDArray[Any]]
        if index["format"] == FIRST_FORMAT:
            self.image_size = int(index["image_size"])
            self._pixels, self.columns = open_first_format(self.path, index, self.num_frames)
            return
        kinds = {name: _column(name, kind) for name, kind in index["columns"].items()}
        self.image_size = _side(kinds.pop(PIXELS))
        frame = Column("uint8", (self.image_size, self.image_size, 3))
        self._pixels = Shards([self._map(PIXELS, frame)])
        self.columns = {name: self._map(name, kind) for name, kind in kinds.items()}

    @classmethod
    def open(cls, path: Path) -> "FrameStore":
        """Open a store.

        Raises:
            UserError: when there is no store, or it is incomplete or damaged.
        """
        path = Path(path)
        if not is_store(path):
            raise UserError(f"no frame store at {path} (there is no {INDEX})")
        try:
            found = stamps(path)  # first: a store that is still recorded grows while it is read
            index = json.loads((path / INDEX).read_text())
            if index["format"] not in (FORMAT, FIRST_FORMAT):
                raise UserError(f'{path} has the format "{index["format"]}"; this version reads "{FORMAT}"')
            check_index(index)
            store = cls(path, index)
            if not is_checked(path):
                store._check(index)
                mark_checked(path, found)
            return store
        except UserError:
            raise
        except (OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
            reason = str(error) if type(error) is ValueError else in_one_line(error)
            raise UserError(f"the frame store {path} is damaged ({reason}); make it again") from error

    @property
    def num_episodes(self) -> int:
        """Number of episodes."""
        return len(self.episode_lengths)

    @property
    def num_frames(self) -> int:
        """Number of frames in all episodes."""
        return int(self.episode_lengths.sum())

    @property
    def content_hash(self) -> str:
        """Sha256 over the kinds of the columns and all that they hold, computed when the store was written."""
        return self._hash

    @property
    def labels(self) -> dict[str, NDArray[np.float32]]:
        """Where things are, by their names: the columns that hold positions, (num_frames, k) float32."""
        return {name.removeprefix(POSITION): values for name, values in self.columns.items() if name[:9] == POSITION}

    @cached_property
    def episode_of_frame(self) -> NDArray[np.int64]:
        """(num_frames,) the episode each frame belongs to."""
        return np.repeat(np.arange(self.num_episodes), self.episode_lengths)

    def rows_of(self, i: int) -> slice:
        """The rows of episode i in every column."""
        if not 0 <= i < self.num_episodes:
            raise IndexError(f"episode {i} of {self.num_episodes}")
        start = int(self.episode_starts[i])
        return slice(start, start + int(self.episode_lengths[i]))

    def episode(self, i: int) -> NDArray[np.uint8]:
        """Return the frames of episode i as a read-only view, (T, H, W, 3) uint8."""
        self.check_whole()
        return self._pixels.slice(self.rows_of(i))

    def frames(self, indices: NDArray[np.integer[Any]]) -> NDArray[np.uint8]:
        """Copy frames out by their index in the whole store: (n,) -> (n, H, W, 3) uint8."""
        self.check_whole()
        return self._pixels[np.asarray(indices)]

    def column(self, name: str) -> Column:
        """What a column holds for each frame, `pixels` included.

        Raises:
            UserError: if there is no such column, naming those there are.
        """
        if name == PIXELS:
            return Column("uint8", (self.image_size, self.image_size, 3))
        if name not in self.columns:
            known = ", ".join((PIXELS, *self.columns))
            raise UserError(f'{self.path} has no column "{name}"; it has {known}')
        return Column.of(self.columns[name])

    def rows(self, name: str, indices: NDArray[np.integer[Any]]) -> NDArray[Any]:
        """Copy rows of a column out by their index in the whole store: (n,) -> (n, ...)."""
        self.column(name)
        return self.frames(indices) if name == PIXELS else self.columns[name][np.asarray(indices)]

    def _check(self, index: dict[str, Any]) -> None:
        """Compare all that the store holds with the hashes in its index.

        Raises:
            ValueError: if they differ.
        """
        if index["format"] == FIRST_FORMAT:
            if first_hash(index, map(self.episode, range(self.num_episodes)), self.labels) != self.content_hash:
                raise ValueError("it does not hold what was written")
            return
        check_held(index, self._pixels.slice, self.columns)

    def _map(self, name: str, column: Column) -> NDArray[Any]:
        shape = (self.num_frames, *column.shape)
        wanted = self.num_frames * column.row_bytes
        file = self.path / column_file(name)
        size = file.stat().st_size
        # More than the index names is on its way, or was when the recording was broken off.
        if size < wanted or (self.complete and size > wanted):
            raise ValueError(f"{file.name} has {size} bytes, not {wanted}")
        if wanted == 0:  # nothing can be mapped
            return np.zeros(shape, column.dtype)
        self._mapped[file] = wanted
        return np.asarray(np.memmap(file, column.dtype, mode="r", shape=shape))

    def check_whole(self) -> None:
        """Refuse to read on where a file has been cut short, before the system ends the process for it.

        Raises:
            UserError: naming the file.
        """
        for file, wanted in self._mapped.items():
            with contextlib.suppress(FileNotFoundError):  # what is mapped stays, though its name be gone
                if file.stat().st_size < wanted:
                    raise UserError(f"{file} was cut short while it was read; make the frame store again")


def _column(name: str, kind: dict[str, Any]) -> Column:
    """Check what an index says of a column.

    Raises:
        ValueError: if it names a file elsewhere, or a kind of number that is not kept.
    """
    shape = tuple(int(side) for side in kind["shape"])
    if "/" in name or name.startswith(".") or kind["dtype"] not in DTYPES or min(shape, default=0) < 0:
        raise ValueError(f'column "{name}" is {kind["dtype"]} {shape}')
    return Column(str(kind["dtype"]), shape)


def _side(pixels: Column) -> int:
    """The side of the frames [pixels].

    Raises:
        ValueError: if they are no square pictures.
    """
    if pixels.dtype != "uint8" or len(pixels.shape) != 3 or pixels.shape[0] != pixels.shape[1] or pixels.shape[2] != 3:
        raise ValueError(f"pixels are {pixels.dtype} {pixels.shape}")
    return pixels.shape[0]

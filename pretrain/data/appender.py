"""Appending to a frame store: episodes go to the ends of its files, then its index is replaced."""

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from goalsight.base.errors import UserError, in_one_line
from goalsight.base.files import atomic_write_text, flush_to_disk, read_json, writing
from goalsight.pretrain.data.format import DTYPES, FORMAT, INDEX, PIXELS, POSITION, Column, Episode, column_file
from goalsight.pretrain.data.integrity import (
    OWN,
    check_held,
    check_index,
    content_hash,
    hash_columns,
    index_hash,
    mark_checked,
)


class StoreAppender:
    """Appends episodes to the files of a store. What was published stays whole whatever happens afterwards.

    Attributes:
        notes: kept with the store.
        episodes: the complete ones so far.
        num_frames: frames in them.
    """

    def __init__(self, folder: Path, *, image_size: int, fps: float = 0.0, name: Path | None = None) -> None:
        """Begin a store in `folder`, or go on with the one that lies there.

        Args:
            folder: made if need be.
            image_size: height and width of the frames [pixels].
            fps: at which frames were recorded [frames/s]; 0 where nobody knows.
            name: what to call the store in errors; by default the folder.

        Raises:
            UserError: when the folder cannot be written, or holds a store of frames of another kind.
        """
        self.path = folder
        self._name = name or folder
        self.image_size, self.fps = image_size, fps
        self.notes: dict[str, Any] = {}
        self.episodes: list[Episode] = []
        self.num_frames = 0  # in them
        self._columns: dict[str, Column] = {}  # fixed by the first episode; pixels included
        self._files: dict[str, BinaryIO] = {}
        with writing(self._name):
            folder.mkdir(parents=True, exist_ok=True)
            if (folder / INDEX).exists():
                self._go_on()
            else:
                for left in folder.glob(column_file("*")):  # by one that was broken off before it published anything
                    left.unlink()

    def add_episode(
        self,
        frames: NDArray[np.uint8] | Iterable[NDArray[np.uint8]],
        labels: Mapping[str, NDArray[Any]] | None = None,
        source: str = "",
        *,
        columns: Mapping[str, NDArray[Any]] | None = None,
        instruction: str = "",
    ) -> int:
        """Append one episode; a stream of frames is never held in memory as a whole.

        Args:
            frames: (T, H, W, 3) uint8, or an iterable of (H, W, 3) uint8 frames.
            labels: where things are, each (T, k), kept as the float32 columns `position.NAME`.
            source: where the frames came from, for people.
            columns: what else is known at each frame, each (T, ...); the same kinds in every episode.
            instruction: what happens, as a sentence.

        Returns:
            T, the episode's length. An exception leaves the episodes before as they were.

        Raises:
            UserError: when the disk is full or the folder cannot be written.
            ValueError: on frames or columns of the wrong kind.
        """
        values = {name: np.ascontiguousarray(array) for name, array in (columns or {}).items()}
        values |= {
            f"{POSITION}{name}": np.ascontiguousarray(array, np.float32) for name, array in (labels or {}).items()
        }
        digest, length = hashlib.sha256(instruction.encode()), 0
        rows = self.num_frames
        try:
            pixels = self._file(PIXELS)
            for frame in frames:
                self._check_frame(frame)
                data = np.ascontiguousarray(frame).data
                with writing(self._name):
                    pixels.write(data)
                digest.update(data)
                length += 1
            self._check_columns(values, length)
            for name, array in values.items():
                with writing(self._name):
                    self._file(name).write(array.data)
        except BaseException:
            self._cut(rows)
            raise
        self.episodes.append(Episode(length, source, instruction, hash_columns(digest, values)))
        self.num_frames += length
        return length

    def publish(self, *, complete: bool) -> str:
        """Make the episodes so far, and `notes`, what a reader sees.

        Args:
            complete: nothing is going to follow.

        Returns:
            the hash of all that the store holds.

        Raises:
            UserError: when the disk refuses; what was published before stays.
        """
        with writing(self._name):
            for file in self._files.values():
                file.flush()
                os.fsync(file.fileno())
            flush_to_disk(self.path)
        columns = {name: asdict(column) for name, column in sorted(self._columns.items())}
        index = {
            "format": FORMAT,
            "complete": complete,
            "content_hash": content_hash(FORMAT, columns, ((e.length, e.sha256) for e in self.episodes)),
            "fps": self.fps,
            "columns": columns,
            "notes": self.notes,
            "episodes": [asdict(episode) for episode in self.episodes],
        }
        atomic_write_text(self.path / INDEX, json.dumps(index | {OWN: index_hash(index)}, indent=1))
        if complete:
            mark_checked(self.path)
        return str(index["content_hash"])

    def close(self) -> None:
        """Close the files; harmless when done twice. What was not published is gone when the store is next opened."""
        for file in self._files.values():
            with contextlib.suppress(OSError):  # a full disk may refuse the flush of data that is dropped anyway
                file.close()
        self._files.clear()

    def _go_on(self) -> None:
        """Take up the published episodes, which must be what was written, and cut off what was written after them."""
        index = read_json(self.path / INDEX)
        if index.get("format") != FORMAT:
            raise UserError(f"{self._name} was written by another version, which nothing can be added to; begin anew")
        try:
            check_index(index)
            columns = {name: Column(kind["dtype"], tuple(kind["shape"])) for name, kind in index["columns"].items()}
            episodes = [Episode(**episode) for episode in index["episodes"]]
            self.notes, same = dict(index["notes"]), columns[PIXELS] == self._frame
            self._check_held(index, columns, sum(episode.length for episode in episodes))
        except (OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as error:
            reason = str(error) if type(error) is ValueError else in_one_line(error)
            raise UserError(f"the frame store {self._name} is damaged ({reason}); make it again") from error
        if not same:
            raise UserError(f"the frame store {self._name} holds frames of another size")
        self._columns, self.episodes = columns, episodes
        self.num_frames = sum(episode.length for episode in episodes)
        self._cut(self.num_frames)

    def _check_held(self, index: dict[str, Any], columns: dict[str, Column], rows: int) -> None:
        """Compare the published rows with the hashes in the index.

        Raises:
            OSError, ValueError, TypeError: they differ, or are not there.
        """
        if not rows:
            return
        files = {name: self.path / column_file(name) for name in columns}
        kept: dict[str, NDArray[Any]] = {
            name: np.memmap(files[name], kind.dtype, mode="r", shape=(rows, *kind.shape))
            for name, kind in columns.items()
        }
        check_held(index, kept.pop(PIXELS).__getitem__, kept)

    @property
    def _frame(self) -> Column:
        return Column("uint8", (self.image_size, self.image_size, 3))

    def _file(self, name: str) -> BinaryIO:
        if name not in self._files:
            with writing(self._name):
                self._files[name] = open(self.path / column_file(name), "ab")  # noqa: SIM115 (lives until `close`)
        return self._files[name]

    def _cut(self, rows: int) -> None:
        """Cut every file after `rows` frames."""
        with writing(self._name):
            for name in {PIXELS, *self._columns, *self._files}:
                column = self._frame if name == PIXELS else self._columns.get(name)
                # A column that no episode has is the half of a first one that failed.
                self._file(name).truncate(rows * column.row_bytes if column else 0)

    def _check_frame(self, frame: NDArray[np.uint8]) -> None:
        if Column("uint8", frame.shape) != self._frame or frame.dtype != np.uint8:
            raise ValueError(f"a frame must be uint8 {self._frame.shape}, got {frame.dtype} {frame.shape}")

    def _check_columns(self, values: dict[str, NDArray[Any]], length: int) -> None:
        if not length:
            raise ValueError("an episode needs frames")
        for name, array in values.items():
            if not re.fullmatch(r"\w[\w.-]*", name):
                raise ValueError(f'a column is named by letters, digits, "_", "." and "-", got "{name}"')
            if array.ndim != 2 or len(array) != length or array.dtype.name not in DTYPES or name == PIXELS:
                raise ValueError(f'column "{name}" must be ({length}, k) numbers, got {array.dtype} {array.shape}')
        given = {PIXELS: self._frame} | {name: Column.of(array) for name, array in values.items()}
        if self.episodes and given != self._columns:
            raise ValueError(f"columns must be the same in every episode: {self._columns} and {given}")
        self._columns = given

"""Writing a frame store: under a temporary name beside its place, renamed when complete."""

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from goalsight.base.errors import UserError
from goalsight.base.files import flush_to_disk, write_flushed, writing
from goalsight.pretrain.data.format import FORMAT, INDEX, Episode, Shard, label_file


class FrameStoreWriter:
    """Writes a frame store, episode by episode, and publishes it atomically when closed.

    As a context manager it publishes on a clean exit and leaves no trace after an exception. `close()` may
    also be called early: it publishes the episodes that are complete.
    """

    def __init__(self, path: Path, *, image_size: int = 64, shard_bytes: int = 1 << 30) -> None:
        """Open a temporary folder beside `path`.

        Args:
            path: the store's folder; must not exist, or be empty.
            image_size: height and width of the frames [pixels].
            shard_bytes: a new shard is begun with the first episode after this size is reached [bytes].

        Raises:
            UserError: when the target is taken or cannot be written.
        """
        self.path = Path(path)
        self.image_size = image_size
        self._shard_bytes = shard_bytes
        self._shards: list[Shard] = []
        self._episodes: list[Episode] = []
        self._labels: dict[str, list[NDArray[np.float32]]] | None = None
        self._pixels = hashlib.sha256()
        self._file: BinaryIO | None = None
        self._open = True
        self._refuse_taken_target()
        with writing(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._folder = Path(tempfile.mkdtemp(prefix=f".{self.path.name}-", dir=self.path.parent))

    @property
    def num_frames(self) -> int:
        """Frames in the complete episodes so far."""
        return sum(episode.length for episode in self._episodes)

    def add_episode(
        self,
        frames: NDArray[np.uint8] | Iterable[NDArray[np.uint8]],
        labels: dict[str, NDArray[np.float32]] | None = None,
        source: str = "",
    ) -> int:
        """Append one episode; a stream of frames is never held in memory as a whole.

        Args:
            frames: (T, H, W, 3) uint8, or an iterable of (H, W, 3) uint8 frames.
            labels: named values per frame, each (T, k) float32; the same names and sizes in every episode.
            source: where the frames came from, for people.

        Returns:
            T, the episode's length. An exception leaves the episodes before as they were.

        Raises:
            UserError: when the disk is full or the folder cannot be written.
            ValueError: on frames or labels of the wrong shape.
        """
        file = self._shard_for_next_episode()
        start, hasher, length = file.tell(), self._pixels.copy(), 0
        try:
            for frame in frames:
                self._check(frame)
                data = np.ascontiguousarray(frame).data
                with writing(self.path):
                    file.write(data)
                self._pixels.update(data)
                length += 1
            if not length:
                raise ValueError("an episode needs frames")
            self._add_labels(labels or {}, length)
        except BaseException:
            self._pixels = hasher
            with writing(self.path):
                file.seek(start)
                file.truncate()
            raise
        self._episodes.append(Episode(length, source))
        shard = self._shards[-1]
        self._shards[-1] = Shard(shard.file, shard.frames + length)
        return length

    def close(self) -> None:
        """Publish the store: flush to disk, write the index, rename into place.

        Raises:
            UserError: when there is nothing to store, the disk is full, or the target was taken meanwhile.
        """
        if not self._open:
            return
        try:
            if not self.num_frames:
                raise UserError(f"{self.path}: no frames to store")
            with writing(self.path):
                self._write_labels_and_index()
                self._refuse_taken_target()
                os.replace(self._folder, self.path)
                flush_to_disk(self.path.parent)
        finally:
            self.abort()

    def abort(self) -> None:
        """Drop what was not published; harmless after `close()`."""
        self._open = False
        if self._file is not None:
            with contextlib.suppress(OSError):  # a full disk may refuse the flush of data that is dropped anyway
                self._file.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> "FrameStoreWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()

    def _refuse_taken_target(self) -> None:
        if self.path.is_dir() and not any(self.path.iterdir()):
            return
        if self.path.exists():
            raise UserError(f"{self.path} exists already; choose another folder or remove it first")

    def _shard_for_next_episode(self) -> BinaryIO:
        if not self._open:
            raise ValueError(f"the frame store {self.path} is closed")
        if self._file is None or self._file.tell() >= self._shard_bytes:
            with writing(self.path):
                if self._file is not None:
                    _sync_file(self._file)
                    self._file.close()
                name = f"frames-{len(self._shards):05d}.u8"
                self._file = open(self._folder / name, "wb")  # noqa: SIM115 (lives until the next shard)
            self._shards.append(Shard(name, 0))
        return self._file

    def _check(self, frame: NDArray[np.uint8]) -> None:
        expected = (self.image_size, self.image_size, 3)
        if frame.dtype != np.uint8 or frame.shape != expected:
            raise ValueError(f"a frame must be uint8 {expected}, got {frame.dtype} {frame.shape}")

    def _add_labels(self, labels: dict[str, NDArray[np.float32]], length: int) -> None:
        # Copies: labels stay in memory until the store is closed, and callers fill their arrays anew.
        arrays = {name: np.array(values, np.float32) for name, values in labels.items()}
        for name, values in arrays.items():
            if values.ndim != 2 or len(values) != length:
                raise ValueError(f'label "{name}" must be ({length}, k), got {values.shape}')
        if self._labels is None:
            self._labels = {name: [] for name in arrays}
        known = {name: parts[0].shape[1] for name, parts in self._labels.items() if parts}
        given = {name: values.shape[1] for name, values in arrays.items()}
        if set(given) != set(self._labels) or (known and known != given):
            raise ValueError(f"labels must be the same in every episode: {known} and {given}")
        for name, values in arrays.items():
            self._labels[name].append(values)

    def _write_labels_and_index(self) -> None:
        assert self._file is not None
        _sync_file(self._file)
        content = hashlib.sha256()
        lengths = [episode.length for episode in self._episodes]
        content.update(json.dumps([FORMAT, self.image_size, lengths]).encode())
        content.update(self._pixels.digest())
        sizes = {}
        for name, parts in sorted((self._labels or {}).items()):
            values = np.concatenate(parts)
            sizes[name] = values.shape[1]
            content.update(name.encode() + values.tobytes())
            np.save(self._folder / label_file(name), values, allow_pickle=False)
            flush_to_disk(self._folder / label_file(name))
        index = {
            "format": FORMAT,
            "image_size": self.image_size,
            "content_hash": content.hexdigest(),
            "shards": [asdict(shard) for shard in self._shards if shard.frames],
            "labels": sizes,
            "episodes": [asdict(episode) for episode in self._episodes],
        }
        write_flushed(self._folder / INDEX, json.dumps(index, indent=1).encode())
        flush_to_disk(self._folder)
        os.chmod(self._folder, 0o777 & ~_umask())  # mkdtemp makes folders that only their owner may read


def _sync_file(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask

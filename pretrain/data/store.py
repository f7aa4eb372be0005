"""A frame store: video decoded once, kept as memory-mapped uint8 shards with episode boundaries."""

import json
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from goalsight.base.errors import UserError
from goalsight.pretrain.data.format import FORMAT, INDEX, Shard, label_file
from goalsight.pretrain.data.writer import FrameStoreWriter

__all__ = ["FrameStore", "FrameStoreWriter", "is_store"]


def is_store(path: Path) -> bool:
    """Say whether a folder looks like a frame store (its index may still turn out to be damaged)."""
    return (Path(path) / INDEX).is_file()


class FrameStore:
    """A published store, read through memory maps.

    Attributes:
        path: the store's folder.
        image_size: height and width of the frames [pixels].
        episode_lengths: (num_episodes,) int64.
        episode_starts: (num_episodes,) int64, the index of each episode's first frame.
        sources: where each episode came from.
        labels: named (num_frames, k) float32 memory maps; empty when the frames came without labels.
    """

    def __init__(self, path: Path, index: dict[str, Any]) -> None:
        """Map what the index names; use `open`, which turns damage into a `UserError`."""
        self.path = Path(path)
        self.image_size = int(index["image_size"])
        self._hash = str(index["content_hash"])
        self.sources = tuple(str(episode["source"]) for episode in index["episodes"])
        self.episode_lengths = np.array([episode["length"] for episode in index["episodes"]], np.int64)
        self.episode_starts = np.cumsum(self.episode_lengths) - self.episode_lengths
        shards = [Shard(**shard) for shard in index["shards"]]
        self._shards = [self._map(shard) for shard in shards]
        self._shard_ends = np.cumsum([shard.frames for shard in shards])
        if not shards or self._shard_ends[-1] != self.num_frames:
            raise ValueError("shards and episodes differ in length")
        self.labels = {name: self._map_label(name, size) for name, size in index["labels"].items()}

    @classmethod
    def open(cls, path: Path) -> "FrameStore":
        """Open a published store.

        Raises:
            UserError: when there is no store, or it is incomplete or damaged.
        """
        path = Path(path)
        if not is_store(path):
            raise UserError(f"no frame store at {path} (there is no {INDEX})")
        try:
            index = json.loads((path / INDEX).read_text())
            if index["format"] != FORMAT:
                raise UserError(f'{path} has the format "{index["format"]}"; this version reads "{FORMAT}"')
            return cls(path, index)
        except UserError:
            raise
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"the frame store {path} is damaged ({error}); make it again") from error

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
        """Sha256 over frame size, episode lengths, pixels and labels, computed when the store was written."""
        return self._hash

    @cached_property
    def episode_of_frame(self) -> NDArray[np.int64]:
        """(num_frames,) the episode each frame belongs to."""
        return np.repeat(np.arange(self.num_episodes), self.episode_lengths)

    def episode(self, i: int) -> NDArray[np.uint8]:
        """Return episode i as a read-only view, (T, H, W, 3) uint8."""
        if not 0 <= i < self.num_episodes:
            raise IndexError(f"episode {i} of {self.num_episodes}")
        start, length = int(self.episode_starts[i]), int(self.episode_lengths[i])
        shard = int(np.searchsorted(self._shard_ends, start, side="right"))
        first = start - (int(self._shard_ends[shard - 1]) if shard else 0)
        return self._shards[shard][first : first + length]

    def frames(self, indices: NDArray[np.integer[Any]]) -> NDArray[np.uint8]:
        """Copy frames out by their index in the whole store: (n,) -> (n, H, W, 3) uint8."""
        indices = np.asarray(indices)
        if len(self._shards) == 1:
            return self._shards[0][indices]
        out = np.empty((len(indices), self.image_size, self.image_size, 3), np.uint8)
        shard_of = np.searchsorted(self._shard_ends, indices, side="right")
        for shard in np.unique(shard_of):
            rows = np.flatnonzero(shard_of == shard)
            first = int(self._shard_ends[shard - 1]) if shard else 0
            out[rows] = self._shards[shard][indices[rows] - first]
        return out

    def _map(self, shard: Shard) -> NDArray[np.uint8]:
        shape = (shard.frames, self.image_size, self.image_size, 3)
        file = self.path / shard.file
        size = file.stat().st_size
        if size != np.prod(shape):
            raise ValueError(f"{shard.file} has {size} bytes, not {np.prod(shape)}")
        return np.asarray(np.memmap(file, np.uint8, mode="r", shape=shape))

    def _map_label(self, name: str, size: int) -> NDArray[np.float32]:
        try:
            values = np.load(self.path / label_file(name), mmap_mode="r", allow_pickle=False)
        except EOFError as error:
            raise ValueError(f'label "{name}" is empty') from error
        if values.shape != (self.num_frames, size) or values.dtype != np.float32:
            raise ValueError(f'label "{name}" is {values.dtype} {values.shape}')
        return values

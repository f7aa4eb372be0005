"""Arrays that follow each other, read as if they were one."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Shards:
    """Frames in several arrays, of which no episode lies in two."""

    def __init__(self, arrays: Sequence[NDArray[np.uint8]]) -> None:
        """Read `arrays`, each (n, H, W, 3), one after the other."""
        self._arrays = list(arrays)
        self._ends = np.cumsum([len(array) for array in arrays])

    def __len__(self) -> int:
        """Frames in all."""
        return int(self._ends[-1])

    def slice(self, rows: slice) -> NDArray[np.uint8]:
        """A view of rows that lie in one array."""
        shard = int(np.searchsorted(self._ends, rows.start, side="right"))
        first = int(self._ends[shard - 1]) if shard else 0
        return self._arrays[shard][rows.start - first : rows.stop - first]

    def __getitem__(self, indices: NDArray[np.integer[Any]]) -> NDArray[np.uint8]:
        """Copies of rows, (n,) -> (n, H, W, 3)."""
        if len(self._arrays) == 1:
            return self._arrays[0][indices]
        out = np.empty((len(indices), *self._arrays[0].shape[1:]), np.uint8)
        shard_of = np.searchsorted(self._ends, indices, side="right")
        for shard in np.unique(shard_of):
            rows = np.flatnonzero(shard_of == shard)
            first = int(self._ends[shard - 1]) if shard else 0
            out[rows] = self._arrays[shard][indices[rows] - first]
        return out

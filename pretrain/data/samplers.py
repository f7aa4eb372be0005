"""Seeded sampling of frame pairs (t, t+k) that lie in one episode."""

import numpy as np
import torch
from torch import Tensor

from goalsight.base.errors import UserError
from goalsight.pretrain.data.store import FrameStore


class PairSampler:
    """Draws pairs uniformly: every frame that has a later one is equally likely to be frame t.

    The same store and seed give the same pairs, bit for bit.
    """

    def __init__(self, store: FrameStore, *, batch: int, max_gap: int, seed: int) -> None:
        """Index the frames that can be frame t.

        Args:
            store: where the frames are.
            batch: pairs at a time.
            max_gap: k is drawn from 1..max_gap, and from what is left of the episode where that is less [frames].
            seed: of all draws.

        Raises:
            UserError: when no episode has two frames.
        """
        if batch < 1 or max_gap < 1:
            raise UserError(f"batch and max-gap must be at least 1, got {batch} and {max_gap}")
        self._store = store
        self._batch = batch
        self._rng = np.random.default_rng(seed)
        episode = store.episode_of_frame
        ends = (store.episode_starts + store.episode_lengths)[episode]
        left = ends - 1 - np.arange(store.num_frames)  # (num_frames,) later frames in the same episode
        self._starts = np.flatnonzero(left)
        self._gaps = np.minimum(left[self._starts], max_gap)
        if not len(self._starts):
            raise UserError(f"{store.path} has no episode of two frames or more, so no pairs to learn from")

    def draw(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the indices of frames t and t+k in the store, each (batch,)."""
        rows = self._rng.integers(len(self._starts), size=self._batch)
        gaps = self._rng.integers(1, self._gaps[rows], endpoint=True)
        return self._starts[rows], self._starts[rows] + gaps

    def sample(self) -> Tensor:
        """Return clips (batch, 2, H, W, 3) uint8."""
        now, later = self.draw()
        frames = self._store.frames(np.stack([now, later], 1).ravel())
        return torch.from_numpy(frames).unflatten(0, (self._batch, 2))

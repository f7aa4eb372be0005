"""Seeded sampling of clips of frames that lie in one episode."""

import numpy as np
import torch
from numpy.typing import NDArray

from goalsight.base.errors import UserError
from goalsight.base.training_state import State, load_rng, rng_state
from goalsight.pretrain.data.clips import Batch, Clips
from goalsight.pretrain.data.format import PIXELS
from goalsight.pretrain.data.store import FrameStore


class ClipSampler:
    """Draws clips uniformly: every frame that leaves room for a clip is equally likely to be its first.

    The same store and seed give the same clips, bit for bit.
    """

    def __init__(self, store: FrameStore, clips: Clips, *, batch: int, seed: int, rows: slice = slice(None)) -> None:
        """Index the frames that a clip can begin with.

        Args:
            store: where the frames are.
            clips: what is read of them.
            batch: clips at a time.
            seed: of all draws.
            rows: those of each batch that are read; all are drawn.

        Raises:
            UserError: when no episode is long enough, or the store has no such column.
        """
        if batch < 1:
            raise UserError(f"batch must be at least 1, got {batch}")
        for name in clips.columns:
            store.column(name)
        self._store = store
        self._clips = clips
        self._batch = batch
        self._rows = rows
        self._rng = np.random.default_rng(seed)
        episode = store.episode_of_frame
        ends = (store.episode_starts + store.episode_lengths)[episode]
        left = ends - 1 - np.arange(store.num_frames)  # (num_frames,) later frames in the same episode
        self._starts = np.flatnonzero(left >= clips.shortest - 1)
        self._left = left[self._starts]
        if not len(self._starts):
            raise UserError(
                f"{store.path} has no episode of {clips.shortest} frames or more, so no clips to learn from"
            )

    def draw(self) -> NDArray[np.int64]:
        """Return the frames of clips by their index in the store, (batch, frames)."""
        rows = self._rng.integers(len(self._starts), size=self._batch)
        frames, left = [self._starts[rows]], self._left[rows]
        later = self._clips.shortest - 1  # steps that the gaps still to come need at least
        for least, most in self._clips.gaps:
            later -= least
            gap = self._rng.integers(least, np.minimum(left - later, most), endpoint=True)
            frames.append(frames[-1] + gap)
            left = left - gap
        return np.stack(frames, 1)

    def sample(self) -> Batch:
        """Return the declared columns, (rows, frames, ...) each; "pixels" are (rows, frames, H, W, 3) uint8."""
        drawn = self.draw()[self._rows]
        rows = drawn.ravel()
        columns = {
            name: self._store.frames(rows) if name == PIXELS else self._store.columns[name][rows]
            for name in self._clips.columns
        }
        return {name: torch.from_numpy(values).unflatten(0, drawn.shape) for name, values in columns.items()}

    def state(self) -> State:
        """Return what decides the clips that come next."""
        return {"rng": rng_state(self._rng)}

    def load(self, state: State) -> None:
        """Go on from a state."""
        load_rng(self._rng, state["rng"])

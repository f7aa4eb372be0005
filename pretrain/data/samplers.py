"""Seeded sampling of clips of frames that lie in one episode."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from goalsight.base.errors import UserError
from goalsight.base.training_state import State, load_rng, rng_state
from goalsight.pretrain.data.clips import ENDS, INSTRUCTION, MEANING, TOLD, UNHEARD, Batch, Clips
from goalsight.pretrain.data.format import PIXELS
from goalsight.pretrain.data.store import FrameStore
from goalsight.pretrain.data.wordings import as_bytes, wordings


class ClipSampler:
    """Draws clips uniformly: every frame that leaves room for a clip is equally likely to be its first.

    The same store and seed give the same clips, bit for bit.

    Attributes:
        drawn: the frames of the last clips by their index in the store, (batch, frames).
    """

    drawn: NDArray[np.int64]

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
        self._read = [name for name in clips.columns if name not in TOLD]
        less = f"; ask for less by {clips.less}" if clips.less else ""
        for name in self._read:
            try:
                store.column(name)
            except UserError as error:
                raise UserError(f"{error}{less}") from None
        also = clips.also or ()
        self._read += [name for name in store.columns if name.startswith(also) and name not in self._read]
        self._told = Told(store) if set(TOLD) & set(clips.columns) else None
        self._store = store
        self._clips = clips
        self._batch = batch
        self._rows = rows
        self._rng = np.random.default_rng(seed)
        episode = store.episode_of_frame
        ends = (store.episode_starts + store.episode_lengths)[episode]
        left = ends - 1 - np.arange(store.num_frames)  # (num_frames,) later frames in the same episode
        fits = left >= clips.shortest - 1
        if self._told is not None:
            fits &= self._told.known[episode]
        if clips.ends:
            fits &= np.isin(np.arange(store.num_frames), store.episode_starts)
        self._starts = np.flatnonzero(fits)
        self._left = left[self._starts]
        if not len(self._starts):
            raise UserError(
                f"{store.path} has no episode of {clips.shortest} frames or more to learn from, "
                f"the longest has {store.episode_lengths.max(initial=0)}{less}"
            )

    def draw(self) -> NDArray[np.int64]:
        """Return the frames of clips by their index in the store, (batch, frames)."""
        rows = self._rng.integers(len(self._starts), size=self._batch)
        frames, left = [self._starts[rows]], self._left[rows]
        if self._clips.ends:
            room = np.maximum(np.int64(ENDS * (left + 1)), 1)  # frames at either end
            early, late = self._rng.integers(room, size=(2, self._batch))
            return np.stack([frames[0] + early, frames[0] + left - late], 1)
        later = self._clips.shortest - 1  # steps that the gaps still to come need at least
        for least, most in self._clips.gaps:
            later -= least
            gap = self._rng.integers(least, np.minimum(left - later, most), endpoint=True)
            frames.append(frames[-1] + gap)
            left = left - gap
        return np.stack(frames, 1)

    def sample(self) -> Batch:
        """Return the declared columns, (rows, frames, ...) each; "pixels" are (rows, frames seen, H, W, 3) uint8."""
        self.drawn = everyone = self.draw()
        told = {} if self._told is None else self._told.of(self._store.episode_of_frame[everyone[:, 0]], self._rng)
        drawn = everyone[self._rows]
        batch = {name: torch.from_numpy(self._values(name, drawn)) for name in self._read}
        for name in set(told) & set(self._clips.columns):
            values = torch.from_numpy(told[name][self._rows])
            batch[name] = values.unsqueeze(1).expand(-1, drawn.shape[1], *values.shape[1:])
        return batch

    def _values(self, name: str, drawn: NDArray[np.int64]) -> NDArray[Any]:
        """Read a column of frames (rows, frames), or the pixels of those of them that are seen."""
        if name == PIXELS:
            drawn = drawn[:, : self._clips.seen]
        rows = drawn.ravel()
        values = self._store.frames(rows) if name == PIXELS else self._store.columns[name][rows]
        return values.reshape(*drawn.shape, *values.shape[1:])

    def state(self) -> State:
        """Return what decides the clips that come next."""
        return {"rng": rng_state(self._rng)}

    def load(self, state: State) -> None:
        """Go on from a state."""
        load_rng(self._rng, state["rng"])


class Told:
    """What is said of a store's episodes.

    Attributes:
        known: (num_episodes,) whether an instruction is known.
    """

    def __init__(self, store: FrameStore) -> None:
        """Word every instruction in every way.

        Raises:
            UserError: when no episode has one.
        """
        self.known = np.array([bool(sentence) for sentence in store.instructions])
        if not self.known.any():
            raise UserError(f"{store.path} has no instructions; record play with `goalsight collect`, which knows them")
        different = sorted(set(store.instructions) - {""})
        meanings = {sentence: number for number, sentence in enumerate(different)}
        self._meaning = np.array([meanings.get(sentence, -1) for sentence in store.instructions])  # (num_episodes,)
        self._heard, self._kept = (
            [np.stack([as_bytes(words) for words in wordings(sentence)[kept]]) for sentence in different]
            for kept in (False, True)
        )

    def of(self, episodes: NDArray[np.int64], rng: np.random.Generator) -> dict[str, NDArray[Any]]:
        """Return what is said of episodes (n,): bytes (n, LONGEST) uint8, and what they mean, (n,) int64."""
        meaning = self._meaning[episodes]
        draws = rng.random((2, len(episodes)))
        heard, kept = (
            np.stack(
                [of_one[number][int(draw * len(of_one[number]))] for number, draw in zip(meaning, row, strict=True)]
            )
            for of_one, row in zip((self._heard, self._kept), draws, strict=True)
        )
        return {INSTRUCTION: heard, UNHEARD: kept, MEANING: meaning}

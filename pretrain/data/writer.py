"""Writing a frame store as a whole: under a hidden name beside its place, renamed when complete."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from goalsight.base.claims import PARTIAL, Claim, hidden_neighbour, remove
from goalsight.base.errors import UserError
from goalsight.base.files import flush_to_disk, writing
from goalsight.pretrain.data.appender import StoreAppender
from goalsight.pretrain.data.format import INDEX

DONE = "sources_done"  # in the notes of a store that is to be gone on with


def is_saved(partial: Path) -> bool:
    """Whether an unfinished store can be gone on with."""
    return (partial / INDEX).exists()


class TakenError(UserError):
    """There is something at the place already."""


class FrameStoreWriter:
    """Writes a frame store, episode by episode, and publishes it in one step when closed.

    As a context manager it publishes on a clean exit and leaves no trace after an exception, unless it is to go on.
    `close()` may also be called early: it publishes the episodes that are complete.

    Attributes:
        done: sources that are wholly in the store, of a writer that went on with what one before had saved; else 0.
    """

    def __init__(
        self, path: Path, *, image_size: int = 64, fps: float = 0.0, wait: bool = False, go_on: bool = False
    ) -> None:
        """Claim the place and open a hidden folder beside it.

        Args:
            path: the store's folder; must not exist, or be empty.
            image_size: height and width of the frames [pixels].
            fps: at which frames were recorded [frames/s]; 0 where nobody knows.
            wait: until another process that writes the same store is done, rather than refuse.
            go_on: with what a writer that was broken off had saved, and leave what is saved to the next one.

        Raises:
            TakenError: when there is something, perhaps after waiting.
            UserError: when the place cannot be written, or another process is writing there.
        """
        self.path = Path(path)
        self._claim = Claim(self.path)
        self._claim.take(wait=wait, keep=go_on)
        self._open, self._go_on = True, go_on
        try:
            self._refuse_taken_place()
            folder = hidden_neighbour(self.path, PARTIAL)
            try:
                self._store = StoreAppender(folder, image_size=image_size, fps=fps, name=self.path)
            except UserError:
                if not is_saved(folder):
                    raise
                remove(folder)  # what was saved is damaged
                self._store = StoreAppender(folder, image_size=image_size, fps=fps, name=self.path)
        except BaseException:
            self._claim.release()
            raise
        self.done = int(self._store.notes.pop(DONE, 0))

    @property
    def notes(self) -> dict[str, Any]:
        """What is kept with the store besides; what lay there when it was last saved to begin with."""
        return self._store.notes

    @property
    def num_frames(self) -> int:
        """Frames in the complete episodes so far."""
        return self._store.num_frames

    def add_episode(
        self,
        frames: NDArray[np.uint8] | Iterable[NDArray[np.uint8]],
        labels: Mapping[str, NDArray[Any]] | None = None,
        source: str = "",
        *,
        columns: Mapping[str, NDArray[Any]] | None = None,
        instruction: str = "",
    ) -> int:
        """Append one episode; see `StoreAppender.add_episode`."""
        if not self._open:
            raise ValueError(f"the frame store {self.path} is closed")
        return self._store.add_episode(frames, labels, source, columns=columns, instruction=instruction)

    def save(self, done: int) -> None:
        """Save all episodes so far, for a writer that goes on if this one is broken off.

        Args:
            done: sources that are wholly in the store.

        Raises:
            UserError: when the disk refuses.
        """
        self._store.notes[DONE] = done
        self._store.publish(complete=False)
        del self._store.notes[DONE]

    def close(self) -> None:
        """Publish the store: flush to disk, write the index, rename into place.

        Raises:
            UserError: when there is nothing to store, the disk is full, or the place was taken meanwhile.
        """
        if not self._open:
            return
        try:
            if not self.num_frames:
                raise UserError(f"{self.path}: no frames to store")
            self._store.publish(complete=True)
            with writing(self.path):
                self._refuse_taken_place()
                os.replace(self._store.path, self.path)
                flush_to_disk(self.path.parent)
        finally:
            self.abort()

    def abort(self) -> None:
        """Drop what was neither published nor saved to go on with; harmless after `close()`."""
        if self._open:
            self._open = False
            self._store.close()
            if not (self._go_on and is_saved(self._store.path)):
                remove(self._store.path)
            self._claim.release()

    def __enter__(self) -> "FrameStoreWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()

    def _refuse_taken_place(self) -> None:
        if self.path.is_dir() and not any(self.path.iterdir()):
            return
        if self.path.exists():
            raise TakenError(f"{self.path} exists already; choose another folder or remove it first")

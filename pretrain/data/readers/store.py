"""What was recorded or decoded before: a frame store, or a run that holds one."""

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from goalsight.pretrain.data.format import INDEX, Column
from goalsight.pretrain.data.pictures import squared
from goalsight.pretrain.data.readers.base import Reading, Recorded
from goalsight.pretrain.data.store import FrameStore, find_store


class StoreReader:
    """Recorded play and frame stores, with all their columns, taken at the rate at which they were recorded."""

    KIND: ClassVar = "recorded play, a frame store"
    OWNS_FOLDERS: ClassVar = True

    def detect(self, path: Path) -> bool:
        """A store, or a folder with a store inside, as a run is."""
        return find_store(path) is not None

    def files(self, path: Path) -> tuple[Path, ...]:
        """The index, which changes with every episode."""
        return (self.open(path).path / INDEX,)

    def rate(self, path: Path, how: Reading) -> float:
        """That at which it was recorded."""
        return self.open(path).fps

    def size(self, path: Path) -> tuple[int, int] | None:
        """That in which it was recorded."""
        side = self.open(path).image_size
        return side, side

    def columns(self, path: Path) -> dict[str, Column]:
        """All that the store holds."""
        return {name: Column.of(values) for name, values in self.open(path).columns.items()}

    def episodes(self, path: Path, how: Reading) -> Iterator[Recorded]:
        """The episodes as they were recorded, resized where the frames are of another size."""
        store = self.open(path)
        for i in range(store.num_episodes):
            frames = (squared(frame, how.image_size) for frame in store.episode(i))
            rows = store.rows_of(i)
            columns = {name: values[rows] for name, values in store.columns.items()}
            yield Recorded(frames, str(path), store.instructions[i], columns)

    def open(self, path: Path) -> FrameStore:
        """Open the store that a path stands for.

        Raises:
            UserError: if there is none, or it is damaged.
        """
        return FrameStore.open(find_store(path) or path)

"""A film of recorded play: episodes side by side."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from goalsight.base.video import VideoWriter, mosaic

if TYPE_CHECKING:
    from goalsight.pretrain.data.store import FrameStore

TILES, COLUMNS = 24, 6  # episodes shown side by side
SIDE = 128  # small frames are enlarged to about this [pixels]
FPS, QUALITY = 20, 23


def film_store(store: "FrameStore", path: Path, episodes: int) -> None:
    """Write a film of the first episodes of a store, `TILES` at once.

    Raises:
        UserError: if the disk refuses.
    """
    shown = [store.episode(i) for i in range(min(episodes, store.num_episodes))]
    scale = max(1, round(SIDE / store.image_size))
    with VideoWriter(path, fps=FPS, quality=QUALITY) as film:
        for first in range(0, len(shown), TILES):
            together = shown[first : first + TILES]
            for time in range(max(map(len, together))):
                tiles = np.zeros((TILES, *together[0].shape[1:]), np.uint8)
                for tile, frames in zip(tiles, together, strict=False):
                    tile[:] = frames[min(time, len(frames) - 1)]
                film.add(mosaic(tiles, COLUMNS, scale))

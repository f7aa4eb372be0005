"""Cuts between scenes: where a video goes on with another place or time, so that no clip may reach across."""

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import groupby

import numpy as np

from goalsight.pretrain.data.pictures import Frame

# Sixteen real videos of arms, at 64 pixels and 10 frames/s, differ by at most 52 from frame to frame, and by at most
# 3.3 times as much as around it.
LEAST = 20.0  # mean difference of the pixels, of 255
RATIO = 5.0  # to that around it
AROUND = 2  # differences on either side


def scenes(frames: Iterable[Frame]) -> Iterator[Iterator[Frame]]:
    """Split a stream of frames at its cuts; each scene is to be read before the next is asked for.

    A cut is where two frames differ much, and much more than those just before and after do: adaptive detection, as of
    PySceneDetect. A video that flickers has none.

    Args:
        frames: (H, W, 3) uint8 each.
    """
    for _, scene in groupby(_numbered(frames), key=lambda pair: pair[0]):
        yield (frame for _, frame in scene)


def _numbered(frames: Iterable[Frame]) -> Iterator[tuple[int, Frame]]:
    """Give each frame the number of its scene, as soon as it is known what comes after it."""
    waiting: deque[tuple[Frame, float | None]] = deque()  # frames, and by how much each differs from the one before it
    past: deque[float] = deque(maxlen=AROUND)
    scene, last = 0, None

    def leave() -> tuple[int, Frame]:
        nonlocal scene
        frame, difference = waiting.popleft()
        if difference is None:  # the first frame
            return scene, frame
        around = [*past, *(later for _, later in list(waiting)[:AROUND] if later is not None)]
        if len(around) > 1 and difference > LEAST and difference > RATIO * (np.mean(around) + 1):
            scene += 1
            past.clear()
        else:
            past.append(difference)
        return scene, frame

    for frame in frames:
        difference = None if last is None else float(np.abs(frame.astype(np.int16) - last).mean())
        last = frame.astype(np.int16)
        waiting.append((frame, difference))
        if len(waiting) > AROUND:
            yield leave()
    while waiting:
        yield leave()

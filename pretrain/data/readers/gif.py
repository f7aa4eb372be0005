"""GIFs, whose pictures each last as long as they say."""

import os
from collections.abc import Iterator
from pathlib import Path

from PIL import Image, ImageSequence

from goalsight.pretrain.data.pictures import bearable, check_pixels, opened

TRAILER = b";"  # ends a GIF
SHORTEST, INSTEAD = 0.02, 0.1  # a picture that lasts less counts as this long, as in browsers [s]


def gif_frames(file: Path) -> Iterator[tuple[float, Image.Image]]:
    """Yield the time [s] of each picture of a GIF, and the picture.

    Raises:
        UnreadableError: one of them is too large.
        EOFError: after the last picture, when the file breaks off.
    """
    time = 0.0
    with opened(file) as image:
        pictures = iter(ImageSequence.Iterator(image))
        while True:
            with bearable():
                picture = next(pictures, None)
            if picture is None:
                break
            check_pixels(*picture.size)  # one that goes beyond the first enlarges all that follow
            picture.load()  # damage shows here, also in a picture that is stepped over
            yield time, picture
            lasts = (picture.info.get("duration") or 0) / 1000
            time += lasts if lasts >= SHORTEST else INSTEAD
    # PIL takes an end in the middle of a picture's head for the end of the film.
    if not _ends(file):
        raise EOFError("it breaks off")


def _ends(file: Path) -> bool:
    with file.open("rb") as raw:
        raw.seek(-min(64, file.stat().st_size), os.SEEK_END)
        return raw.read().rstrip(b"\0").endswith(TRAILER)

"""Pictures of any mode and size, cut to a square of the size that is watched, and lines about what was left out."""

import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from goalsight.base.errors import UserError, in_one_line

Frame = NDArray[np.uint8]  # (H, W, 3)

MOST_PIXELS = 1 << 26  # of one picture, 8192 x 8192: more is asked for by mistake or by malice


class UnreadableError(UserError):
    """A source that gives no frames, as against a disk that takes none."""


def natural_order(path: Path) -> list[tuple[int, int, str]]:
    """Sort key that puts frame-2 before frame-10."""
    parts = re.split(r"(\d+)", path.name.lower())
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts if part]


def warn(line: str) -> None:
    """Say on stderr, in one line, what was not quite right."""
    line = " ".join(line.split())
    print(f"goalsight: {line}", file=sys.stderr)
    for kept in _keepers:
        kept.append(line)


_keepers: list[list[str]] = []


@contextmanager
def keeping(lines: list[str]) -> Iterator[list[str]]:
    """Add to `lines` whatever `warn` says within the block, and yield them."""
    _keepers.append(lines)
    try:
        yield lines
    finally:
        _keepers.pop()


def reason(error: Exception | None) -> str:
    """What a decoder said about a file that it could not read."""
    if error is None:
        return "it holds no frames"
    said = str(getattr(error, "strerror", None) or error).strip()
    return said.splitlines()[0] if said and isinstance(error, OSError | UserError) else in_one_line(error)


def check_pixels(width: int, height: int) -> None:
    """Refuse a picture that would take the memory of the machine; ask before it is decoded.

    Raises:
        UnreadableError: if it has more than `MOST_PIXELS`.
    """
    if width * height > MOST_PIXELS:
        raise UnreadableError(f"a picture of {width} x {height} pixels is too large; at most {MOST_PIXELS:,} are read")


@contextmanager
def bearable() -> Iterator[None]:
    """Turn PIL's complaint about the size of a picture, which it bears up to twice what is read here, into ours.

    Raises:
        UnreadableError: a picture has more than PIL bears.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        try:
            yield
        except Image.DecompressionBombError as error:
            raise UnreadableError(f"a picture is too large; at most {MOST_PIXELS:,} pixels are read") from error


@contextmanager
def opened(file: Path | BinaryIO) -> Iterator[Image.Image]:
    """Open a picture, of which nothing is decoded before its size is known to be bearable.

    Raises:
        UnreadableError: it has more than `MOST_PIXELS`.
    """
    with bearable():
        image = Image.open(file)
    with image:
        check_pixels(*image.size)
        yield image


def square(image: Image.Image, size: int) -> Frame:
    """Cut the largest centred square out of an image and average its pixels down.

    Args:
        image: of any mode; transparent parts are put on white.
        size: of the result [pixels].

    Returns:
        (size, size, 3) uint8.
    """
    side = min(image.size)
    left, top = (image.width - side) / 2, (image.height - side) / 2
    # Averaging keeps small objects at their brightness; picking single pixels would make them flicker.
    how = Image.Resampling.BOX if side >= size else Image.Resampling.BILINEAR
    return np.asarray(_rgb(image).resize((size, size), how, box=(left, top, left + side, top + side)))


def squared(frame: Frame, size: int) -> Frame:
    """Cut a frame as `square` does; one that has the right size already is returned as it is."""
    return frame if frame.shape[:2] == (size, size) else square(Image.fromarray(frame), size)


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and not image.has_transparency_data:
        return image
    if image.mode.startswith("I"):  # 16 bits of grey, which PIL would clip at 255
        image = Image.fromarray((np.asarray(image, np.int64) >> 8).clip(0, 255).astype(np.uint8))
    if image.has_transparency_data:
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA")).convert("RGB")
    return image.convert("RGB")

"""Reading frames one after the other from a video file, a GIF or a folder of images, cut to a square.

Everything here is a stream: at no time is more than one full-size frame in memory.
"""

import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, ImageSequence

from goalsight.base.errors import UserError

VIDEOS = (".mp4", ".mkv", ".webm", ".gif", ".avi", ".mov", ".m4v")
IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")

# What PIL raises on damaged files, besides OSError.
DAMAGED = (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError)


class UnreadableError(UserError):
    """A source that gives no frames, as against a disk that takes none."""


def natural_order(path: Path) -> list[tuple[int, int, str]]:
    """Sort key that puts frame-2 before frame-10."""
    parts = re.split(r"(\d+)", path.name.lower())
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts if part]


def warn(line: str) -> None:
    """Say on stderr, in one line, what was not quite right."""
    print(f"goalsight: {line}", file=sys.stderr)


def square(image: Image.Image, size: int) -> NDArray[np.uint8]:
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


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and not image.has_transparency_data:
        return image
    if image.mode.startswith("I"):  # 16 bits of grey, which PIL would clip at 255
        image = Image.fromarray((np.asarray(image, np.int64) >> 8).clip(0, 255).astype(np.uint8))
    if image.has_transparency_data:
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA")).convert("RGB")
    return image.convert("RGB")


def stride(native_fps: float, fps: float) -> int:
    """Return how many frames to step to come near `fps`; 1 where the native rate is lower or unknown (0)."""
    return max(1, round(native_fps / fps)) if fps > 0 else 1


def read_images(files: Iterable[Path], size: int) -> Iterator[NDArray[np.uint8]]:
    """Yield the images that can be read, (size, size, 3) uint8; the others get a line each on stderr."""
    for file in files:
        try:
            with Image.open(file) as image:
                frame = square(ImageOps.exif_transpose(image), size)
        except DAMAGED as error:
            warn(f"{file} left out: {_reason(error)}")
        else:
            yield frame


def read_video(file: Path, size: int, fps: float) -> Iterator[NDArray[np.uint8]]:
    """Yield a video's frames, (size, size, 3) uint8, at about `fps` frames a second.

    Where a file breaks off after frames that could be read, those are kept and a line says so.

    Raises:
        UnreadableError: when nothing can be read.
    """
    if file.stat().st_size == 0:
        raise UnreadableError(f"{file} is empty")
    yield from _read_gif(file, size, fps) if file.suffix.lower() == ".gif" else _read_stream(file, size, fps)


def _read_gif(file: Path, size: int, fps: float) -> Iterator[NDArray[np.uint8]]:
    count = 0
    try:
        with Image.open(file) as image:
            step = stride(1000 / (image.info.get("duration") or np.inf), fps)
            for count, frame in enumerate(ImageSequence.Iterator(image)):
                if count % step == 0:
                    yield square(frame, size)
    except DAMAGED as error:
        _breaks_off(file, count, "", error)


def _read_stream(file: Path, size: int, fps: float) -> Iterator[NDArray[np.uint8]]:
    import av

    count = 0
    try:
        with av.open(str(file)) as container:
            if not container.streams.video:
                raise UnreadableError(f"{file} has no pictures in it")
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            step = stride(float(stream.average_rate or 0), fps)
            promised = _promised_frames(container, stream)
            for frame in container.decode(stream):
                if count % step == 0:  # frames that are stepped over are not converted either
                    turned = np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90))
                    yield square(Image.fromarray(np.ascontiguousarray(turned)), size)
                count += 1
        # Containers round their durations and lose a frame at the ends; a tenth is no rounding.
        if count < 0.9 * promised:
            _breaks_off(file, count, f" of about {promised}", None)
    except (av.error.FFmpegError, OSError, ValueError) as error:
        if isinstance(error, UnreadableError):
            raise
        _breaks_off(file, count, "", error)


def _promised_frames(container: Any, stream: Any) -> int:
    """Return how many frames the file's header speaks of; 0 where it says nothing."""
    seconds = float(container.duration or 0) / 1e6
    return stream.frames or round(seconds * float(stream.average_rate or 0))


def _breaks_off(file: Path, count: int, promised: str, error: Exception | None) -> None:
    """Refuse a file that gave nothing; warn about one that gave `count` frames and then broke off."""
    if count == 0:
        raise UnreadableError(f"{file} cannot be read as video: {_reason(error)}") from error
    warn(f"{file} breaks off: only {count}{promised} frames could be read")


def _reason(error: Exception | None) -> str:
    if error is None:
        return "it holds no frames"
    text = str(getattr(error, "strerror", None) or error).splitlines()
    return text[0] if text else type(error).__name__

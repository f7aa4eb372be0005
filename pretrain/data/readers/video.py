"""Video files and GIFs, thinned by the time of each frame. Never more than one full-size frame is in memory."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
from PIL import Image

from goalsight.pretrain.data.cuts import scenes
from goalsight.pretrain.data.format import Column
from goalsight.pretrain.data.pictures import Frame, UnreadableError, check_pixels, reason, square, warn
from goalsight.pretrain.data.readers.base import Reading, Recorded, at_least_two
from goalsight.pretrain.data.readers.gif import gif_frames

VIDEOS = (".mp4", ".mkv", ".webm", ".gif", ".avi", ".mov", ".m4v")
STEADY, GAP, STEPS = 0.9, 0.25, 5  # share of equal steps in time; a gap lasts so long [s], and so many of them
ROUNDING = 0.0015  # containers round the times of frames to this [s]
WHOLE = 0.95  # share of its duration that a whole file lasts at least: headers round, and lose a frame at the ends

Found = TypeVar("Found")


class VideoReader:
    """A file is an episode for each of its scenes, which cuts part."""

    KIND: ClassVar = f"a video ({', '.join(VIDEOS)}), a folder of videos"
    APART: ClassVar = True
    OWNS_FOLDERS: ClassVar = False

    def detect(self, path: Path) -> bool:
        """A file with the name of a video."""
        return path.suffix.lower() in VIDEOS and path.is_file()

    def files(self, path: Path) -> tuple[Path, ...]:
        """The file."""
        return (path,)

    def rate(self, path: Path, how: Reading) -> float:
        """The average of the whole file, thinned."""
        rate = _header(path, _average_rate) or 0.0
        return rate / _thinning(rate, how.fps) if rate > 0 and how.fps > 0 else rate

    def columns(self, path: Path) -> dict[str, Column]:
        """None: video is silent about all but the picture."""
        return {}

    def size(self, path: Path) -> tuple[int, int] | None:
        """Of the coded picture; it may be shown turned."""
        return _header(path, lambda stream: (stream.codec_context.height, stream.codec_context.width))

    def episodes(self, path: Path, how: Reading) -> Iterator[Recorded]:
        """Scene by scene, thinned; a scene of one frame only is left out, where there are others."""
        frames = at_least_two(path, read_video(path, how.image_size, how.fps))
        for number, scene in enumerate(scenes(frames)):
            first = list(islice(scene, 2))
            if len(first) == 2:
                yield Recorded(chain(first, scene), f"{path} scene {number}" if number else str(path))


def read_video(file: Path, size: int, fps: float) -> Iterator[Frame]:
    """Yield a video's frames, (size, size, 3) uint8, at about `fps` frames a second.

    Where a file breaks off after frames that could be read, those are kept and a line says so.

    Raises:
        UnreadableError: when nothing can be read.
    """
    if file.stat().st_size == 0:
        raise UnreadableError(f"{file} is empty")
    frames = gif_frames(file) if file.suffix.lower() == ".gif" else stream_frames(file)
    upright, read = Upright(), 0
    try:
        for _, picture in frames if fps <= 0 else thinned(frames, fps):
            # Only frames that are kept are converted.
            frame = square(picture if isinstance(picture, Image.Image) else upright(picture), size)
            read += 1
            yield frame
    except UnreadableError as error:
        if str(file) in str(error):
            raise
        raise UnreadableError(f"{file}: {error}") from error
    except Exception as error:  # whatever a decoder raises on a damaged file
        if not read:
            raise UnreadableError(f"{file} cannot be read as video: {reason(error)}") from error
        warn(f"{file} breaks off: only {read} frames could be read")


def thinned(frames: Iterable[tuple[float, Any]], fps: float) -> Iterator[tuple[float, Any]]:
    """Keep the frames that lie nearest to a distance of 1/fps from the one kept before.

    Args:
        frames: the time [s] of each frame, and the frame. Times that fall back begin anew.
        fps: wanted [frames/s].
    """
    kept = before = -np.inf
    for time, frame in frames:
        # A frame whose successor would lie farther from the due time than it does itself: half a step early is due.
        if time < before or time - kept + (time - before) / 2 >= 1 / fps - ROUNDING:
            kept = time
            yield time, frame
        before = time


def _thinning(rate: float, fps: float) -> int:
    """Of how many frames of a steady `rate` one is kept by `thinned`."""
    return max(1, math.ceil(rate * (1 / fps - ROUNDING) - 0.5))


def _average_rate(stream: Any) -> float:
    """How many pictures a second a stream has on average [1/s]; counted where its header does not count them."""
    said = float(stream.average_rate or 0)
    if stream.frames:
        return said
    times = [packet.pts for packet in stream.container.demux(stream) if packet.pts is not None]
    lasts = float((max(times, default=0) - min(times, default=0)) * (stream.time_base or 0))
    return (len(times) - 1) / lasts if lasts > 0 else said


def _header(file: Path, ask: Callable[[Any], Found]) -> Found | None:
    """What a file's header says of its pictures; None where it has none.

    Raises:
        UnreadableError: if it cannot be opened as video.
    """
    import av

    try:
        with av.open(str(file)) as container:
            streams = container.streams.video
            return ask(streams[0]) if streams else None
    except Exception as error:  # whatever a decoder raises on a damaged file
        raise UnreadableError(f"{file} cannot be read as video: {reason(error)}") from error


def stream_frames(file: Path) -> Iterator[tuple[float, Any]]:
    """Yield the time [s] of each frame of a file, and the frame as the decoder gives it; say where it falls short."""
    import av

    with av.open(str(file)) as container:
        if not container.streams.video:
            raise UnreadableError(f"{file} has no pictures in it")
        stream = container.streams.video[0]
        check_pixels(stream.codec_context.width, stream.codec_context.height)
        stream.thread_type = "AUTO"
        clock, corrupt = _Clock(float(stream.average_rate or 0)), 0
        for frame in container.decode(stream):
            corrupt += frame.is_corrupt
            yield clock.tick(frame), frame
        promised = _seconds_promised(stream)
    if clock.frames == 0:
        raise UnreadableError(f"{file} cannot be read as video: it holds no frames")
    if clock.seconds < WHOLE * promised:
        warn(f"{file} breaks off: only {clock.frames} frames, {clock.seconds:.1f} s of {promised:.1f} s, could be read")
    if clock.gap:
        before, seconds = clock.gap
        warn(f"{file} shows nothing new for {seconds:.1f} s after frame {before}, or is damaged there")
    if corrupt:
        warn(f"{file} is damaged: {corrupt} of {clock.frames} frames could not be decoded whole")


class _Clock:
    """The times of a stream's frames."""

    def __init__(self, rate: float) -> None:
        self._step = 1 / rate if rate > 0 else 0.0  # for frames that say no time
        self._first: float | None = None
        self._steps = Counter[int]()  # from frame to frame [ms]
        self._widest = (0, 0.0)  # frames before the longest of them, and how long it is [s]
        self.frames = 0
        self.time = 0.0
        self.seconds = 0.0  # from the beginning of the first frame to the end of the last, as far as is known

    def tick(self, frame: Any) -> float:
        """The time of the next frame [s], the first one's being 0."""
        time = self.time + self._step * (self.frames > 0)
        if frame.time is not None:
            self._first = float(frame.time) if self._first is None else self._first
            time = float(frame.time) - self._first
        if self.frames:
            self._steps[round(1000 * (time - self.time))] += 1
        if time - self.time > self._longest:
            self._widest = (self.frames, time - self.time)
        self.frames, self.time = self.frames + 1, time
        own = float((frame.duration or 0) * (frame.time_base or 0))
        self.seconds = max(self.seconds, time + max(own, self._longest, self._step))
        return time

    @property
    def _longest(self) -> float:
        return self._widest[1]

    @property
    def gap(self) -> tuple[int, float] | None:
        """The frames before the longest hole in what else goes on steadily, and how long that is [s]; None without."""
        if not self._steps:
            return None
        ((usual, _),) = self._steps.most_common(1)
        alike = sum(count for step, count in self._steps.items() if abs(step - usual) <= 1000 * ROUNDING)
        steady = alike >= STEADY * self._steps.total()
        return self._widest if steady and self._longest > max(GAP, STEPS * usual / 1000) else None


def _seconds_promised(stream: Any) -> float:
    """How long the pictures last by the file's header [s]; 0 where it says nothing of them, as against the sound."""
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    words = (stream.metadata.get("DURATION") or "").split(":")  # Matroska: "00:00:19.800000000", where the last ends
    try:
        hours, minutes, seconds = map(float, words)
    except ValueError:
        return 0.0
    begins = float((stream.start_time or 0) * (stream.time_base or 0))
    return 3600 * hours + 60 * minutes + seconds - begins


class Upright:
    """Turns the frames of one stream into pictures, as they are to be shown; converting colours is prepared once."""

    def __init__(self) -> None:
        from av.video.reformatter import VideoReformatter

        self._colours = VideoReformatter()

    def __call__(self, frame: Any) -> Image.Image:
        """A frame mirrored and turned by its display matrix."""
        pixels = self._colours.reformat(frame, format="rgb24").to_ndarray()
        matrix = _display_matrix(frame)
        if matrix is not None:
            (a, b), (c, d) = matrix
            # A point (x, y) of the frame is shown at (a x + c y, b x + d y), where y grows downward.
            if abs(b) + abs(c) > abs(a) + abs(d):
                pixels, a, d = pixels.transpose(1, 0, 2), c, b
            pixels = pixels[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]
        return Image.fromarray(np.ascontiguousarray(pixels))


def _display_matrix(frame: Any) -> tuple[tuple[int, int], tuple[int, int]] | None:
    """The part of the display matrix that mirrors and turns, as whole numbers; None where there is none."""
    from av.sidedata.sidedata import Type

    data = frame.side_data.get(Type.DISPLAYMATRIX)
    if data is None:
        return None
    a, b, _, c, d = np.frombuffer(bytes(data), np.int32)[:5].tolist()
    return (a, b), (c, d)

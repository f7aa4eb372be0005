"""Video files that play everywhere: H.264 in yuv420p, streamed to disk, checked by decoding them again."""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from goalsight.base.errors import UserError
from goalsight.base.files import remove_leftovers

if TYPE_CHECKING:
    from av import Packet

Frame = NDArray[np.uint8]  # (H, W, 3)

DARK = 16  # what lies between the tiles of a mosaic
FLAT = 2.0  # standard deviation of the pixel values below which a picture shows nothing


class VideoWriter:
    """Encodes frame by frame, so memory does not grow; the file appears under its name when whole.

    Use as a context manager: an exception leaves whatever was at `path` before untouched.
    """

    def __init__(
        self, path: Path, *, fps: int, quality: int = 20, group: int | None = None, check: bool = True
    ) -> None:
        """Write to `path` (mp4) at `fps` frames per second.

        Args:
            path: of the file.
            fps: frames per second.
            quality: factor (CRF, 0 to 51); a lower one looks better.
            group: frames from one that stands alone to the next; few make any frame quick to reach.
            check: decode the file again when it is whole, and refuse frames of one flat colour.

        Raises:
            UserError: if the folder cannot be written.
        """
        import av

        self.path = path
        self.frames = 0
        self.bytes_written = 0  # of pictures that have left the encoder, which holds some back
        self._check = check
        self._partial = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
        remove_leftovers(path.parent, f".{path.stem}.", f".partial{path.suffix}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # The index goes to the front of the file, so that a page can play it while it loads.
            self._container = av.open(str(self._partial), "w", format="mp4", options={"movflags": "+faststart"})
        except OSError as error:
            raise UserError(f"cannot write video {path}: {error.strerror or error}") from error
        self._stream = self._container.add_stream("libx264", rate=fps)
        self._stream.pix_fmt = "yuv420p"
        grouped = {} if group is None else {"g": str(group), "bf": "0"}
        self._stream.options = {"crf": str(quality), "preset": "veryfast", **grouped}

    def __enter__(self) -> "VideoWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()

    def add(self, frame: Frame) -> None:
        """Append a frame (H, W, 3); the first one sets the size, which must be even for yuv420p."""
        import av

        height, width = frame.shape[:2]
        if self.frames == 0:
            if height % 2 or width % 2:
                raise ValueError(f"a video's sides must be even, got {width} x {height}")
            self._stream.width, self._stream.height = width, height
        self._mux(self._stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")))
        self.frames += 1

    def close(self) -> None:
        """Finish the file, decode it again and put it in its place.

        Raises:
            UserError: if there are no frames, the disk refuses, or the file does not decode to what went in.
        """
        try:
            if self.frames == 0:
                raise UserError(f"no frames for video {self.path}")
            size = (self._stream.width, self._stream.height)
            self._mux(self._stream.encode())
            self._container.close()
            if self._check:
                check_video(self._partial, frames=self.frames, size=size, name=self.path)
            os.replace(self._partial, self.path)
        except OSError as error:
            raise UserError(f"cannot write video {self.path}: {error.strerror or error}") from error
        finally:
            self.discard()

    def discard(self) -> None:
        """Remove the unfinished file."""
        # A full disk, or a stream without frames: there is nothing to save.
        with contextlib.suppress(OSError, ValueError):
            self._container.close()
        self._partial.unlink(missing_ok=True)

    def _mux(self, packets: "list[Packet]") -> None:
        try:
            for packet in packets:
                self.bytes_written += packet.size
                self._container.mux(packet)
        except OSError as error:
            raise UserError(f"cannot write video {self.path}: {error.strerror or error}") from error


@dataclass(frozen=True)
class VideoFacts:
    """What decoding a file showed."""

    frames: int
    width: int
    height: int
    fps: float
    codec: str
    pixel_format: str
    mean: float  # of the pixel values, 0 to 255, over the frames
    deviation: float  # smallest standard deviation of a frame's pixel values


def decode(path: Path) -> Iterator[Frame]:
    """The frames of a video, one at a time, each (H, W, 3)."""
    import av

    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            yield np.asarray(frame.to_ndarray(format="rgb24"), dtype=np.uint8)


def describe_video(path: Path) -> VideoFacts:
    """Decode the whole of a video and say what is in it."""
    import av

    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        fps = float(stream.average_rate or 0)
        codec, pixel_format = stream.codec_context.name, str(stream.codec_context.pix_fmt)
        width, height = stream.codec_context.width, stream.codec_context.height
    # Every fourth pixel each way tells a black frame as well as all of them.
    thumbs = [(float(f[::4, ::4].mean()), float(f[::4, ::4].std())) for f in decode(path)]
    means, deviations = zip(*thumbs, strict=True) if thumbs else ((0.0,), (0.0,))
    return VideoFacts(
        len(thumbs), width, height, fps, codec, pixel_format, float(np.mean(means)), float(min(deviations))
    )


def check_video(path: Path, *, frames: int, size: tuple[int, int], name: Path) -> VideoFacts:
    """Decode a video and compare it with what was written.

    Args:
        path: the file.
        frames: how many were written.
        size: width and height written.
        name: what to call it in an error.

    Raises:
        UserError: if frames are missing, the size is another, or a frame is one flat colour.
    """
    facts = describe_video(path)
    if facts.frames != frames or (facts.width, facts.height) != size:
        raise UserError(
            f"video {name} came out wrong: {facts.frames} frames of {facts.width} x {facts.height}, "
            f"wrote {frames} of {size[0]} x {size[1]}"
        )
    if facts.deviation < FLAT:
        raise UserError(f"video {name} came out with a frame of one flat colour: nothing was rendered")
    return facts


def mosaic(tiles: NDArray[np.uint8], columns: int, scale: int) -> Frame:
    """Tile pictures (n, H, W, 3), row by row, each pixel enlarged `scale` times; missing tiles are dark.

    Returns:
        shape (rows * (H * scale + 2), columns * (W * scale + 2), 3), a thin dark line around every tile; sides that
        come out odd are made even, as yuv420p wants.
    """
    count, height, width, _ = tiles.shape
    rows = -(-count // columns)
    edge = ((0, 0), (1, 1), (1, 1), (0, 0))
    framed = np.pad(tiles.repeat(scale, axis=1).repeat(scale, axis=2), edge, constant_values=DARK)
    grid = np.full((rows * columns, *framed.shape[1:]), DARK, dtype=np.uint8)
    grid[:count] = framed
    grid = grid.reshape(rows, columns, *framed.shape[1:]).transpose(0, 2, 1, 3, 4)
    picture = grid.reshape(rows * (height * scale + 2), columns * (width * scale + 2), 3)
    return np.pad(picture, ((0, picture.shape[0] % 2), (0, picture.shape[1] % 2), (0, 0)), mode="edge")

"""Video of any origin to a frame store: files, folders of images, folders of videos, and stores themselves."""

import hashlib
import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from goalsight.base.errors import UserError
from goalsight.pretrain.data.decoding import (
    IMAGES,
    VIDEOS,
    UnreadableError,
    natural_order,
    read_images,
    read_video,
    square,
    warn,
)
from goalsight.pretrain.data.store import FrameStore, FrameStoreWriter, is_store

FPS = 10.0  # frames a second that real video is brought down to
PLAY = "frames"  # the store's folder in a run that recorded play
KINDS = f"a video ({', '.join(VIDEOS)}), a folder of videos or images, recorded play, or a frame store"

Frames = Iterator[NDArray[np.uint8]]


@dataclass(frozen=True)
class Source:
    """Something that gives one episode, or several where it is a frame store."""

    path: Path
    files: tuple[Path, ...]  # what it is read from
    store: FrameStore | None = None


def ingest(paths: Sequence[Path], out: Path, image_size: int = 64, *, fps: float = FPS) -> FrameStore:
    """Decode videos into a new frame store; a single store of the right size is returned as it is.

    Frames are cut to the largest centred square and averaged down. A file that cannot be read is left out with
    a line on stderr, unless it is the only one. Labels of stores are not carried over.

    Args:
        paths: files and folders, see `KINDS`.
        out: the store's folder; must not exist.
        image_size: height and width of the frames [pixels].
        fps: video with more frames a second is thinned to about this rate; 0 keeps every frame. Stores and
            folders of images are taken as they are.

    Raises:
        UserError: when nothing can be read, or `out` cannot be written.
    """
    return _decode(find_sources(paths), out, image_size, fps)


def cached_ingest(paths: Sequence[Path], cache: Path, image_size: int = 64, *, fps: float = FPS) -> FrameStore:
    """Like `ingest`, into a folder of `cache` named after the files' names, sizes and times.

    What was decoded before, and has not changed since, is opened instead.
    """
    sources = find_sources(paths)
    stamps: list[object] = [image_size, fps]
    for source in sources:
        for file in source.files:
            state = file.stat()
            stamps.append([str(file.resolve()), state.st_size, state.st_mtime_ns])
    out = cache / hashlib.sha256(json.dumps(stamps).encode()).hexdigest()[:16]
    return FrameStore.open(out) if is_store(out) else _decode(sources, out, image_size, fps)


def find_sources(paths: Sequence[Path]) -> list[Source]:
    """Find what can be read in files and folders, in natural order.

    Raises:
        UserError: when a path does not exist, is of another kind, or holds nothing.
    """
    sources = []
    for path in map(Path, paths):
        found = _sources_in(path) if path.exists() else []
        if not found:
            what = "holds nothing to watch" if path.exists() else "does not exist"
            raise UserError(f"{path} {what}; give {KINDS}")
        sources += found
    if not sources:
        raise UserError(f"no data; give {KINDS}")
    return sources


def _sources_in(path: Path) -> list[Source]:
    """Look at one file or folder, and at the folders in it."""
    if path.is_file():
        return [Source(path, (path,))] if path.suffix.lower() in VIDEOS + IMAGES else []
    for store in (path, path / PLAY):
        if is_store(store):
            return [Source(path, (store / "index.json",), FrameStore.open(store))]
    entries = sorted((entry for entry in path.iterdir() if not entry.name.startswith(".")), key=natural_order)
    images = tuple(entry for entry in entries if entry.is_file() and entry.suffix.lower() in IMAGES)
    sources = [Source(path, images)] if images else []
    for entry in entries:
        if entry.is_dir() or entry.suffix.lower() in VIDEOS:
            sources += _sources_in(entry)
    return sources


def _decode(sources: list[Source], out: Path, image_size: int, fps: float) -> FrameStore:
    from tqdm import tqdm

    only = sources[0].store if len(sources) == 1 else None
    if only is not None and only.image_size == image_size:
        return only
    with FrameStoreWriter(out, image_size=image_size) as writer:
        for source in tqdm(sources, desc="decode", unit="source", disable=len(sources) == 1 or None):
            try:
                for frames in _episodes(source, image_size, fps):
                    writer.add_episode(frames, source=str(source.path))
            except UnreadableError as error:
                if len(sources) == 1:
                    raise
                warn(f"left out: {error}")
        if not writer.num_frames:
            raise UserError(f"none of the {len(sources)} videos could be read")
    return FrameStore.open(out)


def _episodes(source: Source, image_size: int, fps: float) -> Iterator[Frames]:
    """Yield the episodes of a source, each of at least two frames.

    Raises:
        UnreadableError: when it is damaged or too short.
    """
    if source.store is not None:
        for i in range(source.store.num_episodes):
            yield _resized(source.store.episode(i), image_size)
        return
    video = source.files[0].suffix.lower() in VIDEOS
    frames = read_video(source.files[0], image_size, fps) if video else read_images(source.files, image_size)
    first = list(itertools.islice(frames, 2))
    if len(first) < 2:
        count = "only one frame" if first else "no frame that can be read"
        raise UnreadableError(f"{source.path} has {count}; learning needs pairs of frames")
    yield itertools.chain(first, frames)


def _resized(frames: NDArray[np.uint8], image_size: int) -> Frames:
    same = frames.shape[1] == image_size
    return iter(frames) if same else (square(Image.fromarray(frame), image_size) for frame in frames)

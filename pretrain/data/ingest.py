"""Data of any origin to a frame store, by whichever reader knows it."""

import hashlib
import importlib.metadata
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from goalsight.base.claims import clear_leftovers
from goalsight.base.errors import UserError
from goalsight.pretrain.data.ahead import Ahead
from goalsight.pretrain.data.format import Column
from goalsight.pretrain.data.pictures import UnreadableError, keeping, natural_order, warn
from goalsight.pretrain.data.readers import READERS
from goalsight.pretrain.data.readers.base import Reader, Reading, Recorded
from goalsight.pretrain.data.store import FrameStore, FrameStoreWriter, find_store, is_store
from goalsight.pretrain.data.writer import TakenError, is_saved

FPS = 10.0  # frames a second that real video is brought down to
SAVE_EVERY, KEPT = 20.0, 7 * 24 * 3600.0  # of decoding that is not finished: between two times, and how long [s]
SAID = "said"  # in the notes of a store: lines about what was left out of it or breaks off
DECODING = 3  # raised when the same files are decoded to other frames than before


@dataclass(frozen=True)
class Source:
    """Something that a reader knows."""

    path: Path
    reader: Reader


def ingest(paths: Sequence[Path], out: Path, image_size: int = 64, *, fps: float = FPS) -> FrameStore:
    """Decode data into a new frame store; a single store of the right size is returned as it is.

    Frames are cut to the largest centred square and averaged down. A file that cannot be read, or at which a decoder
    hangs or crashes, is left out with a line on stderr, unless it is the only one. Columns are kept where all the data
    has them.

    Args:
        paths: files and folders that a reader knows.
        out: the store's folder; must not exist.
        image_size: height and width of the frames [pixels].
        fps: video with more frames a second is thinned to about this rate; 0 keeps every frame. What was recorded
            with actions, and folders of images, are taken as they are.

    Raises:
        UserError: when nothing can be read, or `out` cannot be written.
    """
    return _decode(find_sources(paths), out, Reading(image_size, fps))


def cached_ingest(paths: Sequence[Path], cache: Path, image_size: int = 64, *, fps: float = FPS) -> FrameStore:
    """Like `ingest`, into a folder of `cache` named after the files' names, sizes and times, and the decoders.

    What was decoded before, and has not changed since, is opened instead; what another process is decoding is
    waited for. Decoding that was stopped or killed is gone on with when the same is asked for within `KEPT` seconds.
    """
    sources = find_sources(paths)
    stamps: list[object] = [image_size, fps, DECODING, *(importlib.metadata.version(name) for name in ("av", "pillow"))]
    for source in sources:
        for file in source.reader.files(source.path):
            state = file.stat()
            stamps.append([str(file.resolve()), state.st_size, state.st_mtime_ns])
    out = cache / hashlib.sha256(json.dumps(stamps).encode()).hexdigest()[:16]
    if is_store(out):
        return _opened(out)
    clear_leftovers(cache, keep=lambda left: is_saved(left) and time.time() - left.stat().st_mtime < KEPT)
    try:
        return _decode(sources, out, Reading(image_size, fps), cached=True)
    except TakenError:  # by the process that was waited for
        return _opened(out)


def _opened(out: Path) -> FrameStore:
    """Open what was decoded before, and say again what was said of it then."""
    store = FrameStore.open(out)
    for line in store.notes.get(SAID, []):
        warn(line)
    return store


def find_sources(paths: Sequence[Path], *, say: Callable[[str], None] = warn) -> list[Source]:
    """Find what can be read in files and folders, in natural order.

    Args:
        paths: where to look.
        say: takes a line about each thing that is left out.

    Raises:
        UserError: when a path does not exist, is of another kind, or holds nothing.
    """
    readers: list[Reader] = [READERS.load(name)() for name in READERS]
    *most, last = (reader.KIND for reader in readers)
    kinds = "; ".join([*most, f"or {last}"])
    sources = []
    for path in map(Path, paths):
        found = list(_sources_in(path, readers, say)) if path.exists() else []
        if not found:
            what = "holds nothing to watch" if path.exists() else "does not exist"
            raise UserError(f"{path} {what}; give {kinds}")
        sources += found
    if not sources:
        raise UserError(f"no data; give {kinds}")
    return sources


def _sources_in(
    path: Path, readers: Sequence[Reader], say: Callable[[str], None], above: frozenset[Path] = frozenset()
) -> Iterator[Source]:
    """Look at one file or folder, and at what lies in it.

    Args:
        path: where to look.
        readers: who may read it.
        say: takes a line about each thing that is left out.
        above: the folders that it lies in, whatever links led there.
    """
    reader = next((reader for reader in readers if reader.detect(path)), None)
    if reader is not None:
        yield Source(path, reader)
    if not path.is_dir() or (reader is not None and reader.OWNS_FOLDERS):
        return
    # Single images in a folder belong to it together.
    apart, within = [other for other in readers if other is not reader], above | {path.resolve()}
    for entry in sorted(path.iterdir(), key=natural_order):
        if entry.name.startswith("."):
            continue
        if not entry.exists():
            say(f"{entry} left out: a link to nothing")
        elif entry.is_dir() and entry.resolve() in within:
            say(f"{entry} left out: a link to a folder that it lies in")
        elif entry.is_dir():
            yield from _sources_in(entry, readers, say, within)
        elif entry.is_file():
            yield from _sources_in(entry, apart, say)
        else:
            say(f"{entry} left out: no plain file")


def _decode(sources: list[Source], out: Path, how: Reading, *, cached: bool = False) -> FrameStore:
    from tqdm import tqdm

    stored = find_store(sources[0].path) if len(sources) == 1 else None
    if stored is not None and (store := FrameStore.open(stored)).image_size == how.image_size:
        return store
    with (
        FrameStoreWriter(out, image_size=how.image_size, wait=cached, go_on=cached) as writer,
        Ahead(how) as ahead,
        keeping(writer.notes.get(SAID, [])) as said,
    ):
        kept, saved = _common_columns(sources), time.monotonic()
        left, alone = sources[writer.done :], len(sources) == 1 or None
        each = _each(left, how, ahead)
        bar = tqdm(each, "decode", len(sources), initial=writer.done, unit="source", disable=alone)
        for number, episodes in enumerate(bar, writer.done):
            if cached and time.monotonic() - saved > SAVE_EVERY:
                writer.save(number)
                saved = time.monotonic()
            try:
                for episode in episodes:
                    columns = {name: episode.columns[name] for name in kept}
                    writer.add_episode(
                        episode.pixels, source=episode.source, columns=columns, instruction=episode.instruction
                    )
            except UnreadableError as error:
                if len(sources) == 1:
                    raise
                warn(f"left out: {error}")
            if said:
                writer.notes[SAID] = said
        if not writer.num_frames:
            raise UserError(f"none of the {len(sources)} videos could be read")
    return FrameStore.open(out)


def _each(sources: Sequence[Source], how: Reading, ahead: Ahead) -> Iterator[Iterator[Recorded]]:
    """Go through the episodes of source after source, those that strangers made in processes apart."""
    decoded = ahead.each((source.reader, source.path) for source in sources if _is_apart(source))
    for source in sources:
        yield next(decoded) if _is_apart(source) else source.reader.episodes(source.path, how)


def _is_apart(source: Source) -> bool:
    return bool(getattr(source.reader, "APART", False))


def _common_columns(sources: list[Source]) -> set[str]:
    """The columns that all readable sources have, of one kind."""
    kept: dict[str, Column] | None = None
    for source in sources:
        try:
            columns = source.reader.columns(source.path)
        except UnreadableError:  # said when its episodes are read
            continue
        kept = columns if kept is None else {name: kind for name, kind in columns.items() if kept.get(name) == kind}
    return set(kept or ())

"""What data holds before anything is learnt from it: how much, how fast, how large, and what of it is worth nothing."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from goalsight.base.tables import counted
from goalsight.pretrain.data.ingest import Source
from goalsight.pretrain.data.pictures import UnreadableError
from goalsight.pretrain.data.readers.base import Reading
from goalsight.pretrain.data.store import FrameStore

BLACK = 8.0  # mean of the pixels, of 255, below which a frame is called black
AT_ONCE = 4096  # frames that are looked at at once
CAPTION = 20  # pixels above each row of a picture, for what it shows


@dataclass(frozen=True)
class Worthless:
    """Frames of a store of which nothing can be learnt, (num_frames,) bool each."""

    repeated: NDArray[np.bool_]  # the same to the bit as the one before it in its episode
    black: NDArray[np.bool_]


def worthless(store: FrameStore) -> Worthless:
    """Look for frames that repeat the one before, and for black ones; memory stays that of some thousand frames."""
    repeated, black = np.zeros((2, store.num_frames), bool)
    for begin in range(0, store.num_frames, AT_ONCE):
        rows = np.arange(max(0, begin - 1), min(begin + AT_ONCE, store.num_frames))
        frames = store.frames(rows).reshape(len(rows), -1)
        repeated[rows[1:]] = (frames[1:] == frames[:-1]).all(1)
        black[rows] = frames.mean(1) < BLACK
    repeated[store.episode_starts] = False
    return Worthless(repeated, black)


def recorded_as(sources: Sequence[Source]) -> list[dict[str, Any]]:
    """Return how the sources were recorded: each combination of size and rate, with its count, the most common first.

    Those that are damaged are left out: decoding says so.
    """
    found: Counter[tuple[tuple[int, int] | None, float]] = Counter()
    for source in sources:
        try:
            found[source.reader.size(source.path), source.reader.rate(source.path, Reading(0, 0.0))] += 1
        except UnreadableError:
            continue
    return [
        {"height_width": size, "fps": round(rate, 3), "sources": count} for (size, rate), count in found.most_common()
    ]


def describe(store: FrameStore, sources: Sequence[Source]) -> dict[str, Any]:
    """Return what a store holds, and how what it was made of was recorded; in JSON's own types."""
    nothing, lengths = worthless(store), store.episode_lengths
    told = Counter(sentence for sentence in store.instructions if sentence)
    return {
        "store": str(store.path),
        "sources": len(sources),
        "recorded": recorded_as(sources),
        "image_size": store.image_size,
        "fps": store.fps,
        "episodes": store.num_episodes,
        "frames": store.num_frames,
        "seconds": round(store.num_frames / store.fps, 2) if store.fps else None,
        "episode_frames": {
            "least": int(lengths.min()),
            "median": float(np.median(lengths)),
            "most": int(lengths.max()),
        },
        "repeated_frames": int(nothing.repeated.sum()),
        "black_frames": int(nothing.black.sum()),
        "columns": {name: list(values.shape[1:]) for name, values in store.columns.items()},
        "instructions": {"episodes": sum(told.values()), "different": len(told), "commonest": told.most_common(3)},
        "mebibytes": round(sum(file.stat().st_size for file in store.path.iterdir() if file.is_file()) / 2**20, 1),
    }


def in_words(found: dict[str, Any]) -> str:
    """Say what `describe` found, line by line."""
    size, lengths = found["image_size"], found["episode_frames"]
    lasting = f", {found['seconds']:,.0f} s at {found['fps']:g} frames/s" if found["seconds"] is not None else ""
    least, most = lengths["least"], lengths["most"]
    long = f"{least:,} to {most:,}, {lengths['median']:g} in the median" if least < most else f"{least:,} each"
    episodes = counted(found["episodes"], "episode")
    lines = [f"{found['frames']:,} frames of {size} x {size} in {episodes} of {long}{lasting}"]
    for kind in found["recorded"]:
        sides = " x ".join(map(str, kind["height_width"][::-1])) if kind["height_width"] else "unknown size"
        rate = f"{kind['fps']:g} frames/s" if kind["fps"] else "unknown rate"
        lines.append(f"recorded: {counted(kind['sources'], 'source')} of {sides} at {rate}")
    share = 100 / found["frames"]
    lines.append(
        f"{found['repeated_frames']:,} frames ({share * found['repeated_frames']:.1f}%) repeat the one before, "
        f"{found['black_frames']:,} ({share * found['black_frames']:.1f}%) are black"
    )
    columns = ", ".join(f"{name} {'x'.join(map(str, shape))}" for name, shape in found["columns"].items())
    lines.append(f"columns: pixels, {columns}" if columns else "columns: pixels alone, as silent video has")
    told = found["instructions"]
    if told["episodes"]:
        examples = "; ".join(f"{sentence} ({count})" for sentence, count in told["commonest"])
        lines.append(f"instructions: {told['different']:,} in {counted(told['episodes'], 'episode')}: {examples}")
    lines.append(f"frame store: {found['store']}, {found['mebibytes']:,.1f} MiB")
    return "\n".join(lines)


def contact_sheet(store: FrameStore, episodes: int, frames: int) -> NDArray[np.uint8]:
    """Return a picture of episodes, one a row: frames evenly spread over each.

    Args:
        store: of which the episodes are evenly spread, too.
        episodes: rows, at most.
        frames: in a row, at most.

    Returns:
        (H, W, 3) uint8, with white between frames, and where an episode has fewer.
    """
    chosen = _spread(store.num_episodes, episodes)
    side, gap = store.image_size, max(1, store.image_size // 32)
    sheet = np.full((len(chosen) * (side + gap) - gap, frames * (side + gap) - gap, 3), 255, np.uint8)
    for row, number in enumerate(chosen):
        start, length = int(store.episode_starts[number]), int(store.episode_lengths[number])
        shown = _spread(length, frames)
        top = row * (side + gap)
        for place, frame in enumerate(store.frames(start + shown)):
            left = place * (side + gap)
            sheet[top : top + side, left : left + side] = frame
    return sheet


def _spread(count: int, most: int) -> NDArray[np.int64]:
    """As many of `count` numbers, evenly spread, ends included."""
    return np.unique(np.linspace(0, count - 1, min(most, count)).round().astype(np.int64))


def caption(store: FrameStore, number: int) -> str:
    """Name an episode: its number, where it came from, how long it is, and what happens in it."""
    source, length = Path(store.sources[number]).name, int(store.episode_lengths[number])
    words = [f"{number}", source, counted(length, "frame"), store.instructions[number]]
    return "   ".join(word for word in words if word)


def show(store: FrameStore, out: Path, episodes: int, frames: int) -> None:
    """Write `contact_sheet` to a file, enlarged so that small frames can be seen, each row below its caption."""
    from PIL import Image, ImageDraw, ImageFont

    from goalsight.base.files import writing

    sheet, times = contact_sheet(store, episodes, frames), max(1, 96 // store.image_size)
    sheet = sheet.repeat(times, 0).repeat(times, 1)
    side, rows = store.image_size * times, _spread(store.num_episodes, episodes)
    pitch = (len(sheet) + times * max(1, store.image_size // 32)) // len(rows)
    picture = Image.new("RGB", (sheet.shape[1], len(rows) * (CAPTION + side)), "white")
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(size=CAPTION - 6)
    for row, number in enumerate(rows):
        top = row * (CAPTION + side)
        draw.text((3, top + 1), caption(store, int(number)), "black", font)
        picture.paste(Image.fromarray(sheet[row * pitch : row * pitch + side]), (0, top + CAPTION))
    with writing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        picture.save(out)

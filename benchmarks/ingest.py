"""Millions of frames: decoding that is killed and goes on, what memory it takes, and how fast training reads.

Films of blobs that wander, as many as needed, are decoded into a frame store by a process of its own, which is killed
without warning several times. Its memory is looked at all the while.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
import psutil
from numpy.typing import NDArray
from reporting import RESULTS, markdown_table, provenance, significant, start

from goalsight.base.errors import UserError
from goalsight.base.files import atomic_write_json
from goalsight.pretrain.data.clips import Clips
from goalsight.pretrain.data.format import PIXELS, column_file
from goalsight.pretrain.data.samplers import ClipSampler
from goalsight.pretrain.data.store import FrameStore

DISTINCT, LENGTH, RATE = 8, 2_000, 10  # films that differ, frames of each, frames a second
LOOK_EVERY = 1.0  # at the decoder's memory [s]
CLIPS, READING = 256, 10.0  # clips of two frames at a time, and seconds of reading
DECODE = """
import sys
from pathlib import Path
from goalsight.pretrain.data.ingest import cached_ingest
cached_ingest([Path(sys.argv[1])], Path(sys.argv[2]), int(sys.argv[3]))
"""


@dataclass(frozen=True)
class Ingest:
    """Decode many frames, be killed, go on, and read them."""

    frames: int = 10_000_000
    """Frames in all."""
    side: int = 16
    """Of a frame [pixels]; 10 million of 64 would take 123 GB."""
    kills: int = 3
    """How often the decoder is killed on the way."""
    folder: Path = Path("runs/ingest")
    """Where films and the store lie; must not hold any."""
    out: Path = RESULTS / "ingest.json"
    """The result."""

    def __post_init__(self) -> None:
        if self.frames < LENGTH or self.kills < 0 or self.side % 2:
            raise UserError(f"frames must be at least {LENGTH:,}, kills not negative, side even")
        if self.folder.exists():
            raise UserError(f"{self.folder} exists already; choose another folder or remove it")


def wandering(side: int, seed: int) -> NDArray[np.uint8]:
    """Return a film of three blobs that wander over a grey ground, (LENGTH, side, side, 3)."""
    rng = np.random.default_rng(seed)
    steps = rng.normal(0, 0.02, (LENGTH, 3, 2)).cumsum(0) + rng.random((3, 2))
    places = np.abs((steps % 2) - 1)  # from edge to edge and back
    pixels = (np.arange(side) + 0.5) / side
    far = np.square(pixels[:, None] - places[..., None, None, 0]) + np.square(pixels - places[..., None, None, 1])
    colours = rng.integers(80, 256, (3, 3))
    lit = np.exp(-far / 0.01)[..., None] * (colours[:, None, None] - 90)
    return np.asarray(np.clip(90 + lit.sum(1), 0, 255), np.uint8)


def make_films(config: Ingest) -> Path:
    """Return a folder of films, of which `DISTINCT` differ."""
    films = config.folder / "films"
    films.mkdir(parents=True)
    for number in range(-(-config.frames // LENGTH)):
        path = films / f"{number:06d}.mp4"
        if number >= DISTINCT:
            os.link(films / f"{number % DISTINCT:06d}.mp4", path)
            continue
        with av.open(str(path), "w") as container:
            stream: Any = container.add_stream("libx264", rate=RATE)
            stream.width = stream.height = config.side
            stream.pix_fmt = "yuv420p"
            for frame in wandering(config.side, number):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            container.mux(stream.encode())
    return films


def decoded(cache: Path, side: int) -> int:
    """Return how many frames have been written to the store that is in the making, or whole."""
    sizes = [path.stat().st_size for path in cache.glob(f"*/{column_file(PIXELS)}")]
    sizes += [path.stat().st_size for path in cache.glob(f".*/{column_file(PIXELS)}")]
    return max(sizes, default=0) // (side * side * 3)


def memory_of(pid: int) -> int:
    """Return what a process and those that decode for it hold of their own, without pages of files [bytes]."""
    held = 0
    with contextlib.suppress(psutil.Error):  # any of them may have ended
        decoder = psutil.Process(pid)
        for process in (decoder, *decoder.children(recursive=True)):
            memory = process.memory_info()
            held += memory.rss - getattr(memory, "shared", 0)  # which macOS does not tell
    return held


def decode(films: Path, config: Ingest) -> dict[str, Any]:
    """Decode, be killed and go on; return seconds, and what memory it took."""
    cache, memory = config.folder / "cache", list[tuple[int, int]]()
    began = time.perf_counter()
    for death in range(1, config.kills + 2):
        until = config.frames * death // (config.kills + 1) if death <= config.kills else np.inf
        command = [sys.executable, "-c", DECODE, str(films), str(cache), str(config.side)]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
            while process.poll() is None:
                time.sleep(LOOK_EVERY)
                done = decoded(cache, config.side)
                memory.append((done, memory_of(process.pid)))
                if done >= until:
                    process.send_signal(signal.SIGKILL)
                    break
        if death > config.kills and process.returncode:
            raise UserError(f"the decoder ended with {process.returncode}")
    fifth = config.frames // 5
    early, late = (
        max(size for done, size in memory if low <= done <= high)
        for low, high in ((0, fifth), (4 * fifth, config.frames))
    )
    seconds = round(time.perf_counter() - began, 1)
    return {"seconds": seconds, "kills": config.kills, "early_mib": early >> 20, "late_mib": late >> 20}


def read(store: FrameStore, threads: int) -> float:
    """Return how many frames a second samplers in so many threads read."""
    samplers = [ClipSampler(store, Clips(gaps=((1, 8),)), batch=CLIPS, seed=number) for number in range(threads)]

    def some(sampler: ClipSampler) -> int:
        count, until = 0, time.perf_counter() + READING
        while time.perf_counter() < until:
            count += sampler.sample()[PIXELS][..., 0, 0, 0].numel()
        return count

    with ThreadPoolExecutor(threads) as pool:
        return sum(pool.map(some, samplers)) / READING


def main(config: Ingest) -> None:
    """Measure, write and print."""
    about = provenance()
    films = make_films(config)
    found = decode(films, config)
    began = time.perf_counter()
    store = FrameStore.open(next(path for path in (config.folder / "cache").iterdir() if path.is_dir()))
    opening = time.perf_counter() - began
    rates = {threads: read(store, threads) for threads in (1, 2)}
    row = {
        "frames": store.num_frames,
        "episodes": store.num_episodes,
        "side": config.side,
        "gigabytes": significant(store.num_frames * config.side**2 * 3 / 1e9),
        **found,
        "frames_per_second": significant(store.num_frames / found["seconds"]),
        "opening_s": round(opening, 2),
        "read_per_second": {str(threads): significant(rate) for threads, rate in rates.items()},
    }
    atomic_write_json(config.out, {**about, **row})
    print(markdown_table(["what", "found"], [[name, str(value)] for name, value in row.items()]))


if __name__ == "__main__":
    start(Ingest, main)

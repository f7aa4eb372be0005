"""What damaged files come to: files that goalsight reads are damaged at random, and read as users do.

Three kinds of files are damaged, one file at a time: those of small runs of collect, pretrain and train, finished and
stopped (configuration, manifest, measurements, summary, evaluation, checkpoints, training states, replays, frame
stores); videos (mp4, webm, gif) and a folder of png; and the TOML and MJCF of arms. Files of text are damaged value by
value (replaced by what cannot be meant, missing, renamed, doubled, nested, exchanged, changed a little), and every
fourth, as all others, byte by byte (flipped, overwritten, zeroed, cut off, lost, doubled, spliced). Of every other
checkpoint that is damaged the hashes are taken away, as if an older version or a stranger had written it. A run's file
is read by all who would read it: `Run.open`, `goalsight runs`, `goalsight report`, `load_agent` and a step of the
agent's environment, `load_encoder`, `FrameStore.open`, and `goalsight resume` up to its first step. Videos are
ingested. With an arm an environment is made, and acts for 20 steps.

Reading is done by a process with a limit on its time and on its address space. A file counts as the worst that any of
its readers came to:

    crash       the process died
    hang        it took longer than the limit
    memory      memory was asked for that there is not, even if that was refused in one line
    exception   anything but a `UserError`, or one of several lines
    silent      read to something else without a word, although it could be known: of a run, a frame store, a
                checkpoint with its training state, or a replay, which nobody edits, so that a hash can cover them
                (not where the hashes were taken away); a png, which has checksums; a video of which nothing is
                left; an arm of which observations are not finite
    refused     a `UserError` in one line
    contained   a video at which only the process apart crashed, hung or ran out of memory that decodes it, within
                limits of its own, said in one line
    said        read to something else, with a line that says so
    other       read to something else that nothing could know: a configuration, which may be edited, a measurement, a
                summary or a note of a manifest, a film whose format has no checksum, an arm of other numbers
    unchanged   all that was read is equal

A number always means the same damage. Results are kept in batches; those that are there are skipped.
"""

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from reporting import RESULTS, Rows, markdown_table, provenance, start

from goalsight.base.files import atomic_write_text

OUTCOMES = (
    *("crash", "hang", "memory", "exception", "silent"),
    *("refused", "contained", "said", "other", "unchanged"),
)
BAD = OUTCOMES[:5]
BATCH = 50
TOGETHER = {"runs": 5, "videos": 25, "arms": 5}  # that a worker is asked for at once
LIMIT = 90.0  # on a file's time, and on a worker's to begin [s]
REACH = ("--env", "goalsight/PandaReach-v1")
COLLECT = ("collect", *REACH, "--steps", "10", "--num-envs", "4", "--image-size", "32", "--film", "2")
ARM = """mjcf = "arm.xml"
max_speed = 3.1416
mount = [-0.08, 0, 0]
start = [2.9, -1.5, 1.8, -1.9, -1.6, 2.9]
reach = [0.3, -0.25, 0.0, 0.6, 0.25, 0.4]
turn_weight = 1.0

[tool]
site = "tool"

[gripper]
actuators = "gripper"
closed = 0
open = 0.0425
width = 0.085
"""
SERVO = """
[servo]
stiffness = [4500, 4500, 4500, 2000, 2000, 2000]
damping = [180, 180, 180, 70, 70, 70]
"""


@dataclass(frozen=True)
class Mutations:
    """Damage files that goalsight reads, and count what comes."""

    runs: int = 2_000
    """How many files of runs."""
    videos: int = 1_000
    """How many videos and folders of pictures."""
    arms: int = 500
    """How many files of arms."""
    seed: int = 0
    """Seed of the damage."""
    workshop: Path = Path("runs/mutations")
    """Where the whole files are; made on the first call and used again."""
    out: Path = RESULTS / "mutations.json"
    """The result; a table of it stands beside."""


# Whole files --------------------------------------------------------------------------------------------------------


def goalsight(config: Mutations, *arguments: str, until: str = "") -> None:
    """Run a command in the workshop, to its end or until there is a file, upon which it is stopped."""
    command = [sys.executable, "-m", "goalsight", *arguments]
    process = subprocess.Popen(command, cwd=config.workshop, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    while until and process.poll() is None and not (config.workshop / until).exists():
        time.sleep(0.01)
    if until:
        process.send_signal(signal.SIGTERM)
    _, said = process.communicate()
    if process.returncode not in ((130,) if until else (0,)):
        sys.exit(f"goalsight {arguments[0]} failed: {said.decode().strip().splitlines()[-1:]}")


def prepare(config: Mutations) -> None:
    """Make the whole files that are not there."""
    done = config.workshop / "whole"
    if done.exists():
        return
    shutil.rmtree(config.workshop, ignore_errors=True)
    config.workshop.mkdir(parents=True)
    goalsight(config, *COLLECT, "--frames", "40", "--out", "collect")
    goalsight(
        config, *COLLECT, "--frames", "40000", "--out", "collect-stopped", until="collect-stopped/frames/index.json"
    )
    data = str((config.workshop / "collect").resolve())
    goalsight(
        *(config, "pretrain", "--data", data, "--steps", "100000", "--batch", "4", "--threads", "1"),
        *("--image-size", "32", "--save-every", "1", "--out", "pretrain"),
        until="pretrain/metrics.jsonl",
    )
    goalsight(
        *(config, "train", *REACH, "--obs", "state", "--num-envs", "4", "--steps", "100000", "--eval-every", "200"),
        *("--eval-episodes", "4", "--threads", "1", "--out", "train"),
        until="train/checkpoints/000400/meta.json",
    )
    goalsight(config, "eval", "train", "--episodes", "4")
    make_films(config.workshop)
    mjcf = resources.files("goalsight.assets").joinpath("arms/ur5e.xml").read_text()
    for name, table in (("bare", ARM), ("served", ARM + SERVO)):
        (config.workshop / name).mkdir()
        (config.workshop / name / "arm.xml").write_text(mjcf)
        (config.workshop / name / "arm.toml").write_text(table)
    done.touch()


def make_films(folder: Path) -> None:
    """A square that moves over noise, as a video of each kind, and as a folder of pictures."""
    import av
    from PIL import Image

    rng = np.random.default_rng(0)
    frames = np.repeat(rng.integers(60, 120, (1, 64, 64, 3), dtype=np.uint8), 24, axis=0)
    for number, frame in enumerate(frames):
        frame[20:32, 2 * number : 2 * number + 12] = (220, 60, 40)
    for name, codec in (("film.mp4", "libx264"), ("film.webm", "libvpx")):
        with av.open(str(folder / name), "w") as container:
            stream: Any = container.add_stream(codec, rate=10)
            stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
            for frame in frames:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            container.mux(stream.encode())
    pictures = [Image.fromarray(frame) for frame in frames]
    pictures[0].save(folder / "film.gif", save_all=True, append_images=pictures[1:], duration=100)
    (folder / "pictures").mkdir()
    for number, picture in enumerate(pictures[:3]):
        picture.save(folder / "pictures" / f"{number}.png")


# Damaging and reading -----------------------------------------------------------------------------------------------


class Worker:
    """A process that damages and reads; begun when first asked, and anew after it has died.

    Args:
        kind: of the files.
        config: where they are, and the seed.
    """

    def __init__(self, kind: str, config: Mutations) -> None:
        self._kind, self._config = kind, config
        self._process: subprocess.Popen[bytes] | None = None
        self._unread = b""  # of its answers

    def read(self, numbers: list[int]) -> list[dict[str, Any]]:
        """Damage and read for each number; where the process dies, the number that it had begun last has killed it."""
        rows: dict[int, dict[str, Any]] = {}
        while left := [number for number in numbers if "outcome" not in rows.get(number, {})]:
            killed = self._ask(left, rows)
            begun = [number for number in left if number in rows and "outcome" not in rows[number]]
            if killed and len(begun) > 1:  # a whole batch at once: one after another tells which
                for number in begun:
                    del rows[number]
                    rows[number] = self.read([number])[0]
            elif killed:
                if not begun:
                    sys.exit(f"the worker for {self._kind} does not begin: {killed}")
                rows[begun[0]] |= {"outcome": killed[0], "about": killed[1]}
        return [rows[number] for number in numbers]

    def _ask(self, numbers: list[int], rows: dict[int, dict[str, Any]]) -> tuple[str, str] | None:
        """Take answers into rows; how the process ended, if it did."""
        process = self._process or self._begin()
        assert process.stdin is not None
        process.stdin.write(json.dumps(numbers).encode() + b"\n")
        while any("outcome" not in rows.get(number, {}) for number in numbers):
            answer = self._answer(process)
            if isinstance(answer, tuple):
                return answer
            rows.setdefault(answer["number"], {}).update(answer)
        return None

    def _begin(self) -> "subprocess.Popen[bytes]":
        script = Path(__file__).with_name("mutations_reading.py")
        workshop = self._config.workshop.resolve()
        self._process = subprocess.Popen(
            [sys.executable, str(script), self._kind, str(workshop), str(workshop / f"scratch-{self._kind}"),
             str(self._config.seed)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0,
        )  # fmt: skip
        answer = self._answer(self._process)
        if isinstance(answer, tuple):
            sys.exit(f"the worker for {self._kind} does not begin: {answer}")
        return self._process

    def _answer(self, process: "subprocess.Popen[bytes]") -> dict[str, Any] | tuple[str, str]:
        """The next answer, or how the process ended without one."""
        assert process.stdout is not None
        while b"\n" not in self._unread:
            ready, _, _ = select.select([process.stdout], [], [], LIMIT)
            part = os.read(process.stdout.fileno(), 1 << 16) if ready else b""
            if not part:
                self.end()
                if not ready:
                    return "hang", f"more than {LIMIT:.0f} s"
                code = process.returncode
                return "crash", signal.Signals(-code).name if code < 0 else f"exit code {code}"
            self._unread += part
        line, _, self._unread = self._unread.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def end(self) -> None:
        """End the process."""
        process, self._process, self._unread = self._process, None, b""
        if process is not None:
            assert process.stdin is not None
            process.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(2)
            process.kill()
            process.wait()


def summarise(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Count outcomes by kind of files, and faults by what they are."""
    kinds: dict[str, Counter[str]] = {}
    faults: Counter[str] = Counter()
    for row in rows:
        kinds.setdefault(row["kind"], Counter()).update(row["outcomes"])
        faults.update(f"{row['kind']} {each['outcome']}: {each['about']}"[:160] for each in row["bad"])
    return {"outcomes": {kind: dict(counts) for kind, counts in kinds.items()}, "faults": dict(faults.most_common(40))}


def table(rows: list[dict[str, Any]]) -> str:
    """The counts as a Markdown table."""
    counts = summarise(rows)["outcomes"]
    head = ["outcome", *counts]
    lines = [[outcome, *(f"{counts[kind].get(outcome, 0):,}" for kind in counts)] for outcome in OUTCOMES]
    total = ["all", *(f"{sum(counts[kind].values()):,}" for kind in counts)]
    return markdown_table(head, [*lines, total])


def main(config: Mutations) -> None:
    """Damage and read what the result lacks."""
    kept = Rows(config.out)
    prepare(config)
    for kind in ("arms", "runs", "videos"):
        worker = Worker(kind, config)
        for first in range(0, getattr(config, kind), BATCH):
            asked = {"kind": kind, "first": first, "seed": config.seed}
            if not kept.lacks(asked, "kind", "first"):
                continue
            found: list[dict[str, Any]] = []
            for at in range(first, first + BATCH, TOGETHER[kind]):
                found += worker.read(list(range(at, at + TOGETHER[kind])))
            bad = [row for row in found if row["outcome"] in BAD]
            for row in bad:
                print(row, file=sys.stderr)
            outcomes = dict(Counter(row["outcome"] for row in found))
            kept.put(asked | {"outcomes": outcomes, "bad": bad})
        worker.end()
    kept.beside = {**provenance(), "summary": summarise(kept.rows)}
    kept.write()
    atomic_write_text(config.out.with_suffix(".md"), table(kept.rows) + "\n")
    print(table(kept.rows))


if __name__ == "__main__":
    start(Mutations, main)

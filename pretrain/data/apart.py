"""Files of strangers are decoded in a process apart: one that hangs or crashes is left out, and takes nothing along.

The process is asked for one source after another through its standard input, in lines of JSON, and answers through its
standard output, in JSON that is followed by as many frames as it announces. When whoever asks is gone, the pipe breaks
and the process ends.
"""

import contextlib
import importlib
import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from goalsight.base.leaving import kill
from goalsight.pretrain.data.pictures import Frame, UnreadableError, warn
from goalsight.pretrain.data.readers.base import Reader, Reading, Recorded

MEMORY = 8 << 30  # of address space, which a file that asks for absurd sizes may not go beyond [bytes]
LIMIT = 60.0  # without a frame, after which a source is given up [s]
AT_ONCE = 64  # frames that are handed over together, at most
SOON = 1.0  # after which fewer are [s]
COMMAND = (sys.executable, "-P", "-m", "goalsight.pretrain.data.apart")


@dataclass(frozen=True)
class Beginning:
    """An episode begins, of which frames follow."""

    source: str
    instruction: str


Part = Beginning | str | NDArray[np.uint8]  # said for people; frames are (n, H, W, 3)


def recorded(parts: Iterator[Part]) -> Iterator[Recorded]:
    """Put a stream together to episodes; frames that nobody reads are passed over, and what is said is said."""
    heard = _heard(parts)
    beginning = next(heard, None)

    def frames() -> Iterator[Frame]:
        nonlocal beginning
        beginning = None
        for part in heard:
            if isinstance(part, Beginning):
                beginning = part
                return
            yield from part

    while isinstance(beginning, Beginning):
        left = frames()
        yield Recorded(left, beginning.source, beginning.instruction)
        for _ in left:
            pass


def _heard(parts: Iterator[Part]) -> Iterator[Beginning | NDArray[np.uint8]]:
    for part in parts:
        if isinstance(part, str):
            warn(part)
        else:
            yield part


class Apart:
    """Decodes in a process of its own, for the length of a `with` block; started when first asked.

    Args:
        limit: time without a frame after which a source is given up [s].
        command: starts the process.
    """

    def __init__(self, *, limit: float = LIMIT, command: Sequence[str] = COMMAND) -> None:
        self._limit, self._command = limit, command
        self._process: subprocess.Popen[bytes] | None = None
        self._path = Path()  # what is decoded

    def __enter__(self) -> "Apart":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def parts(self, reader: Reader, path: Path, how: Reading) -> Iterator[Part]:
        """Go through a source as its reader does: where each episode begins, its frames, and what is said of them.

        Raises:
            UnreadableError: as the reader says, or because the process hung or crashed.
        """
        self._path = path
        self._ask(
            {"reader": f"{type(reader).__module__}:{type(reader).__qualname__}", "path": str(path), **asdict(how)}
        )
        try:
            while "end" not in (head := self._next()):
                if "said" in head:
                    yield str(head["said"])
                elif "episode" in head:
                    yield Beginning(head["episode"], head["instruction"])
                else:
                    shape = (head["frames"], how.image_size, how.image_size, 3)
                    yield np.frombuffer(self._read(math.prod(shape)), np.uint8).reshape(shape)
        except GeneratorExit:  # the rest of the answer is in the pipe, and nobody wants it
            self._end()
            raise

    def kill(self) -> None:
        """End what is decoded, from another thread: whoever reads it gets an `UnreadableError`."""
        if (process := self._process) is not None:
            kill(process)

    def _ask(self, request: dict[str, Any]) -> None:
        if self._process is None:
            path = os.pathsep.join(filter(None, sys.path))
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                bufsize=0,
                env={**os.environ, "PYTHONPATH": path},
                start_new_session=True,  # Ctrl-C in the terminal is for whoever asks
            )
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # said when its answer is read
            self._process.stdin.write(json.dumps(request).encode() + b"\n")

    def _next(self) -> dict[str, Any]:
        head: dict[str, Any] = json.loads(self._read(int.from_bytes(self._read(4), "big")))
        if "unreadable" in head:
            raise UnreadableError(head["unreadable"])
        return head

    def _read(self, size: int) -> bytes:
        """Read so many bytes of the answer.

        Raises:
            UnreadableError: nothing came for too long, or the process has ended.
        """
        assert self._process is not None
        assert self._process.stdout is not None
        descriptor, parts, before = self._process.stdout.fileno(), [], 0
        while before < size:
            with self._limited() as given_up:
                part = os.read(descriptor, size - before)
            if given_up.is_set():
                self._end()
                raise UnreadableError(f"{self._path} gave no frame within {self._limit:g} s")
            if not part:
                code = self._process.wait()
                self._end()
                how = signal.Signals(-code).name if code < 0 else f"code {code}"
                raise UnreadableError(f"{self._path} crashed the decoder ({how})")
            parts.append(part)
            before += len(part)
        return b"".join(parts)

    @contextlib.contextmanager
    def _limited(self) -> Iterator[threading.Event]:
        """Kill the process, which ends what waits for it, if the block takes too long; the event says so."""
        assert self._process is not None
        process, given_up = self._process, threading.Event()

        def give_up() -> None:
            given_up.set()
            kill(process)

        timer = threading.Timer(self._limit, give_up)
        timer.daemon = True
        timer.start()
        try:
            yield given_up
        finally:
            timer.cancel()

    def _end(self) -> None:
        """End the process; the next source gets another."""
        process, self._process = self._process, None
        if process is None:
            return
        kill(process)
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            pipe.close()
        process.wait()


class _Answers:
    """Writes answers, and what is printed for people among them."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out

    def give(self, head: dict[str, Any], frames: Sequence[Frame] = ()) -> None:
        text = json.dumps(head).encode()
        self._out.write(len(text).to_bytes(4, "big") + text + b"".join(frame.tobytes() for frame in frames))
        self._out.flush()

    def write(self, text: str) -> int:
        """As a stream that is printed to: each line is an answer of its own."""
        for line in text.splitlines():
            if line.strip():
                self.give({"said": line.removeprefix("goalsight: ")})
        return len(text)

    def flush(self) -> None:
        """Nothing is held back."""


def serve(requests: BinaryIO, out: BinaryIO) -> None:
    """Decode what is asked for, line by line, until nobody asks any more."""
    answers = _Answers(out)
    said: Any = answers  # as much of a stream as printing needs
    sys.stderr = said
    for line in requests:
        request = json.loads(line)
        module, _, name = request.pop("reader").partition(":")
        reader: Reader = getattr(importlib.import_module(module), name)()
        path = Path(request.pop("path"))
        try:
            for episode in reader.episodes(path, Reading(**request)):
                answers.give({"episode": episode.source, "instruction": episode.instruction})
                for frames in _bundles(episode.pixels):
                    answers.give({"frames": len(frames)}, frames)
        except UnreadableError as error:
            answers.give({"unreadable": str(error)})
        else:
            answers.give({"end": True})


def _bundles(frames: Any) -> Iterator[list[Frame]]:
    """Put frames together, as many as come soon."""
    bundle: list[Frame] = []
    began = time.monotonic()
    for frame in frames:
        bundle.append(frame)
        if len(bundle) == AT_ONCE or time.monotonic() - began > SOON:
            yield bundle
            bundle, began = [], time.monotonic()
    if bundle:
        yield bundle


if __name__ == "__main__":
    with contextlib.suppress(ImportError, OSError, ValueError):  # some systems know no such limit
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_AS)
        least = MEMORY if most == resource.RLIM_INFINITY else min(MEMORY, most)
        resource.setrlimit(resource.RLIMIT_AS, (least, most))
    with contextlib.suppress(BrokenPipeError):
        serve(sys.stdin.buffer, sys.stdout.buffer)
    os._exit(0)  # flushing a broken pipe once more would complain

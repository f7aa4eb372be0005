"""Several files of strangers are decoded at once, ahead of whoever reads them one after another."""

import queue
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from goalsight.base.machine import usable_cores
from goalsight.pretrain.data.apart import AT_ONCE, Apart, Part, recorded
from goalsight.pretrain.data.readers.base import Reader, Reading, Recorded

PROCESSES = 8  # at most: with more, all would wait for the one that writes
HELD = 64 << 20  # of one file's frames, ahead of whoever reads [bytes]
SOON = 0.1  # after which whoever waits for room looks whether it is still wanted [s]


class Ahead:
    """Decodes files, each in one of several processes apart, for the length of a `with` block.

    Args:
        how: files are to be read.
        processes: that decode; as many as there are cores, unless told.
    """

    def __init__(self, how: Reading, processes: int = 0) -> None:
        self._how = how
        self._free = deque(Apart() for _ in range(processes or min(usable_cores(), PROCESSES)))
        self._under_way: deque[_Decoding] = deque()

    def __enter__(self) -> "Ahead":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for decoding in self._under_way:
            decoding.give_up()
        with ExitStack() as stack:
            for apart in (*self._free, *(decoding.end() for decoding in self._under_way)):
                stack.enter_context(apart)

    def each(self, files: Iterable[tuple[Reader, Path]]) -> Iterator[Iterator[Recorded]]:
        """Go through the episodes of file after file; those of one are to be read before the next is asked for.

        Raises:
            UnreadableError: within a file's episodes, as its reader says, or because the process hung or crashed. The
                next file can be asked for after it.
        """
        left = iter(files)
        while True:
            while self._free and (file := next(left, None)) is not None:
                self._under_way.append(_Decoding(self._free.popleft(), *file, self._how))
            if not self._under_way:
                return
            yield recorded(self._under_way[0].parts())
            self._free.append(self._under_way.popleft().end())


class _Decoding:
    """One file is decoded by a thread that waits for a process apart, as far ahead as there is room."""

    def __init__(self, apart: Apart, reader: Reader, path: Path, how: Reading) -> None:
        self._apart = apart
        room = max(HELD // (AT_ONCE * how.image_size**2 * 3), 2)
        self._decoded: queue.Queue[Part | Exception | None] = queue.Queue(room)
        self._unwanted = threading.Event()
        self._thread = threading.Thread(target=self._decode, args=(reader, path, how), daemon=True)
        self._thread.start()

    def parts(self) -> Iterator[Part]:
        """What was decoded, as soon as it is."""
        while (part := self._decoded.get()) is not None:
            if isinstance(part, Exception):
                raise part
            yield part

    def give_up(self) -> None:
        """Stop now, wherever it is."""
        self._unwanted.set()
        self._apart.kill()

    def end(self) -> Apart:
        """Stop, if it is not done, and return what it decoded with."""
        self._unwanted.set()
        self._thread.join()
        return self._apart

    def _decode(self, reader: Reader, path: Path, how: Reading) -> None:
        try:
            for part in self._apart.parts(reader, path, how):
                self._put(part)
                if self._unwanted.is_set():
                    return
        except Exception as error:  # raised where it is read
            self._put(error)
        else:
            self._put(None)

    def _put(self, part: Part | Exception | None) -> None:
        while not self._unwanted.is_set():
            try:
                return self._decoded.put(part, timeout=SOON)
            except queue.Full:
                continue

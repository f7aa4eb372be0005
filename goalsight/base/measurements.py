"""What a run measures: a line of metrics.jsonl each, a clock that goes on where the last process stopped, trackers."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from goalsight.base.files import flush_to_disk, writing
from goalsight.base.metrics import append_row, drop_after, end_torn_line, read_rows
from goalsight.base.trackers import Trackers
from goalsight.base.trackers.contract import About

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

METRICS = "metrics.jsonl"


class Measurements:
    """The measurements of one run.

    Args:
        path: the run's folder.
        kind: of the run.
        identity: by which trackers know the run again.
        config: what was asked for; its entry "track" names the trackers.
    """

    def __init__(self, path: Path, kind: str, identity: str, config: dict[str, Any]) -> None:
        self._path, self._kind, self._identity, self._config = path, kind, identity, config
        self._file = path / METRICS
        self._began = time.monotonic()
        self._seconds_before: float | None = None
        self._step_before: int | None = None  # that a resumed run goes on from
        self._trackers: Trackers | None = None  # opened when the first measurement comes

    @property
    def seconds(self) -> float:
        """For how long the run has worked [s]; the time between a stop and going on does not count."""
        if self._seconds_before is None:
            end_torn_line(self._file)
            past = self.rows()
            self._seconds_before = past[-1].get("wall_s", 0.0) if past else 0.0
        return self._seconds_before + time.monotonic() - self._began

    def rows(self) -> list[dict[str, float]]:
        """What was logged, oldest first; a line cut off by a crash is left out."""
        return read_rows(self._file)

    def log(self, step: int, metrics: dict[str, float]) -> None:
        """Append one measurement, and hand it to the trackers."""
        numbers = {name: float(value) for name, value in metrics.items()}
        append_row(self._file, {"step": int(step), "wall_s": round(self.seconds, 3), **numbers})
        self._tracked().log(int(step), numbers)

    def show(self, step: int, name: str, image: "NDArray[np.uint8]") -> None:
        """Hand a picture (H, W, 3) to the trackers."""
        self._tracked().log_image(int(step), name, image)

    def _tracked(self) -> Trackers:
        if self._trackers is None:
            about = About(self._path, self._kind, self._identity, self._config, self._step_before)
            self._trackers = Trackers(self._config.get("track", ()), about)
        return self._trackers

    def flush(self) -> None:
        """See to it that what was logged is on the disk."""
        if self._file.exists():
            with writing(self._file):
                flush_to_disk(self._file)

    def go_back(self, step: int, seconds: float) -> None:
        """Drop what was logged after a step, and let the clock go on from so many seconds."""
        drop_after(self._file, step)
        self._step_before = step
        self._seconds_before, self._began = seconds, time.monotonic()

    def close(self, status: str) -> None:
        """Tell the trackers how the run ended."""
        if self._trackers is not None:
            self._trackers.finish(status)
            self._trackers = None

"""What a tracker is, and what it is told of the run that it follows."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PROJECT = "goalsight"  # what services file our runs under


@dataclass(frozen=True)
class About:
    """A run, as trackers are told of it."""

    folder: Path
    kind: str  # collect, pretrain or train
    id: str  # of this run alone, and the same when it goes on
    config: dict[str, Any]  # what was asked for, in JSON's own types
    step: int | None = None  # after which the run goes on; None for a new one

    @property
    def name(self) -> str:
        """What people see."""
        return self.folder.resolve().name


class Tracker(Protocol):
    """Shows a run's measurements somewhere. Made when the first one comes; what it raises ends the tracker alone."""

    package: ClassVar[str]  # that it needs
    install: ClassVar[str]  # what `pip install` is told

    def __init__(self, about: About) -> None:
        """Begin, or go on where `about.step` says so."""

    def log(self, step: int, values: dict[str, float]) -> None:
        """Take measurements: plain numbers by name, and the run's own step count."""

    def log_image(self, step: int, name: str, image: "NDArray[np.uint8]") -> None:
        """Take a picture (H, W, 3)."""

    def finish(self, status: str) -> None:
        """End: the run is finished, interrupted or failed."""

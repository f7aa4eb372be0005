"""What an exporter is."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from goalsight.pretrain.data.store import FrameStore


@dataclass(frozen=True)
class Origin:
    """What a store does not say of itself."""

    camera: str = "front"  # which camera the pixels are from
    robot: str = ""  # the arm
    fps: int = 0  # of the frames, where the store does not know [frames/s]


class Exporter(Protocol):
    """One format."""

    def check(self) -> None:
        """Refuse before anything is recorded or written what could not be exported.

        Raises:
            UserError: if a package is not installed.
        """

    def export(self, store: FrameStore, out: Path, origin: Origin) -> None:
        """Write a store in the format: the folder `out` appears when it is whole.

        Raises:
            UserError: if `out` exists, the disk refuses, or the store does not fit the format.
        """

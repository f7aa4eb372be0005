"""Trackers: where measurements go beside metrics.jsonl, which every run writes. A new one is a file and a line here."""

import contextlib
import importlib.util
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from goalsight.base.errors import UserError, in_one_line
from goalsight.base.registry import Registry
from goalsight.base.trackers.contract import About, Tracker

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TRACKERS = Registry(
    "tracker",
    {
        "tensorboard": "goalsight.base.trackers.tensorboard:TensorBoard",
        "trackio": "goalsight.base.trackers.trackio:Trackio",
        "wandb": "goalsight.base.trackers.wandb:WeightsAndBiases",
        "mlflow": "goalsight.base.trackers.mlflow:MLflow",
    },
)


def check_trackers(names: Sequence[str]) -> None:
    """Make sure that trackers exist and what they need is installed; nothing of it is imported.

    Raises:
        UserError: one does not, or is not; says how to install it.
    """
    for name in names:
        kind: type[Tracker] = TRACKERS.load(name)
        if importlib.util.find_spec(kind.package) is None:
            raise UserError(f"--track {name} needs the package {kind.package}: pip install {kind.install}")


class Trackers:
    """Several trackers as one. One that fails says so in one line and is left out: no training ends for it.

    Args:
        names: of the trackers.
        about: the run that they follow.
    """

    def __init__(self, names: Sequence[str], about: About) -> None:
        self._open: dict[str, Tracker] = {}
        for name in names:
            self._guarded(name, lambda name=name: self._open.update({name: TRACKERS.load(name)(about)}))  # type: ignore[misc]

    def log(self, step: int, values: dict[str, float]) -> None:
        """Hand on measurements, plain numbers by name, of a step."""
        self._each(lambda tracker: tracker.log(step, values))

    def log_image(self, step: int, name: str, image: "NDArray[np.uint8]") -> None:
        """Hand on a picture (H, W, 3) of a step."""
        self._each(lambda tracker: tracker.log_image(step, name, image))

    def finish(self, status: str) -> None:
        """Say how the run ended, and close."""
        self._each(lambda tracker: tracker.finish(status))
        self._open.clear()

    def _each(self, act: Callable[[Tracker], None]) -> None:
        for name, tracker in list(self._open.items()):
            self._guarded(name, lambda tracker=tracker: act(tracker))  # type: ignore[misc]

    def _guarded(self, name: str, act: Callable[[], None]) -> None:
        try:
            with contextlib.redirect_stdout(sys.stderr):  # what a client says is not the command's output
                act()
        except (Exception, SystemExit) as error:  # whatever a stranger's client raises
            self._open.pop(name, None)
            print(f"goalsight: tracker {name} failed and is left out: {in_one_line(error)}", file=sys.stderr)

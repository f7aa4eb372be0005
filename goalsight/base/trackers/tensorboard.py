"""TensorBoard: files in the run's folder, shown by `tensorboard --logdir runs`."""

from typing import TYPE_CHECKING, ClassVar

from goalsight.base.trackers.contract import About

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class TensorBoard:
    """Writes event files under tensorboard/."""

    package: ClassVar[str] = "tensorboard"
    install: ClassVar[str] = "'goalsight[tensorboard]'"

    def __init__(self, about: About) -> None:
        from torch.utils.tensorboard import SummaryWriter

        purge = None if about.step is None else about.step + 1
        self._writer = SummaryWriter(str(about.folder / "tensorboard"), purge_step=purge)

    def log(self, step: int, values: dict[str, float]) -> None:
        """Add scalars."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def log_image(self, step: int, name: str, image: "NDArray[np.uint8]") -> None:
        """Add a picture."""
        self._writer.add_image(name, image, step, dataformats="HWC")

    def finish(self, status: str) -> None:
        """Close the file."""
        self._writer.close()

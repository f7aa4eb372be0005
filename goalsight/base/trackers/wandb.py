"""Weights & Biases; `WANDB_MODE=offline` keeps everything in the run's folder."""

from typing import TYPE_CHECKING, ClassVar

from goalsight.base.trackers.contract import PROJECT, About

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class WeightsAndBiases:
    """Hands on to the client `wandb`."""

    package: ClassVar[str] = "wandb"
    install: ClassVar[str] = "wandb"

    def __init__(self, about: About) -> None:
        import wandb

        self._client = wandb
        self._run = wandb.init(
            project=PROJECT,
            name=about.name,
            id=about.id,
            job_type=about.kind,
            config=about.config,
            dir=str(about.folder),
            resume="allow",
        )

    def log(self, step: int, values: dict[str, float]) -> None:
        """Log numbers."""
        self._run.log(values, step=step)

    def log_image(self, step: int, name: str, image: "NDArray[np.uint8]") -> None:
        """Log a picture."""
        self._run.log({name: self._client.Image(image)}, step=step)

    def finish(self, status: str) -> None:
        """Wait until all is sent; a run that did not finish is marked as failed."""
        self._run.finish(exit_code=0 if status == "finished" else 1)

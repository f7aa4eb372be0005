"""Trackio: a local database under the home folder, shown by `trackio show`; an account is needed only to share it."""

from typing import TYPE_CHECKING, ClassVar

from goalsight.base.trackers.contract import PROJECT, About

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Trackio:
    """Hands on to the client `trackio`."""

    package: ClassVar[str] = "trackio"
    install: ClassVar[str] = "trackio"

    def __init__(self, about: About) -> None:
        import trackio

        self._client = trackio
        trackio.init(project=PROJECT, name=f"{about.name}-{about.id[:8]}", config=about.config, resume="allow")

    def log(self, step: int, values: dict[str, float]) -> None:
        """Log numbers."""
        self._client.log(values, step=step)

    def log_image(self, step: int, name: str, image: "NDArray[np.uint8]") -> None:
        """Log a picture."""
        self._client.log({name: self._client.Image(image)}, step=step)

    def finish(self, status: str) -> None:
        """Wait until all is written."""
        self._client.finish()

"""One interface to pixels, whatever draws them."""

from typing import Protocol

import mujoco
import numpy as np
from numpy.typing import NDArray

QUALITIES = ("fast", "pretty")

# What a batch must have bound, and current, to be drawn.
KINEMATICS = ("geom_xpos", "geom_xmat", "cam_xpos", "cam_xmat", "light_xpos", "light_xdir")

# From this size on people look at the picture, so shadows and smooth edges are worth their time.
PRETTY_FROM = 256


class Camera(Protocol):
    """Draws many simulations of one model as seen by one camera of the model."""

    backend: str
    detail: str  # how it draws here, for people
    name: str
    width: int
    height: int
    quality: str

    def render(self, batch: "mujoco.batch.Batch", ids: NDArray[np.integer] | None = None) -> NDArray[np.uint8]:
        """Draw the kinematics that the batch holds at this moment.

        Args:
            batch: simulations whose `KINEMATICS` are bound and current.
            ids: the simulations to draw, shape (n,); all of them when None.

        Returns:
            Frames of shape (n, height, width, 3), a new array.
        """
        ...

    def close(self) -> None:
        """Free what the renderer holds; a closed camera cannot render."""
        ...

"""Pictures in which some geoms are translucent, by whatever draws opaque ones."""

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING

import mujoco
import mujoco.batch
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from goalsight.envs.rendering.camera import Camera

HIDDEN_GROUP = 5  # of geoms, which no renderer here draws


class TranslucentCamera:
    """Mixes each picture with one from which the geoms are missing."""

    def __init__(
        self,
        make: "Callable[[mujoco.MjModel], Camera]",
        model: mujoco.MjModel,
        geoms: NDArray[np.integer],
        opacity: float,
    ) -> None:
        """Make both cameras.

        Args:
            make: makes a camera over a model.
            model: the model that the batches simulate.
            geoms: those that let light through, (K,).
            opacity: of them, from 0, unseen, to 1.
        """
        without = copy.copy(model)
        without.geom_group[geoms] = HIDDEN_GROUP
        self._cameras = make(model), make(without)
        self._opacity = opacity
        camera = self._cameras[0]
        self.backend, self.detail, self.name = camera.backend, camera.detail, camera.name
        self.width, self.height, self.quality = camera.width, camera.height, camera.quality

    def render(self, batch: mujoco.batch.Batch, ids: NDArray[np.integer] | None = None) -> NDArray[np.uint8]:
        """Draw simulations of the batch as they are now; see `Camera.render`."""
        whole, without = (camera.render(batch, ids).astype(np.float32) for camera in self._cameras)
        mixed: NDArray[np.uint8] = np.rint(without + self._opacity * (whole - without)).astype(np.uint8)
        return mixed

    def close(self) -> None:
        """Free both cameras."""
        for camera in self._cameras:
            camera.close()

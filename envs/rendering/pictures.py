"""Pictures of a batch of simulations: cameras by name and size, made when they are first asked for."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from goalsight.envs.simulation.aids import ARM_OPACITY, TRANSPARENT_ARM
from goalsight.envs.simulation.scene import arm_geoms, camera_name, check_view

if TYPE_CHECKING:
    import mujoco

    from goalsight.envs.rendering.camera import Camera
    from goalsight.envs.simulation.simulator import GoalSimulator


class Pictures:
    """Draws the states of a simulator."""

    def __init__(self, sim: "GoalSimulator", renderer: str, num_threads: int) -> None:
        """Nothing is drawn yet.

        Args:
            sim: what is drawn.
            renderer: "raytrace" or "opengl".
            num_threads: of the renderer; 0 means one for each CPU.
        """
        self._sim, self._num_threads = sim, num_threads
        self._renderer = renderer
        self._cameras: dict[tuple[str, int], Camera] = {}

    def check(self, camera: str) -> None:
        """Make sure that a camera exists and sees something.

        Raises:
            UserError: it does not.
        """
        check_view(self._sim.model, self._name(camera))

    def draw(self, size: int, camera: str, ids: NDArray[np.int64] | None = None) -> NDArray[np.uint8]:
        """Pictures of simulations `ids`, or of all, (n, size, size, 3).

        Raises:
            UserError: the simulations cannot be used any more, or not in this process.
        """
        self._sim.batch.check()
        key = (camera, size)
        if key not in self._cameras:
            self._cameras[key] = self._make(camera, size)
        return self._cameras[key].render(self._sim.batch, ids)

    def within(self, points: NDArray[Any], camera: str) -> NDArray[np.bool_]:
        """Whether points [m], (N, 3), one for each simulation, lie within the square picture of a camera, (N,).

        What stands before them is not looked for.
        """
        model, batch = self._sim.model, self._sim.batch
        index = model.camera(self._name(camera)).id
        offsets = points - batch.cam_xpos[:, index]
        axes = batch.cam_xmat[:, index].reshape(-1, 3, 3)  # the camera's, as columns: right, up, backward
        right, up, backward = np.einsum("nij,ni->jn", axes, offsets)
        edge = -backward * np.tan(np.radians(model.cam_fovy[index]) / 2)
        return np.maximum(np.abs(right), np.abs(up)) <= edge

    def close(self) -> None:
        """Release the cameras."""
        for camera in self._cameras.values():
            camera.close()
        self._cameras.clear()

    def _name(self, camera: str) -> str:
        return camera_name(self._sim.arm, self._sim.model, camera)

    def _make(self, camera: str, size: int) -> "Camera":
        from goalsight.envs.rendering.backends import make_camera
        from goalsight.envs.rendering.translucent import TranslucentCamera

        self.check(camera)
        sim = self._sim

        def make(model: "mujoco.MjModel") -> "Camera":
            return make_camera(
                model,
                name=self._name(camera),
                width=size,
                height=size,
                backend=self._renderer,
                num_threads=self._num_threads,
                batch_size_hint=sim.num_envs,
                varying=() if sim.variation is None else sim.variation.drawn,
            )

        if TRANSPARENT_ARM not in sim.aids:
            return make(sim.model)
        return TranslucentCamera(make, sim.model, arm_geoms(sim.arm, sim.model), ARM_OPACITY)

"""Pictures of a batch of simulations: cameras by name and size, made when they are first asked for."""

import time
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from goalsight.envs.simulation.aids import ARM_OPACITY, TRANSPARENT_ARM
from goalsight.envs.simulation.scene import arm_geoms, camera_name, check_view

if TYPE_CHECKING:
    import mujoco

    from goalsight.envs.rendering.camera import Camera
    from goalsight.envs.rendering.raytrace import DepthCamera
    from goalsight.envs.simulation.simulator import GoalSimulator


class Pictures:
    """Draws the states of a simulator.

    Attributes:
        seconds: how long it has drawn so far [s].
    """

    def __init__(self, sim: "GoalSimulator", renderer: str, num_threads: int) -> None:
        """Nothing is drawn yet.

        Args:
            sim: what is drawn.
            renderer: "raytrace" or "opengl".
            num_threads: of the renderer; 0 means one for each CPU.
        """
        self._sim, self._num_threads = sim, num_threads
        self._renderer, self.seconds = renderer, 0.0
        self._cameras: dict[tuple[str, int], Camera] = {}
        self._depth_cameras: dict[tuple[str, int], DepthCamera] = {}

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
        key, began = (camera, size), time.monotonic()
        if key not in self._cameras:
            self._cameras[key] = self._make(camera, size)
        drawn = self._cameras[key].render(self._sim.batch, ids)
        self.seconds += time.monotonic() - began
        return drawn

    def distances(self, size: int, camera: str, ids: NDArray[np.int64] | None = None) -> NDArray[np.float32]:
        """How far ahead of a camera lies what it sees of simulations `ids`, or of all [m], (n, size, size).

        That is the distance from the plane through the camera, not from the camera; endless for the sky. Traced,
        whatever the renderer; a transparent arm is measured as if it were not.

        Raises:
            UserError: the simulations cannot be used any more, or not in this process.
        """
        self._sim.batch.check()
        key, began = (camera, size), time.monotonic()
        if key not in self._depth_cameras:
            self._depth_cameras[key] = self._make_depth(camera, size)
        measured = self._depth_cameras[key].distances(self._sim.batch, ids)
        self.seconds += time.monotonic() - began
        return measured

    def places(self, points: NDArray[Any], camera: str) -> NDArray[np.float64]:
        """Where points [m], (N, ..., 3), some of each simulation, are in the square picture of a camera, (N, ..., 2).

        From its left and from its top, in sides of the picture; not a number behind the lens. What stands before them
        is not looked for. N may be 1, for points that all simulations share.
        """
        model, batch = self._sim.model, self._sim.batch
        index = model.camera(self._name(camera)).id
        eyes = batch.cam_xpos[:, index].reshape(-1, *[1] * (points.ndim - 2), 3)
        axes = batch.cam_xmat[:, index].reshape(-1, 3, 3)  # the camera's, as columns: right, up, backward
        right, up, backward = np.moveaxis(np.einsum("nij,n...i->n...j", axes, points - eyes), -1, 0)
        side = -2 * backward * np.tan(np.radians(model.cam_fovy[index]) / 2)  # of what is seen at that distance [m]
        side[side <= 0] = np.nan
        return np.stack([0.5 + right / side, 0.5 - up / side], axis=-1)

    def within(self, points: NDArray[Any], camera: str) -> NDArray[np.bool_]:
        """Whether points [m], (N, 3), one for each simulation, lie within the square picture of a camera, (N,).

        What stands before them is not looked for.
        """
        return np.abs(self.places(points, camera) - 0.5).max(axis=-1) <= 0.5

    def stands_still(self, camera: str) -> bool:
        """Whether a camera sees all simulations from one place, at all times."""
        model, variation = self._sim.model, self._sim.variation
        body = model.cam_bodyid[model.camera(self._name(camera)).id]
        return bool(model.body_weldid[body] == 0) and (variation is None or "cam_pos" not in variation.values)

    def close(self) -> None:
        """Release the cameras."""
        for camera in self._cameras.values():
            camera.close()
        for measuring in self._depth_cameras.values():
            measuring.close()
        self._cameras.clear()
        self._depth_cameras.clear()

    def _name(self, camera: str) -> str:
        return camera_name(self._sim.arm, self._sim.model, camera)

    @property
    def _varying(self) -> tuple[str, ...]:
        return () if self._sim.variation is None else self._sim.variation.drawn

    def _make_depth(self, camera: str, size: int) -> "DepthCamera":
        from goalsight.envs.rendering.backends import make_depth_camera

        self.check(camera)
        return make_depth_camera(
            self._sim.model,
            name=self._name(camera),
            width=size,
            height=size,
            num_threads=self._num_threads,
            batch_size_hint=self._sim.num_envs,
            varying=self._varying,
        )

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
                varying=self._varying,
            )

        if TRANSPARENT_ARM not in sim.aids:
            return make(sim.model)
        return TranslucentCamera(make, sim.model, arm_geoms(sim.arm, sim.model), ARM_OPACITY)

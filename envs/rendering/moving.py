"""What moves, traced before a picture of what does not, which is kept.

In a scene that a still camera sees, most pixels show the table, the floor and the sky. `MovingTracer` has mujoco_warp
draw those once, with their distances. For each frame it bounds what moves on the picture, and traces only the pixels
within a bound, through the geoms whose bound it lies in. Simulations in which anything else has moved, it leaves to
mujoco_warp.
"""

import copy
from typing import Any

import mujoco
import numpy as np
import warp as wp
from numpy.typing import NDArray

from goalsight.envs.rendering import primitives
from goalsight.envs.rendering.camera import KINEMATICS
from goalsight.envs.rendering.primitives import MOST, SHAPES, TILE, bound, trace
from goalsight.envs.rendering.tracer import Tracer, input_array, mujoco_warp

DRAWN_GROUPS = (0, 1, 2)  # of geoms


class MovingTracer:
    """Draws up to `capacity` simulations at a time, of models and cameras that it `suits`."""

    @staticmethod
    def suits(model: mujoco.MjModel, camera: str) -> bool:
        """Whether camera and lights stand still, the lights are suns, and what moves is plain primitives."""
        index = model.camera(camera).id
        bodies = [model.cam_bodyid[index], *model.light_bodyid]
        modes = [model.cam_mode[index], *model.light_mode]
        moving = moving_geoms(model)
        materials = model.geom_matid[moving]
        return bool(
            model.cam_projection[index] == mujoco.mjtProjection.mjPROJ_PERSPECTIVE
            and all(mode == mujoco.mjtCamLight.mjCAMLIGHT_FIXED for mode in modes)
            and not any(_moves(model, body) for body in bodies)
            and (model.light_type == mujoco.mjtLightType.mjLIGHT_DIRECTIONAL).all()
            and not model.light_ambient.any()
            and not model.mat_emission.any()
            and (model.mat_texid[materials[materials >= 0]] < 0).all()
            and np.isin(model.geom_type[moving], SHAPES).all()
            and 1 <= len(moving) <= MOST
            and model.nflex == 0
        )

    def __init__(self, host_model: mujoco.MjModel, device_model: Any, *, capacity: int, **camera: Any) -> None:
        """Draw the background, and compile the kernels where this machine has not yet. Arguments as in `Tracer`."""
        wp.load_module(primitives)
        self._plain = Tracer(host_model, device_model, capacity=capacity, **camera)
        self._width, self._height = camera["width"], camera["height"]
        self._moving = moving = moving_geoms(host_model)
        self._keep_background(host_model, camera)
        sizes = host_model.geom_size[moving].copy()
        spheres = host_model.geom_type[moving] == mujoco.mjtGeom.mjGEOM_SPHERE
        sizes[spheres] = sizes[spheres, :1]
        self._shape: Any = wp.array(host_model.geom_type[moving], dtype=wp.int32)
        self._size: Any = wp.array(sizes, dtype=wp.vec3)
        self._box: Any = wp.array(_half_extents(host_model, moving, sizes), dtype=wp.vec3)
        self._colour: Any = wp.array(_colours(host_model, moving), dtype=wp.vec3)
        self._position: Any = wp.zeros((capacity, len(moving)), dtype=wp.vec3)
        self._rotation: Any = wp.zeros((capacity, len(moving)), dtype=wp.mat33)
        self._inputs = {"geom_xpos": input_array(self._position), "geom_xmat": input_array(self._rotation)}
        self._eyes: Any = wp.zeros((capacity, len(moving)), dtype=wp.vec3)
        self._bounds: Any = wp.zeros((capacity, len(moving)), dtype=wp.vec4i)
        self._frames: Any = wp.zeros((capacity, self._height, self._width, 3), dtype=wp.uint8)

    def draw(self, fields: list[NDArray[Any]], rows: slice | NDArray[np.integer], frames: NDArray[np.uint8]) -> None:
        """Draw simulations `rows` of the arrays of kinematics into frames (k, H, W, 3)."""
        still = np.ones(len(frames), bool)
        for field, (entries, places) in zip(fields, self._still, strict=True):
            still &= (field[rows][:, entries] == places).all(axis=(1, 2))
        if not still.all():
            ids = np.arange(len(fields[0]))[rows]
            rows = ids[still]
            other = np.empty((len(frames) - len(rows), *frames.shape[1:]), np.uint8)
            self._plain.draw(fields, ids[~still], other)
            frames[~still] = other
        for name, target in self._inputs.items():
            target.write(fields[KINEMATICS.index(name)][rows][:, self._moving])
        drawn = self._frames.numpy()[: still.sum()]
        drawn[:] = self._background
        self._trace(len(drawn))
        frames[still] = drawn

    def work(self, count: int) -> tuple[float, float]:
        """How many rays, and how many tests of a ray against a geom, the last `count` frames took on average."""
        rays = np.zeros((count, self._height, self._width), np.int64)
        for frame, bounds in zip(rays, self._bounds.numpy()[:count], strict=True):
            for left, right, top, bottom in bounds:
                frame[top : bottom + 1, left : right + 1] += 1
        return float((rays > 0).sum() / count), float(rays.sum() / count)

    def _keep_background(self, model: mujoco.MjModel, camera: dict[str, Any]) -> None:
        """Draw what does not move, and note where it is."""
        data = mujoco.MjData(model)
        mujoco.mj_kinematics(model, data)
        mujoco.mj_camlight(model, data)
        eye = model.camera(camera["name"]).id
        others = np.setdiff1d(np.arange(model.ngeom), self._moving)
        entries = {"geom": others, "cam": np.array([eye]), "light": np.arange(model.nlight)}
        fields = {name: getattr(data, name) for name in KINEMATICS}
        kept = [(entries[name.split("_")[0]], field) for name, field in fields.items()]
        self._still = [(chosen, field[chosen].copy()) for chosen, field in kept]

        without = copy.copy(model)
        without.geom_rgba[self._moving] = 0.0  # unseen; the shapes remain, and with them the compiled kernel
        tracer = Tracer(without, mujoco_warp.put_model(without), capacity=1, **camera, depth=True)
        self._background = np.empty((self._height, self._width, 3), np.uint8)
        tracer.draw([field[None] for field in fields.values()], slice(0, 1), self._background[None])
        rays, ahead = tracer.rays_and_depth()
        view = data.cam_xmat[eye].reshape(3, 3).astype(np.float32)
        self._rays: Any = wp.array(rays @ view.T, dtype=wp.vec3)
        self._depth: Any = wp.array(np.where(ahead > 0, ahead / -rays[:, 2], np.inf), dtype=wp.float32)
        # Pixels are square: half the picture's height is as many focal lengths as its slope says.
        focal = 0.5 * self._height / np.tan(0.5 * np.radians(model.cam_fovy[eye]))
        self._camera = wp.vec3(*data.cam_xpos[eye]), wp.mat33(view), float(focal)

        headlight = model.vis.headlight
        lit = np.flatnonzero(model.light_active)
        suns, shines = [*-data.light_xdir[lit]], [*model.light_diffuse[lit]]
        if headlight.active:
            suns.append(view[:, 2])
            shines.append(headlight.diffuse)
        lights = [np.array(each, np.float32).reshape(-1, 3) for each in (suns, shines)]
        self._lights: Any = [wp.array(each, dtype=wp.vec3) for each in lights]
        self._ambient = wp.vec3(*(headlight.ambient if headlight.active else np.zeros(3)))

    def _trace(self, count: int) -> None:
        size = self._width, self._height
        wp.launch(
            bound,
            dim=(count, len(self._moving)),
            inputs=[self._position, self._rotation, self._box, *self._camera, *size],
            outputs=[self._eyes, self._bounds],
        )
        seen = [self._rotation, self._eyes, self._bounds, self._shape, self._size, self._colour]
        wp.launch(
            trace,
            dim=(count, -(-self._height // TILE), -(-self._width // TILE)),
            inputs=[*seen, self._rays, self._depth, *self._lights, self._ambient, *size],
            outputs=[self._frames],
        )


def moving_geoms(model: mujoco.MjModel) -> NDArray[np.int64]:
    """The geoms that are drawn and can move, (K,)."""
    materials = model.geom_matid
    opacity = np.where(_takes_material(model), model.mat_rgba[materials, 3] if model.nmat else 1, model.geom_rgba[:, 3])
    drawn = np.isin(model.geom_group, DRAWN_GROUPS) & (opacity > 0)
    return np.flatnonzero(drawn & [_moves(model, body) for body in model.geom_bodyid])


def _moves(model: mujoco.MjModel, body: int) -> bool:
    return bool(model.body_weldid[body] != 0 or model.body_mocapid[model.body_rootid[body]] >= 0)


def _takes_material(model: mujoco.MjModel) -> NDArray[np.bool_]:
    """Which geoms have the colour of their material: those that have none of their own, (G,)."""
    unset = (model.geom_rgba == np.array([0.5, 0.5, 0.5, 1.0], np.float32)).all(axis=1)
    taken: NDArray[np.bool_] = (model.geom_matid >= 0) & unset
    return taken


def _colours(model: mujoco.MjModel, geoms: NDArray[np.int64]) -> NDArray[np.float32]:
    colours = model.geom_rgba[:, :3].copy()
    taken = _takes_material(model)
    colours[taken] = model.mat_rgba[model.geom_matid[taken], :3]
    chosen: NDArray[np.float32] = colours[geoms]
    return chosen


def _half_extents(model: mujoco.MjModel, geoms: NDArray[np.int64], sizes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Half the sides of boxes around geoms, in their frames [m], (K, 3)."""
    shapes = model.geom_type[geoms]
    extents = sizes.copy()
    round_ = np.isin(shapes, (mujoco.mjtGeom.mjGEOM_CAPSULE, mujoco.mjtGeom.mjGEOM_CYLINDER))
    extents[round_, 1] = sizes[round_, 0]
    extents[round_, 2] = sizes[round_, 1]
    capsules = shapes == mujoco.mjtGeom.mjGEOM_CAPSULE
    extents[capsules, 2] += sizes[capsules, 0]
    return extents

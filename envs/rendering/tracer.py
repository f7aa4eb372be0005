"""One ray-tracing context of mujoco_warp: what a single thread needs to draw."""

import copy
import math
from collections.abc import Sequence
from typing import Any

import mujoco
import numpy as np
import warp as wp
from numpy.typing import NDArray

from goalsight.base.errors import UserError
from goalsight.envs.rendering.camera import KINEMATICS
from goalsight.envs.rendering.quiet import start_warp

start_warp()  # before mujoco_warp starts it in its own, talkative way
import mujoco_warp  # noqa: E402

EDGE_CONTRAST = 0.03  # difference in brightness to a neighbour that makes a pixel worth smoothing, of full white
EDGE_SAMPLES = 3  # per axis


class Tracer:
    """Draws up to `capacity` simulations at a time."""

    def __init__(
        self,
        host_model: mujoco.MjModel,
        device_model: mujoco_warp.Model,
        *,
        capacity: int,
        name: str,
        width: int,
        height: int,
        pretty: bool,
        varying: Sequence[str] = (),
        colour: bool = True,
        depth: bool = False,
    ) -> None:
        """Allocate what the kernels need, and compile them where this machine has not yet.

        Each context is traced once: it takes up its kernel at its first use, which in several threads at once has
        given contexts that draw wrong pixels for as long as they live.

        Args:
            host_model: the model, as `put_model` prepared it.
            device_model: the same, where the kernels run.
            capacity: simulations per call; 1 where `pretty`.
            name: a camera of the model.
            width: picture width [pixels].
            height: picture height [pixels].
            pretty: with shadows, highlights and smooth edges.
            varying: fields of the model that simulations have values of their own of.
            colour: whether colours are kept.
            depth: whether distances are kept.
        """
        features = {
            "cam_active": [name],
            "render_rgb": colour,
            "render_depth": depth,
            "render_seg": False,
            "use_textures": host_model.ntex > 0,
            "use_fast_math": False,
            "use_shadows": pretty,
            "render_skybox": True,
            "enable_specular": pretty,
            # Terms that would add nothing are compiled away.
            "enable_emission": bool(host_model.mat_emission.any()),
            "enable_per_light_ambient": bool(host_model.light_ambient.any()),
        }
        self._colour = colour
        self._model = copy.copy(device_model) if varying else device_model
        self._context = mujoco_warp.create_render_context(
            host_model, nworld=capacity, cam_res=(width, height), **features
        )
        # No contacts or constraints are ever computed here.
        self._data = mujoco_warp.make_data(host_model, nworld=capacity, nconmax=1, njmax=1)
        self._inputs = [_Input(getattr(self._data, field)) for field in KINEMATICS]
        for field in varying:
            shared = getattr(device_model, field)
            own = wp.empty((capacity, *shared.shape[1:]), dtype=shared.dtype)
            setattr(self._model, field, own)
            self._inputs.append(_Input(own, shared.numpy()[:1]))
        self._smoother: _Smoother | None = None
        if pretty:
            self._smoother = _Smoother(host_model, width, height, features)
            self._trace(self._smoother.context)
        self._trace(self._context)

    def draw(
        self,
        fields: list[NDArray[Any]],
        rows: slice | NDArray[np.integer],
        frames: NDArray[Any],
    ) -> None:
        """Draw simulations `rows` of the arrays of kinematics, then of what varies.

        Args:
            fields: the arrays, of all simulations.
            rows: which to draw, k at most the capacity.
            frames: where to, uint8 (k, H, W, 3); where no colours are kept, float32 (k, H, W): how far ahead it is
                what is seen [m], endless for the sky.
        """
        for source, target in zip(fields, self._inputs, strict=True):
            target.write(source[rows])
        self._data.nworld = len(frames)
        self._trace(self._context)
        if not self._colour:
            ahead = self._context.depth_data.numpy()[: len(frames)].reshape(frames.shape)
            frames[:] = np.where(ahead > 0, ahead, np.inf)
            return
        unpack(self._context.rgb_data.numpy()[: len(frames)], frames)
        if self._smoother is not None:
            self._smooth(self._smoother, frames[0])

    def rays_and_depth(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """What the first simulation drawn last shows, pixel by pixel.

        Returns:
            directions in the camera's frame, (H * W, 3), and how far ahead it lies [m], (H * W,); 0 for the sky.
        """
        return self._context.ray.numpy().copy(), self._context.depth_data.numpy()[0].copy()

    def _trace(self, context: mujoco_warp.RenderContext) -> None:
        mujoco_warp.refit_bvh(self._model, self._data, context)
        mujoco_warp.render(self._model, self._data, context)

    def _smooth(self, smoother: "_Smoother", frame: NDArray[np.uint8]) -> None:
        """Trace the pixels on edges again, several times each, and put the means into frame (H, W, 3)."""
        pixels = frame.reshape(-1, 3)
        for block in smoother.blocks(np.flatnonzero(edges(frame))):
            samples = smoother.aim(block)
            self._trace(smoother.context)
            colours = np.empty((samples, 3), np.uint8)
            unpack(smoother.context.rgb_data.numpy()[0, :samples], colours)
            pixels[block] = colours.reshape(-1, len(block), 3).mean(axis=0).round()


class _Smoother:
    """A context whose camera is a list of rays: through sub-pixels of the picture's edges."""

    def __init__(self, host_model: mujoco.MjModel, width: int, height: int, features: dict[str, Any]) -> None:
        # Only made for its table of sub-pixel rays, (samples, pixels, 3); nothing is drawn with it.
        fine = mujoco_warp.create_render_context(
            host_model, cam_res=(width, height), samples_per_pixel=EDGE_SAMPLES, **features
        )
        self._table = fine.ray.numpy().reshape(EDGE_SAMPLES**2, width * height, 3)
        self._most = max(1024, width * height // 8)  # pixels smoothed at once
        self.context = mujoco_warp.create_render_context(
            host_model, cam_res=(self._most * EDGE_SAMPLES**2, 1), **features
        )
        self._rays = _Input(self.context.ray)

    def blocks(self, pixels: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        """Pixel numbers (K,) in parts that fit the context."""
        return [pixels[start : start + self._most] for start in range(0, len(pixels), self._most)]

    def aim(self, pixels: NDArray[np.int64]) -> int:
        """Point the rays at the sub-pixels of pixels (K,), sample by sample; returns how many rays that takes."""
        rays = self._table[:, pixels].reshape(-1, 3)
        self._rays.write(rays)
        self.context.total_rays = len(rays)
        return len(rays)


def input_array(array: Any) -> "_Input":
    """A way to write to an array of the kernels."""
    return _Input(array)


class _Input:
    """An array of the kernels, written from NumPy without a detour where they share memory."""

    def __init__(self, array: Any, first: NDArray[Any] | None = None) -> None:
        self._array = array
        self._host = array if array.device.is_cpu else wp.empty_like(array, device="cpu", pinned=True)
        self._rows = self._host.numpy()
        if first is not None:
            self._rows[:] = first

    def write(self, values: NDArray[Any]) -> None:
        """Set the first rows to values (k, ...)."""
        self._rows[: len(values)] = values.reshape(len(values), *self._rows.shape[1:])
        if self._host is not self._array:
            wp.copy(self._array, self._host)


def put_model(model: mujoco.MjModel) -> tuple[mujoco.MjModel, mujoco_warp.Model]:
    """Copy a model, here and to where the kernels run, without what matters to physics alone.

    Raises:
        UserError: the model uses something the ray tracer does not know.
    """
    drawn = copy.copy(model)
    # Flags the tracer does not know would make it refuse.
    drawn.opt.disableflags = 0
    drawn.opt.enableflags = 0
    # The clipping distances become constants of the kernel, and by default they differ with the scene's extent:
    # fixed ones let all scenes share one compiled kernel. 0 means no far end.
    drawn.stat.extent = 1.0
    drawn.vis.map.znear = 0.01
    drawn.vis.map.zfar = 0.0
    try:
        return drawn, mujoco_warp.put_model(drawn)
    except NotImplementedError as error:
        raise UserError(f'the ray tracer cannot draw this model ({error}); try renderer "opengl"') from error


def unpack(packed: NDArray[np.uint32], colours: NDArray[np.uint8]) -> None:
    """Take pixels 0xAARRGGBB apart into colours (..., 3)."""
    # In memory that is blue, green, red, alpha. One channel at a time is 6 times as fast as copying triples.
    parts = packed.view(np.uint8).reshape(*colours.shape[:-1], 4)
    for channel in range(3):
        colours[..., channel] = parts[..., 2 - channel]


def edges(frame: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Where a frame (H, W, 3) changes from one pixel to the next by more than `EDGE_CONTRAST`, on both sides."""
    red, green, blue = np.moveaxis(frame.astype(np.int32), -1, 0)
    brightness = 3 * red + 6 * green + blue  # 0 to 2550
    least = math.floor(EDGE_CONTRAST * 2550)
    found = np.zeros(brightness.shape, bool)
    across = np.abs(np.diff(brightness, axis=1)) > least
    down = np.abs(np.diff(brightness, axis=0)) > least
    found[:, 1:] |= across
    found[:, :-1] |= across
    found[1:] |= down
    found[:-1] |= down
    return found

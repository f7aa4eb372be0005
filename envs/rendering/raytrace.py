"""Pixels by the ray tracer of mujoco_warp: batched, on the processor's threads or on CUDA, without OpenGL."""

import copy
import math
import queue
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import mujoco
import mujoco.batch
import numpy as np
import warp as wp
from numpy.typing import NDArray

from goalsight.envs.rendering.camera import KINEMATICS
from goalsight.envs.rendering.quiet import start_warp
from goalsight.errors import UserError

start_warp()  # before mujoco_warp starts it in its own, talkative way
import mujoco_warp  # noqa: E402

# Pixels traced per kernel launch: large enough to hide the launch (0.3 ms), small enough to share among threads.
PIXELS_PER_LAUNCH_CPU = 32 * 64 * 64
PIXELS_PER_LAUNCH_CUDA = 1024 * 64 * 64


class RayTraceCamera:
    """Draws batches with one ray-tracing context per thread; kernels run without Python's lock."""

    backend = "raytrace"

    def __init__(
        self,
        model: mujoco.MjModel,
        *,
        name: str,
        width: int,
        height: int,
        quality: str,
        num_threads: int,
        batch_size_hint: int,
    ) -> None:
        """Put the model where the kernels run and compile them (2 to 8 s at the very first use on a machine).

        Args:
            model: the model that the batches simulate.
            name: a camera of the model.
            width: picture width [pixels].
            height: picture height [pixels].
            quality: "pretty" adds shadows, highlights and 2x2 samples per pixel.
            num_threads: threads that draw, at least 1.
            batch_size_hint: simulations drawn per call as a rule.

        Raises:
            UserError: the model uses something the ray tracer does not know.
        """
        self.name, self.width, self.height, self.quality = name, width, height, quality
        self._host_model = _drawable(model)
        try:
            self._device_model = mujoco_warp.put_model(self._host_model)
        except NotImplementedError as error:
            raise UserError(f'the ray tracer cannot draw this model ({error}); try renderer "opengl"') from error
        on_cpu = wp.get_device().is_cpu
        # CUDA fills itself from one thread.
        self._num_workers = num_threads if on_cpu else 1
        per_launch = (PIXELS_PER_LAUNCH_CPU if on_cpu else PIXELS_PER_LAUNCH_CUDA) // (width * height)
        self.detail = f"mujoco_warp on {self._num_workers} threads" if on_cpu else f"mujoco_warp on {wp.get_device()}"
        self._capacity = max(1, min(per_launch, math.ceil(batch_size_hint / self._num_workers)))
        self._idle: queue.SimpleQueue[_Context] = queue.SimpleQueue()
        self._num_contexts = 0
        self._pool: ThreadPoolExecutor | None = None
        self._prepare(1)

    def render(self, batch: mujoco.batch.Batch, ids: NDArray[np.integer] | None = None) -> NDArray[np.uint8]:
        """Draw simulations of the batch as they are now; see `Camera.render`."""
        if self._num_contexts == 0:
            raise RuntimeError("this camera has been closed")
        kinematics = [getattr(batch, field) for field in KINEMATICS]
        total = batch.nsim if ids is None else len(ids)
        frames = np.empty((total, self.height, self.width, 3), np.uint8)
        bounds = chunk_bounds(total, self._capacity, self._num_workers)

        def draw(chunk: int) -> None:
            span = slice(bounds[chunk], bounds[chunk + 1])
            context = self._idle.get()
            try:
                context.draw(kinematics, span if ids is None else ids[span], frames[span])
            finally:
                self._idle.put(context)

        num_chunks = len(bounds) - 1
        workers = min(num_chunks, self._num_workers)
        self._prepare(workers)
        if workers <= 1:
            for chunk in range(num_chunks):
                draw(chunk)
        else:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self._num_workers, thread_name_prefix="raytrace")
            list(self._pool.map(draw, range(num_chunks)))
        return frames

    def close(self) -> None:
        """Stop the threads and free the contexts."""
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None
        while self._num_contexts:
            self._idle.get()
            self._num_contexts -= 1

    def _prepare(self, count: int) -> None:
        # In the calling thread, since loading a kernel is not safe in several at once.
        while self._num_contexts < count:
            self._idle.put(
                _Context(
                    self._host_model,
                    self._device_model,
                    capacity=self._capacity,
                    name=self.name,
                    width=self.width,
                    height=self.height,
                    pretty=self.quality == "pretty",
                )
            )
            self._num_contexts += 1


class _Context:
    """What one thread needs to draw up to `capacity` simulations at a time."""

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
    ) -> None:
        self._model = device_model
        self._context = mujoco_warp.create_render_context(
            host_model,
            nworld=capacity,
            cam_active=[name],
            cam_res=(width, height),
            render_rgb=True,
            render_depth=False,
            render_seg=False,
            use_textures=host_model.ntex > 0,
            use_fast_math=False,
            use_shadows=pretty,
            render_skybox=True,
            samples_per_pixel=2 if pretty else 1,
            enable_specular=pretty,
            # Terms that would add nothing are compiled away.
            enable_emission=bool(host_model.mat_emission.any()),
            enable_per_light_ambient=bool(host_model.light_ambient.any()),
        )
        # No contacts or constraints are ever computed here.
        self._data = mujoco_warp.make_data(host_model, nworld=capacity, nconmax=1, njmax=1)
        self._inputs = [_Input(getattr(self._data, field)) for field in KINEMATICS]
        self._render()

    def draw(
        self,
        kinematics: list[NDArray[np.float64]],
        rows: slice | NDArray[np.integer],
        frames: NDArray[np.uint8],
    ) -> None:
        """Draw simulations `rows` into frames (k, H, W, 3), k at most the capacity."""
        count = len(frames)
        for source, target in zip(kinematics, self._inputs, strict=True):
            target.write(source[rows])
        self._data.nworld = count
        self._render()
        # Pixels come as 0xAARRGGBB, hence in memory as blue, green, red, alpha.
        packed = self._context.rgb_data.numpy()[:count].view(np.uint8).reshape(*frames.shape[:3], 4)
        for channel in range(3):  # one at a time: 6 times as fast as copying triples
            frames[..., channel] = packed[..., 2 - channel]

    def _render(self) -> None:
        mujoco_warp.refit_bvh(self._model, self._data, self._context)
        mujoco_warp.render(self._model, self._data, self._context)


class _Input:
    """One kinematic array of the kernels, written from NumPy without a detour where they share memory."""

    def __init__(self, array: Any) -> None:
        self._array = array
        self._host = array if array.device.is_cpu else wp.empty_like(array, device="cpu", pinned=True)
        view = self._host.numpy()
        self._rows = view.reshape(*view.shape[:2], math.prod(view.shape[2:]))  # (capacity, objects, 3 or 9)

    def write(self, values: NDArray[np.float64]) -> None:
        """Set the first rows to values (k, objects, 3 or 9)."""
        self._rows[: len(values)] = values
        if self._host is not self._array:
            wp.copy(self._array, self._host)


def _drawable(model: mujoco.MjModel) -> mujoco.MjModel:
    """A copy without what matters to physics alone or would need a kernel of its own."""
    drawable = copy.copy(model)
    # Flags the tracer does not know would make it refuse.
    drawable.opt.disableflags = 0
    drawable.opt.enableflags = 0
    # The clipping distances become constants of the kernel, and by default they differ with the scene's extent:
    # fixed ones let all scenes share one compiled kernel. 0 means no far end.
    drawable.stat.extent = 1.0
    drawable.vis.map.znear = 0.01
    drawable.vis.map.zfar = 0.0
    return drawable


def chunk_bounds(total: int, capacity: int, workers: int) -> list[int]:
    """Split `total` simulations into equal chunks of at most `capacity`, a multiple of `workers` where that helps.

    Returns:
        The boundaries, ascending from 0 to total; one more than there are chunks.
    """
    if total == 0:
        return [0]
    rounds = math.ceil(total / (capacity * workers))
    count = min(total, rounds * workers)
    return [total * chunk // count for chunk in range(count + 1)]

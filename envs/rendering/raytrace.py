"""Pixels and distances by the ray tracer of mujoco_warp: batched, on CPU threads or on CUDA, without OpenGL."""

import math
import queue
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import mujoco
import mujoco.batch
import numpy as np
import warp as wp
from numpy.typing import NDArray

from goalsight.envs.rendering.camera import KINEMATICS
from goalsight.envs.rendering.moving import MovingTracer
from goalsight.envs.rendering.tracer import Tracer, put_model

# Pixels traced per kernel launch: large enough to hide the launch (0.3 ms), small enough to share among threads.
PIXELS_PER_LAUNCH_CPU = 32 * 64 * 64
PIXELS_PER_LAUNCH_CUDA = 1024 * 64 * 64
MAKING = threading.Lock()  # held while a tracer, and with it kernels, is made


class _TracingCamera:
    """Traces batches with one `Tracer` per thread; kernels run without Python's lock."""

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
        varying: Sequence[str] = (),
        depth: bool = False,
    ) -> None:
        """Put the model where the kernels run and compile them (2 to 8 s at the very first use on a machine).

        Args:
            model: the model that the batches simulate.
            name: a camera of the model.
            width: picture width [pixels].
            height: picture height [pixels].
            quality: "pretty" adds shadows, highlights and smooth edges.
            num_threads: threads that draw, at least 1.
            batch_size_hint: simulations drawn per call as a rule.
            varying: fields of the model that the batches have expanded.
            depth: keep distances, and no colours.

        Raises:
            UserError: the model uses something the ray tracer does not know.
        """
        self.name, self.width, self.height, self.quality = name, width, height, quality
        self._model = put_model(model)
        self._varying = tuple(varying)
        device = wp.get_device()
        # CUDA fills itself from one thread.
        self._num_workers = num_threads if device.is_cpu else 1
        self.detail = "mujoco_warp on " + (f"{num_threads} threads" if device.is_cpu else str(device))
        per_launch = (PIXELS_PER_LAUNCH_CPU if device.is_cpu else PIXELS_PER_LAUNCH_CUDA) // (width * height)
        per_worker = math.ceil(batch_size_hint / self._num_workers)
        self._capacity = 1 if quality == "pretty" else max(1, min(per_launch, per_worker))
        self._kept = {"colour": False, "depth": True} if depth else {}
        plain = quality == "fast" and device.is_cpu and not varying and not depth
        still = plain and MovingTracer.suits(model, name)
        self._make = MovingTracer if still else Tracer
        self._idle: queue.SimpleQueue[Tracer | MovingTracer] = queue.SimpleQueue()
        self._num_tracers = 0
        self._pool: ThreadPoolExecutor | None = None
        self._prepare(1)

    def _draw(
        self, batch: mujoco.batch.Batch, ids: NDArray[np.integer] | None, *pixel: int, dtype: type[np.generic]
    ) -> NDArray[Any]:
        """Draw simulations of the batch as they are now, (n, H, W, *pixel)."""
        if self._num_tracers == 0:
            raise RuntimeError("this camera has been closed")
        fields = [getattr(batch, field) for field in KINEMATICS]
        fields += [batch.expand(field) for field in self._varying]
        total = batch.nsim if ids is None else len(ids)
        frames = np.empty((total, self.height, self.width, *pixel), dtype)
        bounds = chunk_bounds(total, self._capacity, self._num_workers)

        def draw(chunk: int) -> None:
            span = slice(bounds[chunk], bounds[chunk + 1])
            tracer = self._idle.get()
            try:
                tracer.draw(fields, span if ids is None else ids[span], frames[span])
            finally:
                self._idle.put(tracer)

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
        """Stop the threads and free the tracers."""
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None
        while self._num_tracers:
            self._idle.get()
            self._num_tracers -= 1

    def _prepare(self, count: int) -> None:
        # By one thread at a time, since making and loading kernels is not safe in several at once.
        while self._num_tracers < count:
            with MAKING:
                tracer = self._make(
                    *self._model,
                    capacity=self._capacity,
                    name=self.name,
                    width=self.width,
                    height=self.height,
                    pretty=self.quality == "pretty",
                    varying=self._varying,
                    **self._kept,
                )
            self._idle.put(tracer)
            self._num_tracers += 1


class RayTraceCamera(_TracingCamera):
    """Draws pictures."""

    def render(self, batch: mujoco.batch.Batch, ids: NDArray[np.integer] | None = None) -> NDArray[np.uint8]:
        """Draw simulations of the batch as they are now; see `Camera.render`."""
        return self._draw(batch, ids, 3, dtype=np.uint8)


class DepthCamera(_TracingCamera):
    """Measures how far ahead of the camera lies what it sees."""

    def __init__(self, model: mujoco.MjModel, **camera: Any) -> None:
        """Arguments as those of `RayTraceCamera`, without `quality`."""
        super().__init__(model, quality="fast", depth=True, **camera)

    def distances(self, batch: mujoco.batch.Batch, ids: NDArray[np.integer] | None = None) -> NDArray[np.float32]:
        """Measure simulations of the batch as they are now.

        Args:
            batch: simulations whose `KINEMATICS` are bound and current.
            ids: the simulations, shape (n,); all of them when None.

        Returns:
            distances from the plane through the camera that it looks away from [m], shape (n, height, width), a new
            array; endless for the sky.
        """
        return self._draw(batch, ids, dtype=np.float32)


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

"""Renderers by name: the one place that knows them all."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import mujoco

from goalsight.base.errors import UserError, choose
from goalsight.base.machine import usable_cores
from goalsight.envs.config import RENDERERS
from goalsight.envs.rendering.camera import PRETTY_FROM, QUALITIES, Camera

if TYPE_CHECKING:
    from goalsight.envs.rendering.raytrace import DepthCamera


def make_camera(
    model: mujoco.MjModel,
    *,
    name: str = "front",
    width: int = 64,
    height: int = 64,
    backend: str = "raytrace",
    quality: str | None = None,
    num_threads: int = 0,
    batch_size_hint: int = 32,
    varying: Sequence[str] = (),
) -> Camera:
    """Build the renderer of one camera.

    Args:
        model: the model that the batches to come simulate.
        name: a camera of the model.
        width: picture width [pixels].
        height: picture height [pixels].
        backend: "raytrace" (needs no OpenGL) or "opengl".
        quality: "fast", or "pretty" with shadows, highlights and smooth edges; by the picture's size when None.
        num_threads: threads that draw; 0 means one per CPU. Pixels do not depend on it.
        batch_size_hint: simulations drawn per call as a rule; any number works.
        varying: fields of the model that the batches to come have expanded, and that tell how things look.

    Raises:
        UserError: unknown camera, backend or quality, a size below 1, or a backend that does not work here.
    """
    choose("renderer", backend, RENDERERS)
    _check(model, name, width, height, num_threads)
    if quality is None:
        quality = "pretty" if max(width, height) >= PRETTY_FROM else "fast"
    choose("quality", quality, QUALITIES)
    # Imported here: a program that never asks for pixels loads neither the ray tracer nor OpenGL.
    if backend == "opengl":
        from goalsight.envs.rendering.opengl import OpenGLCamera

        return OpenGLCamera(model, name=name, width=width, height=height, quality=quality, varying=varying)
    from goalsight.envs.rendering.raytrace import RayTraceCamera

    return RayTraceCamera(
        model,
        name=name,
        width=width,
        height=height,
        quality=quality,
        num_threads=num_threads or usable_cores(),
        batch_size_hint=batch_size_hint,
        varying=varying,
    )


def make_depth_camera(
    model: mujoco.MjModel,
    *,
    name: str = "front",
    width: int = 64,
    height: int = 64,
    num_threads: int = 0,
    batch_size_hint: int = 32,
    varying: Sequence[str] = (),
) -> "DepthCamera":
    """Build what measures distances by one camera: the ray tracer, whatever draws the pictures.

    Arguments and errors as those of `make_camera`.
    """
    _check(model, name, width, height, num_threads)
    from goalsight.envs.rendering.raytrace import DepthCamera

    return DepthCamera(
        model,
        name=name,
        width=width,
        height=height,
        num_threads=num_threads or usable_cores(),
        batch_size_hint=batch_size_hint,
        varying=varying,
    )


def _check(model: mujoco.MjModel, name: str, width: int, height: int, num_threads: int) -> None:
    choose("camera", name, [model.camera(index).name for index in range(model.ncam)])
    if width < 1 or height < 1:
        raise UserError(f"a picture must be at least 1x1 pixels, got {width}x{height} (width x height)")
    if num_threads < 0:
        raise UserError(f"num_threads must be 0 (one per CPU) or more, got {num_threads}")

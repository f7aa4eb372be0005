"""Pixels by MuJoCo's classic OpenGL renderer, one simulation after the other."""

import copy
import functools
import importlib
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import mujoco
import mujoco.batch
import numpy as np
from numpy.typing import NDArray

from goalsight.base.errors import UserError, choose
from goalsight.envs.rendering.camera import KINEMATICS

# In the order tried: on a GPU or in software without a display, in software only, in a window system.
PLATFORMS = ("egl", "osmesa", "glfw")
PROBE_TIMEOUT = 30.0  # [s]
FAST_FLAGS_OFF = (mujoco.mjtRndFlag.mjRND_SHADOW, mujoco.mjtRndFlag.mjRND_REFLECTION)


class OpenGLCamera:
    """Draws batches through one OpenGL context, which belongs to the thread that uses it."""

    backend = "opengl"

    def __init__(
        self, model: mujoco.MjModel, *, name: str, width: int, height: int, quality: str, varying: Sequence[str] = ()
    ) -> None:
        """Open a context on the first platform that works here.

        Args:
            model: the model that the batches simulate.
            name: a camera of the model.
            width: picture width [pixels].
            height: picture height [pixels].
            quality: "pretty" adds shadows, reflections and 4 samples per pixel.
            varying: fields of the model that the batches have expanded.

        Raises:
            UserError: no platform works.
        """
        self.name, self.width, self.height, self.quality = name, width, height, quality
        self._model = copy.copy(model)
        self._model.vis.global_.offwidth = width
        self._model.vis.global_.offheight = height
        self._model.vis.quality.offsamples = 4 if quality == "pretty" else 0
        platform = working_platform()
        self.detail = f"OpenGL through {platform}"
        self._gl: Any = importlib.import_module(f"mujoco.{platform}").GLContext(width, height)
        self._gl.make_current()
        self._renderer: mujoco.MjrContext | None = mujoco.MjrContext(
            self._model, mujoco.mjtFontScale.mjFONTSCALE_100.value
        )
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, self._renderer)
        self._scene = mujoco.MjvScene(self._model, maxgeom=self._model.ngeom + 100)
        if quality == "fast":
            for flag in FAST_FLAGS_OFF:
                self._scene.flags[flag] = 0
        self._view = mujoco.MjvCamera()
        self._view.type = mujoco.mjtCamera.mjCAMERA_FIXED
        self._view.fixedcamid = self._model.camera(name).id
        self._options = mujoco.MjvOption()
        self._data = mujoco.MjData(self._model)
        self._varying = tuple(varying)
        self._process = os.getpid()

    def render(self, batch: mujoco.batch.Batch, ids: NDArray[np.integer] | None = None) -> NDArray[np.uint8]:
        """Draw simulations of the batch as they are now; see `Camera.render`."""
        if self._renderer is None:
            raise RuntimeError("this camera has been closed")
        if self._process != os.getpid():
            raise UserError("these pictures are drawn by OpenGL in another process: make the environments in this one")
        self._gl.make_current()
        sims = range(batch.nsim) if ids is None else ids
        frames = np.empty((len(sims), self.height, self.width, 3), np.uint8)
        area = mujoco.MjrRect(0, 0, self.width, self.height)
        pixels = np.empty((self.height, self.width, 3), np.uint8)
        for frame, sim in zip(frames, sims, strict=True):
            # The scene is made from these fields alone, so no MjData per simulation is needed.
            for field in KINEMATICS:
                getattr(self._data, field)[:] = getattr(batch, field)[sim]
            for field in self._varying:
                getattr(self._model, field)[:] = batch.expand(field)[sim]
            mujoco.mjv_updateScene(
                self._model,
                self._data,
                self._options,
                None,
                self._view,
                mujoco.mjtCatBit.mjCAT_ALL.value,
                self._scene,
            )
            mujoco.mjr_render(area, self._scene, self._renderer)
            mujoco.mjr_readPixels(pixels, None, area, self._renderer)
            frame[...] = pixels[::-1]  # OpenGL counts rows from below
        return frames

    def close(self) -> None:
        """Free the OpenGL context; a process that was forked cannot, and leaves it."""
        if self._renderer is not None and self._process == os.getpid():
            self._gl.make_current()
            self._renderer.free()
            self._gl.free()
            self._renderer = None


@functools.cache
def working_platform() -> str:
    """The OpenGL platform to use: what the variable MUJOCO_GL names, else the first that works.

    Raises:
        UserError: none works; says what was tried.
    """
    asked = os.environ.get("MUJOCO_GL", "").strip().lower()
    platforms = (choose("OpenGL platform (MUJOCO_GL)", asked, PLATFORMS),) if asked else PLATFORMS
    failures = []
    for platform in platforms:
        failure = _probe(platform)
        if failure is None:
            return platform
        failures.append(f"{platform} ({failure})")
    raise UserError(f'OpenGL does not work here, tried {", ".join(failures)}; use renderer "raytrace"')


def opens_windows() -> bool:
    """Whether there is a display here to open windows on."""
    return _probe("glfw") is None


def offer_platform() -> None:
    """Have MuJoCo's own renderer, and others that ask for MUJOCO_GL, use a platform that works, unless one was named.

    MuJoCo looks at the variable only when it is imported, and takes the process down where a platform does not work.

    Raises:
        UserError: none works.
    """
    if not os.environ.get("MUJOCO_GL"):
        os.environ["MUJOCO_GL"] = platform = working_platform()
        from mujoco.rendering.classic import gl_context

        gl_context.GLContext = importlib.import_module(f"mujoco.{platform}").GLContext


def _probe(platform: str) -> str | None:
    """Draw an empty scene in a process of its own, since a broken driver can take its process down.

    Returns:
        None when it works, else the reason in a few words.
    """
    code = (
        f"import mujoco; from mujoco.{platform} import GLContext; c = GLContext(8, 8); c.make_current();"
        "mujoco.MjrContext(mujoco.MjModel.from_xml_string('<mujoco/>'), 100).free(); print('works')"
    )
    environment = {**os.environ, "MUJOCO_GL": platform, "PYOPENGL_PLATFORM": ""}
    try:
        result = subprocess.run(
            [sys.executable, "-P", "-c", code], env=environment, capture_output=True, text=True, timeout=PROBE_TIMEOUT
        )
    except subprocess.TimeoutExpired:
        return f"no answer within {PROBE_TIMEOUT:.0f} s"
    if result.returncode == 0 and "works" in result.stdout:
        return None
    lines = result.stderr.strip().splitlines()
    return lines[-1].split(": ", 1)[-1][:80] if lines else f"exit code {result.returncode}"

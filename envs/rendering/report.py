"""Which renderers work on this machine, and how fast."""

import time
from typing import TypedDict

import mujoco.batch

from goalsight.base.errors import UserError
from goalsight.envs.config import RENDERERS
from goalsight.envs.rendering.backends import make_camera
from goalsight.envs.rendering.camera import KINEMATICS


class RendererState(TypedDict):
    """One renderer on this machine."""

    name: str  # backend
    ok: bool  # it drew something
    detail: str  # how it draws, or why it does not
    fps: float  # frames per second at the size asked for, all threads; 0 when it does not work


def renderer_report(*, size: int = 64, num_sims: int = 32, seconds: float = 1.0) -> list[RendererState]:
    """Try every renderer on the Panda's pushing scene, for about `seconds` each after a first picture.

    Args:
        size: width and height [pixels].
        num_sims: simulations drawn per call.
        seconds: measuring time per renderer [s].
    """
    from goalsight.envs.arms.catalogue import PANDA
    from goalsight.envs.simulation.scene import ArmIndex, compose
    from goalsight.envs.tasks import TASKS

    model = compose(PANDA, TASKS["push"])
    batch = mujoco.batch.Batch(model, num_sims)
    for field in KINEMATICS:
        batch.bind(field)
    batch.qpos[:, ArmIndex.of(PANDA, model).qpos] = PANDA.home
    batch.forward()
    return [_measure(backend, batch, size=size, seconds=seconds) for backend in RENDERERS]


def _measure(backend: str, batch: mujoco.batch.Batch, *, size: int, seconds: float) -> RendererState:
    try:
        drawing = make_camera(
            batch.model, width=size, height=size, backend=backend, quality="fast", batch_size_hint=batch.nsim
        )
    except UserError as error:
        return RendererState(name=backend, ok=False, detail=str(error), fps=0.0)
    try:
        drawing.render(batch)
        start = time.perf_counter()
        frames = 0
        while (spent := time.perf_counter() - start) < seconds:
            frames += len(drawing.render(batch))
        return RendererState(name=backend, ok=True, detail=drawing.detail, fps=frames / spent)
    finally:
        drawing.close()

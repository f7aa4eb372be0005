"""Choosing a camera and a renderer: what users get wrong, and that both renderers draw the same scene."""

import os
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import mujoco
import mujoco.batch
import numpy as np
import pytest

from goalsight.base.errors import UserError
from goalsight.envs.arms.catalogue import PANDA
from goalsight.envs.rendering import opengl
from goalsight.envs.rendering.backends import make_camera
from goalsight.envs.rendering.camera import KINEMATICS
from goalsight.envs.rendering.report import renderer_report
from goalsight.envs.simulation.scene import ArmIndex, ThingIndex, compose
from goalsight.envs.tasks import TASKS, Reach
from goalsight.envs.vector import GoalVectorEnv


@pytest.fixture(scope="module")
def model() -> mujoco.MjModel:
    return compose(PANDA, TASKS["push"])


@pytest.fixture
def batch(model: mujoco.MjModel) -> mujoco.batch.Batch:
    batch = mujoco.batch.Batch(model, 3)
    for field in KINEMATICS:
        batch.bind(field)
    cube = ThingIndex.of(TASKS["push"].objects[0].name, model)
    batch.qpos[:, cube.qpos][:, 1] = [-0.2, 0, 0.2]
    joints = ArmIndex.of(PANDA, model).qpos
    batch.qpos[:, joints] = PANDA.home
    batch.qpos[:, joints[0]] = [0.4, 0, -0.4]
    batch.forward()
    return batch


@pytest.fixture
def opengl_works() -> None:
    try:
        opengl.working_platform()
    except UserError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"name": "frnt"}, 'no camera "frnt"; did you mean "front"'),
        ({"backend": "raytracer"}, 'no renderer "raytracer"; did you mean "raytrace"? choices: opengl, raytrace'),
        ({"quality": "prety"}, 'did you mean "pretty"'),
        ({"width": 0}, "got 0x64"),
        ({"height": -3}, "got 64x-3"),
        ({"num_threads": -1}, "num_threads"),
    ],
)
def test_mistakes_name_the_choices(model: mujoco.MjModel, wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        make_camera(model, **wrong)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_large_pictures_are_pretty_by_default(model: mujoco.MjModel) -> None:
    assert make_camera(model).quality == "fast"
    assert make_camera(model, width=256, height=192).quality == "pretty"
    assert make_camera(model, width=256, height=192, quality="fast").quality == "fast"


@pytest.mark.usefixtures("opengl_works")
@pytest.mark.parametrize("quality", ["fast", "pretty"])
def test_both_renderers_draw_the_same_scene(model: mujoco.MjModel, batch: mujoco.batch.Batch, quality: str) -> None:
    pictures = []
    for backend in ("raytrace", "opengl"):
        camera = make_camera(model, width=96, height=64, backend=backend, quality=quality)
        pictures.append(camera.render(batch).astype(int))
        np.testing.assert_array_equal(camera.render(batch, np.array([2, 0])), pictures[-1][[2, 0]])
        camera.close()
        with pytest.raises(RuntimeError, match="closed"):
            camera.render(batch)
    traced, drawn = pictures
    assert traced.shape == drawn.shape == (3, 64, 96, 3)
    assert np.abs(traced - drawn).mean() < 3
    assert np.abs(traced[0] - traced[2]).mean() > np.abs(traced - drawn).mean()


def test_no_opengl_is_one_line_that_points_to_the_ray_tracer(
    model: mujoco.MjModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opengl, "_probe", lambda platform: f"no {platform} here")
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    opengl.working_platform.cache_clear()
    try:
        with pytest.raises(UserError) as caught:
            make_camera(model, backend="opengl")
    finally:
        opengl.working_platform.cache_clear()
    message = str(caught.value)
    assert all(f"{platform} (no {platform} here)" in message for platform in ("egl", "osmesa", "glfw"))
    assert '"raytrace"' in message
    assert "\n" not in message


def test_a_platform_that_does_not_exist_is_reported_not_raised() -> None:
    assert opengl._probe("no_such_platform") is not None


def test_report_names_every_renderer() -> None:
    report = renderer_report(size=32, num_sims=2, seconds=0.05)
    assert [state["name"] for state in report] == ["raytrace", "opengl"]
    assert report[0]["ok"]
    assert report[0]["fps"] > 0
    for state in report:
        assert state["detail"]
        assert (state["fps"] > 0) == state["ok"]


def test_importing_loads_neither_renderer_and_drawing_says_nothing() -> None:
    code = """
import sys
import goalsight.envs.rendering.backends
assert not {"warp", "OpenGL", "mujoco.egl"} & set(sys.modules)
import goalsight.envs.rendering.raytrace
assert not {"OpenGL", "mujoco.egl"} & set(sys.modules)
"""
    # With the variable MuJoCo itself loads OpenGL; environments of others, drawn before in this process, set it.
    unasked = {name: value for name, value in os.environ.items() if name != "MUJOCO_GL"}
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=unasked)
    assert result.returncode == 0, result.stderr
    assert result.stdout == ""
    assert result.stderr == ""


@dataclass(frozen=True)
class Walled(Reach):
    """Reach with a wall where the camera stands, or beside it."""

    name: str = "walled"
    shape: str = "BOX"
    beside: float = 0.0

    def furnish(self, spec: mujoco.MjSpec) -> None:
        place = np.add(spec.camera("front").pos, [0, self.beside, 0.1])
        shape = getattr(mujoco.mjtGeom, f"mjGEOM_{self.shape}")
        spec.worldbody.add_geom(name="wall", type=shape, pos=place, size=[0.2, 0.2, 0.3], rgba=[1, 1, 1, 1])


@pytest.mark.parametrize("shape", ["BOX", "SPHERE", "ELLIPSOID", "CYLINDER", "CAPSULE", "PLANE"])
def test_a_camera_inside_a_wall_is_refused(shape: str) -> None:
    with pytest.raises(UserError, match='camera "front" is inside geom "wall"'):
        GoalVectorEnv(Walled(shape=shape), obs="pixels")
    if shape != "PLANE":
        GoalVectorEnv(Walled(shape=shape, beside=0.6), obs="pixels").reset(seed=0)

"""What `render` gives: distances that geometry confirms, a window where there is a display, one line otherwise."""

import sys
import time
from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import mujoco
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from goalsight.base.errors import UserError
from goalsight.envs.rendering import opengl
from goalsight.envs.simulation.scene import arm_geoms
from goalsight.envs.single import GoalEnv
from goalsight.envs.vector import GoalVectorEnv

PUSH = "goalsight/PandaPush-v1"


@pytest.fixture(scope="module")
def env() -> GoalVectorEnv:
    made = GoalVectorEnv("push", num_envs=3, num_threads=1, render_mode="depth_array", vary=("camera", "size"))
    made.reset(seed=0)
    return made


def lens(env: GoalVectorEnv, camera: str, row: int) -> tuple[Any, Any, float]:
    """Where a camera is, its axes as columns (right, up, backward), and half a picture at a distance of 1 m."""
    index = env.model.camera(camera).id
    eye, axes = env.batch.cam_xpos[row, index], env.batch.cam_xmat[row, index].reshape(3, 3)
    return eye, axes, float(np.tan(np.radians(env.model.cam_fovy[index]) / 2))


@pytest.fixture(scope="module")
def plain() -> GoalVectorEnv:
    made = GoalVectorEnv("push", num_envs=1, num_threads=1)
    made.reset(seed=0)
    return made


def test_depth_of_the_table_is_what_the_cameras_pose_says(plain: GoalVectorEnv) -> None:
    env, depth = plain, plain.depth_frames(size=480)[0]
    # 0.5 m up, looking down by a sine of 0.3969: through the lowest pixels the camera sees nothing but the table, and
    # such a ray sinks by so much for each metre ahead.
    sinks = 0.3969 + 479 / 480 * np.tan(np.radians(41 / 2)) * 0.9179
    np.testing.assert_allclose(depth[-1], 0.5 / sinks, rtol=1e-4)
    assert 0.5 / sinks == pytest.approx(0.676, abs=1e-3)
    # The cube, which is in the open, is seen half a cube before its centre, or less.
    cube = env.batch.xpos[:, env.model.body("cube").id]
    column, row = (480 * env.pictures.places(cube, "front")[0]).astype(int)
    eye, axes, _ = lens(env, "front", 0)
    ahead = (eye - cube[0]) @ axes[:, 2]
    assert 0.02 < ahead - depth[row, column] < 0.0434  # from half an edge to half a diagonal
    assert depth.dtype == np.float32


@pytest.mark.parametrize("camera", ["front", "wrist"])
def test_depth_is_where_rays_of_mujoco_hit(env: GoalVectorEnv, camera: str) -> None:
    size, hit = 24, set()
    depths = env.depth_frames(size=size, camera=camera)
    assert depths.shape == (3, size, size)
    arm = set(arm_geoms(env.arm, env.model).tolist())
    for row, depth in enumerate(depths):
        model, data = env.batch.get_model(row), env.batch.get_data(row)
        mujoco.mj_forward(model, data)
        eye, axes, half = lens(env, {"wrist": "panda/wrist"}.get(camera, camera), row)
        across = ((np.arange(size) + 0.5) / size * 2 - 1) * half
        theirs, geoms = np.empty((size, size)), np.empty((size, size), int)
        for i, j in np.ndindex(size, size):
            ray, geom = np.array([across[j], -across[i], -1.0]), np.zeros(1, np.int32)
            # Of a length of 1 m ahead, so that what comes back counts metres ahead.
            groups = np.array([1, 1, 1, 0, 0, 0], np.uint8)
            theirs[i, j] = mujoco.mj_ray(model, data, eye, axes @ ray, groups, 1, -1, geom)
            geoms[i, j] = geom[0]
        assert (np.abs(depth - theirs) < 1e-4 * theirs).mean() > 0.99  # rays that graze may miss
        hit |= set(geoms.flatten().tolist())
        things = [model.geom(name).id for name in ("table", "floor")]
        nearest = np.where(np.isin(geoms, things), np.inf, depth).argmin()
        assert geoms.flat[nearest] in arm | {model.geom("cube").id}
    assert hit >= {env.model.geom("table").id}
    assert hit & arm
    assert (depths[0] != depths[1]).any()


def test_the_sky_is_endlessly_far(plain: GoalVectorEnv) -> None:
    (depth,) = plain.depth_frames(size=64, camera="studio")
    assert np.isposinf(depth[0]).all()
    assert np.isfinite(depth[-1]).all()


def test_depth_is_the_same_in_a_batch_on_threads_and_alone(env: GoalVectorEnv) -> None:
    views = env.render()
    assert views is not None
    assert [view.shape for view in views] == [(480, 480)] * 3
    assert env.metadata["render_modes"] == ["rgb_array", "depth_array"]
    single = gym.make(PUSH, render_mode="depth_array", vary=("camera", "size"))
    single.reset(seed=1)
    np.testing.assert_array_equal(np.asarray(single.render()), views[1])
    pool = GoalVectorEnv("push", num_envs=3, num_threads=2, vary=("camera", "size"))
    pool.reset(seed=0)
    np.testing.assert_array_equal(pool.depth_frames(size=32), env.depth_frames(size=32))
    pool.close()
    single.close()


def test_gymnasium_checks_all_modes_but_the_window_where_there_is_no_display(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setenv("DISPLAY", ":0")
    assert GoalEnv("reach").metadata["render_modes"] == ["rgb_array", "depth_array", "human"]
    monkeypatch.delenv("DISPLAY")
    check_env(gym.make("goalsight/PandaReach-v1").unwrapped)


class Viewer:
    """Stands in for MuJoCo's: keeps what it is given to show."""

    def __init__(self, model: mujoco.MjModel, data: mujoco.MjData, **_: Any) -> None:
        self.model, self.data, self.running = model, data, True
        self.shown: list[tuple[np.ndarray, float]] = []

    def is_running(self) -> bool:
        return self.running

    def sync(self) -> None:
        self.shown.append((self.data.qpos.copy(), time.monotonic()))

    def close(self) -> None:
        self.running = False


@pytest.fixture
def viewers(monkeypatch: pytest.MonkeyPatch) -> list[Viewer]:
    """A display, and the windows on it."""
    opened: list[Viewer] = []

    def launch(*args: Any, **kwargs: Any) -> Viewer:
        opened.append(Viewer(*args, **kwargs))
        return opened[-1]

    monkeypatch.setattr(opengl, "_probe", lambda platform: None)
    monkeypatch.setitem(sys.modules, "mujoco.viewer", SimpleNamespace(launch_passive=launch))
    return opened


def test_a_window_shows_each_state_when_its_time_has_come(viewers: list[Viewer]) -> None:
    env = gym.make(PUSH, render_mode="human", vary=("size", "colour"))
    assert not viewers
    batch = env.unwrapped.vector.batch  # type: ignore[attr-defined]
    env.reset(seed=0)
    (viewer,) = viewers
    seen = [batch.qpos[0].copy()]
    for _ in range(4):
        env.step(np.array([1.0, 0.0, 0.0], np.float32))
        seen.append(batch.qpos[0].copy())
    assert env.render() is None
    np.testing.assert_array_equal([qpos for qpos, _ in viewer.shown], [*seen, seen[-1]])
    moments = [moment for _, moment in viewer.shown]
    assert (np.diff(moments[:5]) >= 0.039).all()  # a control step is 40 ms
    for seed in (1, 2):
        env.reset(seed=seed)
        for field in ("geom_size", "geom_rgba"):
            np.testing.assert_array_equal(getattr(viewer.model, field), batch.expand(field)[0])
    viewer.running = False  # somebody closes it, and nothing is shown any more
    count = len(viewer.shown)
    env.step(np.zeros(3, np.float32))
    assert len(viewer.shown) == count
    env.close()
    assert len(viewers) == 1


def test_closing_the_environment_closes_its_window(viewers: list[Viewer]) -> None:
    env = GoalEnv("reach", render_mode="human")
    env.reset(seed=0)
    env.close()
    assert not viewers[0].running
    with pytest.raises(UserError, match="these environments are closed"):
        env.render()


def test_a_window_that_does_not_open_is_one_line(viewers: list[Viewer], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("run it under mjpython")

    monkeypatch.setattr(sys.modules["mujoco.viewer"], "launch_passive", refuse)
    env = GoalEnv("reach", render_mode="human")
    with pytest.raises(UserError, match=r"no window opens \(run it under mjpython\): take render_mode=") as caught:
        env.reset(seed=0)
    assert "\n" not in str(caught.value)


def test_without_a_display_there_is_one_line_that_says_what_else_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opengl, "_probe", lambda platform: f"no {platform} here")
    with pytest.raises(UserError) as caught:
        gym.make("goalsight/PandaReach-v1", render_mode="human")
    message = 'there is no display here to open a window on: take render_mode="rgb_array", or film an agent with '
    assert str(caught.value) == message + '"goalsight record"'


@pytest.mark.parametrize(
    ("make", "mode", "message"),
    [
        (GoalEnv, "rgb", 'no render mode "rgb"; choices: depth_array, human, rgb_array'),
        (GoalEnv, "depth_aray", 'did you mean "depth_array"'),
        (GoalVectorEnv, "ansi", 'no render mode "ansi"; choices: depth_array, rgb_array'),
        (GoalVectorEnv, "human", 'render mode "human" is for one environment; choices of a batch: rgb_array, depth_'),
    ],
)
def test_wrong_modes_name_the_choices(make: Any, mode: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        make("reach", render_mode=mode)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)

"""The Panda against its data sheet: kinematics from the DH table, limits, and that it holds, grips and lets go."""

import mujoco
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from goalsight.envs.scene import load_spec
from goalsight.envs.tasks.base import Cube

HOME = np.array([0, -0.08714108, 0, -2.54177861, 0, 2.45463753, -0.78539816])

# Modified DH parameters (Craig) of joints 1 to 7: a [m], d [m], alpha [rad].
DH = (
    (0.0, 0.333, 0.0),
    (0.0, 0.0, -np.pi / 2),
    (0.0, 0.316, np.pi / 2),
    (0.0825, 0.0, np.pi / 2),
    (-0.0825, 0.384, -np.pi / 2),
    (0.0, 0.0, np.pi / 2),
    (0.088, 0.0, np.pi / 2),
)
FLANGE = 0.107
FINGERTIP = 0.1034
LOWER = np.array([-2.8973, -1.7628, -2.8973, -3.0718, -2.8973, -0.0175, -2.8973])
UPPER = np.array([2.8973, 1.7628, 2.8973, -0.0698, 2.8973, 3.7525, 2.8973])


def rotation_x(angle: float) -> NDArray[np.float64]:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[1, 0, 0, 0], [0, c, -s, 0], [0, s, c, 0], [0, 0, 0, 1]])


def rotation_z(angle: float) -> NDArray[np.float64]:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0, 0], [s, c, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])


def translation(x: float, z: float) -> NDArray[np.float64]:
    matrix = np.eye(4)
    matrix[0, 3], matrix[2, 3] = x, z
    return matrix


def tool_by_dh(joints: NDArray[np.float64]) -> NDArray[np.float64]:
    """Tool in base, (4, 4), by multiplying the table out."""
    pose = np.eye(4)
    for angle, (a, d, alpha) in zip(joints, DH, strict=True):
        pose = pose @ rotation_x(alpha) @ translation(a, 0) @ rotation_z(angle) @ translation(0, d)
    return pose @ translation(0, FLANGE) @ rotation_z(-np.pi / 4) @ translation(0, FINGERTIP)


@pytest.fixture(scope="module")
def arm() -> mujoco.MjModel:
    return load_spec("arms/panda.xml").compile()


@pytest.fixture(scope="module")
def workbench() -> mujoco.MjModel:
    """The arm at the table with a cube of 5 cm and 0.1 kg."""
    spec = load_spec("scenes/tabletop.xml")
    spec.attach(load_spec("arms/panda.xml"), frame=spec.worldbody.add_frame(), prefix="panda/")
    Cube("cube").add_to(spec)
    return spec.compile()


def at_home(model: mujoco.MjModel, *, fingers: float, prefix: str = "") -> mujoco.MjData:
    data = mujoco.MjData(model)
    for index, angle in enumerate(HOME):
        data.joint(f"{prefix}joint{index + 1}").qpos[0] = angle
        data.actuator(f"{prefix}joint{index + 1}").ctrl[0] = angle
    for finger in ("finger_joint1", "finger_joint2"):
        data.joint(prefix + finger).qpos[0] = fingers
    data.actuator(prefix + "gripper").ctrl[0] = fingers
    mujoco.mj_forward(model, data)
    return data


@given(st.lists(st.floats(0, 1), min_size=7, max_size=7))
def test_tool_is_where_the_dh_table_says(arm: mujoco.MjModel, shares: list[float]) -> None:
    joints = LOWER + np.array(shares) * (UPPER - LOWER)
    data = mujoco.MjData(arm)
    data.qpos[:7] = joints
    mujoco.mj_kinematics(arm, data)
    expected = tool_by_dh(joints)
    np.testing.assert_allclose(data.site("tool").xpos, expected[:3, 3], atol=1e-9)
    np.testing.assert_allclose(data.site("tool").xmat.reshape(3, 3), expected[:3, :3], atol=1e-7)


def test_tool_at_zero_by_hand(arm: mujoco.MjModel) -> None:
    # All joints at zero: up 0.333 + 0.316 + 0.384, out 0.088, then down the flange and the hand.
    data = mujoco.MjData(arm)
    mujoco.mj_kinematics(arm, data)
    np.testing.assert_allclose(data.site("tool").xpos, [0.088, 0, 1.033 - 0.107 - 0.1034], atol=1e-9)


def test_home_points_straight_down_over_the_workspace(arm: mujoco.MjModel) -> None:
    data = at_home(arm, fingers=0.04)
    np.testing.assert_allclose(data.site("tool").xpos, [0.45, 0, 0.2], atol=1e-6)
    np.testing.assert_allclose(data.site("tool").xmat.reshape(3, 3)[:, 2], [0, 0, -1], atol=1e-6)


def test_limits_are_those_of_the_data_sheet(arm: mujoco.MjModel) -> None:
    np.testing.assert_allclose(arm.jnt_range[:7], np.stack([LOWER, UPPER], axis=1))
    np.testing.assert_allclose(arm.actuator_ctrlrange[:7], arm.jnt_range[:7])
    np.testing.assert_allclose(arm.actuator_forcerange[:7, 1], [87] * 4 + [12] * 3)
    np.testing.assert_allclose(arm.jnt_range[7:], [[0, 0.04], [0, 0.04]])
    assert [arm.actuator(i).name for i in range(arm.nu)] == [f"joint{i}" for i in range(1, 8)] + ["gripper"]


def test_few_enough_shapes_to_draw_fast(arm: mujoco.MjModel) -> None:
    assert arm.ngeom <= 28
    assert arm.nmesh == 0


def test_holds_still_at_home(workbench: mujoco.MjModel) -> None:
    data = at_home(workbench, fingers=0.04, prefix="panda/")
    before = data.site("panda/tool").xpos.copy()
    mujoco.mj_step(workbench, data, 250)
    np.testing.assert_allclose(data.site("panda/tool").xpos, before, atol=1e-6)


def test_reaches_a_small_step_within_two_tenths_of_a_second(workbench: mujoco.MjModel) -> None:
    data = at_home(workbench, fingers=0.04, prefix="panda/")
    data.ctrl[:7] = HOME + 0.05
    mujoco.mj_step(workbench, data, 50)
    np.testing.assert_allclose(data.qpos[:7], HOME + 0.05, atol=0.05 * 0.08)


def test_fingers_close_and_open_together(workbench: mujoco.MjModel) -> None:
    data = at_home(workbench, fingers=0.04, prefix="panda/")
    for target in (0.0, 0.04, 0.015):
        data.actuator("panda/gripper").ctrl[0] = target
        mujoco.mj_step(workbench, data, 125)
        fingers = [data.joint(f"panda/finger_joint{i}").qpos[0] for i in (1, 2)]
        np.testing.assert_allclose(fingers, [target, target], atol=5e-4)


def test_holds_a_cube_by_friction_and_lets_it_go(workbench: mujoco.MjModel) -> None:
    data = at_home(workbench, fingers=0.026, prefix="panda/")
    data.joint("cube").qpos[:3] = data.site("panda/tool").xpos
    data.actuator("panda/gripper").ctrl[0] = 0.0
    mujoco.mj_step(workbench, data, 50)
    gripped = data.body("cube").xpos.copy()
    mujoco.mj_step(workbench, data, 750)
    np.testing.assert_allclose(data.body("cube").xpos, gripped, atol=1e-3)  # within 1 mm after 3 s
    data.actuator("panda/gripper").ctrl[0] = 0.04
    mujoco.mj_step(workbench, data, 250)
    assert data.body("cube").xpos[2] == pytest.approx(0.025, abs=2e-3)
    assert not data.warning.number.any()


def test_arm_passes_through_itself_but_not_through_the_cube(arm: mujoco.MjModel) -> None:
    assert not (arm.geom_contype & 1).any()  # so that no two of its shapes meet
    solid = {arm.geom(i).name for i in range(arm.ngeom) if arm.geom_conaffinity[i]}
    assert {"hand_body", "left_pad", "right_pad"} <= solid


def test_wrist_camera_sees_the_fingertips(arm: mujoco.MjModel) -> None:
    data = at_home(arm, fingers=0.03)
    camera = data.camera("wrist")
    edge = np.tan(np.radians(arm.camera("wrist").fovy[0]) / 2)
    for pad in ("left_pad", "right_pad"):
        x, y, z = camera.xmat.reshape(3, 3).T @ (data.geom(pad).xpos - camera.xpos)
        assert z < 0
        assert max(abs(x), abs(y)) / -z < edge

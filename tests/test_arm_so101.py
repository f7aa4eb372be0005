"""The SO-101 against its maker's model: kinematics, and limits."""

import mujoco
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kinematics import Pose, rotation_x, rotation_z, tool_in_base, translation

from goalsight.envs.arms.catalogue import SO101

# The maker's joint frames in their parents: x, y, z [m], and roll, pitch, yaw [rad]; each joint turns about its z.
FRAMES = (
    ((0.0388353, 0.0, 0.0624), (np.pi, 0.0, np.pi)),
    ((-0.0303992, -0.0182778, -0.0542), (-np.pi / 2, -np.pi / 2, 0.0)),
    ((-0.11257, -0.028, 0.0), (0.0, 0.0, np.pi / 2)),
    ((-0.1349, 0.0052, 0.0), (0.0, 0.0, -np.pi / 2)),
    ((0.0, -0.0611, 0.0181), (np.pi / 2, 0.0486795, np.pi)),
)
GRIPPER_FRAME = (-0.0079, -0.0002181, -0.0981274)
ACROSS = 0.0265 + 0.0079  # from where the closed jaws meet to the middle of the open hand [m]
LOWER = np.array([-1.91986, -1.74533, -1.69, -1.65806, -2.74385])
UPPER = np.array([1.91986, 1.74533, 1.69, 1.65806, 2.84121])


def rotation_y(angle: float) -> Pose:
    quarter = rotation_z(np.pi / 2)
    return quarter @ rotation_x(angle) @ quarter.T


def tool_by_frames(joints: np.ndarray) -> Pose:
    pose = np.eye(4)
    for angle, (place, (roll, pitch, yaw)) in zip(joints, FRAMES, strict=True):
        turn = rotation_z(yaw) @ rotation_y(pitch) @ rotation_x(roll)
        pose = pose @ translation(*place) @ turn @ rotation_z(angle)
    # The maker's gripper has its z axis pointing back; the tool's points out of the hand.
    return pose @ translation(*GRIPPER_FRAME) @ translation(ACROSS, 0, 0) @ rotation_x(np.pi)


@pytest.fixture(scope="module")
def arm() -> mujoco.MjModel:
    return SO101.load().compile()


@given(st.lists(st.floats(0, 1), min_size=5, max_size=5))
def test_tool_is_where_the_makers_frames_say(arm: mujoco.MjModel, shares: list[float]) -> None:
    joints = LOWER + np.array(shares) * (UPPER - LOWER)
    np.testing.assert_allclose(tool_in_base(arm, joints), tool_by_frames(joints), atol=2e-6)


def test_tip_at_zero_by_hand(arm: mujoco.MjModel) -> None:
    # All joints at zero: the upper arm stands, the lower arm and the hand point forward.
    data = mujoco.MjData(arm)
    mujoco.mj_kinematics(arm, data)
    forward = 0.0388353 + 0.0303992 + 0.028 + 0.1349 + 0.0611 + 0.0981274
    up = 0.0624 + 0.0542 + 0.11257 + 0.0052 - 0.0079 * np.cos(0.0486795)
    np.testing.assert_allclose(data.site("tip").xpos[[0, 2]], [forward, up], atol=2e-5)


def test_the_jaw_opens_away_from_the_fixed_one_by_what_its_travel_says(arm: mujoco.MjModel) -> None:
    data = mujoco.MjData(arm)
    data.joint("gripper").qpos[0] = 0.457
    mujoco.mj_kinematics(arm, data)
    pads = [data.geom(name) for name in ("left_pad", "right_pad")]
    corners = [
        pad.xpos + pad.xmat.reshape(3, 3) @ (arm.geom(pad.name).size * [side, 0, 1])
        for pad, side in zip(pads, (1, -1), strict=True)
    ]
    opening = data.site("tool").xmat.reshape(3, 3)[:, 0]
    gap = float((corners[1] - corners[0]) @ opening)
    assert gap / 2 == pytest.approx(0.039 * (0.457 - SO101.grip.closed[0]), abs=3e-3)


def test_limits_are_those_of_the_maker(arm: mujoco.MjModel) -> None:
    np.testing.assert_allclose(arm.jnt_range[:5], np.stack([LOWER, UPPER], axis=1))
    np.testing.assert_allclose(arm.jnt_range[5], [-0.174533, 1.74533])
    np.testing.assert_allclose(arm.actuator_forcerange[:, 1], 0.3 * 9.81, rtol=2e-3)  # 30 kg cm
    assert pytest.approx(45 * 2 * np.pi / 60, rel=1e-3) == SO101.max_speeds[0]

"""The Panda against its data sheet: kinematics from the DH table, and limits."""

import mujoco
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kinematics import modified_dh, rotation_z, tool_in_base, translation

from goalsight.envs.arms.catalogue import PANDA

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


@pytest.fixture(scope="module")
def arm() -> mujoco.MjModel:
    return PANDA.load().compile()


@given(st.lists(st.floats(0, 1), min_size=7, max_size=7))
def test_tool_is_where_the_dh_table_says(arm: mujoco.MjModel, shares: list[float]) -> None:
    joints = LOWER + np.array(shares) * (UPPER - LOWER)
    hand = translation(0, 0, FLANGE) @ rotation_z(-np.pi / 4) @ translation(0, 0, FINGERTIP)
    np.testing.assert_allclose(tool_in_base(arm, joints), modified_dh(DH, joints) @ hand, atol=1e-7)


def test_tool_at_zero_by_hand(arm: mujoco.MjModel) -> None:
    # All joints at zero: up 0.333 + 0.316 + 0.384, out 0.088, then down the flange and the hand.
    tool = tool_in_base(arm, np.zeros(7))
    np.testing.assert_allclose(tool[:3, 3], [0.088, 0, 1.033 - 0.107 - 0.1034], atol=1e-9)


def test_limits_are_those_of_the_data_sheet(arm: mujoco.MjModel) -> None:
    np.testing.assert_allclose(arm.jnt_range[:7], np.stack([LOWER, UPPER], axis=1))
    np.testing.assert_allclose(arm.actuator_forcerange[:7, 1], [87] * 4 + [12] * 3)
    np.testing.assert_allclose(arm.jnt_range[7:], [[0, 0.04], [0, 0.04]])
    assert PANDA.max_speeds == (2.175, 2.175, 2.175, 2.175, 2.61, 2.61, 2.61)

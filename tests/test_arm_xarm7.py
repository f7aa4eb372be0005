"""The xArm7 against its manual: kinematics from the DH table, and limits."""

import mujoco
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kinematics import modified_dh, tool_in_base, translation

from goalsight.envs.arms.catalogue import XARM7

# Modified DH parameters (Craig) of joints 1 to 7: a [m], d [m], alpha [rad].
DH = (
    (0.0, 0.267, 0.0),
    (0.0, 0.0, -np.pi / 2),
    (0.0, 0.293, np.pi / 2),
    (0.0525, 0.0, np.pi / 2),
    (0.0775, 0.3425, np.pi / 2),
    (0.0, 0.0, np.pi / 2),
    (0.076, 0.097, -np.pi / 2),
)
HAND = translation(0, 0, 0.172)  # the tool beyond the flange
LOWER = np.array([-360, -118, -360, -11, -360, -97, -360])  # [degrees]
UPPER = np.array([360, 120, 360, 225, 360, 180, 360])


@pytest.fixture(scope="module")
def arm() -> mujoco.MjModel:
    return XARM7.load().compile()


@given(st.lists(st.floats(0, 1), min_size=7, max_size=7))
def test_tool_is_where_the_dh_table_says(arm: mujoco.MjModel, shares: list[float]) -> None:
    joints = np.radians(LOWER + np.array(shares) * (UPPER - LOWER))
    np.testing.assert_allclose(tool_in_base(arm, joints), modified_dh(DH, joints) @ HAND, atol=1e-7)


def test_tool_at_zero_by_hand(arm: mujoco.MjModel) -> None:
    # All joints at zero: up 0.267 + 0.293, down 0.3425 + 0.097 and the hand; out 0.0525 + 0.0775 + 0.076.
    tool = tool_in_base(arm, np.zeros(7))
    np.testing.assert_allclose(tool[:3, 3], [0.206, 0, 0.56 - 0.4395 - 0.172], atol=1e-9)


def test_limits_are_those_of_the_manual(arm: mujoco.MjModel) -> None:
    np.testing.assert_allclose(np.degrees(arm.jnt_range[:7]), np.stack([LOWER, UPPER], axis=1), atol=0.05)
    np.testing.assert_allclose(arm.actuator_forcerange[:7, 1], [50, 50, 30, 30, 30, 20, 20])
    np.testing.assert_allclose(arm.jnt_range[7:].sum(axis=0), [0, 0.084])
    assert np.degrees(XARM7.max_speeds) == pytest.approx([180] * 7)

"""The UR5e against its data sheet: kinematics from the DH table, and limits."""

import mujoco
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kinematics import standard_dh, tool_in_base, translation

from goalsight.envs.arms.catalogue import UR5E

# Standard DH parameters of joints 1 to 6: a [m], d [m], alpha [rad].
DH = (
    (0.0, 0.1625, np.pi / 2),
    (-0.425, 0.0, 0.0),
    (-0.3922, 0.0, 0.0),
    (0.0, 0.1333, np.pi / 2),
    (0.0, 0.0997, -np.pi / 2),
    (0.0, 0.0996, 0.0),
)
HAND = translation(0, 0, 0.153)  # the tool beyond the flange


@pytest.fixture(scope="module")
def arm() -> mujoco.MjModel:
    return UR5E.load().compile()


@given(st.lists(st.floats(-2 * np.pi, 2 * np.pi), min_size=6, max_size=6))
def test_tool_is_where_the_dh_table_says(arm: mujoco.MjModel, joints: list[float]) -> None:
    np.testing.assert_allclose(tool_in_base(arm, joints), standard_dh(DH, joints) @ HAND, atol=1e-7)


def test_tool_at_zero_by_hand(arm: mujoco.MjModel) -> None:
    # All joints at zero: the links stretch out along -x, the wrist turns down by d5, and the hand points along -y.
    tool = tool_in_base(arm, np.zeros(6))
    np.testing.assert_allclose(tool[:3, 3], [-0.425 - 0.3922, -0.1333 - 0.0996 - 0.153, 0.1625 - 0.0997], atol=1e-9)


def test_limits_are_those_of_the_data_sheet(arm: mujoco.MjModel) -> None:
    np.testing.assert_allclose(np.degrees(arm.jnt_range[:6]), [[-360, 360]] * 6, atol=1e-5)
    np.testing.assert_allclose(arm.actuator_forcerange[:6, 1], [150] * 3 + [28] * 3)
    np.testing.assert_allclose(arm.jnt_range[6:].sum(axis=0), [0, 0.085])
    assert np.degrees(UR5E.max_speeds) == pytest.approx([180] * 6)

"""Control against values worked out by hand, on NumPy and torch alike."""

import math

import numpy as np
import pytest
import torch

from goalsight.envs.simulation.control import (
    CONTROLS,
    Chain,
    damped_least_squares,
    geometric_jacobian,
    joint_displacement,
    limit_norm,
    reach_for,
    rotation_error,
)

LIBRARIES = [np.asarray, lambda x: torch.as_tensor(np.asarray(x))]


@pytest.mark.parametrize("array", LIBRARIES)
def test_jacobian_of_a_planar_arm(array):
    # Two links of 1 m along x, both hinges about z: the tip at (2, 0, 0).
    axes = array([[[0.0, 0, 1], [0, 0, 1]]])
    anchors = array([[[0.0, 0, 0], [1, 0, 0]]])
    jacobian = np.asarray(geometric_jacobian(axes, anchors, array([[2.0, 0, 0]])))
    expected = [[0, 0], [2, 1], [0, 0], [0, 0], [0, 0], [1, 1]]
    np.testing.assert_allclose(jacobian[0], expected)


@pytest.mark.parametrize("array", LIBRARIES)
def test_rotation_error_is_the_sine_of_a_turn_about_an_axis(array):
    angle = 0.3
    turned = [[math.cos(angle), -math.sin(angle), 0], [math.sin(angle), math.cos(angle), 0], [0, 0, 1]]
    error = np.asarray(rotation_error(array([np.eye(3)]), array(turned)))
    np.testing.assert_allclose(error, [[0, 0, math.sin(angle)]], atol=1e-12)


@pytest.mark.parametrize("array", LIBRARIES)
def test_damped_least_squares_by_hand(array):
    # One joint that moves the tool 2 m/rad along y: dq = 2 e / (4 + d^2).
    jacobian = np.zeros((1, 6, 1))
    jacobian[0, 1, 0] = 2.0
    error = np.zeros((1, 6))
    error[0, 1] = 0.5
    step = np.asarray(damped_least_squares(array(jacobian), array(error), damping=0.5))
    np.testing.assert_allclose(step, [[2 * 0.5 / (4 + 0.25)]])


@pytest.mark.parametrize("array", LIBRARIES)
@pytest.mark.parametrize("weight", [1.0, 0.03])
def test_what_cannot_be_both_is_weighed_by_hand(array, weight):
    # One hinge about z, 2 m from the tool: 0.25 rad would move it 0.5 m, 0.05 rad would turn it right.
    # Least squares of (2 q - 0.5, w (q - 0.05)) gives q = (1 + 0.05 w^2) / (4 + w^2).
    angle = (1 + 0.05 * weight**2) / (4 + weight**2)
    chain = Chain(
        joints=array([[0.0]]),
        axes=array([[[0.0, 0, 1]]]),
        anchors=array([[[0.0, 0, 0]]]),
        tool=array([[2.0, 0, 0]]),
        orientation=array([np.eye(3)]),
        turn_weight=weight,
    )
    step = joint_displacement(chain, array([[0.0, 0.5, 0]]), array([[0.0, 0, 0.05]]), damping=0.0001)
    np.testing.assert_allclose(step, [[angle]], atol=1e-6)


def test_limit_norm_shortens_only_what_is_too_long():
    np.testing.assert_allclose(limit_norm(np.array([[3.0, 4], [0.3, 0.4]]), 1.0), [[0.6, 0.8], [0.3, 0.4]])


def test_reach_for_stays_where_the_tool_is_already():
    rng = np.random.default_rng(0)
    chain = Chain(
        joints=rng.normal(size=(2, 7)),
        axes=rng.normal(size=(2, 7, 3)),
        anchors=rng.normal(size=(2, 7, 3)),
        tool=rng.normal(size=(2, 3)),
        orientation=np.stack([np.eye(3)] * 2),
    )
    np.testing.assert_allclose(reach_for(chain, chain.tool, np.eye(3)), chain.joints, atol=1e-12)


def test_cartesian_targets_stay_in_reach():
    control = CONTROLS["ee"]
    low, high = np.array(control.reach.low), np.array(control.reach.high)
    points = np.array([[-5.0, 0, 0.1], [0.5, 0, 9.0]])
    clipped = control.reach.clip(points)
    assert (clipped >= low).all()
    assert (clipped <= high).all()
    np.testing.assert_allclose(clipped[0], [low[0], 0, 0.1])

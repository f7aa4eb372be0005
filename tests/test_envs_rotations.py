"""Rotation vectors, and the task whose goals have them."""

from math import pi

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from goalsight.agents.policies import make_policy
from goalsight.agents.rollout import rollout
from goalsight.base.errors import UserError
from goalsight.envs.geometry.rotations import angle_between, rotation_matrix, rotation_vector
from goalsight.envs.registration import env_ids, make_vector

VECTORS = st.lists(st.floats(-1.7, 1.7), min_size=3, max_size=3).map(np.array)  # less than half a turn


def test_a_quarter_turn_about_z_takes_x_to_y() -> None:
    matrix = rotation_matrix(np.array([[0.0, 0.0, pi / 2]]))
    np.testing.assert_allclose(matrix[0], [[0, -1, 0], [1, 0, 0], [0, 0, 1]], atol=1e-12)
    np.testing.assert_allclose(rotation_vector(matrix), [[0, 0, pi / 2]], atol=1e-12)


def test_angles_by_hand() -> None:
    assert angle_between(np.array([0, 0, 0.3]), np.array([0, 0, -0.2])) == pytest.approx(0.5)
    # Quarter turns about x and about y differ by a third of a turn.
    assert angle_between(np.array([pi / 2, 0, 0]), np.array([0, pi / 2, 0])) == pytest.approx(2 * pi / 3)


@given(VECTORS, VECTORS)
def test_vectors_matrices_and_angles_agree(a: np.ndarray, b: np.ndarray) -> None:
    np.testing.assert_allclose(rotation_vector(rotation_matrix(a)), a, atol=1e-6)
    between = rotation_vector(rotation_matrix(a).T @ rotation_matrix(b))
    assert angle_between(a, b) == pytest.approx(np.linalg.norm(between), abs=1e-6)
    assert angle_between(a, b) == pytest.approx(angle_between(b, a), abs=1e-9)


@pytest.mark.parametrize("arm", ["Panda", "Ur5e", "Xarm7"])
def test_the_expert_reaches_poses(arm: str) -> None:
    env = make_vector(f"goalsight/{arm}ReachPose-v1", 50)
    assert env.single_action_space.shape == (6,)
    assert rollout(env, make_policy("expert"), episodes=50, seed=0).success.mean() >= 0.95


def test_a_hand_that_is_not_turned_is_not_there() -> None:
    env = make_vector("goalsight/PandaReachPose-v1")
    goal = np.array([0.45, 0.1, 0.2, 0.4, 0.0, 0.5], np.float32)
    env.reset(seed=0, options={"goal": goal})
    assert env.task.error(goal, goal) == 0
    straight = np.concatenate([goal[:3], np.zeros(3, np.float32)])
    assert env.compute_reward(straight, goal, {}) == -1
    assert env.compute_reward(goal, goal, {}) == 0


def test_an_arm_of_five_joints_says_that_it_cannot() -> None:
    assert "goalsight/So101ReachPose-v2" not in env_ids()
    from goalsight.envs.vector import GoalVectorEnv

    with pytest.raises(UserError, match='"reach_pose" turns the tool, which takes 6 joints; the arm has 5'):
        GoalVectorEnv("reach_pose", "so101")

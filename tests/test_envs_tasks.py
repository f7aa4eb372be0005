"""Tasks: rewards by hand, layouts as properties, experts by their success."""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from goalsight.envs.region import Region
from goalsight.envs.registration import env_ids, make_vector
from goalsight.envs.tasks import TASKS, Push, World
from goalsight.envs.tasks.base import DRAWS, distance
from goalsight.envs.tasks.push import ring
from goalsight.errors import UserError

ALL = list(TASKS.values())
GOALS = st.lists(st.floats(-2, 2, width=32), min_size=3, max_size=3)


@pytest.mark.parametrize("array", [np.asarray, torch.as_tensor])
def test_rewards_by_hand(array):
    task = TASKS["reach"]
    achieved = array([[0.0, 0, 0], [0, 0, 0], [0, 0, 0]])
    desired = array([[0.03, 0.04, 0], [0.03, 0.0401, 0], [1.0, 0, 0]])
    assert task.sparse_reward(achieved, desired).tolist() == [0, -1, -1]
    np.testing.assert_allclose(task.dense_reward(achieved, desired), [-0.05, -0.05007, -1], atol=1e-4)


@given(GOALS, GOALS)
def test_reward_of_one_equals_reward_in_a_batch(achieved, desired):
    a, d = np.array(achieved, np.float32), np.array(desired, np.float32)
    for reward in (TASKS["push"].sparse_reward, TASKS["push"].dense_reward):
        batch = reward(np.stack([a, d]), np.stack([d, d]))
        assert reward(a, d) == batch[0]
        assert batch[1] == 0


@pytest.mark.parametrize("task", ALL, ids=lambda task: task.name)
@pytest.mark.parametrize("training", [False, True])
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=20)
def test_valid_layouts_are_never_solved_and_lie_in_their_regions(task, training, seed):
    u = np.random.default_rng(seed).random((64, DRAWS))
    layout = task.draw(u, training)
    start = layout.objects.get("cube", layout.tool)
    valid = task.valid(layout, start)
    assert (distance(start, layout.goal)[valid] > task.tolerance).all()
    if task.objects:
        assert (task.object_region.clip(layout.objects["cube"]) == layout.objects["cube"]).all()
    torch_layout = task.draw(torch.as_tensor(u), training)
    np.testing.assert_allclose(torch_layout.goal, layout.goal, atol=1e-9)


def test_half_of_the_pick_place_goals_are_in_the_air():
    layout = TASKS["pick_place"].draw(np.random.default_rng(0).random((4000, DRAWS)), False)
    assert 0.47 < (layout.goal[:, 2] > 0.05).mean() < 0.53


def test_training_pushes_start_near_the_cube():
    task = TASKS["push"]
    u = np.random.default_rng(0).random((4000, DRAWS))
    for training, least in ((True, 0.6), (False, 0.0)):
        layout = task.draw(u, training)
        near = distance(layout.tool[:, :2], layout.objects["cube"][:, :2]) < task.training_near[1] + 1e-9
        assert near.mean() >= least
        assert training or near.mean() < 0.4


def test_ring_keeps_its_distance_and_prefers_the_way():
    centre, toward = np.zeros((2000, 2)), np.tile([0.0, 1.0], (2000, 1))
    points = ring(centre, toward, np.random.default_rng(0).random((2000, 2)), 0.05, 0.09)
    radius = np.linalg.norm(points, axis=1)
    assert radius.min() >= 0.05
    assert radius.max() <= 0.09
    off = np.abs(np.arctan2(points[:, 0], points[:, 1]))
    assert np.median(off) == pytest.approx(np.pi / 8, rel=0.15)  # the cube of a half
    assert off.max() > 3


def test_region_maps_evenly_and_refuses_corners_the_wrong_way_round():
    region = Region((0.0, 1.0, 2.0), (1.0, 3.0, 2.0))
    np.testing.assert_allclose(region.at(np.array([0.5, 0.5, 0.5])), [0.5, 2.0, 2.0])
    with pytest.raises(ValueError, match="low corner"):
        Region((1.0, 0, 0), (0.0, 0, 0))


def test_region_within_another_keeps_a_margin_from_its_sides_only():
    region, reach = Region((0.0, -1.0, 0.1), (1.0, 1.0, 0.1)), Region((0.4, -2.0, 0.1), (0.9, 0.5, 0.3))
    assert region.within(reach) == Region((0.4, -1.0, 0.1), (0.9, 0.5, 0.1))
    assert region.within(reach, margin=0.25) == Region((0.65, -1.0, 0.1), (0.65, 0.25, 0.1))
    with pytest.raises(ValueError, match="low corner"):
        region.within(reach, margin=0.3)


@pytest.mark.parametrize("task", ALL, ids=lambda task: task.name)
def test_a_task_within_reach_has_all_its_regions_there(task):
    reach = Region((0.35, -0.15, 0.01), (0.55, 0.15, 0.14))
    small = task.within(reach)
    assert task.within(None) is task
    assert task.within(Region((-9, -9, -9), (9, 9, 9))) == task
    regions = {each.name: getattr(small, each.name) for each in fields(small)}
    for name, region in regions.items():
        if isinstance(region, Region):
            inset = np.array([task.margin, task.margin, 0]) * (name != "workspace")
            assert (np.array(region.low) >= np.array(reach.low) + inset).all()
            assert (np.array(region.high) <= np.array(reach.high) - inset).all()
    with pytest.raises(UserError, match=f'"{task.name}": the arm reaches nothing of its workspace'):
        task.within(Region((2, 2, 2), (3, 3, 3)))


def test_a_task_solved_at_its_start_is_refused():
    with pytest.raises(ValueError, match="least_distance"):
        replace(Push(), least_distance=0.01)


@pytest.mark.parametrize("env_id", env_ids())
def test_expert_succeeds_on_at_least_98_percent_of_500_fixed_episodes(env_id):
    env = make_vector(env_id, num_envs=250)
    solved = 0
    for first in (0, 250):
        env.reset(seed=10_000 + first)
        for _ in range(env.horizon):
            *_, info = env.step(env.expert_action())
        solved += info["final_info"]["is_success"].sum()
    assert solved >= 490


@pytest.mark.parametrize("task", ALL, ids=lambda task: task.name)
def test_experts_agree_on_numpy_and_torch(task):
    rng = np.random.default_rng(0)
    tool = rng.uniform((0.3, -0.2, 0.0), (0.6, 0.2, 0.3), (200, 3))
    cube = tool + rng.uniform(-0.1, 0.1, (200, 3))
    goal = rng.uniform((0.3, -0.2, 0.0), (0.6, 0.2, 0.3), (200, 3))
    opening = rng.uniform(0, 0.04, (200, 1))

    def act(array):
        objects = {thing.name: array(cube) for thing in task.objects}
        return task.expert(World(array(tool), array(0 * tool), array(opening), objects), array(goal))

    for ours, theirs in zip(act(np.asarray), act(torch.as_tensor), strict=True):
        np.testing.assert_allclose(ours, np.asarray(theirs), atol=1e-9)

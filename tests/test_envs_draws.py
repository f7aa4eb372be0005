"""Named draws, and the moves that experts share, against values worked out by hand."""

from dataclasses import dataclass
from math import inf
from typing import Any

import numpy as np
import pytest
import torch
from array_api_compat import array_namespace

from goalsight.base.errors import UserError
from goalsight.envs.geometry.region import Array
from goalsight.envs.tasks import TASKS, Draws, Layout, Placement, Push, Reach, World
from goalsight.envs.tasks.shared.moves import pass_over, rise_first, until
from goalsight.envs.tasks.shared.pushing import get_behind
from goalsight.envs.vector import GoalVectorEnv


def test_numbers_are_dealt_out_in_the_order_of_their_names() -> None:
    draws = Draws(tool=3, _gap=2, yaw=1)
    assert draws.total == 6
    assert repr(draws) == "Draws(tool=3, _gap=2, yaw=1)"
    assert draws == Draws(tool=3, _gap=2, yaw=1) != Draws(tool=3, gap=2, yaw=1)
    assert len({draws, Draws(tool=3, _gap=2, yaw=1)}) == 1
    numbers = np.arange(12.0).reshape(2, 6)
    for u in (draws.named(numbers), draws.named(torch.as_tensor(numbers))):
        assert np.asarray(u.tool).tolist() == [[0, 1, 2], [6, 7, 8]]
        assert np.asarray(u.yaw).tolist() == [[5], [11]]
    each = Draws(start=2, yaw=1).named(numbers.reshape(2, 2, 3))
    assert each.yaw[:, :, 0].tolist() == [[2, 5], [8, 11]]
    with pytest.raises(ValueError, match='at least 1 number, got 0 for "yaw"'):
        Draws(yaw=0)


@pytest.mark.parametrize(
    ("use", "says"),
    [
        (lambda u: u.tol, 'no draw "tol"; did you mean "tool"'),
        (lambda u: u[:, 0:3], "known by name, such as u.tool, of tool, yaw; .* draws = 16"),
        (array_namespace, "known by name"),
    ],
)
def test_numbers_that_are_not_asked_for_by_name_are_one_line(use: Any, says: str) -> None:
    with pytest.raises(UserError, match=says) as refused:
        use(Draws(tool=3, yaw=1).named(np.zeros((1, 4))))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
def test_episodes_take_as_many_numbers_as_when_they_were_published(task: Any) -> None:
    cubes = len(task.objects) if task.name.startswith(("sort", "stack")) else None
    assert task.numbers == (16 if cubes is None else 3 + 5 * cubes)


@dataclass(frozen=True)
class ByPosition(Reach):
    """A task that was written before numbers had names."""

    draws: int = 16

    def draw(self, u: Array, training: bool) -> Layout:
        assert u.shape[1] == 16
        return Layout(Placement(tool=self.start_region.at(u[:, 0:3])), self.goal_region.at(u[:, 3:6]))


def test_tasks_that_take_an_array_apart_go_on_as_before() -> None:
    named, positions = GoalVectorEnv("reach", num_envs=3), GoalVectorEnv(ByPosition(), num_envs=3)
    for seed in (0, 1):
        ours, theirs = named.reset(seed=seed)[0], positions.reset(seed=seed)[0]
        assert all(np.array_equal(ours[key], theirs[key]) for key in ours)
    named.close()
    positions.close()


@dataclass(frozen=True)
class Subclass(Push):
    """Written by position, though its parent names its numbers."""

    def draw(self, u: Any, training: bool) -> Layout:
        return Layout(Placement(tool=self.start_region.at(u[:, 0:3])), u[:, 3:6])


def test_a_subclass_that_goes_by_position_is_told_what_to_change() -> None:
    env = GoalVectorEnv(Subclass())
    with pytest.raises(UserError, match=r"known by name, such as u\.tool, of tool, thing, near"):
        env.reset(seed=0)
    env.close()


# --- moves ----------------------------------------------------------------------------------------------------------


def test_passing_over_is_up_then_across_then_down() -> None:
    tool = np.array([[0, 0, 0.03], [0, 0, 0.079], [0, 0, 0.08], [0, 0, 0.12], [0, 0, 0.12], [0, 0, 0.03]])
    over = np.array([0, 0, 0, 0, 1, 1], bool)[:, None]
    sideways = np.tile([0.2, 0.1], (6, 1))
    move = pass_over(tool, sideways, over, low=0.02, high=0.1, slack=0.02)
    expected = [
        [0, 0, 0.07],  # too low: up
        [0, 0, 0.021],
        [0.2, 0.1, 0.02],  # high enough: across
        [0.2, 0.1, -0.02],
        [0.2, 0.1, -0.1],  # over the place: down
        [0.2, 0.1, -0.01],
    ]
    np.testing.assert_allclose(move, expected, atol=1e-12)
    never_waits = pass_over(tool, sideways, over, low=np.full((6, 1), 0.02), high=0.1, slack=inf)
    np.testing.assert_allclose(never_waits[:, :2], sideways)
    np.testing.assert_allclose(never_waits[:, 2], move[:, 2])


def test_rising_first_and_standing_still() -> None:
    move, marked = np.ones((2, 3)), np.array([[True], [False]])
    assert rise_first(marked, move, 0.04).tolist() == [[0, 0, 0.04], [1, 1, 1]]
    assert rise_first(marked, move, np.array([[0.1], [0.2]])).tolist() == [[0, 0, 0.1], [1, 1, 1]]
    world = World(np.zeros((2, 3)), np.zeros((2, 3)), np.full((2, 1), 0.02))
    still, gripper = until(marked, move, world)
    assert still.tolist() == [[0, 0, 0], [1, 1, 1]]
    assert gripper.tolist() == [[-1], [-1]]


def test_getting_behind_a_thing() -> None:
    """The goal is 20 cm to the left of a thing at the origin: its back is at 7 cm to the right."""
    thing, goal = np.zeros((4, 3)), np.tile([0.0, 0.2, 0.0], (4, 1))
    tool = np.array([[0.1, 0, 0.09], [0, -0.07, 0.09], [0.01, -0.05, 0.02], [0.03, 0.05, 0.02]])
    hand = get_behind(tool, thing, goal, low=0.02, high=0.09, behind=0.07, there=0.02, clear=0.06, straight=0.02)
    np.testing.assert_allclose(hand.direction, np.tile([0, 1], (4, 1)))
    np.testing.assert_allclose(hand.gap, 0.2)
    np.testing.assert_allclose(hand.along[:, 0], [0, -0.07, -0.05, 0.05])
    np.testing.assert_allclose(hand.aside, [[0.1, 0], [0, 0], [0.01, 0], [0.03, 0]], atol=1e-12)
    assert hand.ready[:, 0].tolist() == [False, False, True, False]
    expected = [[-0.1, -0.07, 0], [0, 0, -0.07], [0, 0, 0.07], [0, 0, 0.07]]
    np.testing.assert_allclose(hand.approach, expected, atol=1e-12)

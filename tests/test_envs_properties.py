"""What must hold of any task with any arm, whatever the seed and whatever went before."""

from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from goalsight.base.errors import UserError
from goalsight.envs.registration import env_ids, make_vector
from goalsight.envs.tasks.push import Push
from goalsight.envs.vector import GoalVectorEnv

SETTINGS = settings(max_examples=40, deadline=None)
ids = st.sampled_from(env_ids())
seeds = st.integers(0, 2**31 - 1)
controls = st.sampled_from(("ee", "joint"))


def actions(env: GoalVectorEnv, seed: int, steps: int) -> NDArray[np.float64]:
    """Random actions, half of them full scale, (steps, N, A)."""
    rng = np.random.default_rng(seed)
    drawn = rng.uniform(-1, 1, (steps, env.num_envs, env.sim.action_size))
    return np.where(rng.random(drawn.shape) < 0.5, np.sign(drawn), drawn)


def trail(env: GoalVectorEnv, moves: NDArray[np.float64]) -> list[NDArray[np.generic]]:
    """All that the environment says while it takes actions (steps, N, A)."""
    said: list[NDArray[np.generic]] = []
    for move in moves:
        obs, reward, _, truncated, info = env.step(move)
        said += [*obs.values(), reward, truncated, info["is_success"], info["diverged"]]
    return said


def same(ours: list[NDArray[np.generic]], theirs: list[NDArray[np.generic]]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))


@given(env_id=ids, control=controls, seed=seeds)
@SETTINGS
def test_numbers_are_finite_within_their_spaces_and_rewards_are_those_of_the_goals(
    env_id: str, control: str, seed: int
) -> None:
    env = make_vector(env_id, num_envs=3, control=control)
    obs, info = env.reset(seed=seed)
    assert obs in env.observation_space
    assert not info["is_success"].any()
    moves = actions(env, seed, 15)
    for move in moves:
        obs, reward, _, _, info = env.step(move)
        assert obs in env.observation_space
        assert all(np.isfinite(value).all() for value in obs.values())
        achieved, desired = obs["achieved_goal"], obs["desired_goal"]
        assert np.array_equal(reward, env.compute_reward(achieved, desired, info))
        one_by_one = [env.compute_reward(a, d, {}) for a, d in zip(achieved, desired, strict=True)]
        assert np.array_equal(reward, np.array(one_by_one))
    # A goal by hindsight can be achieved: the same actions from the same start do so.
    env.reset(seed=seed)
    trail(env, moves[:-1])
    again, *_ = env.step(moves[-1])
    assert (env.compute_reward(again["achieved_goal"], achieved, {}) == 0).all()
    env.close()


@given(env_id=ids, seed=seeds, before=seeds)
@SETTINGS
def test_a_seed_decides_the_episode_whatever_went_before(env_id: str, seed: int, before: int) -> None:
    env, other = make_vector(env_id, num_envs=2), make_vector(env_id, num_envs=2)
    moves = actions(env, seed, 10)
    other.reset(seed=before)
    trail(other, actions(other, before, 7))
    starts = [list(each.reset(seed=seed)[0].values()) for each in (env, other)]
    assert same(*starts)
    assert same(trail(env, moves), trail(other, moves))
    for each in (env, other):
        each.close()


@given(env_id=ids, control=controls, seed=seeds, before=st.integers(0, 12))
@SETTINGS
def test_a_snapshot_goes_on_to_the_bit_through_the_end_of_the_episode(
    env_id: str, control: str, seed: int, before: int
) -> None:
    env, other = (make_vector(env_id, num_envs=2, control=control, max_episode_steps=16) for _ in range(2))
    env.reset(seed=seed)
    trail(env, actions(env, seed, before))
    kept = env.snapshot()
    moves = actions(env, seed + 1, 20)  # past the end of the episode, so that new layouts are drawn
    first = trail(env, moves)
    shown = env.restore(kept)
    assert same(list(shown.values()), list(kept.obs.values()))
    assert same(first, trail(env, moves))
    other.reset(seed=0)
    other.restore(kept)
    assert same(first, trail(other, moves))
    for each in (env, other):
        each.close()


@given(env_id=ids, seed=seeds, vary=st.sampled_from(((), ("table", "light", "camera"))))
@settings(max_examples=25, deadline=None)
def test_a_goal_image_is_the_picture_of_a_state_that_achieves_the_goal(
    env_id: str, seed: int, vary: tuple[str, ...]
) -> None:
    env = make_vector(env_id, num_envs=2, obs="pixels", vary=vary)
    obs, _ = env.reset(seed=seed)
    with env.sim.show_goal(np.arange(2)):
        np.testing.assert_allclose(env.sim.reader.observe().achieved, obs["desired_goal"], atol=1e-6)
        shown = env.render_frames(size=env.image_size)
    assert np.array_equal(obs["goal_pixels"], shown)
    assert np.array_equal(obs["pixels"], env.render_frames(size=env.image_size)), "and the view is back where it was"
    env.close()


def test_a_snapshot_keeps_pixels_and_fits_only_its_like() -> None:
    env = GoalVectorEnv("push", num_envs=2, obs="pixels", max_episode_steps=5)
    with pytest.raises(UserError, match="call reset"):
        env.snapshot()
    env.reset(seed=3)
    kept = env.snapshot()
    moves = actions(env, 0, 8)
    first = trail(env, moves)
    env.restore(kept)
    assert same(first, trail(env, moves))
    env.close()


@pytest.mark.parametrize(
    ("other", "what"),
    [
        ({"num_envs": 3}, "num_envs"),
        ({"task": "slide"}, "task"),
        ({"task": replace(Push(), tolerance=0.04)}, "task"),
        ({"arm": "xarm7"}, "arm"),
        ({"control": "joint"}, "control"),
        ({"reward": "dense"}, "reward"),
        ({"obs": "pixels", "image_size": 16}, "obs"),
        ({"vary": "mass"}, "vary"),
        ({"max_episode_steps": 20}, "max_episode_steps"),
        ({"arm": "xarm7", "vary": "friction"}, "arm, vary"),
    ],
)
def test_a_snapshot_fits_only_its_like(other: dict[str, Any], what: str) -> None:
    env = GoalVectorEnv("push", num_envs=2, num_threads=1)
    env.reset(seed=3)
    unlike = GoalVectorEnv(**{"task": "push", "num_envs": 2, "num_threads": 1} | other)
    obs, _ = unlike.reset(seed=4)
    with pytest.raises(UserError, match=f"the snapshot is of other environments, with another {what}"):
        unlike.restore(env.snapshot())
    assert same(list(obs.values()), list(unlike.snapshot().obs.values())), "and nothing has changed"


def test_a_single_environment_has_snapshots_too() -> None:
    env = gym.make("goalsight:goalsight/PandaPush-v1").unwrapped
    env.reset(seed=0)
    kept = env.snapshot()
    action = env.expert_action()
    assert action.shape == env.action_space.shape
    seen = env.step(action)[0]
    shown = env.restore(kept)
    assert same([value[0] for value in kept.obs.values()], list(shown.values()))
    assert same(list(seen.values()), list(env.step(action)[0].values()))


@pytest.mark.parametrize("num_envs", [1, 2, 32])
@pytest.mark.parametrize(("name", "goal"), [("push", (3.0, 0.0, 0.025)), ("sort2", (0.45, 0.0, 0.025) * 2)])
def test_a_refused_goal_changes_nothing(name: str, goal: tuple[float, ...], num_envs: int) -> None:
    env, other = (GoalVectorEnv(name, num_envs=num_envs, num_threads=1, vary="mass") for _ in range(2))
    with pytest.raises(UserError, match=rf'task "{name}": goal \[{goal[0]}, .* is out of reach'):
        env.reset(seed=5, options={"goal": goal})
    with pytest.raises(UserError, match="call reset"):
        env.step(env.action_space.sample())
    moves = actions(env, 1, 4)
    for each in (env, other):
        each.reset(seed=2)
        trail(each, moves)
    with pytest.raises(UserError, match=rf'task "{name}": goal \[{goal[0]}, .* is out of reach'):
        env.reset(seed=5, options={"goal": goal})
    assert same(trail(env, moves), trail(other, moves))


@pytest.mark.parametrize(
    ("name", "goal"),
    [
        ("reach", (0.45, 0.0, 0.6)),
        ("reach", (0.75, 0.0, 0.2)),
        ("push", (0.75, 0.2, 0.025)),
        ("pick_place", (0.45, 0.45, 0.2)),
    ],
)
def test_goals_where_control_never_sends_the_hand_are_refused(name: str, goal: tuple[float, ...]) -> None:
    env = GoalVectorEnv(name, num_envs=2, num_threads=1)
    with pytest.raises(UserError, match="is out of reach"):
        env.reset(seed=0, options={"goal": goal})


def test_options_of_reset_must_be_known() -> None:
    for env in (GoalVectorEnv("reach", num_envs=2, num_threads=1), gym.make("goalsight:goalsight/PandaReach-v1")):
        with pytest.raises(UserError, match='no option of reset "gaol"; did you mean "goal"'):
            env.reset(options={"gaol": "high"})

"""Copies and pickles of environments, and the two functions that say when an episode ends."""

import copy
import pickle

import gymnasium as gym
import numpy as np
import pytest


@pytest.mark.parametrize("again", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))], ids=["copy", "pickle"])
@pytest.mark.parametrize("num_envs", [None, 2])
def test_a_copy_is_made_alike_and_not_yet_reset(again, num_envs):
    how = {"obs": "pixels", "image_size": 16, "vary": ("colour",), "max_episode_steps": 7}
    name = "goalsight/PandaPush-v1"
    env = gym.make(name, **how) if num_envs is None else gym.make_vec(name, num_envs=num_envs, **how)
    env.reset(seed=1)
    other = again(env)
    with pytest.raises(Exception, match="reset"):
        other.unwrapped.step(other.action_space.sample())
    first, second = env.reset(seed=3)[0], other.reset(seed=3)[0]
    assert list(first) == list(env.observation_space.spaces)
    assert all(np.array_equal(first[key], second[key]) for key in first)
    actions = env.action_space.sample()
    assert all(
        np.array_equal(one, two)
        for one, two in zip(env.step(actions)[0].values(), other.step(actions)[0].values(), strict=True)
    )
    env.close()
    assert len(other.step(actions)) == 5, "the one does not need the other"
    other.close()


def test_nothing_ends_by_what_is_achieved():
    env = gym.make("goalsight/PandaReach-v1").unwrapped
    goal = env.reset(seed=0)[0]["desired_goal"]
    for ends in (env.compute_terminated, env.compute_truncated):
        assert not ends(goal, goal, {})
        assert ends(np.stack([goal, goal]), np.stack([goal, goal]), {}).tolist() == [False, False]
    env.close()

"""Goal channels: images and numbers by one rule, several cameras at once, a channel of someone else's."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import gymnasium as gym
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as Pictures

from goalsight.base.errors import UserError
from goalsight.envs.config import EnvConfig
from goalsight.envs.goals import CHANNELS, GoalChannel, Stage
from goalsight.envs.making import make, make_goal_envs
from goalsight.envs.vector import GoalVectorEnv

TWO: dict[str, Any] = {"obs": "pixels", "camera": ("front", "wrist"), "num_threads": 1}
SEEN = ["observation", "achieved_goal", "desired_goal"]


@pytest.mark.parametrize(
    ("options", "keys"),
    [
        ({}, SEEN),
        ({"obs": "pixels"}, [*SEEN, "pixels", "goal_pixels"]),
        (
            {"obs": "pixels", "privileged": True, "camera": "wrist"},
            [*SEEN, "pixels", "goal_pixels", "state"],
        ),
        (
            {"obs": "pixels", "camera": ("wrist", "front")},
            [
                "observation",
                "achieved_goal",
                "desired_goal",
                "pixels",
                "goal_pixels",
                "pixels_front",
                "goal_pixels_front",
            ],
        ),
        ({"channels": "image"}, [*SEEN, "pixels", "goal_pixels"]),
    ],
)
def test_keys_of_observations(options: dict[str, Any], keys: list[str]) -> None:
    env = GoalVectorEnv("push", num_envs=2, num_threads=1, image_size=16, **options)
    obs, _ = env.reset(seed=0)
    assert list(obs) == list(env.observation_space) == sorted(keys)
    assert obs in env.observation_space
    assert list(env.step(np.zeros((2, 3)))[0]) == sorted(keys)
    goals = [key for key in keys if key.startswith(("desired", "goal"))]
    assert list(env.goal_keys) == goals
    assert set(env.goal_keys.values()) == {key.removeprefix("goal_").replace("desired", "achieved") for key in goals}


@pytest.mark.parametrize("options", [{}, TWO, {"control": "joint", **TWO}], ids=["state", "two cameras", "joints"])
def test_a_goal_is_what_is_observed_in_the_goal_state(options: dict[str, Any]) -> None:
    env = GoalVectorEnv("pick_place", num_envs=3, **options)
    obs, _ = env.reset(seed=4)
    everyone = np.arange(3)
    with env.sim.show_goal(everyone):
        seen = env.sim.reader.observe()
        shown = {channel.goal: channel.as_goal(channel.observe(seen, everyone)) for channel in env.channels}
    for channel in env.channels:
        np.testing.assert_array_equal(shown[channel.goal], obs[channel.goal])
        np.testing.assert_array_equal(channel.show(everyone), obs[channel.goal])
        assert channel.space.contains(obs[channel.frame][0])


def test_two_cameras_are_each_as_if_they_were_the_only_one() -> None:
    moves = np.random.default_rng(0).uniform(-1, 1, (8, 3, 3))

    def trail(camera: Any) -> list[dict[str, Any]]:
        env = GoalVectorEnv("push", num_envs=3, max_episode_steps=5, **TWO | {"camera": camera, "image_size": 32})
        return [env.reset(seed=1)[0], *(env.step(move)[0] for move in moves)]

    both, front, wrist = trail(("front", "wrist")), trail("front"), trail(["wrist"])
    for seen, one, other in zip(both, front, wrist, strict=True):
        assert all(np.array_equal(seen[key], one[key]) for key in one)
        assert np.array_equal(seen["pixels_wrist"], other["pixels"])
        assert np.array_equal(seen["goal_pixels_wrist"], other["goal_pixels"])
        assert not np.array_equal(seen["pixels"], seen["pixels_wrist"])


def test_a_picture_of_two_cameras(tmp_path: Path) -> None:
    env = GoalVectorEnv("push", num_envs=2, **TWO | {"image_size": 128})
    obs, _ = env.reset(seed=2)
    keys = ("pixels", "goal_pixels", "pixels_wrist", "goal_pixels_wrist")
    rows = [np.concatenate([obs[key][i] for key in keys], axis=1) for i in range(2)]
    Pictures.fromarray(np.concatenate(rows)).save(tmp_path / "cameras.png")
    with Pictures.open(tmp_path / "cameras.png") as picture:
        assert picture.size == (4 * 128, 2 * 128)
    assert all(obs[key].std() > 10 for key in keys), "each shows something"
    # The wrist's camera moves with the hand, which touches the red cube in every goal state: it is in the picture.
    red = (obs["goal_pixels_wrist"][..., 0] > 90) & (obs["goal_pixels_wrist"][..., 2] < 50)
    assert (red.mean(axis=(1, 2)) > 0.03).all()


def test_cameras_in_the_description() -> None:
    config = EnvConfig("goalsight/PandaReach-v1", obs="pixels", camera=("front", "wrist"), image_size=16)
    assert config.arguments()["camera"] == ["front", "wrist"]
    assert EnvConfig.of(config.id, config.arguments()) == config
    assert EnvConfig("a", camera=("wrist",)) == EnvConfig("a", camera="wrist")
    env = make(config, 2, num_threads=1)
    assert env.config == config
    assert gym.make(config.id, **config.arguments()).reset(seed=0)[0]["pixels_wrist"].shape == (16, 16, 3)
    with pytest.raises(UserError, match="each of them once; got front, front"):
        config.change(camera=("front", "front"))
    with pytest.raises(UserError, match='no camera "wrst"; did you mean "wrist"'):
        make(config, camera=("front", "wrst"))
    with pytest.raises(UserError, match="was made elsewhere and knows no camera"):
        make_goal_envs("point_mass:theirs/SightedPoint-v0", obs="pixels", camera=("front", "wrist"))


def test_environments_of_others_say_which_goals_they_show() -> None:
    pair = {"desired_goal": "achieved_goal"}
    assert make_goal_envs("point_mass:theirs/Point-v0").goal_keys == pair
    sighted = make_goal_envs("point_mass:theirs/SightedPoint-v0", obs="pixels")
    assert sighted.goal_keys == pair | {"goal_pixels": "pixels"}


class Left(GoalChannel):
    """A channel as a stranger would write it: whether the goal lies on the left, as a single number."""

    frame, goal = "left", "goal_left"
    space = gym.spaces.Box(0, 1, (1,), np.float32)

    def __init__(self, stage: Stage) -> None:
        self._sim = stage.sim

    @classmethod
    def of(cls, stage: Stage) -> Sequence[Self]:
        return [cls(stage)]

    def observe(self, seen: Any, ids: NDArray[np.int64]) -> NDArray[Any]:
        return (seen.achieved[ids, 1:2] > 0).astype(np.float32)

    def show(self, ids: NDArray[np.int64]) -> NDArray[Any]:
        return (self._sim.desired[ids, 1:2] > 0).astype(np.float32)


def test_a_channel_of_someone_elses_is_a_class_and_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CHANNELS._parts, "left", f"{__name__}:Left")
    env = make(EnvConfig("goalsight/PandaPush-v1", channels=("left",)), 8, num_threads=1, max_episode_steps=3)
    assert isinstance(env, GoalVectorEnv)
    obs, _ = env.reset(seed=0)
    for _ in range(5):
        np.testing.assert_array_equal(obs["goal_left"], obs["desired_goal"][:, 1:2] > 0)
        np.testing.assert_array_equal(obs["left"], obs["achieved_goal"][:, 1:2] > 0)
        obs, *_ = env.step(np.zeros((8, 3)))
    assert env.goal_keys["goal_left"] == "left"
    kept = env.snapshot()
    env.reset(seed=9)
    np.testing.assert_array_equal(env.restore(kept)["goal_left"], obs["goal_left"])
    with pytest.raises(UserError, match='no goal channel "lft"; did you mean "left"'):
        make(EnvConfig("goalsight/PandaPush-v1", channels=("lft",)))

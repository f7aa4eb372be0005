"""Environments for stable-baselines3: autoreset, infos, and each image encoded once."""

from typing import ClassVar

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3 import SAC, HerReplayBuffer

from goalsight.agents.vec_env import GoalVecEnv
from goalsight.envs.vector import GoalVectorEnv


class Slides:
    """A stand-in for GoalVectorEnv whose every image says what it shows: (environment, episode, time, goal or view)."""

    def __init__(self, num_envs: int = 2, horizon: int = 3) -> None:
        self.num_envs, self.horizon, self.render_mode = num_envs, horizon, None
        vector = spaces.Box(-np.inf, np.inf, (3,), np.float32)
        image = spaces.Box(0, 255, (2, 2, 3), np.uint8)
        keys = dict.fromkeys(("observation", "achieved_goal", "desired_goal"), vector)
        self.single_observation_space = spaces.Dict(keys | {"pixels": image, "goal_pixels": image})
        self.single_action_space = spaces.Box(-1, 1, (3,), np.float32)
        self.seeds = None
        self.diverges: set[tuple[int, int]] = set()  # (episode, time)

    goal_keys: ClassVar = {"desired_goal": "achieved_goal", "goal_pixels": "pixels"}

    def image(self, time, kind):
        frames = np.zeros((self.num_envs, 2, 2, 3), np.uint8)
        frames[:, 0, 0] = np.stack(np.broadcast_arrays(np.arange(self.num_envs), self.episode, time), -1)
        frames[:, 1, 1] = kind
        return frames

    def obs(self):
        vectors = np.repeat(self.time[:, None], 3, 1).astype(np.float32)
        return {
            "observation": vectors,
            "achieved_goal": vectors,
            "desired_goal": -vectors,
            "pixels": self.image(self.time, 1),
            "goal_pixels": self.image(0, 2),
        }

    def reset(self, *, seed=None, options=None):
        self.seeds = seed
        self.episode, self.time = np.zeros(self.num_envs, int), np.zeros(self.num_envs, int)
        return self.obs(), {}

    def step(self, actions):
        self.time = self.time + 1
        diverged = np.array([(e, t) in self.diverges for e, t in zip(self.episode, self.time, strict=True)])
        done = (self.time >= self.horizon) | diverged
        last = self.obs()
        info = {"is_success": self.time == 2, "diverged": diverged}
        final = np.full(self.num_envs, None, object)
        for i in np.flatnonzero(done):
            final[i] = {key: value[i] for key, value in last.items()}
        info |= {"final_obs": final, "_final_obs": done}
        self.episode, self.time = self.episode + done, np.where(done, 0, self.time)
        return self.obs(), -np.ones(self.num_envs, np.float32), np.zeros(self.num_envs, bool), done, info

    def compute_reward(self, achieved, desired, info):
        return np.zeros(len(achieved), np.float32)

    def close(self):
        pass


class Reader:
    """Features that read an image's label, and count the frames they were given."""

    def __init__(self) -> None:
        self.calls: list[int] = []

    def __call__(self, frames):
        self.calls.append(len(frames))
        labels = np.concatenate([frames[:, 0, 0], frames[:, 1, 1, :1]], -1)
        return labels[:, None, :].astype(np.float16)  # (n, 1, 4)


LABEL = spaces.Box(-np.inf, np.inf, (1, 4), np.float16)


@pytest.mark.parametrize("background", [False, True])
def test_each_image_is_encoded_once_and_goals_once_per_episode(background):
    env, reader = Slides(), Reader()
    venv = GoalVecEnv(env, reader, LABEL, background=background)
    obs = venv.reset()
    assert obs["features"][:, 0].tolist() == [[0, 0, 0, 1], [1, 0, 0, 1]]
    assert obs["goal_features"][:, 0].tolist() == [[0, 0, 0, 2], [1, 0, 0, 2]]
    for _ in range(2):
        obs, _, dones, infos = venv.step(np.zeros((2, 3), np.float32))
        assert not dones.any()
        assert "terminal_observation" not in infos[0]
    assert [info["is_success"] for info in infos] == [True, True]
    obs, _, dones, infos = venv.step(np.zeros((2, 3), np.float32))
    assert dones.all()
    # The new episode's first frame and goal, and the old one's last frame with the old goal.
    assert obs["features"][:, 0].tolist() == [[0, 1, 0, 1], [1, 1, 0, 1]]
    assert obs["goal_features"][:, 0].tolist() == [[0, 1, 0, 2], [1, 1, 0, 2]]
    last = infos[1]["terminal_observation"]
    assert last["features"][0].tolist() == [1, 0, 3, 1]
    assert last["goal_features"][0].tolist() == [1, 0, 0, 2]
    assert last["observation"].tolist() == [3, 3, 3]
    assert set(last) == set(obs) == set(venv.observation_space.spaces)
    # Two views and two goals; two views, twice; two views, two goals and two last frames. One call each.
    assert reader.calls == [4, 2, 2, 6]
    venv.close()


def test_time_limits_and_divergence_are_told_apart_from_ends():
    env = Slides()
    env.diverges = {(0, 1)}
    venv = GoalVecEnv(env, Reader(), LABEL)
    venv.seed(70)
    venv.reset()
    assert env.seeds == [70, 71]
    _, _, dones, infos = venv.step(np.zeros((2, 3), np.float32))
    assert dones.all()
    assert infos[0]["TimeLimit.truncated"]
    assert infos[0]["diverged"]
    assert not infos[0]["is_success"]
    venv.reset()
    assert env.seeds is None  # seeds serve one reset


def test_a_goal_seen_earlier_is_not_overwritten():
    venv = GoalVecEnv(Slides(horizon=1), Reader(), LABEL)
    first = venv.reset()
    venv.step(np.zeros((2, 3), np.float32))
    assert first["goal_features"][:, 0, 1].tolist() == [0, 0]


def test_what_is_handed_out_belongs_to_the_caller():
    spoilt, whole = (GoalVecEnv(Slides(horizon=3), Reader(), LABEL) for _ in range(2))
    for seen in (spoilt.reset(), spoilt.step(np.zeros((2, 3), np.float32))[0]):
        for value in seen.values():
            value[:] = 77
    whole.reset()
    whole.step(np.zeros((2, 3), np.float32))
    for _ in range(3):  # over the end of the episodes
        (one, *_, infos), (other, *_, expected) = (venv.step(np.zeros((2, 3), np.float32)) for venv in (spoilt, whole))
        assert all(np.array_equal(one[key], other[key]) for key in other)
        for info, known in zip(infos, expected, strict=True):
            for key, value in known.get("terminal_observation", {}).items():
                assert np.array_equal(info["terminal_observation"][key], value)


class TwoCameras(Slides):
    """Slides that a second camera sees too; its images have another kind."""

    goal_keys: ClassVar = Slides.goal_keys | {"goal_pixels_wrist": "pixels_wrist"}

    def __init__(self) -> None:
        super().__init__()
        image = spaces.Box(0, 255, (2, 2, 3), np.uint8)
        parts = self.single_observation_space.spaces | {"pixels_wrist": image, "goal_pixels_wrist": image}
        self.single_observation_space = spaces.Dict(parts)

    def obs(self):
        return super().obs() | {"pixels_wrist": self.image(self.time, 3), "goal_pixels_wrist": self.image(0, 4)}


def test_features_of_two_cameras_lie_side_by_side():
    reader = Reader()
    venv = GoalVecEnv(TwoCameras(), reader, spaces.Box(-np.inf, np.inf, (2, 4), np.float16))
    obs = venv.reset()
    assert set(obs) == set(venv.observation_space.spaces)
    assert venv.goal_keys == {"desired_goal": "achieved_goal", "goal_features": "features"}
    assert obs["features"][1].tolist() == [[1, 0, 0, 1], [1, 0, 0, 3]]
    assert obs["goal_features"][1].tolist() == [[1, 0, 0, 2], [1, 0, 0, 4]]
    for _ in range(3):
        _, _, _, infos = venv.step(np.zeros((2, 3), np.float32))
    assert infos[0]["terminal_observation"]["features"].tolist() == [[0, 0, 3, 1], [0, 0, 3, 3]]
    assert reader.calls == [8, 4, 4, 12]


def test_features_need_a_space():
    with pytest.raises(ValueError, match="feature_space"):
        GoalVecEnv(Slides(), Reader())


def test_stock_sac_and_her_learn_on_the_batch():
    env = GoalVectorEnv("reach", num_envs=4, num_threads=1, max_episode_steps=10)
    stock = SAC(
        "MultiInputPolicy",
        GoalVecEnv(env),
        replay_buffer_class=HerReplayBuffer,
        learning_starts=60,
        batch_size=16,
        buffer_size=400,
        policy_kwargs={"net_arch": [16]},
        seed=0,
    )
    stock.learn(120)
    assert stock.num_timesteps == 120
    assert stock.replay_buffer.sample(8).rewards.shape == (8, 1)
    env.close()


def test_stock_sac_and_her_learn_on_the_gymnasium_environment():
    env = gym.make("goalsight:goalsight/PandaReach-v1", num_threads=1)
    stock = SAC(
        "MultiInputPolicy",
        env,
        replay_buffer_class=HerReplayBuffer,
        learning_starts=100,
        batch_size=16,
        buffer_size=400,
        train_freq=4,
        policy_kwargs={"net_arch": [16]},
        seed=0,
    )
    stock.learn(300)
    assert stock.num_timesteps == 300
    relabelled = stock.replay_buffer.sample(64).rewards
    assert set(np.unique(relabelled)) <= {-1.0, 0.0}
    env.close()

"""A goal environment of someone else's, for tests: a point on a plane that moves as it is told, in centimetres."""

import threading

import gymnasium as gym
import numpy as np


class PointMass(gym.Env):
    """Observations as `gymnasium_robotics.GoalEnv` has them; terminal, as panda-gym's, where the goal is reached."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012
    STEP = 3.0  # [cm]

    def __init__(self, render_mode=None, batched=True):
        self.render_mode, self.batched = render_mode, batched
        plane = gym.spaces.Box(-np.inf, np.inf, (2,))
        self.observation_space = gym.spaces.Dict({"observation": plane, "achieved_goal": plane, "desired_goal": plane})
        self.action_space = gym.spaces.Box(-self.STEP, self.STEP, (2,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place, self.goal = self.np_random.uniform(-10, 10, (2, 2))
        return self._obs(), {}

    def step(self, action):
        self.place = np.clip(self.place + action, -12, 12)
        reward = self.compute_reward(self.place, self.goal, {})
        return self._obs(), float(reward), bool(reward == 0), False, {"is_success": bool(reward == 0)}

    def compute_reward(self, achieved_goal, desired_goal, info):
        if not self.batched and np.ndim(achieved_goal) > 1:
            raise ValueError("one at a time")
        return -(np.linalg.norm(achieved_goal - desired_goal, axis=-1) > 1.0).astype(np.float32)

    def render(self):
        frame = np.full((60, 80, 3), 230, np.uint8)
        for place, colour in ((self.goal, (40, 160, 60)), (self.place, (200, 30, 30))):
            x, y = (30 + 2 * place).astype(int)
            frame[y - 2 : y + 3, x + 8 : x + 13] = colour
        return frame

    def _obs(self):
        place = self.place.copy()
        return {"observation": place, "achieved_goal": place.copy(), "desired_goal": self.goal.copy()}


class SightedPoint(PointMass):
    """Observes pictures too, drawn as OpenGL does: by the thread that made it alone."""

    def __init__(self, render_mode=None):
        super().__init__(render_mode)
        image = gym.spaces.Box(0, 255, (64, 64, 3), np.uint8)
        self.observation_space = gym.spaces.Dict({**self.observation_space, "pixels": image, "goal_pixels": image})
        self._thread = threading.get_ident()

    def _picture(self, place):
        if threading.get_ident() != self._thread:
            raise RuntimeError("drawn by another thread")
        frame = np.full((64, 64, 3), 230, np.uint8)
        x, y = (32 + 2 * place).astype(int)
        frame[y - 3 : y + 4, x - 3 : x + 4] = (200, 30, 30)
        return frame

    def _obs(self):
        return super()._obs() | {"pixels": self._picture(self.place), "goal_pixels": self._picture(self.goal)}


class NoGoals(gym.Env):
    """No goal environment."""

    observation_space = gym.spaces.Box(-1, 1, (2,))
    action_space = gym.spaces.Box(-1, 1, (2,))


gym.register("theirs/Point-v0", PointMass, max_episode_steps=10)
gym.register("theirs/PointOneByOne-v0", PointMass, max_episode_steps=10, kwargs={"batched": False})
gym.register("theirs/SightedPoint-v0", SightedPoint, max_episode_steps=10)
gym.register("theirs/NoGoals-v0", NoGoals, max_episode_steps=10)
gym.register("theirs/Endless-v0", PointMass)

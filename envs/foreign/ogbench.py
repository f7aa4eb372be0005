"""OGBench's manipulation environments in the style of `GoalEnv`, with images of what is seen and of the goal.

Goals are what OGBench calls oracle representations: places of cubes, states of buttons, openings of drawer and window.
Park et al., OGBench: Benchmarking Offline Goal-Conditioned RL, ICLR 2025.
"""

from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

ENTRY_POINT = "ogbench.manipspace.envs."  # of all of them
OPTIONS = {"use_oracle_rep": True, "terminate_at_goal": False}  # episodes end with their steps
TOLERANCE = 0.04  # of a cube, a drawer and a window [m], OGBench's own
CUBE_SCALE, DRAWER_SCALE, WINDOW_SCALE = 10.0, 18.0, 15.0  # of oracle representations [1/m], likewise
Obs = dict[str, NDArray[Any]]


class OGBenchGoals(gym.Wrapper[Obs, NDArray[Any], Any, NDArray[Any]]):
    """One of OGBench's environments, made with `OPTIONS`; draws one of its tasks for each episode.

    Observations hold `observation` (all that OGBench observes from state; from pixels the robot alone),
    `achieved_goal` and `desired_goal`, and from pixels also `pixels`, `goal_pixels` and `state`.
    """

    def __init__(self, env: "gym.Env[Any, Any]") -> None:
        """Wrap it."""
        super().__init__(env)
        self._raw: Any = env.unwrapped
        self.pixels = len(env.observation_space.shape or ()) == 3
        self._rng = np.random.default_rng()
        obs, _ = self.reset(seed=0)
        self.observation_space: Any = gym.spaces.Dict(
            {
                key: gym.spaces.Box(0, 255, value.shape, np.uint8)
                if value.dtype == np.uint8
                else gym.spaces.Box(-np.inf, np.inf, value.shape, np.float32)
                for key, value in obs.items()
            }
        )
        self._limits = self._tolerances(len(obs["desired_goal"]))

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Obs, dict[str, Any]]:
        """Begin one of the tasks; a seed decides which, and all else."""
        if seed is not None:
            self._rng = np.random.default_rng(seed)
        task = int(self._rng.integers(1, self._raw.num_tasks + 1))
        before = np.random.get_state()  # noqa: NPY002 (OGBench draws from NumPy's global generator)
        try:
            np.random.seed(int(self._rng.integers(2**32)))  # noqa: NPY002
            asked = {"task_id": task, "render_goal": self.pixels} | (options or {})
            obs, info = self.env.reset(seed=seed, options=asked)
        finally:
            np.random.set_state(before)  # noqa: NPY002
        self._goal = np.asarray(info["goal"], np.float32)
        self._goal_pixels = np.asarray(info["goal_rendered"], np.uint8) if self.pixels else None
        return self._observe(obs), info

    def step(self, action: NDArray[Any]) -> tuple[Obs, Any, bool, bool, dict[str, Any]]:
        """Step; the reward is 0 where the goal is reached, else -1."""
        obs, _, terminated, truncated, info = self.env.step(action)
        seen = self._observe(obs)
        reward = self.compute_reward(seen["achieved_goal"], seen["desired_goal"], info)
        return seen, reward, terminated, truncated, info

    def compute_reward(self, achieved_goal: Any, desired_goal: Any, info: Any) -> Any:
        """0 where goals (..., G) agree as OGBench would have them, else -1."""
        off = np.abs(np.asarray(achieved_goal) - np.asarray(desired_goal))
        cubes = off[..., : 3 * self._cubes].reshape(*off.shape[:-1], self._cubes, 3)
        near = (np.linalg.norm(cubes, axis=-1) <= TOLERANCE * CUBE_SCALE).all(axis=-1)
        near &= (off[..., 3 * self._cubes :] <= self._limits).all(axis=-1)
        return np.where(near, 0.0, -1.0)

    @property
    def _cubes(self) -> int:
        return int(getattr(self._raw, "_num_cubes", 0))

    def _tolerances(self, goal_size: int) -> NDArray[np.float64]:
        """By how much each number of a goal that is not of a cube may be off: buttons not at all."""
        limits = np.full(goal_size - 3 * self._cubes, 0.5)
        buttons = int(getattr(self._raw, "_num_buttons", 0))
        limits[buttons:] = TOLERANCE * np.array([DRAWER_SCALE, WINDOW_SCALE])[: len(limits) - buttons]
        return limits

    def _observe(self, obs: Any) -> Obs:
        achieved = np.asarray(self._raw.compute_oracle_observation(), np.float32)
        goals = {"achieved_goal": achieved, "desired_goal": self._goal}
        if not self.pixels:
            return {"observation": np.asarray(obs, np.float32), **goals}
        known = self._raw.compute_ob_info()
        robot = [np.ravel(value) for name, value in known.items() if name.startswith("proprio/")]
        proprioception = np.concatenate(robot).astype(np.float32)
        images = {"pixels": np.asarray(obs, np.uint8), "goal_pixels": np.asarray(self._goal_pixels)}
        return {"observation": proprioception, **goals, **images, "state": np.concatenate([proprioception, achieved])}

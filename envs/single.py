"""`GoalEnv`: the same code as `GoalVectorEnv`, with one simulation, as a `gymnasium.Env`."""

import os
import sys
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from goalsight.base.errors import UserError, choose
from goalsight.envs.snapshots import Snapshot
from goalsight.envs.vector import HUMAN, RENDER_MODES, GoalVectorEnv, Obs

if TYPE_CHECKING:
    from goalsight.envs.rendering.window import Window

ENDLESS = 2**62  # truncation is Gymnasium's TimeLimit's business


class GoalEnv(gym.Env[Obs, NDArray[np.float32]]):
    """One goal-conditioned environment; takes the arguments of `GoalVectorEnv` but for `num_envs`.

    Episodes do not end by themselves: `gymnasium.make` adds the time limit. Only diverged physics truncates.
    """

    metadata = {"render_modes": [*RENDER_MODES, HUMAN], "render_fps": 25}  # noqa: RUF012 (Gymnasium's own declaration)

    def __init__(self, task: Any = "reach", arm: Any = "panda", **kwargs: Any) -> None:
        """See `GoalVectorEnv`; `render_mode` may also be "human", which shows all that happens in a window.

        Raises:
            UserError: what `GoalVectorEnv` raises; there is no display for a window.
        """
        self._given = {"task": task, "arm": arm, **kwargs}
        self.render_mode = kwargs.get("render_mode")
        if self.render_mode is not None:
            choose("render mode", self.render_mode, type(self).metadata["render_modes"])
        watched = self.render_mode == HUMAN
        if not watched and not _has_display():  # whoever tries all modes, as Gymnasium's check does, leaves it out
            self.metadata = {**type(self).metadata, "render_modes": [*RENDER_MODES]}
        kwargs = {"num_threads": 1} | kwargs | ({"render_mode": None} if watched else {})
        self.vector = GoalVectorEnv(task, arm, 1, max_episode_steps=ENDLESS, autoreset_mode="disabled", **kwargs)
        self._window = self._make_window() if watched else None
        self.observation_space = self.vector.single_observation_space
        self.action_space = self.vector.single_action_space

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Obs, dict[str, Any]]:
        """Start a new episode, from a new stream if seeded; `options` may hold a `goal`, as in `GoalVectorEnv`."""
        super().reset(seed=seed)
        for name in options or {}:
            choose("option of reset", name, ("goal",))
        obs, info = self.vector.reset(seed=seed, options=options)
        self._show()
        return _row(obs), _scalars(info)

    def step(self, action: NDArray[Any]) -> tuple[Obs, float, bool, bool, dict[str, Any]]:
        """Apply one action, shape (A,).

        Raises:
            UserError: a wrong shape, a number that is not finite, or no reset before.
        """
        action = np.asarray(action)
        if action.shape != self.action_space.shape:
            raise UserError(f"an action must have shape {self.action_space.shape}, got {action.shape}")
        obs, reward, _, truncated, info = self.vector.step(action[None])
        self._show()
        return _row(obs), float(reward[0]), False, bool(truncated[0]), _scalars(info)

    def __getstate__(self) -> dict[str, Any]:
        """See `GoalVectorEnv.__getstate__`."""
        return self._given

    def __setstate__(self, given: dict[str, Any]) -> None:
        """Make it."""
        self.__init__(**given)  # type: ignore[misc]

    def compute_terminated(self, achieved_goal: Any, desired_goal: Any, info: Any) -> Any:
        """Whether an episode ends where this was achieved and that was asked for, as Gymnasium-Robotics has it: never.

        Args:
            achieved_goal: (..., G).
            desired_goal: (..., G).
            info: not needed.

        Returns:
            False, or bool (...) for several.
        """
        return np.zeros(np.shape(achieved_goal)[:-1], bool)[()]

    def compute_truncated(self, achieved_goal: Any, desired_goal: Any, info: Any) -> Any:
        """Whether it is cut off, likewise: never, but by the time limit, which does not depend on goals."""
        return self.compute_terminated(achieved_goal, desired_goal, info)

    def compute_reward(self, achieved_goal: Any, desired_goal: Any, info: Any) -> Any:
        """See `GoalVectorEnv.compute_reward`."""
        return self.vector.compute_reward(achieved_goal, desired_goal, info)

    def expert_action(self) -> NDArray[np.float32]:
        """Action of the task's scripted expert in the present state, shape (A,)."""
        return self.vector.expert_action()[0]

    def snapshot(self) -> Snapshot:
        """See `GoalVectorEnv.snapshot`; a time limit that `gymnasium.make` adds counts on as if nothing was."""
        return self.vector.snapshot()

    def restore(self, snapshot: Snapshot) -> Obs:
        """See `GoalVectorEnv.restore`."""
        return _row(self.vector.restore(snapshot))

    def render(self) -> NDArray[Any] | None:
        """The view at 480 px: uint8 (480, 480, 3) when `render_mode` is "rgb_array", or distances when "depth_array".

        These are float32 (480, 480) [m], see `GoalVectorEnv.depth_frames`. When it is "human", the window shows what
        is now, as it does after each reset and step without being told.
        """
        self._show()
        frames = self.vector.render()
        return None if frames is None else frames[0]

    def close(self) -> None:
        """Release the cameras, and close the window."""
        if self._window is not None:
            self._window.close()
        self.vector.close()

    def _make_window(self) -> "Window":
        from goalsight.envs.rendering.window import Window  # only here: nobody else needs a display

        return Window(self.vector.batch)

    def _show(self) -> None:
        if self._window is not None:
            self._window.show()


def _has_display() -> bool:
    """Whether there may be a display; whether a window can be opened on it is found out when one is asked for."""
    return sys.platform != "linux" or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))


def _row(obs: Obs) -> Obs:
    return {key: value[0] for key, value in obs.items()}


def _scalars(info: dict[str, Any]) -> dict[str, Any]:
    return {key: bool(info[key][0]) for key in ("is_success", "diverged")}

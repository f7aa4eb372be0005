"""Goal environments of others where an id is taken: any Gymnasium environment in the style of `GoalEnv`.

That is, one whose observations are dictionaries with `observation`, `achieved_goal` and `desired_goal`, and which has
`compute_reward(achieved_goal, desired_goal, info)`: those of Gymnasium-Robotics and of panda-gym, and many of users. If
they hold `pixels` and `goal_pixels` as well, agents can act from images; OGBench's are made such by `OGBenchGoals`.
"""

import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from goalsight.base.errors import UserError, blaming, in_one_line
from goalsight.envs.autoreset import check_begun, check_mask, copied, final_of, info_of, mode_of, seed_each
from goalsight.envs.foreign import fetch
from goalsight.envs.foreign.ogbench import ENTRY_POINT, OPTIONS, OGBenchGoals

Obs = dict[str, NDArray[Any]]
KEYS = ("observation", "achieved_goal", "desired_goal")
IMAGES = ("pixels", "goal_pixels")
PRIVILEGED = "state"  # what critics may see that act from images
# Options of this project's own environments that others do not have, as they usually are.
OURS: dict[str, Any] = {
    "vary": (),
    "aids": (),
    "channels": (),
    "control": "ee",
    "reward": "sparse",
    "camera": "front",
    "renderer": "raytrace",
}


@dataclass(frozen=True)
class ForeignTask:
    """What is known of the task of an environment that was made elsewhere."""

    name: str
    goals: dict[str, tuple[float, ...]] = field(default_factory=dict)  # it has no named ones


class AdaptedVectorEnv(VectorEnv[Obs, NDArray[Any], NDArray[Any]]):
    """N environments of one foreign id, stepped one after the other, with the conventions of `GoalVectorEnv`.

    Actions are in [-1, 1] and spread over the environment's own range. Episodes have a fixed length: that the
    environment calls a state terminal, as some do when the goal is reached, does not end one. `info["is_success"]` is
    what the environment says under that name, or under "success"; where it says neither, a reward that is not negative
    counts. There is no expert.
    """

    has_expert = False

    def __init__(
        self,
        env_id: str,
        num_envs: int = 1,
        *,
        max_episode_steps: int | None = None,
        obs: str = "state",
        autoreset_mode: str | AutoresetMode = AutoresetMode.SAME_STEP,
    ) -> None:
        """Make the environments.

        Args:
            env_id: as `gymnasium.make` takes it.
            num_envs: N.
            max_episode_steps: horizon; None takes the environment's own.
            obs: "state", or "pixels" where the environment observes images.
            autoreset_mode: as in `GoalVectorEnv`.

        Raises:
            UserError: it cannot be made, is no goal environment, or has no horizon.
        """
        if num_envs < 1:
            raise UserError(f"num_envs must be at least 1, got {num_envs}")
        horizon = max_episode_steps if max_episode_steps is not None else _spec(env_id).max_episode_steps
        if horizon is None:
            raise UserError(f"{env_id} is registered without max_episode_steps, so its episodes have no end")
        self.env_id, self.num_envs, self.horizon = env_id, num_envs, horizon
        self.autoreset_mode = mode_of(autoreset_mode)
        self.metadata = {"render_modes": ["rgb_array"], "autoreset_mode": self.autoreset_mode}
        self.bound_to_thread = obs == "pixels"  # an OpenGL context belongs to the thread that made it
        if obs == "pixels":
            _choose_opengl()
        self._envs = [_make(env_id, horizon) for _ in range(num_envs)]
        first = self._envs[0]
        _check(env_id, first)
        self.task = ForeignTask(env_id.rpartition(":")[2].rpartition("/")[2])
        given: Any = first.observation_space
        self._keys = KEYS + tuple(key for key in (*IMAGES, PRIVILEGED) if obs == "pixels" and key in given.spaces)
        if obs == "pixels" and not set(IMAGES) <= set(self._keys):
            raise UserError(f"{env_id} has no goal images; choose obs state")
        own: Any = first.action_space
        self._low, self._high = own.low.astype(np.float64), own.high.astype(np.float64)
        self.single_observation_space = gym.spaces.Dict(
            {
                key: given[key] if key in IMAGES else gym.spaces.Box(-np.inf, np.inf, given[key].shape, np.float32)
                for key in self._keys
            }
        )
        self.single_action_space = gym.spaces.Box(-1.0, 1.0, own.shape, np.float32)
        self.observation_space: Any = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._obs: Obs | None = None
        self._elapsed = np.zeros(num_envs, np.int64)
        self._success = np.zeros(num_envs, bool)
        self._over = np.zeros(num_envs, bool)  # episodes that have ended and are still to be reset
        self._batched: bool | None = None

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Obs, dict[str, Any]]:
        """Start new episodes; an int s seeds environment i with s + i. The option `reset_mask` is `GoalVectorEnv`'s.

        Raises:
            UserError: another option is given; such environments draw their own goals.
        """
        for name, value in (options or {}).items():
            if value is not None and name != "reset_mask":
                raise UserError(f"{self.env_id} draws its own goals; it takes no {name}")
        seeds = seed_each(seed, self.num_envs)
        mask = check_mask((options or {}).get("reset_mask"), self.num_envs, first=self._obs is None)
        spaces: Any = self.observation_space
        obs = self._obs if self._obs is not None else {key: np.zeros_like(spaces[key].low) for key in self._keys}
        self._obs = self._restart(mask, obs, seeds)
        success, diverged = np.zeros((2, self.num_envs), bool)
        return copied(self._obs), info_of(success, diverged, mask)

    def _restart(self, mask: NDArray[np.bool_], obs: Obs, seeds: Sequence[int | None] | None = None) -> Obs:
        """Begin new episodes where `mask` (N,) is set; the rows of the others stay those of `obs`."""
        obs = copied(obs)
        for index in np.flatnonzero(mask):
            with blaming(f"{self.env_id} failed"):
                fresh = self._row(self._envs[index].reset(seed=None if seeds is None else seeds[int(index)])[0])
            for key in self._keys:
                obs[key][index] = fresh[key]
        self._elapsed[mask], self._success[mask], self._over[mask] = 0, False, False
        return obs

    def step(
        self, actions: NDArray[Any]
    ) -> tuple[Obs, NDArray[Any], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """Apply actions, shape (N, A); see `GoalVectorEnv.step`."""
        actions = np.asarray(actions, np.float64)
        if actions.shape != self.action_space.shape or not np.isfinite(actions).all():
            raise UserError(f"actions must be finite, of shape {self.action_space.shape}, got {actions.shape}")
        own = self._low + (self._high - self._low) * 0.5 * (1 + np.clip(actions, -1, 1))
        if self._obs is None:
            raise UserError("call reset() before step()")
        check_begun(self._over, self.autoreset_mode)
        obs, rewards = copied(self._obs), np.zeros(self.num_envs, np.float32)
        begun = self._over.copy()  # next-step autoreset: to be reset now, instead of stepped
        self._elapsed += 1
        with blaming(f"{self.env_id} failed"):
            for i in np.flatnonzero(~begun):
                row, reward, _, _, said = self._envs[i].step(own[i].astype(np.float32))
                for key, value in self._row(row).items():
                    obs[key][i] = value
                rewards[i] = float(reward)
                self._success[i] = bool(said.get("is_success", said.get("success", rewards[i] >= 0)))
            if not np.isfinite(rewards).all():
                raise ValueError("its reward is not finite")
        obs = self._restart(begun, obs)
        info = self._info()
        truncated = self._elapsed >= self.horizon
        if self.autoreset_mode != AutoresetMode.SAME_STEP:
            self._over = truncated.copy()
        elif truncated.any():
            info |= final_of(obs, info, truncated)
            obs = self._restart(truncated, obs)
        self._obs = obs
        return copied(obs), rewards, np.zeros(self.num_envs, bool), truncated, info

    @property
    def goal_keys(self) -> dict[str, str]:
        """As in `GoalVectorEnv`."""
        keys = {"desired_goal": "achieved_goal", IMAGES[1]: IMAGES[0]}
        return {goal: frame for goal, frame in keys.items() if goal in self._keys}

    def compute_reward(self, achieved_goal: Any, desired_goal: Any, info: Any) -> NDArray[np.float32]:
        """The environment's own reward of goals (..., G), in one call where it takes batches; float32 (...)."""
        achieved, desired = np.asarray(achieved_goal, np.float64), np.asarray(desired_goal, np.float64)
        flat = achieved.reshape(-1, achieved.shape[-1]), desired.reshape(-1, desired.shape[-1])
        if self._batched is None:
            self._batched = self._takes_batches()
        with blaming(f"{self.env_id} failed"):
            rewards = self._own_reward(*flat) if self._batched else self._one_by_one(*flat)
        return np.asarray(rewards, np.float32).reshape(achieved.shape[:-1])

    def _own_reward(self, achieved: Any, desired: Any) -> Any:
        return self._envs[0].get_wrapper_attr("compute_reward")(achieved, desired, {})

    def _row(self, obs: Any) -> Obs:
        """An observation of one environment as arrays."""
        row = {key: np.asarray(obs[key], np.uint8 if key in IMAGES else np.float32) for key in self._keys}
        spaces: Any = self.single_observation_space
        for key, array in row.items():
            shape = spaces[key].shape
            if array.shape != shape:
                raise ValueError(f"its {key} has shape {array.shape}, its space says {shape}")
            if not np.isfinite(array).all():
                raise ValueError(f"its {key} is not finite")
        return row

    def _one_by_one(self, achieved: NDArray[Any], desired: NDArray[Any]) -> list[float]:
        return [float(self._own_reward(a, d)) for a, d in zip(achieved, desired, strict=True)]

    def _takes_batches(self) -> bool:
        """Whether its reward of many goals is that of each."""
        size = self.observation_space["desired_goal"].shape[1:]
        rng = np.random.default_rng(0)
        near = np.linspace(0, 1, 8)[:, None] * rng.normal(size=(8, *size))
        try:
            many = np.asarray(self._own_reward(near, np.zeros_like(near)))
        except Exception:  # whatever a stranger's function makes of what it does not expect
            return False
        return many.shape == (8,) and np.allclose(many, self._one_by_one(near, np.zeros_like(near)))

    def expert_action(self) -> NDArray[np.float32]:
        """There is none.

        Raises:
            UserError: always.
        """
        raise UserError(f"{self.env_id} brings no expert; choices: nothing, random, or a trained agent")

    def render_frames(
        self, *, size: int = 480, camera: str = "front", ids: NDArray[np.int64] | None = None
    ) -> NDArray[np.uint8]:
        """Pictures by the environments' own renderer, made square, (n, size, size, 3).

        Raises:
            UserError: they draw no pictures, or a camera is named.
        """
        if camera != "front":
            raise UserError(f"{self.env_id} has its own camera only; leave out camera {camera}")
        return np.stack([self._picture(i, size) for i in (range(self.num_envs) if ids is None else ids)])

    def _picture(self, index: int, size: int) -> NDArray[np.uint8]:
        _choose_opengl()
        try:
            frame = self._envs[index].render()
        except Exception as error:  # whatever a stranger's renderer raises
            raise UserError(f"{self.env_id} cannot be drawn: {in_one_line(error)}") from error
        if not isinstance(frame, np.ndarray):
            raise UserError(f'{self.env_id} draws no pictures: it has no render mode "rgb_array"')
        return _square(frame, size)

    def goal_frames(
        self, *, size: int = 480, ids: NDArray[np.int64] | None = None, **_: Any
    ) -> NDArray[np.uint8] | None:
        """Goal images, made square, (n, size, size, 3); None where only the environment could draw them."""
        if self._obs is None or IMAGES[1] not in self._obs:
            return None
        goals = self._obs[IMAGES[1]]
        return np.stack([_square(goals[i], size) for i in (range(self.num_envs) if ids is None else ids)])

    def close_extras(self, **kwargs: Any) -> None:
        """Close the environments."""
        for env in self._envs:
            env.close()

    def _info(self) -> dict[str, Any]:
        return info_of(self._success, np.zeros(self.num_envs, bool), np.ones(self.num_envs, bool))


def adapt(env_id: str, num_envs: int, **options: Any) -> AdaptedVectorEnv:
    """Make foreign environments with options meant for this project's own.

    Raises:
        UserError: an option asks for what such environments do not have.
    """
    for name, usual in OURS.items():
        if options.get(name) and options[name] != usual:
            raise UserError(f"{env_id} was made elsewhere and knows no {name}")
    chosen = {name: options[name] for name in ("max_episode_steps", "obs", "autoreset_mode") if name in options}
    env = AdaptedVectorEnv(env_id, num_envs, **chosen)
    if options.get("obs") == "pixels":
        seen: Any = env.single_observation_space
        size = seen[IMAGES[0]].shape[0]
        if options.get("image_size", size) != size:
            env.close()
            raise UserError(f"{env_id} gives images of {size} px; choose image_size {size}")
    return env


def _spec(env_id: str) -> Any:
    """How an id, whose module has been imported, is registered."""
    return gym.spec(env_id.rpartition(":")[2])


def _make(env_id: str, horizon: int) -> "gym.Env[Any, Any]":
    reason, entry = "", _spec(env_id).entry_point
    ogbench = isinstance(entry, str) and entry.startswith(ENTRY_POINT)
    own = OPTIONS if ogbench else {}
    if isinstance(entry, str) and entry.startswith(fetch.ENTRY_POINT):
        fetch.let_start()
    for drawing in ({"render_mode": "rgb_array"}, {}):  # some know no render modes, which matters to films alone
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                env = gym.make(env_id, max_episode_steps=horizon, disable_env_checker=True, **drawing, **own)
                return OGBenchGoals(env) if ogbench else env
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # whatever a stranger's constructor raises; it may even try to exit
            reason = in_one_line(error)
    raise UserError(f"{env_id} cannot be made: {reason}")


@cache
def _choose_opengl() -> None:
    from goalsight.envs.rendering.opengl import offer_platform

    with suppress(UserError):  # where no OpenGL works, the environment may have a renderer of its own
        offer_platform()


def _check(env_id: str, env: "gym.Env[Any, Any]") -> None:
    space: Any = env.observation_space
    missing = [key for key in KEYS if not isinstance(space, gym.spaces.Dict) or key not in space.spaces]
    if missing or not env.has_wrapper_attr("compute_reward"):
        lacks = ", ".join([*(f'observation "{key}"' for key in missing), *["compute_reward"] * (not missing)])
        raise UserError(f"{env_id} is no goal environment: it lacks {lacks}")
    odd = [key for key in KEYS if not isinstance(space[key], gym.spaces.Box)]
    if odd or space["achieved_goal"].shape != space["desired_goal"].shape:
        what = f'its "{odd[0]}" is no box' if odd else "its achieved and desired goals differ in shape"
        raise UserError(f"{env_id} is no goal environment that is known here: {what}")
    actions = env.action_space
    if not isinstance(actions, gym.spaces.Box) or not actions.is_bounded() or len(actions.shape) != 1:
        raise UserError(f"{env_id} has no continuous, bounded actions in a row")


def _square(frame: NDArray[Any], size: int) -> NDArray[np.uint8]:
    """The middle of a frame (H, W, 3), resized to (size, size, 3)."""
    from PIL import Image

    picture = Image.fromarray(frame.astype(np.uint8))
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    square = picture.crop((left, top, left + side, top + side)).resize((size, size), Image.Resampling.LANCZOS)
    return np.asarray(square)

"""GoalVectorEnv as a `stable_baselines3` VecEnv, its images turned into features once, when a frame is recorded."""

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv

from goalsight.agents.costs import Costs
from goalsight.agents.networks.features import encode
from goalsight.base.training_state import State
from goalsight.envs.snapshots import snapshot_of, snapshot_state
from goalsight.envs.vector import GoalVectorEnv

if TYPE_CHECKING:
    from goalsight.envs.making import GoalEnvs

Observation = dict[str, NDArray[Any]]
Features = Callable[[NDArray[np.uint8]], NDArray[Any]]  # (n, H, W, 3) -> (n, ...)

FEATURES, GOAL_FEATURES = "features", "goal_features"
STEPPING, DRAWING, ENCODING = "stepping", "drawing", "encoding"  # costs


def image_keys(env: "GoalEnvs") -> list[tuple[str, str]]:
    """Return the keys of frame and goal of each channel that shows images, one for each camera."""
    space: Any = env.single_observation_space
    return [(frame, goal) for goal, frame in env.goal_keys.items() if space[frame].dtype == np.uint8]


class GoalVecEnv(VecEnv):
    """The environments as stable-baselines3 wants them.

    With `features`, images and goal images become `features` and `goal_features`, those of several cameras side by
    side. A goal image stays the same for an episode, so it is encoded when the episode begins, in one batch with the
    frames.

    Args:
        env: the environments; resets a finished one within the step.
        features: encodes frames; images are left out of the observations without it.
        feature_space: of the features of one moment, by all cameras; needed with `features`.
        background: take steps in a thread of their own between `step_async` and `step_wait`.
        costs: takes what stepping, drawing and encoding cost.

    Attributes:
        goal_keys: key of each goal -> key of the frames that can take its place, for hindsight.
    """

    def __init__(
        self,
        env: "GoalEnvs",
        features: Features | None = None,
        feature_space: spaces.Box | None = None,
        *,
        background: bool = False,
        costs: Costs | None = None,
    ) -> None:
        self.env, self._costs = env, costs or Costs()
        self._features = features
        self._goal_features: NDArray[Any] | None = None
        space: Any = env.single_observation_space
        self._views = image_keys(env)
        self._images = {key for pair in self._views for key in pair}
        parts = {k: v for k, v in space.spaces.items() if k not in self._images}
        self.goal_keys = {goal: frame for goal, frame in env.goal_keys.items() if goal not in self._images}
        if features is not None:
            if feature_space is None:
                raise ValueError("features need a feature_space")
            parts |= {FEATURES: feature_space, GOAL_FEATURES: feature_space}
            self.goal_keys[GOAL_FEATURES] = FEATURES
        self._executor = ThreadPoolExecutor(1, "environment") if background else None
        self._actions: NDArray[np.float32] | None = None
        self._future: Future[Any] | None = None
        super().__init__(env.num_envs, spaces.Dict(parts), env.single_action_space)

    # Stepping -----------------------------------------------------------------------------------------------------

    def reset(self) -> Observation:
        """Start an episode in every environment."""
        if self._future is not None:
            self._future.result()
            self._future = None
        seeds = None if self._seeds[0] is None else [int(seed) for seed in self._seeds if seed is not None]
        obs, _ = self.env.reset(seed=seeds)
        self._reset_seeds()
        self._reset_options()
        return self._observe(obs, np.ones(self.num_envs, dtype=bool), [])[0]

    def step_async(self, actions: NDArray[np.float32]) -> None:
        """Begin a step with actions (num_envs, A)."""
        self._actions = actions
        if self._executor is not None:
            self._future = self._executor.submit(self._step, actions)

    def step_wait(self) -> tuple[Observation, NDArray[np.float32], NDArray[np.bool_], list[dict[str, Any]]]:
        """Return observations, rewards, dones and infos of the step begun by `step_async`."""
        if self._future is not None:
            future, self._future = self._future, None
            return future.result()
        assert self._actions is not None
        return self._step(self._actions)

    def _step(
        self, actions: NDArray[np.float32]
    ) -> tuple[Observation, NDArray[np.float32], NDArray[np.bool_], list[dict[str, Any]]]:
        obs, rewards, terminated, truncated, info = self._stepped(actions)
        dones = terminated | truncated
        infos: list[dict[str, Any]] = [
            {"is_success": bool(success), "diverged": bool(diverged), "TimeLimit.truncated": bool(cut)}
            for success, diverged, cut in zip(
                info["is_success"], info["diverged"], truncated & ~terminated, strict=True
            )
        ]
        finals = [info["final_obs"][i] for i in np.flatnonzero(dones)]
        seen, finals = self._observe(obs, dones, finals)
        for i, final in zip(np.flatnonzero(dones), finals, strict=True):
            infos[i]["terminal_observation"] = final
        return seen, rewards, dones, infos

    def _observe(
        self, obs: Observation, begun: NDArray[np.bool_], finals: list[Observation]
    ) -> tuple[Observation, list[Observation]]:
        """Replace images by features: the batch's, the new goals' and the last frames' of ended episodes."""
        seen = {key: value for key, value in obs.items() if key not in self._images}
        last = [{k: v for k, v in final.items() if k not in self._images} for final in finals]
        if self._features is None:
            return seen, last
        shown = [
            np.concatenate([obs[frame], obs[goal][begun], *(final[frame][None] for final in finals)])
            for frame, goal in self._views
        ]
        features = self._encode(self._features, shown)
        split = self.num_envs + int(begun.sum())
        for i, final, view in zip(np.flatnonzero(begun), last, features[split:], strict=False):
            assert self._goal_features is not None
            final |= {FEATURES: view, GOAL_FEATURES: self._goal_features[i].copy()}
        if self._goal_features is None:
            self._goal_features = np.empty_like(features[: self.num_envs])
        self._goal_features[begun] = features[self.num_envs : split]
        return seen | {FEATURES: features[: self.num_envs], GOAL_FEATURES: self._goal_features.copy()}, last

    def _stepped(self, actions: NDArray[np.float32]) -> tuple[Any, ...]:
        """Take a step; what it draws is a cost of its own."""
        drawn = self._drawing_seconds()
        with self._costs.timed(STEPPING):
            after = self.env.step(actions)
        drawn = self._drawing_seconds() - drawn
        self._costs.add_seconds(STEPPING, -drawn)
        self._costs.add_seconds(DRAWING, drawn)
        return after

    def _drawing_seconds(self) -> float:
        return self.env.pictures.seconds if isinstance(self.env, GoalVectorEnv) else 0.0

    def _encode(self, features: Features, shown: list[NDArray[np.uint8]]) -> NDArray[Any]:
        return self._costs.spend(ENCODING, lambda: encode(features, shown), units=sum(map(len, shown)))

    # Going on -----------------------------------------------------------------------------------------------------

    def state(self) -> State:
        """All from which the environments go on, while no step is under way; nothing of them where they cannot tell."""
        kept: State = {"goal_features": None if self._goal_features is None else self._goal_features.copy()}
        if isinstance(self.env, GoalVectorEnv):
            kept["env"] = snapshot_state(self.env.snapshot())
        return kept

    def load(self, state: State) -> bool:
        """Go back to a state; false where the environments cannot, and must be reset."""
        if "env" not in state or not isinstance(self.env, GoalVectorEnv):
            return False
        self.env.restore(snapshot_of(state["env"]))
        goals = state["goal_features"]
        self._goal_features = None if goals is None else goals.copy()
        return True

    def close(self) -> None:
        """Wait for a step under way and close the environments."""
        if self._executor is not None:
            self._executor.shutdown(wait=True)
        self.env.close()

    # What stable-baselines3 asks of a VecEnv ------------------------------------------------------------------------

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """Return an attribute of the environments, once per index."""
        return [getattr(self.env, attr_name)] * len(self._list(indices))

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Set an attribute of all environments."""
        setattr(self.env, attr_name, value)

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        """Call a method of the environments, such as the batched `compute_reward`, and return its result per index."""
        return [getattr(self.env, method_name)(*args, **kwargs)] * len(self._list(indices))

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        """Return false: there are no wrappers around single environments."""
        return [False] * len(self._list(indices))

    def _list(self, indices: int | Iterable[int] | None) -> list[int]:
        return list(self._get_indices(indices))

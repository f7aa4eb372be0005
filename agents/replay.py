"""Replay for image goals: every frame once, goals as indices, hindsight at no cost.

An episode of T steps has T + 1 frames and one goal frame. They lie in one block of horizon + 2 rows: rows 0 to T
are the frames, the last row is the goal's. A transition is two neighbouring rows and a goal is any row, so a
relabelled goal image is an index and not a copy. Episodes are overwritten as wholes, oldest first.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.buffers import BaseBuffer
from stable_baselines3.common.type_aliases import DictReplayBufferSamples

from goalsight.base.memory import MB, check_memory
from goalsight.base.training_state import State, load_rng, rng_state

TRIES = 4  # transitions with a later frame as goal that are drawn at most, until the goal asks for something
AS_DRAWN = 0.1  # share of the relabelled transitions that are taken as first drawn

ComputeReward = Callable[[NDArray[np.float32], NDArray[np.float32], Any], NDArray[np.float32]]


class Rows(NamedTuple):
    """Which rows a batch of transitions is made of, each (B,)."""

    block: NDArray[np.intp]  # the episode's block
    time: NDArray[np.intp]  # row of the observation; the next observation is one further
    goal: NDArray[np.intp]  # row of the goal; the block's last row is the goal that was asked for


class GoalReplayBuffer(BaseBuffer):
    """A replay buffer for `stable_baselines3` off-policy algorithms on goal environments.

    Hindsight is "future" of Andrychowicz et al. 2017 (section 4.5): a share of the goals is replaced by what a later
    frame of the same episode achieved. While an object is hardly ever touched, nearly all such goals were achieved
    when the episode began: they ask for nothing, and teach nothing. Most of those transitions give way to others, drawn
    at most `TRIES` times; samples are filtered in a like spirit by Manela and Biess (Bias-reduced hindsight experience
    replay with virtual goal prioritization, 2021). What stays at a goal that it has come to is kept. Only finished
    episodes are sampled. Time limits are not terminal: nothing is, so every value is bootstrapped. An episode whose
    physics diverged (`info["diverged"]`) is dropped whole.

    Args:
        buffer_size: capacity [transitions], rounded up to whole episodes.
        observation_space: of dicts of boxes; what is no goal is kept once per frame.
        action_space: a box.
        device: where samples are put; the store itself lies in main memory.
        n_envs: how many episodes are recorded at once.
        optimize_memory_usage: accepted for stable-baselines3; frames are never stored twice here.
        goal_keys: key of each goal -> key of the frames that can take its place.
        compute_reward: pure and batched, (achieved (B, 3), desired (B, 3), info) -> (B,).
        horizon: longest episode [steps].
        relabelled: share of the goals that are replaced, in [0, 1].
        seed: of the sampling.

    Attributes:
        blocks: how many episodes it has room for.
        frames: by key, (blocks, horizon + 2, ...).
        actions: (blocks, horizon, A).
        nbytes: of frames and actions.

    Raises:
        UserError: if the store would not fit into free memory.
    """

    def __init__(
        self,
        buffer_size: int,
        observation_space: spaces.Dict,
        action_space: spaces.Box,
        device: torch.device | str = "cpu",
        n_envs: int = 1,
        optimize_memory_usage: bool = False,
        *,
        goal_keys: Mapping[str, str],
        compute_reward: ComputeReward,
        horizon: int = 50,
        relabelled: float = 0.8,
        seed: int = 0,
    ) -> None:
        if not 0.0 <= relabelled <= 1.0:
            raise ValueError(f"relabelled must lie in [0, 1], got {relabelled}")
        # One block per environment is being written; as many again keep something to sample.
        blocks = max(-(-buffer_size // horizon), 2 * n_envs)
        super().__init__(blocks * horizon, observation_space, action_space, device, n_envs)
        self.horizon = horizon
        self.relabelled = relabelled
        self._compute_reward = compute_reward
        self._rng = np.random.default_rng(seed)
        self._goal_row = horizon + 1
        self._frame_keys = [key for key in observation_space if key not in goal_keys]
        self._goal_keys = dict(goal_keys)
        self.blocks = blocks
        self._changed = np.zeros(blocks, dtype=bool)  # since they were last kept
        self._reserve(blocks)
        self._lengths = np.zeros(blocks, dtype=np.intp)  # 0 where there is nothing to sample
        self._block = np.arange(n_envs)  # (n_envs,): the block each environment writes to
        self._time = np.zeros(n_envs, dtype=np.intp)  # (n_envs,): the row of its latest frame
        self._head = n_envs  # the next block to overwrite
        self._index_sampled()

    def _reserve(self, blocks: int) -> None:
        """Say what the store takes, check that it is there, take it."""
        dtypes = {key: _dtype(self.observation_space[key]) for key in self._frame_keys}  # type: ignore[index]
        shapes = {key: (blocks, self.horizon + 2, *self.obs_shape[key]) for key in self._frame_keys}  # type: ignore[call-overload]
        actions = (blocks, self.horizon, self.action_dim)
        sizes = [int(np.prod(shapes[key])) * dtypes[key].itemsize for key in self._frame_keys]
        self.nbytes = sum(sizes) + 4 * int(np.prod(actions))
        frames = blocks * (self.horizon + 2)
        print(
            f"replay: {self.nbytes / MB:,.0f} MB for {frames:,} frames of {blocks:,} episodes",
            file=sys.stderr,
        )
        check_memory("the replay buffer", self.nbytes, "store fewer steps")
        self.frames = {key: torch.empty(shapes[key], dtype=dtypes[key]) for key in self._frame_keys}
        self.actions = torch.empty(actions)

    # Writing ------------------------------------------------------------------------------------------------------

    def add(
        self,
        obs: dict[str, NDArray[Any]],
        next_obs: dict[str, NDArray[Any]],
        action: NDArray[np.float32],
        reward: NDArray[np.float32],
        done: NDArray[np.bool_],
        infos: Sequence[dict[str, Any]],
    ) -> None:
        """Record one step of every environment.

        Args:
            obs: before the step, (n_envs, ...) per key.
            next_obs: after it, and before the reset where the episode ended.
            action: (n_envs, A) in [-1, 1].
            reward: (n_envs,).
            done: (n_envs,): the episode ended with this step.
            infos: "diverged" drops the episode that ended.

        Raises:
            ValueError: if an episode is longer than the horizon.
        """
        if (self._time >= self.horizon).any():
            raise ValueError(f"an episode is longer than the replay's horizon of {self.horizon} steps")
        first = np.flatnonzero(self._time == 0)
        if len(first):
            self._write(obs, first, row=0)
            for key in self._goal_keys:
                goals = _tensor(obs[key][first])
                self.frames[self._goal_keys[key]][self._block[first], self._goal_row] = goals
        self._changed[self._block] = True
        self.actions[self._block, self._time] = _tensor(action.reshape(self.n_envs, -1)).float()
        self._time += 1
        self._write(next_obs, np.arange(self.n_envs), row=self._time)
        ended = np.flatnonzero(done)
        if len(ended):
            self._end(ended, np.array([bool(infos[int(env)].get("diverged", False)) for env in ended]))

    def _write(self, obs: dict[str, NDArray[Any]], envs: NDArray[np.intp], row: int | NDArray[np.intp]) -> None:
        for key in self._frame_keys:
            self.frames[key][self._block[envs], row] = _tensor(obs[key][envs]).to(self.frames[key].dtype)

    def _end(self, envs: NDArray[np.intp], diverged: NDArray[np.bool_]) -> None:
        """Open the finished episodes to sampling and give their environments the oldest blocks."""
        kept = envs[~diverged]
        self._lengths[self._block[kept]] = self._time[kept]
        self._time[envs] = 0
        if len(kept):
            ring = (self._head + np.arange(len(self._lengths))) % len(self._lengths)
            # The ring can come round to blocks that are being written, or that have been just now.
            free = ring[~np.isin(ring, self._block)][: len(kept)]
            self._block[kept] = free
            self._lengths[free] = 0
            self._head = int(free[-1] + 1) % len(self._lengths)
        self._index_sampled()

    def add_episodes(
        self, frames: Mapping[str, NDArray[Any]], goals: Mapping[str, NDArray[Any]], actions: NDArray[np.float32]
    ) -> None:
        """Record whole episodes of one length that were played elsewhere, before any environment's first step.

        Args:
            frames: (E, T + 1, ...) per key.
            goals: (E, ...) per key of a goal.
            actions: (E, T, A) in [-1, 1].

        Raises:
            ValueError: if an environment has begun an episode, or these do not fit.
        """
        episodes, steps = actions.shape[:2]
        blocks = np.arange(self._head, self._head + episodes)
        if self._time.any() or steps > self.horizon or blocks[-1] >= self.blocks:
            raise ValueError(f"{episodes} episodes of {steps} steps do not fit into {self.blocks} of {self.horizon}")
        for key in self._frame_keys:
            self.frames[key][blocks, : steps + 1] = _tensor(frames[key]).to(self.frames[key].dtype)
        for key, source in self._goal_keys.items():
            self.frames[source][blocks, self._goal_row] = _tensor(goals[key]).to(self.frames[source].dtype)
        self.actions[blocks, :steps] = _tensor(actions)
        self._lengths[blocks], self._changed[blocks] = steps, True
        self._head = int(blocks[-1] + 1) % self.blocks
        self._index_sampled()

    def _index_sampled(self) -> None:
        """Number the transitions that can be sampled: block * horizon + time of each."""
        self._sampled = np.flatnonzero(np.arange(self.horizon) < self._lengths[:, None])
        self.pos = len(self._sampled)

    def size(self) -> int:
        """Return how many transitions can be sampled."""
        return self.pos

    def reset(self) -> None:
        """Forget everything."""
        self._lengths[:] = 0
        self._time[:] = 0
        self._index_sampled()

    # Going on -----------------------------------------------------------------------------------------------------

    def state(self) -> State:
        """Which blocks hold what, and the generator; frames and actions lie in files of their own."""
        return {
            "lengths": self._lengths.copy(),
            "block": self._block.copy(),
            "time": self._time.copy(),
            "head": self._head,
            "rng": rng_state(self._rng),
        }

    def load(self, state: State) -> None:
        """Go back to a state; the frames and actions must be there already."""
        for name in ("lengths", "block", "time"):
            getattr(self, f"_{name}")[:] = state[name]
        self._head = state["head"]
        load_rng(self._rng, state["rng"])
        self._index_sampled()

    def changed(self) -> NDArray[np.intp]:
        """Return the blocks that were written to since they were last kept."""
        return np.flatnonzero(self._changed)

    def unchanged(self, blocks: NDArray[np.intp]) -> None:
        """Note that these blocks have been kept as they are."""
        self._changed[blocks] = False

    def forget_unfinished(self) -> None:
        """Let every environment begin its episode anew."""
        self._time[:] = 0

    # Reading ------------------------------------------------------------------------------------------------------

    def sample(self, batch_size: int, env: Any = None) -> DictReplayBufferSamples:
        """Draw transitions uniformly, relabel a share of their goals, and recompute those rewards.

        Args:
            batch_size: B.
            env: unused; stable-baselines3 passes its normalising wrapper here.

        Returns:
            tensors of B rows on the buffer's device; `dones` are zero throughout.
        """
        return self._gather(self.draw(batch_size))

    def draw(self, batch_size: int) -> Rows:
        """Draw the rows of `batch_size` transitions; the first `relabelled` share of them gets a later frame as goal.

        Of that share all but `AS_DRAWN` are drawn anew while their goal asks for nothing, up to `TRIES` times.

        Raises:
            ValueError: if no episode has finished.
        """
        if not self.pos:
            raise ValueError("nothing to sample: no episode has finished yet")
        rows = self._rows(self._rng.integers(self.pos, size=batch_size))
        # The transitions are drawn independently, so the first ones are as good as any.
        share = round(self.relabelled * batch_size)
        self._relabel(rows, np.arange(share))
        doubted = np.arange(round((1 - AS_DRAWN) * share))
        for _ in range(TRIES - 1):
            doubted = doubted[self._idle(rows, doubted)]
            if not len(doubted):
                break
            again = self._rows(self._rng.integers(self.pos, size=len(doubted)))
            rows.block[doubted], rows.time[doubted] = again.block, again.time
            self._relabel(rows, doubted)
        return rows

    def _relabel(self, rows: Rows, which: NDArray[np.intp]) -> None:
        """Give some of the rows a later frame of their episode as goal."""
        rows.goal[which] = self._rng.integers(rows.time[which] + 1, self._lengths[rows.block[which]] + 1)

    def _idle(self, rows: Rows, which: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Whether the goals of some rows ask for nothing: what was there at first is worth as much as the goal."""
        achieved = self.frames["achieved_goal"]
        first, goal = (achieved[rows.block[which], time].numpy() for time in (0, rows.goal[which]))
        return np.asarray(self._compute_reward(first, goal, {}) >= self._compute_reward(goal, goal, {}))

    def _rows(self, numbers: NDArray[np.intp]) -> Rows:
        """Return the rows of transitions 0 to size() - 1, with the goals that were asked for."""
        block, time = np.divmod(self._sampled[numbers], self.horizon)
        return Rows(block, time, np.full(len(numbers), self._goal_row))

    def _gather(self, rows: Rows) -> DictReplayBufferSamples:
        start = rows.block * (self.horizon + 2)
        now, goal = torch.from_numpy(start + rows.time), torch.from_numpy(start + rows.goal)
        flat = {key: store.flatten(0, 1) for key, store in self.frames.items()}
        goals = {key: flat[self._goal_keys[key]].index_select(0, goal) for key in self._goal_keys}
        obs = {key: store.index_select(0, now) for key, store in flat.items()} | goals
        next_obs = {key: store.index_select(0, now + 1) for key, store in flat.items()} | goals
        reached, asked = next_obs["achieved_goal"].numpy(), goals["desired_goal"].numpy()
        step = torch.from_numpy(rows.block * self.horizon + rows.time)
        return DictReplayBufferSamples(
            observations={key: value.to(self.device) for key, value in obs.items()},
            actions=self.actions.flatten(0, 1).index_select(0, step).to(self.device),
            next_observations={key: value.to(self.device) for key, value in next_obs.items()},
            dones=torch.zeros(len(now), 1, device=self.device),
            rewards=_tensor(self._compute_reward(reached, asked, {})).float()[:, None].to(self.device),
        )

    def _get_samples(  # type: ignore[override]
        self, batch_inds: NDArray[np.intp], env: Any = None
    ) -> DictReplayBufferSamples:
        return self._gather(self._rows(batch_inds))


def _dtype(space: spaces.Space[Any]) -> torch.dtype:
    """Return float16 for what is stored so, float32 for all else: no number here needs more."""
    return torch.float16 if space.dtype == np.float16 else torch.float32


def _tensor(array: Any) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(array))

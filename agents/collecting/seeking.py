"""Play that seeks: an agent sets out for goals near which little was achieved so far, and explores from there.

Which goals are rare is told by a kernel density of what was achieved, as in MEGA (Pitis et al., "Maximum entropy gain
exploration", 2020, https://arxiv.org/abs/2007.02832), and what follows a goal is exploration (Ecoffet et al., 2019).
MEGA's candidates are goals achieved before; here the task draws them, so that there is no goal that it refuses.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from goalsight.agents.collecting.play import AIMLESS, Play, normal
from goalsight.agents.policies import Actions, EpisodeStreams, Mask, Observation
from goalsight.base.errors import UserError
from goalsight.envs.config import EnvConfig

if TYPE_CHECKING:
    from goalsight.agents.agent import Agent
    from goalsight.envs.making import GoalEnvs
    from goalsight.envs.vector import GoalVectorEnv
    from goalsight.pretrain.data.appender import StoreAppender

Floats = NDArray[np.floating]

ROUND = 64  # episodes whose goals are chosen at once, however many environments play them
CANDIDATES = 8  # goals of which each episode takes the rarest
KNOWN = 2_000  # achieved goals, at most, that rarity is told from
BANDWIDTH = 0.1  # of the kernel, in standard deviations of what was achieved
LEAST_SPREAD = 0.01  # what has been achieved spreads at least so far [m, rad]
NOISE = 0.2  # standard deviation on the agent's actions
BEGUN = "round"  # in the store's notes: the first episode of the round, and how many lay there when it began


class Seeker:
    """Plays as an agent does, toward rare goals; what it does then is random.

    Attributes:
        agent: acts until its goal is achieved.
    """

    def __init__(self, agent: "Agent", *, seed: int, first: int, actions: int) -> None:
        """A seeker whose episode k draws from the stream (seed, k).

        Args:
            agent: acts in the environments that are recorded.
            seed: of goals, noise and exploration.
            first: the episode that is played first.
            actions: numbers in an action.
        """
        self.agent = agent
        self._seed, self._actions = seed, actions
        self._explore = Play(AIMLESS, seed=seed, first=first)
        self._streams = EpisodeStreams(seed, 2 * actions, first)
        self._there = np.zeros(0, dtype=bool)

    def behaviour_of(self, env: int) -> str:
        """Return the name of what an environment's episode plays."""
        return "seek"

    def next_round(
        self, env: "GoalVectorEnv", store: "StoreAppender", first: int, episodes: int
    ) -> tuple[int, NDArray[np.float64] | None]:
        """Choose the goals of the episodes that come next.

        Args:
            env: is reset; the task draws candidates in it.
            store: what was recorded so far, published.
            first: the episode that comes next.
            episodes: how many are recorded in all.

        Returns:
            the episode that the round ends before; goals (ROUND, G), that of episode k in row k % ROUND, or None in
            the first round, where the task draws them.
        """
        from goalsight.pretrain.data.store import FrameStore

        begun = first - first % ROUND
        last = min(begun + ROUND, episodes)
        if store.notes.get(BEGUN, [None])[0] != begun:
            store.notes[BEGUN] = [begun, len(store.episodes)]
        count = store.notes[BEGUN][1]
        if count == 0:
            return last, None
        recorded = FrameStore.open(store.path)
        achieved = np.asarray(recorded.columns["achieved_goal"][: recorded.episode_lengths[:count].sum()], np.float64)
        rng = np.random.default_rng((self._seed, begun))
        achieved = achieved[np.sort(rng.permutation(len(achieved))[:KNOWN])]
        candidates = _drawn(env, rng.integers(2**31, size=(CANDIDATES, ROUND)))
        rarest = rarity(candidates, achieved).argmax(0)
        return last, candidates[rarest, np.arange(ROUND)]

    def reset(self, obs: Observation, mask: Mask) -> None:
        """Let the episodes in `mask` (N,) set out."""
        if len(mask) != len(self._there):
            self._there = np.zeros(len(mask), dtype=bool)
        self._there[mask] = False
        self.agent.reset(obs, mask)
        self._explore.reset(obs, mask)
        self._streams.reset(mask)

    def act(self, obs: Observation, env: "GoalEnvs") -> Actions:
        """Return the agent's actions (N, A) with noise on them; random ones where the goal has been achieved."""
        from goalsight.envs.vector import GoalVectorEnv

        assert isinstance(env, GoalVectorEnv), "what is sought is a goal of the task"
        self._there |= env.task.success(obs["achieved_goal"], obs["desired_goal"])
        u = self._streams.draw(np.arange(len(self._there)))  # (N, 2 A)
        noise = normal(u[:, : self._actions], u[:, self._actions :])
        sought = self.agent.act(obs, env) + NOISE * noise
        action = np.where(self._there[:, None], self._explore.act(obs, env), sought)
        return np.clip(action, -1.0, 1.0).astype(np.float32)


def rarity(goals: Floats, achieved: Floats) -> NDArray[np.float64]:
    """Return how rare goals are among what was achieved: minus the logarithm of a Gaussian kernel's density.

    Args:
        goals: (..., G).
        achieved: (M, G); each number is measured in its standard deviation.

    Returns:
        (...), up to a constant.
    """
    scale = BANDWIDTH * np.maximum(achieved.std(0), LEAST_SPREAD)
    squares = np.square((goals[..., None, :] - achieved) / scale).sum(-1)  # (..., M)
    nearest = squares.min(-1, keepdims=True)
    return np.asarray(nearest[..., 0] / 2 - np.log(np.exp((nearest - squares) / 2).mean(-1)))


def seeker_of(run: Path, env: EnvConfig) -> "Agent":
    """Read the agent that is to seek.

    Args:
        run: a train run.
        env: what is recorded.

    Returns:
        the agent.

    Raises:
        UserError: if there is none, or it acts elsewhere, or sees or moves otherwise than what is recorded.
    """
    from goalsight.agents.agent import load_agent

    agent = load_agent(run)
    own = EnvConfig.of(agent.env_id, agent.env_kwargs)
    if own.id != env.id:
        raise UserError(f"the agent of {run} acts in {own.id}, and {env.id} is to be recorded; add --env {own.id}")
    if own.obs != "pixels":
        raise UserError(
            f"the agent of {run} sees the state; to seek it must see what is recorded, as from --obs pixels"
        )
    for name in ("camera", "image_size", "control"):
        if (has := getattr(own, name)) != (asked := getattr(env, name)):
            raise UserError(f"the agent of {run} has {name} {has}, and what is recorded has {asked}")
    return agent


def _drawn(env: "GoalVectorEnv", seeds: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the goals that the task draws for these seeds (C, n), as (C, n, G)."""
    flat, goals = seeds.ravel(), []
    for start in range(0, len(flat), env.num_envs):
        some = flat[start : start + env.num_envs].tolist()
        obs, _ = env.reset(seed=some + [0] * (env.num_envs - len(some)))
        goals.append(obs["desired_goal"][: len(some)])
    return np.concatenate(goals).reshape(*seeds.shape, -1).astype(np.float64)

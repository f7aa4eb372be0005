"""Policies that need no learning: the baselines every success rate is read beside, and the scripted expert.

A policy acts for a whole batch of environments. What an episode draws at random depends on the seed and on the
episode's number alone, never on how many environments run at once (`EpisodeStreams`).
"""

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from goalsight.base.errors import choose

if TYPE_CHECKING:
    from goalsight.envs.making import GoalEnvs

Observation = dict[str, NDArray[Any]]
Mask = NDArray[np.bool_]
Actions = NDArray[np.float32]


class Policy(Protocol):
    """Whatever acts: an agent, an expert, a baseline."""

    def reset(self, obs: Observation, mask: Mask) -> None:
        """Start new episodes where `mask` (N,) is set; `obs` is their first observation."""

    def act(self, obs: Observation, env: "GoalEnvs") -> Actions:
        """Actions (N, A) in [-1, 1] for the observations of `env`."""


class EpisodeStreams:
    """A stream of uniform rows per environment, seeded by (seed, number of the episode)."""

    BLOCK = 64  # rows drawn at once, so that a draw of the whole batch is one fancy index

    def __init__(self, seed: int, width: int, first: int = 0) -> None:
        """Streams of rows in [0, 1), each of `width` numbers, from the one of episode `first` on."""
        self._seed = seed
        self._width = width
        self._started = first
        self._generators: list[np.random.Generator | None] = []
        self._rows = np.empty((0, self.BLOCK, width))
        self._cursor = np.empty(0, dtype=np.intp)

    def reset(self, mask: Mask) -> None:
        """Give each environment in `mask` the next episode's stream, in order."""
        if len(mask) != len(self._generators):
            self._generators = [None] * len(mask)
            # An environment that never starts an episode (a surplus one) draws the middle of the range.
            self._rows = np.full((len(mask), self.BLOCK, self._width), 0.5)
            self._cursor = np.zeros(len(mask), dtype=np.intp)
        for env in np.flatnonzero(mask):
            self._generators[env] = np.random.default_rng((self._seed, self._started))
            self._started += 1
            self._cursor[env] = self.BLOCK

    def draw(self, envs: NDArray[np.intp]) -> NDArray[np.float64]:
        """The next row of each of these environments, shape (len(envs), width), in [0, 1)."""
        for env in envs[self._cursor[envs] == self.BLOCK]:
            generator = self._generators[env]
            if generator is not None:
                self._rows[env] = generator.random((self.BLOCK, self._width))
            self._cursor[env] = 0
        rows = self._rows[envs, self._cursor[envs]]
        self._cursor[envs] += 1
        return rows


class DoNothing:
    """Holds still; the gripper's command is zero as well."""

    def reset(self, obs: Observation, mask: Mask) -> None:
        """Nothing to forget."""

    def act(self, obs: Observation, env: "GoalEnvs") -> Actions:
        """Zeros (N, A)."""
        return np.zeros(env.action_space.shape or (), dtype=np.float32)


class RandomPolicy:
    """Uniform actions, drawn per episode."""

    def __init__(self, seed: int = 0) -> None:
        """A policy whose k-th episode draws from the stream (seed, k)."""
        self._seed = seed
        self._streams: EpisodeStreams | None = None
        self._pending: list[Mask] = []

    def reset(self, obs: Observation, mask: Mask) -> None:
        """Start the next episodes' streams."""
        self._pending.append(np.array(mask))

    def act(self, obs: Observation, env: "GoalEnvs") -> Actions:
        """Actions (N, A), uniform in [-1, 1)."""
        num_envs, width = env.action_space.shape or (0, 0)
        if self._streams is None:  # the width of an action is known only now
            self._streams = EpisodeStreams(self._seed, width)
        while self._pending:
            self._streams.reset(self._pending.pop(0))
        return (2 * self._streams.draw(np.arange(num_envs)) - 1).astype(np.float32)


class Expert:
    """The task's scripted expert, which sees the simulation's state."""

    def reset(self, obs: Observation, mask: Mask) -> None:
        """The environment resets its expert with the episode."""

    def act(self, obs: Observation, env: "GoalEnvs") -> Actions:
        """The expert's actions (N, A)."""
        return np.asarray(env.expert_action(), dtype=np.float32)


def _nothing(seed: int) -> Policy:
    return DoNothing()


def _expert(seed: int) -> Policy:
    return Expert()


POLICIES = {"nothing": _nothing, "random": RandomPolicy, "expert": _expert}


def make_policy(name: str, *, seed: int = 0) -> Policy:
    """The policy of that name.

    Raises:
        UserError: naming the policies there are.
    """
    return POLICIES[choose("policy", name, POLICIES)](seed)

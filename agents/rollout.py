"""The only episode loop of the project: collecting, evaluating and recording all run through here.

Episode k starts from the seed `seed + k`, whatever the number of environments, so a result does not depend on how it
was computed. Episodes run in waves, one per environment: none ends before the horizon unless its physics diverged,
hence a wave wastes nothing. Environments beyond the last episode run along, masked out.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from goalsight.agents.policies import Actions, Mask, Observation, Policy
from goalsight.base.errors import UserError

if TYPE_CHECKING:
    from goalsight.envs.making import GoalEnvs


@dataclass(frozen=True)
class Moment:
    """One instant of a wave: what the policy sees and does about it."""

    time: int  # steps taken since the episodes began
    obs: Observation  # batched, (N, ...)
    action: Actions  # (N, A)
    active: Mask  # (N,): the episode counts and is still going on
    episodes: NDArray[np.intp]  # (N,): the number of the episode each environment plays


@dataclass(frozen=True)
class Outcome:
    """What the environment answered to a moment's action."""

    reward: NDArray[np.float32]  # (N,)
    success: Mask  # (N,), after the step
    diverged: Mask  # (N,)
    info: dict[str, Any]


@dataclass(frozen=True)
class Episodes:
    """What came of each finished episode, in the order of their numbers."""

    index: NDArray[np.intp]  # (E,) numbers of the episodes
    success: Mask  # (E,) at the last step
    returns: NDArray[np.float64]  # (E,) sums of rewards
    lengths: NDArray[np.intp]  # (E,) steps
    diverged: Mask  # (E,) physics broke: never a success, never training data

    def __len__(self) -> int:
        """How many episodes finished."""
        return len(self.index)


class _Wave:
    """The books of one wave of episodes."""

    def __init__(self, first: int, num_envs: int, episodes: int) -> None:
        self.numbers = np.arange(first, first + num_envs)
        self.counted = self.numbers < episodes
        self.active = self.counted.copy()
        self.success = np.zeros(num_envs, dtype=bool)
        self.diverged = np.zeros(num_envs, dtype=bool)
        self.returns = np.zeros(num_envs)
        self.lengths = np.zeros(num_envs, dtype=np.intp)

    def record(self, outcome: Outcome) -> None:
        active = self.active
        self.returns[active] += outcome.reward[active]
        self.lengths[active] += 1
        self.diverged |= outcome.diverged & active
        self.success[active] = outcome.success[active] & ~outcome.diverged[active]
        # A diverged environment has been reset already and plays an episode that nobody counts.
        self.active = active & ~outcome.diverged

    def finished(self) -> Episodes:
        kept = self.counted
        return Episodes(
            self.numbers[kept], self.success[kept], self.returns[kept], self.lengths[kept], self.diverged[kept]
        )


def rollout(
    env: "GoalEnvs",
    policy: Policy,
    *,
    episodes: int,
    seed: int,
    first: int = 0,
    steps: int | None = None,
    goals: NDArray[np.floating[Any]] | None = None,
    before_step: Callable[[Moment], None] | None = None,
    on_step: Callable[[Moment, Outcome], None] | None = None,
    after_wave: Callable[[Episodes], object] | None = None,
    stop: Callable[[], bool] | None = None,
) -> Episodes:
    """Play `episodes` episodes and say what came of them.

    Args:
        env: the environments; reset here.
        policy: acts for all of them.
        episodes: how many, at least 1.
        seed: episode k is seeded with `seed + k`.
        first: the number of the first episode to play; those before it are left out.
        steps: length of an episode, the environment's horizon unless given (never more than it).
        goals: episode k is asked for the goal `goals[k % K]`, shape (K, G); goals are drawn unless given.
        before_step: called while the environments still show the moment's state: the place to take frames.
        on_step: called with what the environments answered; by then an ended one shows its next episode.
        after_wave: called with the episodes that have just finished.
        stop: asked before every step; when true the unfinished wave is dropped and the finished ones returned.

    Returns:
        The finished episodes: all of them unless stopped.

    Raises:
        UserError: if there are no episodes to play, or `steps` does not fit the horizon.
    """
    length = env.horizon if steps is None else steps
    if episodes < 1:
        raise UserError(f"the number of episodes must be at least 1, got {episodes}")
    if seed < 0:
        raise UserError(f"the seed must not be negative, got {seed}")
    if not 1 <= length <= env.horizon:
        raise UserError(f"an episode has 1 to {env.horizon} steps, got {length}")
    waves = []
    for number in range(first, episodes, env.num_envs):
        wave = _Wave(number, env.num_envs, episodes)
        if not _play(env, policy, wave, seed, length, goals, before_step, on_step, stop):
            break
        waves.append(wave.finished())
        if after_wave is not None:
            after_wave(waves[-1])
    return _joined(waves)


def _play(
    env: "GoalEnvs",
    policy: Policy,
    wave: _Wave,
    seed: int,
    length: int,
    goals: NDArray[np.floating[Any]] | None,
    before_step: Callable[[Moment], None] | None,
    on_step: Callable[[Moment, Outcome], None] | None,
    stop: Callable[[], bool] | None,
) -> bool:
    """Play one wave to its end; false when stopped before."""
    options = None if goals is None else {"goal": goals[wave.numbers % len(goals)]}
    obs, _ = env.reset(seed=[int(seed + number) for number in wave.numbers], options=options)
    policy.reset(obs, wave.counted)
    for time in range(length):
        if stop is not None and stop():
            return False
        moment = Moment(time, obs, policy.act(obs, env), wave.active, wave.numbers)
        if before_step is not None:
            before_step(moment)
        obs, reward, _, _, info = env.step(moment.action)
        outcome = Outcome(reward, np.asarray(info["is_success"]), np.asarray(info["diverged"]), info)
        wave.record(outcome)
        if on_step is not None:
            on_step(moment, outcome)
        if not wave.active.any():
            break
    return True


def _joined(waves: list[Episodes]) -> Episodes:
    if not waves:
        empty = np.zeros(0)
        return Episodes(empty.astype(np.intp), empty.astype(bool), empty, empty.astype(np.intp), empty.astype(bool))
    columns = (
        np.concatenate([getattr(wave, name) for wave in waves])
        for name in ("index", "success", "returns", "lengths", "diverged")
    )
    return Episodes(*columns)

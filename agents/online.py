"""Learning while the arm plays: the next environment step is under way while the update runs."""

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from goalsight.agents.algorithms.base import Algorithm, OnlineOptions, come_apart
from goalsight.agents.algorithms.imitation import Rehearsal
from goalsight.agents.costs import LEARNING, Costs
from goalsight.agents.recordings import Recording
from goalsight.agents.replay import GoalReplayBuffer
from goalsight.agents.vec_env import GoalVecEnv, Observation
from goalsight.agents.watching.options import Watching
from goalsight.base.training_state import State, load_rng, rng_state

Infos = list[dict[str, Any]]
ACTING, WAITING = "acting", "waiting"  # costs
AT_ONCE = 50  # updates owed that are made between two moments of rest


class Online:
    """Collects with an algorithm, and updates it from the replay.

    Actions of a step are chosen before the update that runs beside it, so that a run does not depend on which of the
    two is faster. Between steps there is a moment of rest, when nothing is under way: then agents are judged and saved.

    Args:
        algorithm: acts and learns.
        env: the environments, seeded.
        replay: takes every step.
        options: how often to update, and what is drawn at random.
        total: environment steps.
        seed: of the random actions.
        played: environment steps that were taken before, and lie in the replay.
        recording: what the actor rehearses, a labelled video.
        watching: how.
        costs: takes what acting and learning cost, and the waiting for steps.

    Attributes:
        steps: environment steps so far, those before among them.
        saw: is told the infos of each step.
    """

    unit = "step"

    def __init__(
        self,
        algorithm: Algorithm,
        env: GoalVecEnv,
        replay: GoalReplayBuffer,
        options: OnlineOptions,
        *,
        total: int,
        seed: int,
        played: int = 0,
        recording: Recording | None = None,
        watching: Watching | None = None,
        costs: Costs | None = None,
    ) -> None:
        self.algorithm, self.replay, self.total, self.steps = algorithm, replay, total, played
        self.recording, self._watching, self._played = recording, watching or Watching(), played
        self._owed = int(options.updates_per_step * played) if played < total else 0  # updates for the steps before
        self.saw: Callable[[Infos], None] = lambda infos: None
        self._env, self._options, self._costs = env, options, costs or Costs()
        self._rng = np.random.default_rng(seed)
        self._obs: Observation | None = None
        self._sent = np.zeros(0, np.float32)  # actions of the step under way

    @property
    def facts(self) -> dict[str, int]:
        """How far it is, as results name it."""
        return {"env_steps": self.steps}

    def run(self, rest: Callable[[], bool]) -> None:
        """Learn until the steps are done, or `rest`, which is called before each of them, says no."""
        if self._obs is None:
            self._obs = self._env.reset()
        while rest():
            if self._owed:
                self._catch_up()
                continue
            going = self.steps < self.total
            if going:
                self._send()
            self._learn()
            if not going:
                break
            self._receive()

    # A step -------------------------------------------------------------------------------------------------------

    def _send(self) -> None:
        self._sent = self.actions()
        space: Any = self._env.action_space
        self._env.step_async(space.low + 0.5 * (self._sent + 1.0) * (space.high - space.low))

    def actions(self) -> NDArray[np.float32]:
        """Return actions (N, A) in [-1, 1]: uniform ones during the warm-up, later in a share of the environments."""
        assert self._obs is not None
        shape = (self._env.num_envs, *(self._env.action_space.shape or ()))
        actions = self._rng.uniform(-1, 1, shape).astype(np.float32)
        if self.steps >= self._options.warmup:
            obs = self._obs
            drawn = self._costs.spend(ACTING, lambda: self.algorithm.act(obs, explore=True))
            if not np.isfinite(drawn).all():
                rate = self._options.learning_rate
                raise come_apart("the actor gives no numbers any more", f"{self.steps:,} env steps", rate)
            keep = self._rng.random(len(actions)) >= self._options.random_actions
            actions[keep] = drawn[keep]
        return actions

    def _learn(self) -> None:
        """Make the updates that the latest step of all environments has made due."""
        if self.steps > self._options.warmup and self.replay.size():
            for _ in range(self._due(self.steps) - self._due(self.steps - self._env.num_envs)):
                self._update(self._rehearsal())

    def _due(self, steps: int) -> int:
        """How many updates the trial makes until so many environment steps, were there no warm-up."""
        return int(self._options.updates_per_step * max(0, steps - self._played))

    def _catch_up(self) -> None:
        """Make some of the updates for the steps before; while critics learn to judge it the actor only rehearses."""
        now = min(self._owed, AT_ONCE)
        for _ in range(now):
            self._update(self._rehearsal())
        self._owed -= now

    def _update(self, rehearsal: Rehearsal | None) -> None:
        remaining = max(0.0, 1.0 - self.steps / self.total)
        kind = "alone" if rehearsal is None else "imitating" if rehearsal.only else "rehearsing"

        def update() -> None:
            self.algorithm.update(self.replay.sample(self._options.batch_size), remaining, rehearsal)

        self._costs.spend(LEARNING, update, kind=kind)

    def _rehearsal(self) -> Rehearsal | None:
        """Draw what is rehearsed now; until critics have learnt to judge it the actor learns from nothing else."""
        if self.recording is None:
            return None
        how = self._watching
        only = bool(self._owed) or self.steps - self._played < how.hold
        return Rehearsal(self.recording.sample(self._options.batch_size).to(self.replay.device), how.cloning, only)

    def _receive(self) -> None:
        """Wait for the step under way, and put it into the replay."""
        with self._costs.timed(WAITING):
            new_obs, rewards, dones, infos = self._env.step_wait()
        self.steps += self._env.num_envs
        after = new_obs
        if dones.any():
            after = {key: value.copy() for key, value in new_obs.items()}
            for i in np.flatnonzero(dones):
                for key, value in infos[int(i)]["terminal_observation"].items():
                    after[key][i] = value
        assert self._obs is not None
        self.replay.add(self._obs, after, self._sent, rewards, dones, infos)
        self._obs = new_obs
        self.saw(infos)

    # Going on -----------------------------------------------------------------------------------------------------

    def state(self) -> State:
        """All that decides what comes next, at a moment of rest; the replay's frames lie in files of their own."""
        assert self._obs is not None
        return {
            "steps": self.steps,
            "owed": self._owed,
            "recording": None if self.recording is None else self.recording.state(),
            "rng": rng_state(self._rng),
            "obs": dict(self._obs),
            "env": self._env.state(),
            "replay": self.replay.state(),
        }

    def load(self, state: State) -> None:
        """Go back to a state; the replay's frames have been read already."""
        self.steps, self._owed = state["steps"], state.get("owed", 0)
        if self.recording is not None:
            self.recording.load(state["recording"])
        load_rng(self._rng, state["rng"])
        self.replay.load(state["replay"])
        if self._env.load(state["env"]):
            self._obs = state["obs"]
            return
        print("these environments cannot be put back: the episodes under way begin anew", file=sys.stderr)
        self.replay.forget_unfinished()
        self._obs = self._env.reset()

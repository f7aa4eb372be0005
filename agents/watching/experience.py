"""What the arm has played itself: whole episodes with every frame, from which it learns to read video."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from goalsight.agents.collecting.play import Mix, Play
from goalsight.agents.policies import Actions, Mask, Observation, Policy, make_policy
from goalsight.agents.rollout import Episodes, Moment, Outcome, rollout
from goalsight.agents.vec_env import FEATURES, GOAL_FEATURES
from goalsight.base.errors import UserError
from goalsight.base.training_state import State
from goalsight.envs.simulation.control import CONTROLS, EndEffectorControl
from goalsight.envs.vector import GoalVectorEnv

if TYPE_CHECKING:
    from goalsight.envs.making import GoalEnvs

HELD_OUT = 10  # one in so many episodes
EXPLORING = 0.5  # share of the attempts in which actions that could not be read are explored
TURNING = 0.1  # chance in each step that one of them goes to the other end of its range
UNSKILLED = Mix(push=0.0, grasp=0.0, expert=0.0, wander=0.6, random=0.4)  # none of it looks at an object


@dataclass(frozen=True)
class Experience:
    """Episodes of one length T.

    Attributes:
        frames: what was seen, goals left out, (E, T + 1, ...) by key of the observation.
        goals: what was asked for, (E, ...) by key of the observation.
        actions: (E, T, A) in [-1, 1].
        success: at the last step, (E,).
        steps: environment steps that it took, those of episodes that were left out among them.
    """

    frames: dict[str, NDArray[Any]]
    goals: dict[str, NDArray[Any]]
    actions: NDArray[np.float32]
    success: NDArray[np.bool_]
    steps: int

    def __len__(self) -> int:
        """How many episodes."""
        return len(self.actions)

    @property
    def nbytes(self) -> int:
        """Memory that it takes [bytes]."""
        parts = (*self.frames.values(), *self.goals.values(), self.actions, self.success)
        return sum(part.nbytes for part in parts)

    @property
    def held_out(self) -> Mask:
        """Which episodes are not learnt from, (E,): every tenth, by which readings are judged."""
        return np.arange(len(self)) % HELD_OUT == 0

    @classmethod
    def joined(cls, parts: Sequence["Experience"]) -> "Experience":
        """One experience after the other."""
        first = parts[0]
        return cls(
            {key: np.concatenate([part.frames[key] for part in parts]) for key in first.frames},
            {key: np.concatenate([part.goals[key] for part in parts]) for key in first.goals},
            np.concatenate([part.actions for part in parts]),
            np.concatenate([part.success for part in parts]),
            sum(part.steps for part in parts),
        )

    def state(self) -> State:
        """All of it, for `restored`."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def restored(cls, state: State) -> "Experience":
        """Make again what `state` gave."""
        return cls(**state)

    def seen_by(
        self, features: Callable[[NDArray[np.uint8]], NDArray[Any]], view: str
    ) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]]:
        """Frames and goals as a replay keeps them, with features in place of images.

        Args:
            features: (n, H, W, 3) -> (n, ...).
            view: key of the frames.
        """
        images = self.frames[view]
        seen = features(images.reshape(-1, *images.shape[2:]))
        frames = {key: part for key, part in self.frames.items() if key != view}
        goals = {key: part for key, part in self.goals.items() if key != f"goal_{view}"}
        frames[FEATURES] = seen.reshape(*images.shape[:2], *seen.shape[1:])
        return frames, goals | {GOAL_FEATURES: features(self.goals[f"goal_{view}"])}

    @property
    def vectors(self) -> dict[str, NDArray[Any]]:
        """All that was seen but images, (n, k) by key of the observation."""
        frames = {key: part.reshape(-1, part.shape[-1]) for key, part in self.frames.items() if part.ndim == 3}
        return frames | {key: part for key, part in self.goals.items() if part.ndim == 2}

    @property
    def targets(self) -> NDArray[np.float32]:
        """What a state estimator learns to read, (E, T + 1, G + S): what is achieved, and the state."""
        rest = self.frames.get("state", self.frames["observation"])
        return np.concatenate([self.frames["achieved_goal"], rest], -1)


class _Books:
    """Takes down a wave of episodes while it is played."""

    def __init__(self, goal_keys: dict[str, str]) -> None:
        self._goal_keys = goal_keys
        self._moments: list[Moment] = []
        self._final: dict[int, Observation] = {}  # by environment
        self.waves: list[Experience] = []
        self.steps = 0  # of waves that are not among them yet

    def before_step(self, moment: Moment) -> None:
        self._moments.append(moment)

    def on_step(self, moment: Moment, outcome: Outcome) -> None:
        for env, obs in enumerate(outcome.info.get("final_obs", ())):
            if obs is not None:  # where physics diverged before the others' end it is left out anyway
                self._final[env] = obs

    def after_wave(self, episodes: Episodes) -> None:
        moments, self._moments = self._moments, []
        self.steps += int(episodes.lengths.sum())
        whole = np.flatnonzero(~episodes.diverged)  # the wave's episodes stand in its first environments
        if not len(whole):
            return
        ends = [self._final[int(env)] for env in whole]
        frames = {
            key: np.stack([*(m.obs[key][whole] for m in moments), np.array([end[key] for end in ends])], 1)
            for key in moments[0].obs
            if key not in self._goal_keys
        }
        goals = {key: moments[0].obs[key][whole] for key in self._goal_keys}
        actions = np.stack([m.action[whole] for m in moments], 1)
        self.waves.append(Experience(frames, goals, actions, episodes.success[whole], self.steps))
        self.steps = 0


def gather(env: "GoalEnvs", policy: Policy, *, episodes: int, seed: int) -> Experience:
    """Play whole episodes and keep everything that was seen.

    Args:
        env: the environments; reset here.
        policy: acts.
        episodes: how many; one whose physics diverged is left out.
        seed: episode k is seeded with `seed + k`.

    Raises:
        UserError: if physics diverged in all of them.
    """
    books = _Books(env.goal_keys)
    rollout(
        env,
        policy,
        episodes=episodes,
        seed=seed,
        before_step=books.before_step,
        on_step=books.on_step,
        after_wave=books.after_wave,
    )
    if not books.waves:
        raise UserError(f"physics diverged in all of {episodes:,} episodes: nothing can be learnt from them")
    found = Experience.joined(books.waves)
    return replace(found, steps=found.steps + books.steps)


def unskilled(env: "GoalEnvs", seed: int) -> Policy:
    """Return play that knows nothing of objects or goals: wandering and held actions, or uniform ones elsewhere.

    Where the camera stands still and actions move the tool, play stays where the camera sees it.
    """
    if not isinstance(env, GoalVectorEnv):
        return make_policy("random", seed=seed)
    play = Play(UNSKILLED, seed=seed)
    camera = env.config.cameras[0]
    if isinstance(env.sim.control, EndEffectorControl) and env.pictures.stands_still(camera):
        return InView(play, camera)
    return play


class InView:
    """A policy whose tool turns back before it leaves the picture.

    Near the picture's rim most of the arm is beyond it, and places can no longer be read. What goes there heads for the
    middle of the workspace until it is well within the picture again.

    Args:
        policy: acts; its actions move the tool.
        camera: stands still.
    """

    RIM, WELL_WITHIN = 0.15, 0.3  # from the picture's edges, in its sides

    def __init__(self, policy: Policy, camera: str) -> None:
        self._policy, self._camera = policy, camera
        self._returning = np.zeros(0, bool)  # (N,)

    def reset(self, obs: Observation, mask: Mask) -> None:
        """See `Policy`."""
        self._policy.reset(obs, mask)
        if len(mask) != len(self._returning):
            self._returning = np.zeros(len(mask), bool)
        self._returning &= ~mask

    def act(self, obs: Observation, env: "GoalEnvs") -> Actions:
        """See `Policy`."""
        assert isinstance(env, GoalVectorEnv), "only there is it known what a camera sees"
        actions = self._policy.act(obs, env)
        step = CONTROLS["ee"].step
        tool = np.asarray(env.object_positions()["gripper"], np.float64)
        rim = self._from_edges(env, tool + step * actions[:, :3])
        self._returning = np.where(self._returning, rim < self.WELL_WITHIN, rim < self.RIM)
        home = np.clip((env.task.workspace.at(np.full(3, 0.5)) - tool) / step, -1.0, 1.0)
        actions[:, :3] = np.where(self._returning[:, None], home, actions[:, :3])
        return actions

    def _from_edges(self, env: GoalVectorEnv, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """How far points (N, 3) are from the nearest edge of the picture, in its sides, (N,); negative beyond it."""
        places = env.pictures.places(points[:, None], self._camera)[:, 0]
        return np.nan_to_num(np.minimum(places, 1 - places).min(-1), nan=-1.0)


class Noisy:
    """A policy with Gaussian noise on its actions, so that its attempts differ.

    Numbers of its actions that it has no grounds for are explored in half of the episodes: each stays at one end of
    its range for a while, then goes to the other, so that what comes of them can be seen.

    Args:
        policy: acts.
        noise: standard deviation.
        seed: of everything random.
        explored: which of an action's numbers are explored.
    """

    def __init__(self, policy: Policy, noise: float, seed: int, explored: Sequence[int] = ()) -> None:
        self._policy, self._noise, self._rng = policy, noise, np.random.default_rng(seed)
        self._explored = list(explored)
        self._exploring = np.zeros(0, bool)  # (N,)
        self._held = np.zeros((0, len(self._explored)))  # (N, explored): -1 or 1

    def reset(self, obs: Observation, mask: Mask) -> None:
        """See `Policy`."""
        self._policy.reset(obs, mask)
        if not self._explored:
            return
        if len(mask) != len(self._exploring):
            self._exploring = np.zeros(len(mask), bool)
            self._held = np.ones((len(mask), len(self._explored)))
        self._exploring = np.where(mask, self._rng.random(len(mask)) < EXPLORING, self._exploring)
        self._held = np.where(mask[:, None], self._rng.choice((-1.0, 1.0), self._held.shape), self._held)

    def act(self, obs: Observation, env: "GoalEnvs") -> Actions:
        """See `Policy`."""
        actions = self._policy.act(obs, env)
        noisy = actions + self._noise * self._rng.standard_normal(actions.shape)
        if self._explored:
            self._held = np.where(self._rng.random(self._held.shape) < TURNING, -self._held, self._held)
            kept = noisy[:, self._explored]
            noisy[:, self._explored] = np.where(self._exploring[:, None], self._held, kept)
        return np.clip(noisy, -1.0, 1.0).astype(np.float32)

"""Play: motion without a goal of its own, for an encoder to watch.

An episode follows one behaviour: pushing the object about, grasping and carrying it, wandering between points,
moving at random, or the task's expert with noise. Scripted behaviours are programmes: short lists of points for the
tool, re-planned when they have been run through, so that an episode holds several pushes or grasps.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from goalsight.agents.policies import Actions, EpisodeStreams, Mask, Observation
from goalsight.base.errors import UserError
from goalsight.envs.geometry.region import Region
from goalsight.envs.simulation.control import CONTROLS

if TYPE_CHECKING:
    from goalsight.envs.making import GoalEnvs
    from goalsight.envs.vector import GoalVectorEnv
    from goalsight.pretrain.data.appender import StoreAppender

Points = NDArray[np.float64]  # (M, 3) [m]

STAGES = 7  # of the longest programme
REACHED = 0.012  # a stage is over when the tool is this near its point [m]
PATIENCE = 16  # or after so many steps, because a point may be out of the arm's reach
ABOVE = 0.11  # clearance of the tool over the object while it travels [m]
BEHIND = 0.075  # where a push begins, from the object's centre [m]: half a cube, the fingers and some air
GENTLE, BRISK = 0.3, 0.6  # shares of full speed at which objects are pushed; a cube hit at full speed flies off
INNER = 0.12  # share of the workspace's width left out at each rim
CEILING = 0.75  # share of its height that wandering uses: above, the hand leaves the picture
OPEN, CLOSED = 1.0, -1.0


@dataclass(frozen=True)
class Mix:
    """How much of the play goes to each behaviour; the shares need not sum to one."""

    push: float = 0.35
    """Pushes the object to points drawn anew, several in an episode."""
    grasp: float = 0.2
    """Grasps the object, carries it through the air and puts it down."""
    expert: float = 0.15
    """The task's scripted expert with noise on its actions."""
    wander: float = 0.2
    """Moves between points of the workspace."""
    random: float = 0.1
    """Random actions, each held for a few steps."""

    def __post_init__(self) -> None:
        shares = [getattr(self, name) for name in BEHAVIOURS]
        if min(shares) < 0 or sum(shares) <= 0:
            raise UserError(f"shares of play must not be negative, nor all zero, got {shares}")

    def shares(self, *, with_object: bool, with_gripper: bool) -> NDArray[np.float64]:
        """Shares of the behaviours that are possible, summing to one, shape (5,).

        Raises:
            UserError: if nothing is left of the mix without an object, or without a gripper that moves.
        """
        shares = np.array([getattr(self, name) for name in BEHAVIOURS], dtype=np.float64)
        shares[PUSH] *= with_object
        shares[GRASP] *= with_object and with_gripper
        if shares.sum() == 0:
            missing = "object" if not with_object else "gripper to move"
            raise UserError(
                f"the task has no {missing}, so nothing is left of the play asked for; add wander or random"
            )
        return shares / shares.sum()


BEHAVIOURS = tuple(field.name for field in fields(Mix))
PUSH, GRASP, EXPERT, WANDER, RANDOM = range(len(BEHAVIOURS))
SKILLED = Mix(push=0.0, grasp=0.0, expert=1.0, wander=0.0, random=0.0)  # someone who can, as far as noise lets them
AIMLESS = Mix(push=0.0, grasp=0.0, expert=0.0, wander=0.0, random=1.0)


@dataclass(frozen=True)
class _Stage:
    """One stage of a programme, for m environments."""

    points: Points  # (m, 3)
    grip: float | NDArray[np.float64]
    dwell: int = 0
    speed: float | NDArray[np.float64] = 1.0


@dataclass
class _Programmes:
    """For each environment, points to visit and where it is among them."""

    points: NDArray[np.float64]  # (N, STAGES, 3) [m]
    grip: NDArray[np.float64]  # (N, STAGES)
    dwell: NDArray[np.intp]  # (N, STAGES) least steps at a stage: fingers need time to close
    speed: NDArray[np.float64]  # (N, STAGES) share of full speed
    length: NDArray[np.intp]  # (N,) stages used
    stage: NDArray[np.intp]  # (N,)
    timer: NDArray[np.intp]  # (N,) steps at this stage

    @classmethod
    def empty(cls, num_envs: int) -> "_Programmes":
        shape = (num_envs, STAGES)
        length, stage, timer = np.zeros((3, num_envs), dtype=np.intp)
        dwell = np.zeros(shape, dtype=np.intp)
        return cls(np.zeros((*shape, 3)), np.zeros(shape), dwell, np.ones(shape), length, stage, timer)

    def load(self, envs: NDArray[np.intp], stages: "Sequence[_Stage]") -> None:
        """Give these environments a programme and start it."""
        for number, stage in enumerate(stages):
            self.points[envs, number] = stage.points
            self.grip[envs, number] = stage.grip
            self.dwell[envs, number] = stage.dwell
            self.speed[envs, number] = stage.speed
        self.length[envs], self.stage[envs], self.timer[envs] = len(stages), 0, 0

    def advance(self, tool: Points) -> None:
        rows, stage = np.arange(len(tool)), np.minimum(self.stage, STAGES - 1)
        near = np.linalg.norm(self.points[rows, stage] - tool, axis=-1) < REACHED
        done = (near & (self.timer >= self.dwell[rows, stage])) | (self.timer >= PATIENCE)
        self.stage += done
        self.timer = np.where(done, 0, self.timer + 1)

    @property
    def finished(self) -> Mask:
        return self.stage >= self.length

    def command(self, tool: Points, step: float) -> NDArray[np.float64]:
        """Actions (N, 4) that move the tool toward each environment's point."""
        rows = np.arange(len(tool))
        fastest = self.speed[rows, self.stage, None]
        move = np.clip((self.points[rows, self.stage] - tool) / step, -fastest, fastest)
        return np.concatenate([move, self.grip[rows, self.stage, None]], axis=1)


class Play:
    """The mixture as a policy. What an episode does depends on the seed and the episode's number alone."""

    NOISE = 0.2  # standard deviation on scripted actions, so that no two pushes are alike
    EXPERT_NOISE = 0.4  # on the expert's
    HOLD = 0.75  # chance that a random action is held for another step
    WIDTH = 14  # numbers an environment draws in a step: a plan's five, noise's eight, a choice

    def __init__(self, mix: Mix, *, seed: int, first: int = 0) -> None:
        """A mixture whose episode k draws from the stream (seed, k); `first` is the one that is played first."""
        self._mix = mix
        self._streams = EpisodeStreams(seed, self.WIDTH, first)
        self._fresh = np.zeros(0, dtype=bool)  # (N,): no behaviour chosen yet
        self.behaviour = np.zeros(0, dtype=np.intp)  # (N,): indices into BEHAVIOURS

    def behaviour_of(self, env: int) -> str:
        """Return the name of what an environment's episode plays."""
        return BEHAVIOURS[self.behaviour[env]]

    def next_round(self, env: "GoalVectorEnv", store: "StoreAppender", first: int, episodes: int) -> tuple[int, None]:
        """Return the episode that those which come next end before, the last one, and their goals: any will do."""
        return episodes, None

    def reset(self, obs: Observation, mask: Mask) -> None:
        """Let the episodes in `mask` choose a behaviour at their first step."""
        if len(mask) != len(self._fresh):
            self._fresh = np.ones(len(mask), dtype=bool)
            self.behaviour = np.full(len(mask), WANDER)
            self._programmes = _Programmes.empty(len(mask))
            self._held = np.zeros((len(mask), 4))
        self._streams.reset(mask)
        self._fresh |= mask

    def act(self, obs: Observation, env: "GoalEnvs") -> Actions:
        """Actions (N, A): how the tool moves, turns where the task turns it, and grips where it uses the gripper."""
        from goalsight.envs.vector import GoalVectorEnv

        assert isinstance(env, GoalVectorEnv), "play looks at where things are"
        points = env.object_positions()
        tool = np.asarray(points.pop("gripper"), np.float64)
        u = self._streams.draw(np.arange(len(tool)))  # (N, WIDTH)
        self._programmes.advance(tool)
        if self._fresh.any():
            shares = self._mix.shares(with_object=bool(points), with_gripper=env.task.uses_gripper)
            chosen = np.searchsorted(np.cumsum(shares), u[self._fresh, -1], side="right")
            self.behaviour[self._fresh] = np.minimum(chosen, RANDOM)  # the sum may fall short of 1 by rounding
        self._workspace = env.task.workspace
        things = np.stack([*points.values()] if points else [tool], axis=1)  # (N, K, 3)
        which = (u[:, 12] * things.shape[1]).astype(np.intp)  # a plan's; noise can share the number
        self._plan(self._fresh | self._programmes.finished, u, things[np.arange(len(tool)), which])
        noise = normal(u[:, 5:9], u[:, 9:13]) * (1, 1, 1, 0)
        action = self._programmes.command(tool, CONTROLS["ee"].step) + self.NOISE * noise
        renewed = self._fresh | (u[:, -1] > self.HOLD)
        self._held[renewed] = 2 * u[renewed, :4] - 1
        action = np.where((self.behaviour == RANDOM)[:, None], self._held, action)
        action = _fitted(action, env)
        experts = self.behaviour == EXPERT
        if experts.any():
            action[experts] = (env.expert_action() + self.EXPERT_NOISE * _fitted(noise, env))[experts]
        self._fresh[:] = False
        return np.clip(action, -1.0, 1.0).astype(np.float32)

    def _plan(self, due: Mask, u: NDArray[np.float64], thing: Points) -> None:
        """New programmes for the environments that need one."""
        thing = thing.astype(np.float64)
        reachable = within(self._workspace, thing)  # what has slid away is left alone
        for behaviour, planner in ((PUSH, self._push), (GRASP, self._grasp)):
            planned = due & reachable & (self.behaviour == behaviour)
            envs = np.flatnonzero(planned)
            if len(envs):
                self._programmes.load(envs, planner(thing[envs], u[envs]))
            due = due & ~planned
        # Behaviours without a programme of their own wander as well: their actions are replaced.
        envs = np.flatnonzero(due)
        grip = np.where(u[envs, 3] < 0.5, CLOSED, OPEN)
        speed = GENTLE + (1.0 - GENTLE) * u[envs, 4]
        self._programmes.load(envs, [_Stage(self._inside(u[envs, :3]), grip, speed=speed)])

    def _push(self, thing: Points, u: NDArray[np.float64]) -> list[_Stage]:
        """Behind the object, down, through it toward a point drawn on the table, and up again."""
        target = self._on_table(u[:, 0:2], thing)
        away = target - thing
        direction = away / np.maximum(np.linalg.norm(away, axis=-1, keepdims=True), 1e-6)
        aside = np.stack([-direction[:, 1], direction[:, 0], np.zeros(len(u))], axis=-1)
        start = thing - BEHIND * direction + (u[:, 2:3] - 0.5) * 0.02 * aside
        end = target - 0.5 * BEHIND * direction
        up = np.array([0.0, 0.0, ABOVE])
        speed = GENTLE + (BRISK - GENTLE) * u[:, 3]
        return [
            _Stage(start + up, CLOSED),
            _Stage(start, CLOSED),
            _Stage(end, CLOSED, speed=speed),
            _Stage(end + up, CLOSED),
        ]

    def _grasp(self, thing: Points, u: NDArray[np.float64]) -> list[_Stage]:
        """Down on the object, close, through a point in the air, down somewhere else, let go, up."""
        up = np.array([0.0, 0.0, ABOVE])
        carry = self._inside(u[:, 0:3])
        carry[:, 2] = thing[:, 2] + 0.05 + 0.2 * u[:, 2]
        down = self._on_table(u[:, 3:5], thing)
        return [
            _Stage(thing + up, OPEN),
            _Stage(thing, OPEN, dwell=1),
            _Stage(thing, CLOSED, dwell=4),
            _Stage(carry, CLOSED),
            _Stage(down, CLOSED),
            _Stage(down, OPEN, dwell=3),
            _Stage(down + up, OPEN),
        ]

    def _inside(self, u: NDArray[np.float64]) -> Points:
        """Points of the workspace (m, 3), away from its rim and ceiling."""
        low, high = np.array([INNER, INNER, 0.0]), np.array([1.0 - INNER, 1.0 - INNER, CEILING])
        return np.asarray(self._workspace.at(low + (high - low) * u))

    def _on_table(self, u: NDArray[np.float64], thing: Points) -> Points:
        """Points of the workspace's ground plan (m, 3), away from its rim, at the height of the object."""
        points = self._inside(np.column_stack([u, np.zeros(len(u))]))
        points[:, 2] = thing[:, 2]
        return points


def within(region: Region, points: Points, *, margin: float = 0.02) -> Mask:
    """Whether points (N, 3) lie in a region or at most `margin` [m] beside it, bool (N,)."""
    return np.asarray(np.abs(region.clip(points) - points).max(axis=-1) <= margin)


def _fitted(wanted: NDArray[np.float64], env: "GoalVectorEnv") -> NDArray[np.float64]:
    """A tool's moves and the gripper's (N, 4) as the actions (N, A) of a task, which may also turn the tool."""
    action = np.zeros(env.action_space.shape or ())
    action[:, :3] = wanted[:, :3]
    if env.task.uses_gripper:
        action[:, -1] = wanted[:, 3]
    return action


def normal(u: NDArray[np.float64], v: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return standard normal numbers from two uniform ones (Box and Muller, 1958)."""
    return np.sqrt(-2.0 * np.log1p(-u)) * np.cos(2.0 * np.pi * v)

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
from goalsight.envs.control import EndEffectorControl
from goalsight.errors import UserError

if TYPE_CHECKING:
    from goalsight.envs.vector import GoalVectorEnv

Points = NDArray[np.float64]  # (M, 3) [m]

STAGES = 7  # of the longest programme
REACHED = 0.012  # a stage is over when the tool is this near its point [m]
PATIENCE = 14  # or after so many steps, because a point may be out of the arm's reach
ABOVE = 0.11  # clearance of the tool over the object while it travels [m]
BEHIND = 0.075  # where a push begins, from the object's centre [m]: half a cube, the fingers and some air
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


@dataclass
class _Programmes:
    """For each environment, points to visit and where it is among them."""

    points: NDArray[np.float64]  # (N, STAGES, 3) [m]
    grip: NDArray[np.float64]  # (N, STAGES)
    dwell: NDArray[np.intp]  # (N, STAGES) least steps at a stage: fingers need time to close
    length: NDArray[np.intp]  # (N,) stages used
    stage: NDArray[np.intp]  # (N,)
    timer: NDArray[np.intp]  # (N,) steps at this stage

    @classmethod
    def empty(cls, num_envs: int) -> "_Programmes":
        zeros = np.zeros((num_envs, STAGES))
        counts = np.zeros(num_envs, dtype=np.intp)
        return cls(np.zeros((num_envs, STAGES, 3)), zeros, zeros.astype(np.intp), counts, counts.copy(), counts.copy())

    def load(self, envs: NDArray[np.intp], stages: Sequence[tuple[Points, float | NDArray[np.float64], int]]) -> None:
        """Give these environments a programme of (points, gripper, dwell) and start it."""
        for number, (points, grip, dwell) in enumerate(stages):
            self.points[envs, number] = points
            self.grip[envs, number] = grip
            self.dwell[envs, number] = dwell
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
        move = np.clip((self.points[rows, self.stage] - tool) / step, -1.0, 1.0)
        return np.concatenate([move, self.grip[rows, self.stage, None]], axis=1)


class Play:
    """The mixture as a policy. What an episode does depends on the seed and the episode's number alone."""

    NOISE = 0.2  # standard deviation on scripted actions, so that no two pushes are alike
    EXPERT_NOISE = 0.4  # on the expert's
    HOLD = 0.75  # chance that a random action is held for another step
    WIDTH = 14  # numbers an environment draws in a step: a plan's five, noise's eight, a choice

    def __init__(self, mix: Mix, *, seed: int, control: EndEffectorControl) -> None:
        """A mixture whose k-th episode draws from the stream (seed, k); `control` gives reach and step."""
        self._mix = mix
        self._control = control
        self._streams = EpisodeStreams(seed, self.WIDTH)
        self._fresh = np.zeros(0, dtype=bool)  # (N,): no behaviour chosen yet
        self.behaviour = np.zeros(0, dtype=np.intp)  # (N,): indices into BEHAVIOURS

    def reset(self, obs: Observation, mask: Mask) -> None:
        """Let the episodes in `mask` choose a behaviour at their first step."""
        if len(mask) != len(self._fresh):
            self._fresh = np.ones(len(mask), dtype=bool)
            self.behaviour = np.full(len(mask), WANDER)
            self._programmes = _Programmes.empty(len(mask))
            self._held = np.zeros((len(mask), 4))
        self._streams.reset(mask)
        self._fresh |= mask

    def act(self, obs: Observation, env: "GoalVectorEnv") -> Actions:
        """Actions (N, 3), and a fourth entry for the gripper where the task uses it."""
        points = env.object_positions()
        tool, thing = np.asarray(points["gripper"], np.float64), points.get("object")
        u = self._streams.draw(np.arange(len(tool)))  # (N, WIDTH)
        self._programmes.advance(tool)
        if self._fresh.any():
            shares = self._mix.shares(with_object=thing is not None, with_gripper=env.task.uses_gripper)
            chosen = np.searchsorted(np.cumsum(shares), u[self._fresh, -1], side="right")
            self.behaviour[self._fresh] = np.minimum(chosen, RANDOM)  # the sum may fall short of 1 by rounding
        self._plan(self._fresh | self._programmes.finished, u, tool if thing is None else np.asarray(thing))
        noise = _normal(u[:, 5:9], u[:, 9:13]) * (1, 1, 1, 0)
        action = self._programmes.command(tool, self._control.step) + self.NOISE * noise
        renewed = self._fresh | (u[:, -1] > self.HOLD)
        self._held[renewed] = 2 * u[renewed, :4] - 1
        action = np.where((self.behaviour == RANDOM)[:, None], self._held, action)
        width = int(np.prod(env.single_action_space.shape or ()))  # 3 where the task leaves the gripper closed
        action = action[:, :width]
        experts = self.behaviour == EXPERT
        if experts.any():
            action[experts] = (env.expert_action() + self.EXPERT_NOISE * noise[:, :width])[experts]
        self._fresh[:] = False
        return np.clip(action, -1.0, 1.0).astype(np.float32)

    def _plan(self, due: Mask, u: NDArray[np.float64], thing: Points) -> None:
        """New programmes for the environments that need one."""
        for behaviour, planner in ((PUSH, self._push), (GRASP, self._grasp)):
            envs = np.flatnonzero(due & (self.behaviour == behaviour))
            if len(envs):
                self._programmes.load(envs, planner(thing[envs].astype(np.float64), u[envs]))
        # Behaviours without a programme of their own wander as well: their actions are replaced.
        envs = np.flatnonzero(due & (self.behaviour != PUSH) & (self.behaviour != GRASP))
        grip = np.where(u[envs, 3] < 0.5, CLOSED, OPEN)
        self._programmes.load(envs, [(self._control.reach.at(u[envs, :3]), grip, 0)])

    def _push(self, thing: Points, u: NDArray[np.float64]) -> list[tuple[Points, float, int]]:
        """Behind the object, down, through it toward a point drawn on the table, and up again."""
        target = self._on_table(u[:, 0:2], thing)
        away = target - thing
        direction = away / np.maximum(np.linalg.norm(away, axis=-1, keepdims=True), 1e-6)
        aside = np.stack([-direction[:, 1], direction[:, 0], np.zeros(len(u))], axis=-1)
        start = thing - BEHIND * direction + (u[:, 2:3] - 0.5) * 0.02 * aside
        end = target - 0.5 * BEHIND * direction
        up = np.array([0.0, 0.0, ABOVE])
        return [(start + up, CLOSED, 0), (start, CLOSED, 0), (end, CLOSED, 0), (end + up, CLOSED, 0)]

    def _grasp(self, thing: Points, u: NDArray[np.float64]) -> list[tuple[Points, float, int]]:
        """Down on the object, close, through a point in the air, down somewhere else, let go, up."""
        up = np.array([0.0, 0.0, ABOVE])
        carry = self._control.reach.at(u[:, 0:3])
        carry[:, 2] = thing[:, 2] + 0.05 + 0.2 * u[:, 2]
        down = self._on_table(u[:, 3:5], thing)
        return [
            (thing + up, OPEN, 0),
            (thing, OPEN, 1),
            (thing, CLOSED, 4),
            (carry, CLOSED, 0),
            (down, CLOSED, 0),
            (down, OPEN, 3),
            (down + up, OPEN, 0),
        ]

    def _on_table(self, u: NDArray[np.float64], thing: Points) -> Points:
        """Points of the workspace's ground plan, at the height of the object; the rim is left out."""
        spread = self._control.reach.at(np.column_stack([0.12 + 0.76 * u, np.zeros(len(u))]))
        spread[:, 2] = thing[:, 2]
        return spread


def _normal(u: NDArray[np.float64], v: NDArray[np.float64]) -> NDArray[np.float64]:
    """Standard normal numbers from two uniform ones (Box and Muller, 1958)."""
    return np.sqrt(-2.0 * np.log1p(-u)) * np.cos(2.0 * np.pi * v)

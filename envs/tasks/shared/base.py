"""What a task is: which objects lie where, how a goal is drawn, what has been achieved, and an expert.

A task is data and pure batched functions. Arms, scenes, control and the loop are not its business.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields, replace
from math import inf
from typing import TYPE_CHECKING, Self

from array_api_compat import array_namespace

from goalsight.base.errors import UserError
from goalsight.envs.geometry.region import Array, Region
from goalsight.envs.simulation.control import TABLETOP
from goalsight.envs.tasks.shared.draws import Drawn, Draws
from goalsight.envs.tasks.shared.training import UNTRIED, Training
from goalsight.envs.tasks.shared.world import RESERVED, Layout, Placement, Thing, World, distance

if TYPE_CHECKING:
    import mujoco


@dataclass(frozen=True)
class Task(ABC):
    """A family of goals. Difficulty is data: `replace(Push(), name="precise_push", tolerance=0.03)` is another task."""

    name: str
    version: int = 0  # raise it with every change of what the task does; ids end with it and the simulation's, added
    objects: tuple[Thing, ...] = ()
    uses_gripper: bool = False  # otherwise the gripper stays closed and has no action
    turns: bool = False  # whether goals have orientations, so that Cartesian control turns the tool too
    goal_size: int = 3  # numbers that a goal is made of
    draws: Draws | int = 16  # what `draw` uses uniform numbers for; of so many that have no names it gets the array

    max_episode_steps: int = 50
    tolerance: float = 0.05  # of success, in the task's unit
    unit: str = "m"  # of goals and their errors
    hold_steps: int = 1  # control steps in a row for which the goal must be achieved to count as success
    grasped: str | None = None  # the object that the hand must hold meanwhile, touching it from opposing sides
    workspace: Region = TABLETOP  # where Cartesian control may send the tool [m]
    margin: float = 0.0  # by which things keep off the sides of a small arm's reach, for the hand to get around [m]
    least_distance: float = 0.1  # between what is achieved at the start and the goal [m]
    named_goals: tuple[tuple[str, tuple[float, ...]], ...] = ()  # by which to judge, beside random ones
    settled: float = 0.02  # a goal state that moves farther while it comes to rest is drawn again [the task's unit]
    settle_steps: int = 10  # physics steps for which a goal state comes to rest
    camera_back: float = 0.0  # how much farther off the camera `front` stands, to see farther goals [m]
    training: Training = UNTRIED  # what learning it takes

    def __post_init__(self) -> None:
        if not 0 < self.tolerance < inf or self.version < 0:
            raise ValueError(f"tolerance must be positive, version at least 0, got {self.tolerance} and {self.version}")
        if self.least_distance <= self.tolerance:
            raise ValueError(
                f"least_distance ({self.least_distance} {self.unit}) must exceed tolerance ({self.tolerance}): "
                "no episode may be solved at its start"
            )
        names = [thing.name for thing in self.objects]
        for name in names:
            if name in RESERVED or names.count(name) > 1:
                raise ValueError(f'task "{self.name}": another thing is called "{name}", too')
        if self.hold_steps < 1:
            raise ValueError(f"hold_steps must be at least 1, got {self.hold_steps}")
        if self.grasped is not None and self.grasped not in {thing.name for thing in self.objects}:
            raise ValueError(f'task "{self.name}" has no object "{self.grasped}" to be grasped')
        for name, goal in self.named_goals:
            if len(goal) != self.goal_size:
                raise ValueError(
                    f'goal "{name}" has {len(goal)} numbers; those of task "{self.name}" have {self.goal_size}'
                )

    @property
    def goals(self) -> dict[str, tuple[float, ...]]:
        """Its named goals."""
        return dict(self.named_goals)

    def within(self, reach: Region | None, joints: int = 6) -> Self:
        """The same task in the part of its regions that an arm of so many joints reaches; None means all of them.

        Named goals beyond an arm's reach move to the nearest place within.

        Raises:
            UserError: the arm reaches nothing of a region, or cannot turn its tool as it would have to.
        """
        if self.turns and joints < 6:
            raise UserError(f'task "{self.name}" turns the tool, which takes 6 joints; the arm has {joints}')
        if reach is None:
            return self
        regions = {each.name: getattr(self, each.name) for each in fields(self)}
        regions = {name: region for name, region in regions.items() if isinstance(region, Region)}
        try:
            for name, region in regions.items():
                regions[name] = region.within(reach, margin=0.0 if name == "workspace" else self.margin)
        except ValueError as error:
            raise UserError(f'task "{self.name}": the arm reaches nothing of its {name}') from error
        named = self.named_goals
        if "goal_region" in regions:  # goals are places, or begin with one
            inner = reach.within(reach, self.margin)
            named = tuple((name, (*inner.nearest(goal[:3]), *goal[3:])) for name, goal in named)
        return replace(self, **regions, named_goals=named)

    def furnish(self, spec: "mujoco.MjSpec") -> None:  # noqa: B027 (most tasks have nothing of the kind)
        """Add to a scene what stands there for good, beside the task's objects."""

    @property
    def numbers(self) -> int:
        """Uniform numbers that an episode takes."""
        return self.draws if isinstance(self.draws, int) else self.draws.total

    def lay_out(self, u: Array, training: bool) -> Layout:
        """Lay out n episodes: `draw` with names for its numbers, shape (n, numbers)."""
        return self.draw(u if isinstance(self.draws, int) else self.draws.named(u), training)

    @abstractmethod
    def draw(self, u: Drawn, training: bool) -> Layout:
        """Lay out n episodes.

        Args:
            u: uniform numbers in [0, 1), the only source of chance; those declared as `Draws(tool=3)` are `u.tool`,
                shape (n, 3).
            training: draw training starts, which may be easier than those of evaluation.
        """

    @abstractmethod
    def goal_placement(self, layout: Layout) -> Placement:
        """A state in which the goals of n layouts are achieved, whatever the goals; what they leave open is free.

        In tasks that use the gripper the hand closes on what lies between its fingers.
        """

    @abstractmethod
    def achieved(self, world: World) -> Array:
        """What counts as reached, shape (N, goal_size); a position [m] in most tasks."""

    @abstractmethod
    def expert(self, world: World, goal: Array) -> tuple[Array, Array]:
        """A scripted policy without memory.

        Args:
            world: as it is.
            goal: desired goal, shape (N, goal_size).

        Returns:
            the wanted displacement of the tool [m], shape (N, 3), or where the task `turns` (N, 6) with a rotation
            vector in the world [rad], and the gripper's action in [-1, 1], shape (N, 1).
        """

    def valid(self, layout: Layout, achieved: Array) -> Array:
        """Which of the n layouts may be used: those whose goal is not reached at the start, bool (n,)."""
        return self.error(achieved, layout.goal) > self.least_distance

    def error(self, achieved: Array, desired: Array) -> Array:
        """How far from the goal, (...): what `tolerance` bounds, the distance [m] in most tasks."""
        return distance(achieved, desired)

    def success(self, achieved: Array, desired: Array) -> Array:
        """Whether the goal is reached, bool (...)."""
        return self.error(achieved, desired) <= self.tolerance

    def markers(self, goal: Array) -> Array | None:
        """Points [m] by which people see goals (n, goal_size), (n, K, 3); None where goals are no places."""
        xp = array_namespace(goal)
        return None if self.unit != "m" or self.goal_size % 3 else xp.reshape(goal, (goal.shape[0], -1, 3))

    def sparse_reward(self, achieved: Array, desired: Array) -> Array:
        """-1 until the goal is reached, 0 where it is; float32 (...)."""
        xp = array_namespace(achieved, desired)
        return -xp.astype(~self.success(achieved, desired), xp.float32)

    def dense_reward(self, achieved: Array, desired: Array) -> Array:
        """Minus the error [m in most tasks]; float32 (...)."""
        xp = array_namespace(achieved, desired)
        return xp.astype(-self.error(achieved, desired), xp.float32)

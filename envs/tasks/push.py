"""Push: slide a cube along the table to a point, with the gripper closed."""

from dataclasses import dataclass, replace
from math import pi

from array_api_compat import array_namespace

from goalsight.envs.geometry.region import Array, Region
from goalsight.envs.tasks.shared.base import Cube, Layout, Placement, Task, Thing, World, distance
from goalsight.envs.tasks.shared.training import UNTRIED, Training

TRAINING = replace(UNTRIED, horizon=40)  # with 25 and 0.95 one seed fell back to 72%
CUBE = Cube("cube")
BESIDE = 0.055  # from the cube's centre to the closed fingers in the goal state, clear of its corners [m]
LOW, HIGH = 0.025, 0.085  # tool heights for pushing, and for passing over the cube [m]


def unit(vectors: Array) -> Array:
    """Vectors of shape (N, K) at length one; zero where there is no direction."""
    xp = array_namespace(vectors)
    norm = xp.linalg.vector_norm(vectors, axis=-1, keepdims=True)
    return vectors / xp.where(norm > 1e-9, norm, xp.ones_like(norm))


def ring(centre: Array, toward: Array, u: Array, near: float, far: float) -> Array:
    """Points around `centre` (n, 2), between `near` and `far` away [m], most of them on the way to `toward` (n, 2).

    Args:
        centre: [m].
        toward: [m].
        u: uniform numbers, shape (n, 2).
        near: least distance [m].
        far: greatest distance [m].
    """
    xp = array_namespace(u)
    way = toward - centre
    # The cube of a number in [-1, 1): half of the points lie within 23 degrees of the way, and some behind it.
    angle = xp.atan2(way[:, 1], way[:, 0]) + pi * (2 * u[:, 0] - 1) ** 3
    radius = near + (far - near) * u[:, 1]
    return centre + radius[:, None] * xp.stack([xp.cos(angle), xp.sin(angle)], axis=-1)


@dataclass(frozen=True)
class Push(Task):
    """The goal is a position of the cube on the table."""

    name: str = "push"
    training: Training = TRAINING
    objects: tuple[Thing, ...] = (CUBE,)
    named_goals: tuple[tuple[str, tuple[float, ...]], ...] = (
        ("near_left", (0.37, 0.14, CUBE.half)),
        ("near_right", (0.37, -0.14, CUBE.half)),
        ("far_left", (0.53, 0.14, CUBE.half)),
        ("far_right", (0.53, -0.14, CUBE.half)),
        ("middle", (0.45, 0.0, CUBE.half)),
    )

    # Low, so that wandering meets the cube, and high enough to pass over it.
    workspace: Region = Region((0.28, -0.27, 0.015), (0.62, 0.27, 0.14))
    start_region: Region = Region((0.36, -0.14, 0.03), (0.52, 0.14, 0.06))  # of the tool
    object_region: Region = Region((0.36, -0.17, CUBE.half), (0.54, 0.17, CUBE.half))
    goal_region: Region = Region((0.34, -0.20, CUBE.half), (0.56, 0.20, CUBE.half))
    margin: float = 0.055
    clearance: float = 0.055  # between tool and cube at the start, at least [m]
    training_near_share: float = 0.7  # of the training episodes start with the cube near the tool, before the goal
    training_near: tuple[float, float] = (0.055, 0.09)  # how near [m]

    def draw(self, u: Array, training: bool) -> Layout:
        """See `Task.draw`. Pushes must happen for anything to be learnt, hence the nearer training starts."""
        xp = array_namespace(u)
        tool = self.start_region.at(u[:, 0:3])
        cube = self.object_region.at(u[:, 3:6])
        goal = self.goal_region.at(u[:, 9:12])
        if training:
            near = ring(tool[:, :2], goal[:, :2], u[:, 6:8], *self.training_near)
            near = xp.concat([near, cube[:, 2:]], axis=-1)
            near = self.object_region.clip(near)
            cube = xp.where(u[:, 8:9] < self.training_near_share, near, cube)
        return Layout(Placement(tool, objects={CUBE.name: cube}, yaw={CUBE.name: 0.5 * pi * u[:, 12]}), goal)

    def goal_placement(self, layout: Layout) -> Placement:
        """The cube at the goal, the fingers on the robot's side of it, where they hide nothing from the front."""
        xp = array_namespace(layout.goal)
        x, y = layout.goal[:, 0], layout.goal[:, 1]
        beside = xp.stack([x - BESIDE, y, xp.full_like(x, LOW)], axis=-1)
        return replace(layout.start, tool=beside, objects={CUBE.name: layout.goal})

    def valid(self, layout: Layout, achieved: Array) -> Array:
        """Not solved at the start, and the fingers beside the cube rather than in it."""
        apart = distance(layout.start.tool[:, :2], layout.start.objects[CUBE.name][:, :2]) >= self.clearance
        return super().valid(layout, achieved) & apart

    def achieved(self, world: World) -> Array:
        """The cube's position."""
        return world.objects[CUBE.name]

    def expert(self, world: World, goal: Array) -> tuple[Array, Array]:
        """Pass over the cube, come down behind it, push it toward the goal."""
        xp = array_namespace(goal)
        cube, tool = world.objects[CUBE.name], world.tool
        to_goal = goal[:, :2] - cube[:, :2]
        direction = unit(to_goal)
        from_cube = tool[:, :2] - cube[:, :2]
        along = xp.sum(from_cube * direction, axis=-1, keepdims=True)
        aside = from_cube - along * direction
        gap = xp.linalg.vector_norm(to_goal, axis=-1, keepdims=True)

        behind = cube[:, :2] - 0.075 * direction
        to_behind = behind - tool[:, :2]
        off = xp.linalg.vector_norm(aside, axis=-1, keepdims=True)
        there = xp.linalg.vector_norm(to_behind, axis=-1, keepdims=True) < 0.025
        low = tool[:, 2:] < LOW + 0.02
        pushing = low & (along < -0.02) & (off < 0.02)
        clear = low & (along < -0.06)  # already behind: no need to pass over

        push = xp.concat(
            [xp.minimum(0.4 * gap, xp.full_like(gap, 0.025)) * direction - aside, LOW - tool[:, 2:]], axis=-1
        )
        level = xp.where(there | clear, xp.full_like(gap, LOW), xp.full_like(gap, HIGH)) - tool[:, 2:]
        blocked = ~there & ~clear & (tool[:, 2:] < HIGH - 0.02)
        approach = xp.concat([xp.where(blocked, xp.zeros_like(to_behind), to_behind), level], axis=-1)
        move = xp.where(pushing, push, approach)
        return xp.where(gap < 0.01, xp.zeros_like(move), move), -xp.ones_like(world.opening)

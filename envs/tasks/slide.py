"""Slide: strike a tile so that it comes to rest on a point that the hand may not go to."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from array_api_compat import array_namespace

from goalsight.envs.geometry.region import Array, Region
from goalsight.envs.tasks.push import ring, unit
from goalsight.envs.tasks.shared.base import Layout, Placement, Task, Thing, World, distance
from goalsight.envs.tasks.shared.training import Training

if TYPE_CHECKING:
    import mujoco

TRAINING = Training(400_000, horizon=40, eval_every=10_000)  # long enough for the tile to come to rest
EDGE, HALF = 0.03, 0.0125  # half of the tile's edge, and of its height [m]
FRICTION = 0.04  # of the tile on the table
SLOWING = FRICTION * 9.81  # of a tile that slides [m/s^2]
LOW, HIGH = 0.02, 0.075  # tool heights for striking, and for passing over the tile [m]
BEHIND = 0.055  # from the tile's centre to the fingers that come down behind it [m]
TOUCH = 0.0435  # likewise, to fingers that touch it [m]
SOFT = 0.0048  # displacement asked for when the fingers are about to touch [m]
PERIOD = 0.04  # of control [s]


@dataclass(frozen=True)
class Tile:
    """A free square that slides far."""

    name: str = "tile"
    rgba: tuple[float, float, float, float] = (0.85, 0.11, 0.10, 1.0)

    def add_to(self, spec: "mujoco.MjSpec") -> None:
        """Add the tile to a scene."""
        import mujoco

        body = spec.worldbody.add_body(name=self.name, pos=[0.45, 0, HALF])
        body.add_freejoint(name=self.name)
        body.add_geom(
            name=self.name,
            type=mujoco.mjtGeom.mjGEOM_BOX,
            size=[EDGE, EDGE, HALF],
            mass=0.1,
            rgba=self.rgba,
            condim=4,
            friction=[1.0, 0.01, 0.0001],
            priority=1,
        )
        # Slippery on the table alone: what pushes it in any direction must hold it by friction.
        spec.add_pair(
            name=self.name,
            geomname1=self.name,
            geomname2="table",
            condim=4,
            friction=[FRICTION, FRICTION, 0.002, 0.0001, 0.0001],
            solref=[0.01, 1.0],
            solimp=[0.95, 0.99, 0.001, 0.5, 2.0],
        )


TILE = Tile()


@dataclass(frozen=True)
class Slide(Task):
    """The goal is a position of the tile on the table, farther than the hand may follow."""

    name: str = "slide"
    training: Training = TRAINING
    objects: tuple[Thing, ...] = (TILE,)
    named_goals: tuple[tuple[str, tuple[float, ...]], ...] = (
        ("near", (0.65, 0.0, HALF)),
        ("near_left", (0.66, 0.11, HALF)),
        ("near_right", (0.66, -0.11, HALF)),
        ("far", (0.74, 0.0, HALF)),
        ("far_left", (0.73, 0.10, HALF)),
    )
    camera_back: float = 0.16
    max_episode_steps: int = 60

    workspace: Region = Region((0.28, -0.22, 0.015), (0.56, 0.22, 0.14))
    start_region: Region = Region((0.34, -0.10, 0.02), (0.42, 0.10, 0.06))  # of the tool
    object_region: Region = Region((0.42, -0.08, HALF), (0.49, 0.08, HALF))
    nearest_goal: tuple[float, float, float] = (0.64, -0.12, HALF)  # the corners of the goals' region [m]
    farthest_goal: tuple[float, float, float] = (0.75, 0.12, HALF)
    clearance: float = 0.055  # between tool and tile at the start, at least [m]
    training_near_share: float = 0.7  # of the training episodes start with the tile near the tool, before the goal
    training_near: tuple[float, float] = (0.055, 0.09)  # how near [m]

    def draw(self, u: Array, training: bool) -> Layout:
        """See `Task.draw`. As in Push, most training starts are near the tile."""
        xp = array_namespace(u)
        tool = self.start_region.at(u[:, 0:3])
        tile = self.object_region.at(u[:, 3:6])
        goal = Region(self.nearest_goal, self.farthest_goal).at(u[:, 9:12])
        if training:
            near = ring(tool[:, :2], goal[:, :2], u[:, 6:8], *self.training_near)
            near = self.object_region.clip(xp.concat([near, tile[:, 2:]], axis=-1))
            tile = xp.where(u[:, 8:9] < self.training_near_share, near, tile)
        return Layout(Placement(tool, objects={TILE.name: tile}, yaw={TILE.name: xp.zeros_like(u[:, 0])}), goal)

    def goal_placement(self, layout: Layout) -> Placement:
        """The tile at the goal, the hand where it started."""
        return replace(layout.start, objects={TILE.name: layout.goal})

    def valid(self, layout: Layout, achieved: Array) -> Array:
        """Not solved at the start, and the fingers beside the tile rather than in it."""
        apart = distance(layout.start.tool[:, :2], layout.start.objects[TILE.name][:, :2]) >= self.clearance
        return super().valid(layout, achieved) & apart

    def achieved(self, world: World) -> Array:
        """The tile's position."""
        return world.objects[TILE.name]

    def expert(self, world: World, goal: Array) -> tuple[Array, Array]:
        """Go behind the tile, touch it, and give it the speed with which it slides to the goal."""
        xp = array_namespace(goal)
        tile, tool = world.objects[TILE.name], world.tool
        to_goal = (goal - tile)[:, :2]
        direction = unit(to_goal)
        gap = xp.linalg.vector_norm(to_goal, axis=-1, keepdims=True)
        speed = xp.sum(world.velocities[TILE.name][:, :2] * direction, axis=-1, keepdims=True)
        wanted = xp.sqrt(2 * SLOWING * gap)

        from_tile = tool[:, :2] - tile[:, :2]
        along = xp.sum(from_tile * direction, axis=-1, keepdims=True)
        aside = from_tile - along * direction
        low = tool[:, 2:] < LOW + 0.02
        striking = low & (along < -0.02) & (xp.linalg.vector_norm(aside, axis=-1, keepdims=True) < 0.01)
        to_behind = tile[:, :2] - BEHIND * direction - tool[:, :2]
        there = xp.linalg.vector_norm(to_behind, axis=-1, keepdims=True) < 0.015
        clear = low & (along < -0.05)

        # A tile that is hit springs off at a speed of its own: the fingers touch it first.
        kick = xp.clip(PERIOD * wanted / world.response, 0.0, 0.04)
        pace = xp.where((along < -TOUCH) & (speed < 0.1), SOFT - 0.3 * (along + TOUCH - 0.003), kick)
        # It follows turned fingers less than they are turned.
        bend = xp.clip(0.5 * direction[:, 1:], -0.1, 0.1)
        aim = unit(xp.concat([direction[:, :1], direction[:, 1:] + bend], axis=-1))
        strike = xp.concat([pace * aim - aside, LOW - tool[:, 2:]], axis=-1)
        level = xp.where(there | clear, xp.full_like(gap, LOW), xp.full_like(gap, HIGH)) - tool[:, 2:]
        blocked = ~there & ~clear & (tool[:, 2:] < HIGH - 0.02)
        approach = xp.concat([xp.where(blocked, xp.zeros_like(to_behind), to_behind), level], axis=-1)
        move = xp.where(striking, strike, approach)
        gone = (speed >= 0.93 * wanted) | (speed > 0.1) & ~striking
        return xp.where(gone, xp.zeros_like(move), move), -xp.ones_like(world.opening)

"""Slide: strike a tile so that it comes to rest on a point that the hand may not go to."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from array_api_compat import array_namespace

from goalsight.envs.geometry.region import Array, Region
from goalsight.envs.tasks.shared.draws import Drawn, Draws
from goalsight.envs.tasks.shared.moves import until
from goalsight.envs.tasks.shared.pushing import Pushing, get_behind, unit
from goalsight.envs.tasks.shared.training import Training
from goalsight.envs.tasks.shared.world import Layout, Placement, Thing, World

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
class Slide(Pushing):
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
    draws: Draws = Draws(tool=3, thing=3, near=2, whether_near=1, goal=3, _unused=4)

    @property
    def goals_region(self) -> Region:
        """Beyond the hand's reach, so it is not cut to that."""
        return Region(self.nearest_goal, self.farthest_goal)

    def yaw(self, u: Drawn) -> Array:
        """As the table is."""
        xp = array_namespace(u.tool)
        return xp.zeros_like(u.tool[:, 0])

    def goal_placement(self, layout: Layout) -> Placement:
        """The tile at the goal, the hand where it started."""
        return replace(layout.start, objects={TILE.name: layout.goal})

    def expert(self, world: World, goal: Array) -> tuple[Array, Array]:
        """Go behind the tile, touch it, and give it the speed with which it slides to the goal."""
        xp = array_namespace(goal)
        tool = world.tool
        hand = get_behind(
            tool,
            world.objects[TILE.name],
            goal,
            low=LOW,
            high=HIGH,
            behind=BEHIND,
            there=0.015,
            clear=0.05,
            straight=0.01,
        )
        direction, along = hand.direction, hand.along
        speed = xp.sum(world.velocities[TILE.name][:, :2] * direction, axis=-1, keepdims=True)
        wanted = xp.sqrt(2 * SLOWING * hand.gap)
        # A tile that is hit springs off at a speed of its own: the fingers touch it first.
        kick = xp.clip(PERIOD * wanted / world.response, 0.0, 0.04)
        pace = xp.where((along < -TOUCH) & (speed < 0.1), SOFT - 0.3 * (along + TOUCH - 0.003), kick)
        # It follows turned fingers less than they are turned.
        bend = xp.clip(0.5 * direction[:, 1:], -0.1, 0.1)
        aim = unit(xp.concat([direction[:, :1], direction[:, 1:] + bend], axis=-1))
        strike = xp.concat([pace * aim - hand.aside, LOW - tool[:, 2:]], axis=-1)
        gone = (speed >= 0.93 * wanted) | (speed > 0.1) & ~hand.ready
        return until(gone, xp.where(hand.ready, strike, hand.approach), world)

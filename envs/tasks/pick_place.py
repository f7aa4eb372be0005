"""PickPlace: bring a cube to a point on the table or in the air."""

from dataclasses import dataclass

from array_api_compat import array_namespace

from goalsight.envs.region import Array, Region
from goalsight.envs.tasks.base import Cube, Layout, Task, Thing, World, distance

CUBE = Cube("cube")
HOVER = 0.09  # height above the cube from which the open hand comes down [m]


@dataclass(frozen=True)
class PickPlace(Task):
    """The goal is a position of the cube; half of the goals are in the air, where the hand holds it."""

    name: str = "pick_place"
    objects: tuple[Thing, ...] = (CUBE,)
    uses_gripper: bool = True

    settle_steps: int = 50
    start_region: Region = Region((0.38, -0.12, 0.12), (0.50, 0.12, 0.20))  # of the tool
    object_region: Region = Region((0.36, -0.17, CUBE.half), (0.54, 0.17, CUBE.half))
    goal_region: Region = Region((0.34, -0.20, CUBE.half), (0.56, 0.20, CUBE.half))
    air_region: Region = Region((0.34, -0.20, 0.10), (0.56, 0.20, 0.28))
    air_share: float = 0.5
    yaw: float = 0.3  # the cube's edges are at most so far from the hand's [rad]
    training_below_share: float = 0.5  # of the training episodes start with the open hand around the cube's height

    def draw(self, u: Array, training: bool) -> Layout:
        """See `Task.draw`. Training starts often have the hand over the cube, so that grasps happen."""
        xp = array_namespace(u)
        tool = self.start_region.at(u[:, 0:3])
        cube = self.object_region.at(u[:, 3:6])
        if training:
            over = cube + xp.asarray((0.0, 0.0, 1.0), dtype=u.dtype) * (HOVER * u[:, 7:8])
            tool = xp.where(u[:, 6:7] < self.training_below_share, over, tool)
        in_air = u[:, 8] < self.air_share
        goal = xp.where(in_air[:, None], self.air_region.at(u[:, 9:12]), self.goal_region.at(u[:, 9:12]))
        return Layout(
            tool=tool,
            goal=goal,
            goal_tool=goal,
            grasped=xp.ones(u.shape[0], dtype=xp.bool),
            objects={CUBE.name: cube},
            goal_objects={CUBE.name: goal},
            yaw={CUBE.name: self.yaw * (2 * u[:, 12] - 1)},
        )

    def achieved(self, world: World) -> Array:
        """The cube's position."""
        return world.objects[CUBE.name]

    def expert(self, world: World, goal: Array) -> tuple[Array, Array]:
        """Hover over the cube with the hand open, come down, close, carry it to the goal, hold it there."""
        xp = array_namespace(goal)
        cube, tool = world.objects[CUBE.name], world.tool
        to_cube = cube - tool
        sideways = xp.linalg.vector_norm(to_cube[:, :2], axis=-1, keepdims=True)
        gap = distance(cube, tool)[:, None]
        closing = world.opening < CUBE.half + 0.011
        around = (gap < 0.012) | (closing & (gap < 0.025))
        held = around & (world.opening < CUBE.half + 0.009)

        above = sideways > xp.where(tool[:, 2:] < cube[:, 2:] + 0.06, 0.015, 0.03)
        height = xp.where(above, cube[:, 2:] + HOVER, cube[:, 2:]) - tool[:, 2:]
        approach = xp.concat([to_cube[:, :2], height], axis=-1)

        carry = goal - cube
        far = xp.linalg.vector_norm(carry[:, :2], axis=-1, keepdims=True) > 0.04
        # Over the table until near the goal: a cube that is dragged turns in the hand.
        lift = xp.where(far, xp.maximum(goal[:, 2:], xp.full_like(goal[:, 2:], 0.05)) - cube[:, 2:], carry[:, 2:])
        carry = xp.concat([carry[:, :2], lift], axis=-1)

        still = xp.where(around, xp.zeros_like(approach), approach)
        gripper = xp.where(around, -xp.ones_like(world.opening), xp.ones_like(world.opening))
        return xp.where(held, carry, still), gripper

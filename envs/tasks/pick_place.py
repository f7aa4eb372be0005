"""PickPlace: bring a cube to a point on the table or in the air."""

from dataclasses import dataclass, replace

from array_api_compat import array_namespace

from goalsight.envs.geometry.region import Array, Region
from goalsight.envs.tasks.shared.base import Task
from goalsight.envs.tasks.shared.draws import Drawn, Draws
from goalsight.envs.tasks.shared.grasping import HOVER, fetch
from goalsight.envs.tasks.shared.training import GRASPING, Training
from goalsight.envs.tasks.shared.world import Cube, Layout, Placement, Thing, World

CUBE = Cube("cube")


@dataclass(frozen=True)
class PickPlace(Task):
    """The goal is a position of the cube; half of the goals are in the air, where the hand holds it."""

    name: str = "pick_place"
    training: Training = GRASPING
    objects: tuple[Thing, ...] = (CUBE,)
    uses_gripper: bool = True
    named_goals: tuple[tuple[str, tuple[float, ...]], ...] = (
        ("left", (0.45, 0.15, CUBE.half)),
        ("right", (0.45, -0.15, CUBE.half)),
        ("up_left", (0.45, 0.15, 0.15)),
        ("up_right", (0.45, -0.15, 0.15)),
        ("high", (0.45, 0.0, 0.27)),
    )

    settle_steps: int = 50
    draws: Draws = Draws(tool=3, cube=3, whether_over=1, height=1, whether_in_air=1, goal=3, yaw=1, _unused=3)
    start_region: Region = Region((0.38, -0.12, 0.12), (0.50, 0.12, 0.20))  # of the tool
    object_region: Region = Region((0.36, -0.17, CUBE.half), (0.54, 0.17, CUBE.half))
    goal_region: Region = Region((0.34, -0.20, CUBE.half), (0.56, 0.20, CUBE.half))
    air_region: Region = Region((0.34, -0.20, 0.10), (0.56, 0.20, 0.28))
    air_share: float = 0.5
    yaw: float = 0.3  # the cube's edges are at most so far from the hand's [rad]
    training_below_share: float = 0.5  # of the training episodes start with the open hand around the cube's height

    def draw(self, u: Drawn, training: bool) -> Layout:
        """See `Task.draw`. Training starts often have the hand over the cube, so that grasps happen."""
        xp = array_namespace(u.tool)
        tool = self.start_region.at(u.tool)
        cube = self.object_region.at(u.cube)
        if training:
            over = cube + xp.asarray((0.0, 0.0, 1.0), dtype=cube.dtype) * (HOVER * u.height)
            tool = xp.where(u.whether_over < self.training_below_share, over, tool)
        in_air = u.whether_in_air < self.air_share
        goal = xp.where(in_air, self.air_region.at(u.goal), self.goal_region.at(u.goal))
        yaw = self.yaw * (2 * u.yaw[:, 0] - 1)
        return Layout(Placement(tool, objects={CUBE.name: cube}, yaw={CUBE.name: yaw}), goal)

    def goal_placement(self, layout: Layout) -> Placement:
        """The cube at the goal, in the hand."""
        return replace(layout.start, tool=layout.goal, objects={CUBE.name: layout.goal})

    def achieved(self, world: World) -> Array:
        """The cube's position."""
        return world.objects[CUBE.name]

    def expert(self, world: World, goal: Array) -> tuple[Array, Array]:
        """Hover over the cube with the hand open, come down, close, carry it to the goal, hold it there."""
        return fetch(world, world.objects[CUBE.name], goal, CUBE.half)

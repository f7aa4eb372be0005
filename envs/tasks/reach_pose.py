"""ReachPose: bring the point between the fingertips to a point in space, and the hand to a tilt and a turn."""

from dataclasses import dataclass, replace

from array_api_compat import array_namespace

from goalsight.envs.geometry.region import Array, Region
from goalsight.envs.geometry.rotations import angle_between, rotation_matrix, rotation_vector
from goalsight.envs.simulation.control import DOWN
from goalsight.envs.tasks.shared.base import Task
from goalsight.envs.tasks.shared.draws import Drawn, Draws
from goalsight.envs.tasks.shared.training import REACHING, Training
from goalsight.envs.tasks.shared.world import Layout, Placement, World, distance

TRAINING = replace(REACHING, steps=60_000)


@dataclass(frozen=True)
class ReachPose(Task):
    """The goal is a tool pose: position [m], and rotation vector [rad] from pointing straight down.

    Of distance and angle the worse counts, a radian as 0.25 m: to be within 0.05 m is to be within 0.2 rad as well.
    """

    name: str = "reach_pose"
    training: Training = TRAINING
    goal_size: int = 6
    turns: bool = True
    named_goals: tuple[tuple[str, tuple[float, ...]], ...] = (
        ("straight", (0.45, 0.15, 0.15, 0.0, 0.0, 0.0)),
        ("turned", (0.45, -0.15, 0.15, 0.0, 0.0, 0.7)),
        ("tilted_left", (0.45, 0.12, 0.18, 0.45, 0.0, 0.0)),
        ("tilted_right", (0.45, -0.12, 0.18, -0.45, 0.0, 0.0)),
        ("tilted_back", (0.45, 0.0, 0.28, 0.0, 0.45, 0.0)),
    )

    draws: Draws = Draws(tool=3, goal=3, turn=3, _unused=7)
    start_region: Region = Region((0.40, -0.10, 0.10), (0.50, 0.10, 0.25))
    goal_region: Region = Region((0.36, -0.20, 0.10), (0.54, 0.20, 0.30))
    goal_turns: Region = Region((-0.5, -0.5, -0.8), (0.5, 0.5, 0.8))  # of rotation vectors [rad]
    metres_per_radian: float = 0.25  # being turned a radian wrong counts as being so far off

    def draw(self, u: Drawn, training: bool) -> Layout:
        """See `Task.draw`."""
        xp = array_namespace(u.goal)
        goal = xp.concat([self.goal_region.at(u.goal), self.goal_turns.at(u.turn)], axis=-1)
        return Layout(Placement(tool=self.start_region.at(u.tool)), goal)

    def goal_placement(self, layout: Layout) -> Placement:
        """The tool at the goal."""
        return Placement(tool=layout.goal[:, :3], orientation=_orientation(layout.goal))

    def achieved(self, world: World) -> Array:
        """The tool's position and rotation from pointing straight down."""
        xp = array_namespace(world.tool)
        turn = rotation_vector(xp.matmul(world.orientation, xp.asarray(DOWN.T, dtype=world.tool.dtype)))
        return xp.concat([world.tool, turn], axis=-1)

    def error(self, achieved: Array, desired: Array) -> Array:
        """The distance [m], or what the angle counts as where that is more."""
        xp = array_namespace(achieved, desired)
        angle = angle_between(achieved[..., 3:], desired[..., 3:])
        return xp.maximum(distance(achieved[..., :3], desired[..., :3]), self.metres_per_radian * angle)

    def markers(self, goal: Array) -> Array:
        """The goal's position, and a point 6 cm behind it along the tool."""
        xp = array_namespace(goal)
        behind = goal[:, :3] - 0.06 * _orientation(goal)[:, :, 2]
        return xp.stack([goal[:, :3], behind], axis=1)

    def expert(self, world: World, goal: Array) -> tuple[Array, Array]:
        """Go and turn straight to the goal."""
        xp = array_namespace(goal)
        turn = rotation_vector(xp.matmul(_orientation(goal), xp.permute_dims(world.orientation, (0, 2, 1))))
        return xp.concat([goal[:, :3] - world.tool, turn], axis=-1), -xp.ones_like(world.opening)


def _orientation(goal: Array) -> Array:
    """Tool rotations in the world, (n, 3, 3), of goals (n, 6)."""
    xp = array_namespace(goal)
    return xp.matmul(rotation_matrix(goal[:, 3:]), xp.asarray(DOWN, dtype=goal.dtype))

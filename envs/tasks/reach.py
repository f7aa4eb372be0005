"""Reach: bring the point between the fingertips to a point in space."""

from dataclasses import dataclass

from array_api_compat import array_namespace

from goalsight.envs.region import Array, Region
from goalsight.envs.tasks.base import Layout, Task, World


@dataclass(frozen=True)
class Reach(Task):
    """The goal is a tool position."""

    name: str = "reach"

    start_region: Region = Region((0.40, -0.10, 0.10), (0.50, 0.10, 0.25))
    goal_region: Region = Region((0.32, -0.24, 0.04), (0.60, 0.24, 0.34))

    def draw(self, u: Array, training: bool) -> Layout:
        """See `Task.draw`."""
        xp = array_namespace(u)
        goal = self.goal_region.at(u[:, 3:6])
        return Layout(
            tool=self.start_region.at(u[:, 0:3]),
            goal=goal,
            goal_tool=goal,
            grasped=xp.zeros(u.shape[0], dtype=xp.bool),
        )

    def achieved(self, world: World) -> Array:
        """The tool's position."""
        return world.tool

    def expert(self, world: World, goal: Array) -> tuple[Array, Array]:
        """Go straight to the goal."""
        xp = array_namespace(goal)
        return goal - world.tool, -xp.ones_like(world.opening)

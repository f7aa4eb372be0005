"""Reach: bring the point between the fingertips to a point in space."""

from dataclasses import dataclass

from array_api_compat import array_namespace

from goalsight.envs.geometry.region import Array, Region
from goalsight.envs.tasks.shared.base import Task
from goalsight.envs.tasks.shared.draws import Drawn, Draws
from goalsight.envs.tasks.shared.training import REACHING, Training
from goalsight.envs.tasks.shared.world import Layout, Placement, World


@dataclass(frozen=True)
class Reach(Task):
    """The goal is a tool position."""

    name: str = "reach"
    training: Training = REACHING
    named_goals: tuple[tuple[str, tuple[float, ...]], ...] = (
        ("near_left", (0.36, 0.15, 0.08)),
        ("near_right", (0.36, -0.15, 0.08)),
        ("far_left", (0.54, 0.15, 0.12)),
        ("far_right", (0.54, -0.15, 0.12)),
        ("high", (0.45, 0.0, 0.33)),
    )

    draws: Draws = Draws(tool=3, goal=3, _unused=10)
    start_region: Region = Region((0.40, -0.10, 0.10), (0.50, 0.10, 0.25))
    goal_region: Region = Region((0.32, -0.24, 0.04), (0.60, 0.24, 0.34))

    def draw(self, u: Drawn, training: bool) -> Layout:
        """See `Task.draw`."""
        return Layout(Placement(tool=self.start_region.at(u.tool)), self.goal_region.at(u.goal))

    def goal_placement(self, layout: Layout) -> Placement:
        """The tool at the goal."""
        return Placement(tool=layout.goal)

    def achieved(self, world: World) -> Array:
        """The tool's position."""
        return world.tool

    def expert(self, world: World, goal: Array) -> tuple[Array, Array]:
        """Go straight to the goal."""
        xp = array_namespace(goal)
        return goal - world.tool, -xp.ones_like(world.opening)

"""What panels of switches and of buttons have in common: a row of parts, each to be brought to one of its two ends."""

from dataclasses import dataclass
from typing import Protocol

from array_api_compat import array_namespace

from goalsight.envs.geometry.region import Array, Region
from goalsight.envs.tasks.shared.base import Task
from goalsight.envs.tasks.shared.draws import Drawn
from goalsight.envs.tasks.shared.world import Layout, Placement, Thing, World


class Part(Thing, Protocol):
    """A thing with two ends."""

    def place_at(self, offset: Array) -> Array:
        """Where its body is while its joint stands at offsets (n,) [m or rad]: (n, 3) [m]."""


@dataclass(frozen=True, kw_only=True)
class Panel(Task):
    """The goal is a pattern: the end at which each part shall stand; the one that is farthest off counts."""

    row: tuple[Part, ...]
    end: float  # where a joint's ends are, on both sides of the middle [m or rad]
    max_episode_steps: int = 75

    start_region: Region = Region((0.38, -0.14, 0.12), (0.52, 0.14, 0.20))  # of the tool

    def draw(self, u: Drawn, training: bool) -> Layout:
        """See `Task.draw`."""
        return Layout(self._placement(self.start_region.at(u.tool), self._ends(u.start)), self._ends(u.goal))

    def _ends(self, u: Array) -> Array:
        """One end or the other for each part, (n, K), by uniform numbers (n, K)."""
        xp = array_namespace(u)
        return xp.where(u < 0.5, xp.asarray(-self.end, dtype=u.dtype), self.end)

    def goal_placement(self, layout: Layout) -> Placement:
        """The parts in the pattern, the hand where it started."""
        return self._placement(layout.start.tool, layout.goal)

    def _placement(self, tool: Array, offsets: Array) -> Placement:
        """The tool at (n, 3) and the joints at offsets (n, K)."""
        return Placement(
            tool,
            objects={part.name: part.place_at(offsets[:, i]) for i, part in enumerate(self.row)},
            joints={part.name: offsets[:, i] for i, part in enumerate(self.row)},
        )

    def achieved(self, world: World) -> Array:
        """Where the joints stand, side by side [m or rad]."""
        xp = array_namespace(world.tool)
        return xp.stack([world.joints[part.name] for part in self.row], axis=-1)

    def error(self, achieved: Array, desired: Array) -> Array:
        """How far the worst part is off [m or rad]."""
        xp = array_namespace(achieved, desired)
        return xp.max(xp.abs(achieved - desired), axis=-1)

    def next_one(self, world: World, goal: Array) -> tuple[Array, Array, Array]:
        """Which part to see to: of those that are wrong the one at hand, so that none is left half-way.

        Returns:
            where it is [m], (N, 3); how far its joint has to go [m or rad], (N,); whether all are right, bool (N, 1).
        """
        xp = array_namespace(goal)
        offsets = self.achieved(world)
        rows = xp.arange(goal.shape[0])
        wrong = xp.abs(goal - offsets) > 0.5 * self.tolerance
        places = xp.stack([world.objects[part.name] for part in self.row], axis=1)  # (N, K, 3)
        way = xp.abs(places[:, :, 0] - world.tool[:, None, 0])
        which = xp.argmin(xp.where(wrong, way, way + 9.0), axis=-1)
        return places[rows, which], (goal - offsets)[rows, which], ~xp.any(wrong, axis=-1)[:, None]

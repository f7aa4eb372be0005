"""What drawers and doors have in common: a handle that moves along one path, to be brought to an opening."""

from dataclasses import dataclass
from typing import Protocol

from array_api_compat import array_namespace

from goalsight.envs.geometry.region import Array, Region
from goalsight.envs.tasks.shared.base import Task
from goalsight.envs.tasks.shared.draws import Drawn, Draws
from goalsight.envs.tasks.shared.moves import pass_over, until
from goalsight.envs.tasks.shared.world import Layout, Placement, Thing, World

HOOK, PASS = 0.055, 0.115  # tool heights at the handle, and for passing over it [m]
OUTSIDE = 0.024  # from the handle to the middle of fingers that shut it [m]


class Furniture(Thing, Protocol):
    """A thing whose handle moves as its joint does."""

    @property
    def stand_off(self) -> float:
        """Room for a finger between the handle and what it opens [m]."""

    def handle_at(self, opening: Array) -> Array:
        """Where the handle is at openings (n,): (n, 3) [m]."""

    def way_at(self, opening: Array) -> Array:
        """The way in which the handle moves when it opens further, of length one: (n, 2)."""

    @property
    def lever(self) -> float:
        """How far the handle moves for a unit of opening [m per m, or per radian]."""


@dataclass(frozen=True, kw_only=True)
class Opening(Task):
    """The goal is an opening of a piece of furniture [m or rad]."""

    furniture: Furniture
    goal_size: int = 1
    openings: tuple[float, float]

    draws: Draws = Draws(tool=3, start=1, goal=1, whether_near=1, _unused=10)
    start_region: Region = Region((0.38, -0.12, 0.13), (0.52, 0.12, 0.20))  # of the tool
    training_near_share: float = 0.5  # of the training episodes start with the tool at the handle

    def draw(self, u: Drawn, training: bool) -> Layout:
        """See `Task.draw`. Training starts often have the fingers on the side of the handle from which it is moved."""
        xp = array_namespace(u.tool)
        low, high = self.openings
        start, goal = low + (high - low) * u.start[:, 0], low + (high - low) * u.goal[:, 0]
        tool = self.start_region.at(u.tool)
        if training:
            tool = xp.where(u.whether_near < self.training_near_share, self._beside(start, goal - start), tool)
        return Layout(self._placement(tool, start), goal[:, None])

    def goal_placement(self, layout: Layout) -> Placement:
        """Opened as far as the goal says, the hand clear of it."""
        return self._placement(self.start_region.clip(layout.start.tool), layout.goal[:, 0])

    def _placement(self, tool: Array, opening: Array) -> Placement:
        name = self.furniture.name
        return Placement(tool, objects={name: self.furniture.handle_at(opening)}, joints={name: opening})

    def achieved(self, world: World) -> Array:
        """The opening."""
        return world.joints[self.furniture.name][:, None]

    def error(self, achieved: Array, desired: Array) -> Array:
        """How far the opening is off [m or rad]."""
        xp = array_namespace(achieved, desired)
        return xp.abs(achieved - desired)[..., 0]

    def markers(self, goal: Array) -> Array:
        """Where the handle shall be."""
        return self.furniture.handle_at(goal[:, 0])[:, None, :]

    def _beside(self, opening: Array, more: Array) -> Array:
        """Where the tool opens it from, behind the handle, or shuts it from: (n, 3) [m]."""
        xp = array_namespace(opening)
        handle, way = self.furniture.handle_at(opening), self.furniture.way_at(opening)
        gap = xp.where(more > 0, xp.full_like(more, -0.5 * self.furniture.stand_off), xp.full_like(more, OUTSIDE))
        return xp.concat([handle[:, :2] + gap[:, None] * way, xp.full_like(handle[:, 2:], HOOK)], axis=-1)

    def expert(self, world: World, goal: Array) -> tuple[Array, Array]:
        """Pass over the handle, come down on the side from which it must be moved, and move it."""
        xp = array_namespace(goal)
        tool, opening = world.tool, world.joints[self.furniture.name]
        more = (goal[:, 0] - opening) * self.furniture.lever  # to open [m]
        way = self.furniture.way_at(opening)
        to_place = self._beside(opening, more) - tool
        along = xp.sum(to_place[:, :2] * way, axis=-1)
        across = to_place[:, :2] - along[:, None] * way
        off = xp.linalg.vector_norm(across, axis=-1)
        ready = (tool[:, 2] < HOOK + 0.015) & (off < 0.03) & (xp.abs(along) < 0.02)
        over = xp.linalg.vector_norm(to_place[:, :2], axis=-1, keepdims=True) < 0.01
        approach = pass_over(tool, to_place[:, :2], over, low=HOOK, high=PASS, slack=0.03)

        # The handle gives way only once the fingers touch it, so the wish leads it a little.
        lead = xp.clip(0.5 * more, -0.02, 0.02) + 0.012 * xp.sign(more)
        pull = xp.concat([across + lead[:, None] * way, to_place[:, 2:]], axis=-1)
        return until((xp.abs(more) < 0.006)[:, None], xp.where(ready[:, None], pull, approach), world)

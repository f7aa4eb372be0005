"""What tasks have in common in which closed fingers push a free thing over the table: starts, and getting behind it."""

from abc import abstractmethod
from dataclasses import dataclass
from math import pi

from array_api_compat import array_namespace

from goalsight.envs.geometry.region import Array, Region
from goalsight.envs.tasks.shared.base import Task
from goalsight.envs.tasks.shared.draws import Drawn
from goalsight.envs.tasks.shared.moves import pass_over
from goalsight.envs.tasks.shared.world import Layout, Placement, World, distance


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


@dataclass(frozen=True, kw_only=True)
class Pushing(Task):
    """The goal is a position of the one thing there is; its `draws` name tool, thing, near, whether_near and goal."""

    start_region: Region  # of the tool
    object_region: Region
    clearance: float = 0.055  # between tool and thing at the start, at least [m]
    training_near_share: float = 0.7  # of the training episodes start with the thing near the tool, before the goal
    training_near: tuple[float, float] = (0.055, 0.09)  # how near [m]

    @property
    @abstractmethod
    def goals_region(self) -> Region:
        """Where goals are drawn [m]."""

    @abstractmethod
    def yaw(self, u: Drawn) -> Array:
        """How the thing is turned at the start, (n,) [rad]."""

    def draw(self, u: Drawn, training: bool) -> Layout:
        """See `Task.draw`. Pushes must happen for anything to be learnt, hence the nearer training starts."""
        xp = array_namespace(u.tool)
        name = self.objects[0].name
        tool = self.start_region.at(u.tool)
        thing = self.object_region.at(u.thing)
        goal = self.goals_region.at(u.goal)
        if training:
            near = ring(tool[:, :2], goal[:, :2], u.near, *self.training_near)
            near = self.object_region.clip(xp.concat([near, thing[:, 2:]], axis=-1))
            thing = xp.where(u.whether_near < self.training_near_share, near, thing)
        return Layout(Placement(tool, objects={name: thing}, yaw={name: self.yaw(u)}), goal)

    def valid(self, layout: Layout, achieved: Array) -> Array:
        """Not solved at the start, and the fingers beside the thing rather than in it."""
        thing = layout.start.objects[self.objects[0].name]
        apart = distance(layout.start.tool[:, :2], thing[:, :2]) >= self.clearance
        return super().valid(layout, achieved) & apart

    def achieved(self, world: World) -> Array:
        """The thing's position."""
        return world.objects[self.objects[0].name]


@dataclass(frozen=True)
class Behind:
    """How the tool stands to a thing that it shall push, for N simulations."""

    direction: Array  # from the thing to its goal, of length one, (N, 2)
    gap: Array  # how far that is [m], (N, 1)
    along: Array  # how far the tool is beyond the thing's centre in this direction [m], (N, 1)
    aside: Array  # and how far beside it [m], (N, 2)
    ready: Array  # whether it may push, bool (N, 1)
    approach: Array  # the displacement that gets it there [m], (N, 3)


def get_behind(
    tool: Array,
    thing: Array,
    goal: Array,
    *,
    low: float,
    high: float,
    behind: float,
    there: float,
    clear: float,
    straight: float,
) -> Behind:
    """Pass over a thing and come down behind it, as seen from its goal.

    Args:
        tool: where it is [m], (N, 3).
        thing: where it is [m], (N, 3).
        goal: where it shall be [m], (N, 3).
        low: tool height for pushing [m].
        high: tool height for passing over it [m].
        behind: how far behind its centre to come down [m].
        there: so near to that place the tool comes down [m].
        clear: a low tool that is so far behind the centre need not pass over it [m].
        straight: a tool that is less beside the line to the goal may push [m].
    """
    xp = array_namespace(tool)
    to_goal = goal[:, :2] - thing[:, :2]
    direction = unit(to_goal)
    from_thing = tool[:, :2] - thing[:, :2]
    along = xp.sum(from_thing * direction, axis=-1, keepdims=True)
    aside = from_thing - along * direction
    to_behind = thing[:, :2] - behind * direction - tool[:, :2]
    is_low = tool[:, 2:] < low + 0.02
    over = (xp.linalg.vector_norm(to_behind, axis=-1, keepdims=True) < there) | (is_low & (along < -clear))
    return Behind(
        direction=direction,
        gap=xp.linalg.vector_norm(to_goal, axis=-1, keepdims=True),
        along=along,
        aside=aside,
        ready=is_low & (along < -0.02) & (xp.linalg.vector_norm(aside, axis=-1, keepdims=True) < straight),
        approach=pass_over(tool, to_behind, over, low=low, high=high),
    )

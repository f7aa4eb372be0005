"""Moves that experts have in common: pass over what lies there, come down on a place, act, and stop."""

from array_api_compat import array_namespace

from goalsight.envs.geometry.region import Array
from goalsight.envs.tasks.shared.world import World


def pass_over(
    tool: Array, sideways: Array, over: Array, *, low: Array | float, high: Array | float, slack: float = 0.02
) -> Array:
    """The displacement [m], (N, 3), that brings the tool to a place from above.

    Straight up until it is high enough to pass over things, across, and down once it is over the place.

    Args:
        tool: where it is [m], (N, 3).
        sideways: from it to the place [m], (N, 2).
        over: whether it is near enough to come down, bool (N, 1).
        low: height to come down to [m], a number or (N, 1).
        high: height to pass at [m], likewise.
        slack: how far below that it may still go sideways [m]; infinity means that it never waits.
    """
    xp = array_namespace(tool)
    height = tool[:, 2:]
    blocked = ~over & (height < high - slack)
    level = xp.where(over, low + xp.zeros_like(height), high + xp.zeros_like(height)) - height
    return xp.concat([xp.where(blocked, xp.zeros_like(sideways), sideways), level], axis=-1)


def rise_first(low: Array, move: Array, up: Array | float) -> Array:
    """A displacement (N, 3) [m] that is straight up, by `up` [m], where the tool is too low, bool (N, 1)."""
    xp = array_namespace(move)
    level = up + xp.zeros_like(move[:, 2:])
    return xp.where(low, xp.concat([xp.zeros_like(move[:, :2]), level], axis=-1), move)


def until(done: Array, move: Array, world: World) -> tuple[Array, Array]:
    """What an expert returns whose fingers stay closed, and that stands still where it is done, bool (N, 1)."""
    xp = array_namespace(move)
    return xp.where(done, xp.zeros_like(move), move), -xp.ones_like(world.opening)

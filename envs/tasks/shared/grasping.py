"""What experts that grasp have in common: come down on a cube with the hand open, close it, carry the cube."""

from math import inf

from array_api_compat import array_namespace

from goalsight.envs.geometry.region import Array
from goalsight.envs.tasks.shared.moves import pass_over
from goalsight.envs.tasks.shared.world import World, distance

HOVER = 0.09  # height above the cube from which the open hand comes down [m]


def holding(world: World, cube: Array, half: float) -> tuple[Array, Array]:
    """Whether the fingers are around a cube, and whether they have closed on it.

    Args:
        world: as it is.
        cube: its position [m], (N, 3).
        half: of its edge [m].

    Returns:
        each bool (N, 1).
    """
    gap = distance(cube, world.tool)[:, None]
    closing = world.opening < half + 0.011
    around = (gap < 0.012) | (closing & (gap < 0.025))
    return around, around & (world.opening < half + 0.009)


def fetch(
    world: World, cube: Array, target: Array, half: float, *, over: Array | float = 0.05, near: float = 0.04
) -> tuple[Array, Array]:
    """Hover over a cube with the hand open, come down, close, carry it to a target, hold it there.

    Args:
        world: as it is.
        cube: its position [m], (N, 3).
        target: where to [m], (N, 3).
        half: of its edge [m].
        over: height at which hand and cube travel, at least [m], a number or (N, 1); from it they come down.
        near: how near to the target they must be for that, sideways [m].

    Returns:
        the wanted displacement of the tool [m], (N, 3), and the gripper's action, (N, 1).
    """
    xp = array_namespace(cube)
    around, held = holding(world, cube, half)
    to_cube = cube - world.tool
    sideways = xp.linalg.vector_norm(to_cube[:, :2], axis=-1, keepdims=True)
    above = sideways > xp.where(world.tool[:, 2:] < cube[:, 2:] + 0.06, 0.015, 0.03)
    over = over + xp.zeros_like(sideways)
    hover = xp.maximum(cube[:, 2:] + HOVER, over)
    approach = pass_over(world.tool, to_cube[:, :2], ~above, low=cube[:, 2:], high=hover, slack=inf)

    carry = target - cube
    far = xp.linalg.vector_norm(carry[:, :2], axis=-1, keepdims=True) > near
    lifted = cube[:, 2:] > over - 0.03
    # Over the table until near the target: a cube that is dragged turns in the hand.
    lift = xp.where(far, xp.maximum(target[:, 2:], over) - cube[:, 2:], carry[:, 2:])
    along = xp.where(far & ~lifted, xp.zeros_like(carry[:, :2]), carry[:, :2])
    carry = xp.concat([along, lift], axis=-1)

    still = xp.where(around, xp.zeros_like(approach), approach)
    gripper = xp.where(around, -xp.ones_like(world.opening), xp.ones_like(world.opening))
    return xp.where(held, carry, still), gripper

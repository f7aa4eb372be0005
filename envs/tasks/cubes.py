"""Sort and Stack: bring coloured cubes to any layout on the table, or one upon the other."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import reduce
from operator import and_

from array_api_compat import array_namespace

from goalsight.envs.geometry.region import Array, Region
from goalsight.envs.tasks.shared.base import Task
from goalsight.envs.tasks.shared.draws import Drawn, Draws
from goalsight.envs.tasks.shared.grasping import fetch, holding
from goalsight.envs.tasks.shared.moves import rise_first
from goalsight.envs.tasks.shared.training import REARRANGING, Training
from goalsight.envs.tasks.shared.world import Cube, Layout, Placement, Thing, World, distance

HALF = 0.025  # of a cube's edge [m]
CUBES = (
    Cube("red", HALF, rgba=(0.85, 0.11, 0.10, 1.0)),
    Cube("blue", HALF, rgba=(0.13, 0.35, 0.85, 1.0)),
    Cube("yellow", HALF, rgba=(0.96, 0.77, 0.10, 1.0)),
    Cube("green", HALF, rgba=(0.16, 0.62, 0.27, 1.0)),
)
EACH = Draws(start=2, goal=2, yaw=1)  # of every cube
APART = 0.1  # between the centres of cubes, so that open fingers fit between them [m]
OVER = 2 * HALF + 0.03  # from the centre of the highest cube to that of one that is carried over it [m]
LET_GO = 0.008  # a cube is let go when it is this near to its place [m]
PLACED = 0.02  # and left alone while it is this near [m]
IN_THE_WAY = (0.065, 0.065)  # a cube this near to another one's goal, along x and y, must go first [m]
BESIDE_A_TOWER = (0.16, 0.08)  # likewise, as the hand that takes it would hit the tower: it is wide along x [m]
ASIDE = tuple((x, y, HALF) for y in (0.24, -0.24, 0.0, 0.12, -0.12) for x in (0.36, 0.46, 0.56))  # places for it [m]


@dataclass(frozen=True)
class Sort(Task):
    """The goal is a place on the table for every cube; the one that is farthest off counts."""

    name: str = "sort2"
    training: Training = REARRANGING
    objects: tuple[Thing, ...] = CUBES[:2]
    uses_gripper: bool = True
    goal_size: int = 6
    draws: Draws = Draws(tool=3, cubes=2 * EACH.total)
    tolerance: float = 0.03
    settle_steps: int = 50

    start_region: Region = Region((0.38, -0.12, 0.18), (0.50, 0.12, 0.26))  # of the tool
    object_region: Region = Region((0.34, -0.21, HALF), (0.57, 0.21, HALF))
    yaw: float = 0.3  # the cubes' edges are at most so far from the hand's [rad]
    tower: bool = False  # the goal is a tower, its order that of the cubes

    def draw(self, u: Drawn, training: bool) -> Layout:
        """See `Task.draw`; a goal is the cubes' positions side by side."""
        xp = array_namespace(u.tool)
        count = len(self.objects)
        names = [thing.name for thing in self.objects]
        each = EACH.named(xp.reshape(u.cubes, (-1, count, EACH.total)))
        flat = xp.zeros_like(each.yaw)
        start = self.object_region.at(xp.concat([each.start, flat], axis=-1))  # (n, K, 3)
        goal = self.object_region.at(xp.concat([each.goal, flat], axis=-1))
        if self.tower:
            level = 2 * HALF * xp.astype(xp.arange(count), goal.dtype)
            rise = xp.stack([xp.zeros_like(level), xp.zeros_like(level), level], axis=-1)  # (K, 3)
            goal = goal[:, :1, :] + rise
        placement = Placement(
            tool=self.start_region.at(u.tool),
            objects={name: start[:, i] for i, name in enumerate(names)},
            yaw={name: self.yaw * (2 * each.yaw[:, i, 0] - 1) for i, name in enumerate(names)},
        )
        return Layout(placement, xp.reshape(goal, (-1, 3 * count)))

    def goal_placement(self, layout: Layout) -> Placement:
        """Every cube in its place, the hand where it started."""
        places = self._each(layout.goal)
        objects = {thing.name: places[:, i] for i, thing in enumerate(self.objects)}
        return replace(layout.start, objects=objects)

    def valid(self, layout: Layout, achieved: Array) -> Array:
        """Not solved at the start, and no two cubes too close for the fingers, at the start and in the goal."""
        fits = super().valid(layout, achieved) & self._apart(achieved)
        return fits if self.tower else fits & self._apart(layout.goal)

    def _apart(self, places: Array) -> Array:
        cubes = self._each(places)
        count = len(self.objects)
        pairs = [distance(cubes[:, i], cubes[:, j]) >= APART for i in range(count) for j in range(i)]
        return reduce(and_, pairs)

    def achieved(self, world: World) -> Array:
        """The cubes' positions side by side."""
        xp = array_namespace(world.tool)
        return xp.concat([world.objects[thing.name] for thing in self.objects], axis=-1)

    def error(self, achieved: Array, desired: Array) -> Array:
        """The largest distance of a cube from its goal [m]."""
        xp = array_namespace(achieved, desired)
        return xp.max(distance(self._each(achieved), self._each(desired)), axis=-1)

    def _each(self, places: Array) -> Array:
        """(..., 3 K) -> (..., K, 3)."""
        xp = array_namespace(places)
        return xp.reshape(places, (*places.shape[:-1], len(self.objects), 3))

    # --- the expert -----------------------------------------------------------------------------------------------

    def expert(self, world: World, goal: Array) -> tuple[Array, Array]:
        """Bring one cube after the other to its goal; what lies in the way is put aside first."""
        xp = array_namespace(goal)
        cubes, goals = self._each(self.achieved(world)), self._each(goal)  # (N, K, 3)
        rows = xp.arange(cubes.shape[0])
        active, target = self._choose(world, cubes, goals)
        busy = (active >= 0)[:, None]
        active = xp.where(active < 0, xp.zeros_like(active), active)
        cube = cubes[rows, active]
        others = xp.where(_one_hot(active, cubes.shape[1]), xp.zeros_like(cubes[:, :, 2]), cubes[:, :, 2])
        move, gripper = fetch(world, cube, target, HALF, over=xp.max(others, axis=-1, keepdims=True) + OVER, near=0.01)
        held = holding(world, cube, HALF)[1]
        arrived = held & (distance(cube, target) < LET_GO)[:, None]
        # Straight up from among the cubes before anything else.
        low = world.tool[:, 2:] < xp.max(cubes[:, :, 2], axis=-1, keepdims=True) + 0.05
        beside = xp.linalg.vector_norm((cube - world.tool)[:, :2], axis=-1, keepdims=True) > 0.02
        rise = low & ~held & (beside | ~busy)
        move = rise_first(rise, xp.where(arrived | ~busy, xp.zeros_like(move), move), 0.04)
        return move, xp.where(rise | arrived | ~busy, xp.ones_like(gripper), gripper)

    def _choose(self, world: World, cubes: Array, goals: Array) -> tuple[Array, Array]:
        """Which cube to move, (N,), -1 for none, and where to, (N, 3) [m]."""
        xp = array_namespace(cubes)
        count = cubes.shape[1]
        done: list[Array] = []
        ready: list[Array] = []
        blocker: list[Array] = []
        for i in range(count):
            supported = done[i - 1] if self.tower and i else xp.ones_like(cubes[:, 0, 0], dtype=xp.bool)
            away = self._room(cubes - goals[:, i : i + 1])  # (N, K)
            # Neither the cube itself is in its way, nor those that it shall stand on.
            exempt = [xp.ones_like(supported) if j == i else supported & (self.tower and j < i) for j in range(count)]
            away = xp.where(xp.stack(exempt, axis=-1), xp.full_like(away, 9.0), away)
            free = xp.min(away, axis=-1) >= 1
            done.append(supported & (distance(cubes[:, i], goals[:, i]) < PLACED))
            ready.append(supported & free)
            blocker.append(xp.where(supported & ~done[i] & ~free, xp.argmin(away, axis=-1), -1))

        rows = xp.arange(cubes.shape[0])
        active = xp.full_like(rows, -1)
        for i in reversed(range(count)):  # what comes last overrules: any blocker, what is ready, what is held
            active = xp.where(blocker[i] >= 0, blocker[i], active)
        for i in reversed(range(count)):
            active = xp.where(ready[i] & ~done[i], xp.full_like(rows, i), active)
        for i in range(count):
            active = xp.where(holding(world, cubes[:, i], HALF)[1][:, 0], xp.full_like(rows, i), active)
        chosen = xp.where(active < 0, xp.zeros_like(active), active)
        home = xp.stack(ready, axis=-1)[rows, chosen]
        return active, xp.where(home[:, None], goals[rows, chosen], self._aside(cubes, goals, chosen))

    def _aside(self, cubes: Array, goals: Array, chosen: Array) -> Array:
        """The nearest place that is free of other cubes and of goals, (N, 3) [m]."""
        xp = array_namespace(cubes)
        places = xp.asarray(ASIDE, dtype=cubes.dtype)  # (M, 3)
        far = xp.full_like(cubes, 9.0)
        others = xp.where(_one_hot(chosen, cubes.shape[1])[..., None], far, cubes)
        from_cubes = distance(others[:, None, :, :2], places[:, None, :2]) / APART  # (N, M, K)
        from_goals = self._room(goals[:, None] - places[:, None]) / 1.1
        room = xp.min(xp.concat([from_cubes, from_goals], axis=-1), axis=-1)
        rows = xp.arange(cubes.shape[0])
        way = distance(cubes[rows, chosen][:, None], places)  # (N, M): the nearest remains so on the way to it
        return places[xp.argmin(xp.where(room >= 1, way, way + 9.0), axis=-1)]

    def _room(self, between: Array) -> Array:
        """How far apart cubes and goals are sideways, (..., 3) [m] -> (...), 1 being just enough."""
        xp = array_namespace(between)
        least = xp.asarray(BESIDE_A_TOWER if self.tower else IN_THE_WAY, dtype=between.dtype)
        return xp.linalg.vector_norm(between[..., :2] / least, axis=-1)


def _one_hot(index: Array, size: int) -> Array:
    """(N,) -> bool (N, size)."""
    xp = array_namespace(index)
    return index[:, None] == xp.arange(size)


@dataclass(frozen=True)
class Stack(Sort):
    """The goal is a tower of the cubes, red at the bottom; the one that is farthest off counts."""

    name: str = "stack2"
    tower: bool = True


def _towers(count: int) -> Iterator[tuple[str, tuple[float, ...]]]:
    """Towers in the middle and at the corners of a square."""
    for name, (x, y) in {
        "middle": (0.45, 0.0),
        "near_left": (0.38, 0.12),
        "near_right": (0.38, -0.12),
        "far_left": (0.52, 0.12),
        "far_right": (0.52, -0.12),
    }.items():
        yield name, tuple(number for level in range(count) for number in (x, y, (2 * level + 1) * HALF))


def _rows(count: int) -> Iterator[tuple[str, tuple[float, ...]]]:
    """Rows across the table, and aslant, red at the left or at the right."""
    for name, near, far, left in (
        ("row", 0.45, 0.45, 1),
        ("near_row", 0.36, 0.36, 1),
        ("far_row", 0.55, 0.55, 1),
        ("row_from_right", 0.45, 0.45, -1),
        ("slanting_row", 0.37, 0.54, 1),
    ):
        shares = [i / (count - 1) for i in range(count)]
        places = [(near + share * (far - near), left * 0.18 * (1 - 2 * share), HALF) for share in shares]
        yield name, tuple(number for place in places for number in place)


def _of(kind: type[Sort], count: int, steps: int) -> Sort:
    """A task with so many cubes and steps for each of them."""
    return kind(
        name=f"{kind.__name__.lower()}{count}",
        objects=CUBES[:count],
        named_goals=tuple(_towers(count) if kind is Stack else _rows(count)),
        goal_size=3 * count,
        draws=Draws(tool=3, cubes=count * EACH.total),
        max_episode_steps=steps * count,
    )


SORTS = tuple(_of(Sort, count, steps=50) for count in (2, 3, 4))
STACKS = tuple(_of(Stack, count, steps=75) for count in (2, 3, 4))  # some must be put aside before

"""Drawer: pull or push a drawer to an opening, hooking its handle with closed fingers."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from array_api_compat import array_namespace

from goalsight.envs.region import Array, Region
from goalsight.envs.tasks.base import Layout, Placement, Task, Thing, World
from goalsight.envs.tasks.parts import TOUCHED, add_box, add_slide

if TYPE_CHECKING:
    import mujoco

WOOD, FRONT, METAL = (0.62, 0.47, 0.32, 1.0), (0.80, 0.66, 0.47, 1.0), (0.20, 0.22, 0.25, 1.0)
HOOK, PASS = 0.055, 0.115  # tool heights at the handle, and for passing over it [m]


@dataclass(frozen=True)
class Chest:
    """A chest with one drawer that opens toward the right of the robot, -y; the joint is the opening [m]."""

    name: str = "drawer"
    handle: tuple[float, float, float] = (0.45, 0.11, 0.06)  # the middle of its bar when shut [m]
    stand_off: float = 0.055  # from the bar to the front, room for a finger [m]
    size: tuple[float, float, float] = (0.09, 0.075, 0.05)  # half of the chest's edges [m]
    travel: float = 0.16  # how far the drawer opens [m]

    def add_to(self, spec: "mujoco.MjSpec") -> None:
        """Add the chest and its drawer to a scene."""
        self._add_chest(spec)
        drawer = spec.worldbody.add_body(name=self.name, pos=list(self.handle))
        add_slide(drawer, self.name, (0, -1, 0), (0, self.travel), damping=8, friction=1.5)
        self._add_boards(drawer)
        self._add_handle(drawer)

    def _add_chest(self, spec: "mujoco.MjSpec") -> None:
        wide, deep, high = self.size
        x, y, _ = self.handle
        chest = spec.worldbody.add_body(name=f"{self.name}_chest", pos=[x, y + self.stand_off + deep, high])
        sides = {
            "top": ([0, 0, high - 0.005], [wide, deep, 0.005]),
            "back": ([0, deep - 0.005, 0], [wide, 0.005, high]),
            "left": ([wide - 0.005, 0, 0], [0.005, deep, high]),
            "right": ([0.005 - wide, 0, 0], [0.005, deep, high]),
        }
        for side, (pos, size) in sides.items():
            add_box(chest, f"{self.name}_{side}", pos, size, rgba=WOOD)

    def _add_boards(self, drawer: "mujoco.MjsBody") -> None:
        wide, deep, high = self.size
        z = self.handle[2]
        width, depth, floor = wide - 0.012, 0.95 * deep, 0.012 - z
        front = self.stand_off
        boards = {
            "front": ([0, front, high - z], [width, 0.006, high - 0.014]),
            "floor": ([0, front + depth, floor], [width, depth, 0.004]),
            "near": ([width, front + depth, 0.5 * floor], [0.004, depth, 0.022]),
            "far": ([-width, front + depth, 0.5 * floor], [0.004, depth, 0.022]),
        }
        for board, (pos, size) in boards.items():
            add_box(drawer, f"{self.name}_{board}", pos, size, rgba=FRONT, mass=0.1)

    def _add_handle(self, drawer: "mujoco.MjsBody") -> None:
        import mujoco

        rod = {"type": mujoco.mjtGeom.mjGEOM_CAPSULE, "size": [0.007, 0, 0], "mass": 0.02, "rgba": METAL}
        front = self.stand_off
        rods = {"bar": (-0.05, 0, 0.05, 0), "post": (0.05, 0, 0.05, front), "other_post": (-0.05, 0, -0.05, front)}
        for part, (x0, y0, x1, y1) in rods.items():
            drawer.add_geom(name=f"{self.name}_{part}", fromto=[x0, y0, 0, x1, y1, 0], **rod, **TOUCHED)


CHEST = Chest()


@dataclass(frozen=True)
class Drawer(Task):
    """The goal is an opening of the drawer [m]."""

    name: str = "drawer"
    objects: tuple[Thing, ...] = (CHEST,)
    goal_size: int = 1
    named_goals: tuple[tuple[str, tuple[float, ...]], ...] = (
        ("shut", (0.0,)),
        ("ajar", (0.04,)),
        ("half", (0.075,)),
        ("wide", (0.11,)),
        ("open", (0.15,)),
    )
    tolerance: float = 0.02  # of the opening [m]
    least_distance: float = 0.05

    start_region: Region = Region((0.38, -0.12, 0.13), (0.52, 0.12, 0.20))  # of the tool
    openings: tuple[float, float] = (0.0, 0.15)  # [m]
    training_near_share: float = 0.5  # of the training episodes start with the tool at the handle

    def draw(self, u: Array, training: bool) -> Layout:
        """See `Task.draw`. Training starts often have the fingers behind or before the handle's bar."""
        xp = array_namespace(u)
        low, high = self.openings
        start, goal = low + (high - low) * u[:, 3], low + (high - low) * u[:, 4]
        tool = self.start_region.at(u[:, 0:3])
        if training:
            at_handle = self._beside(handle_at(start), xp.sign(goal - start))
            tool = xp.where(u[:, 5:6] < self.training_near_share, at_handle, tool)
        return Layout(
            Placement(tool, objects={CHEST.name: handle_at(start)}, joints={CHEST.name: start}), goal[:, None]
        )

    def goal_placement(self, layout: Layout) -> Placement:
        """The drawer at the opening, the hand clear of it."""
        opening = layout.goal[:, 0]
        tool = self.start_region.clip(layout.start.tool)
        return Placement(tool, objects={CHEST.name: handle_at(opening)}, joints={CHEST.name: opening})

    def achieved(self, world: World) -> Array:
        """The opening."""
        return world.joints[CHEST.name][:, None]

    @staticmethod
    def _beside(handle: Array, way: Array) -> Array:
        """Where the tool opens the drawer from, behind the bar, or shuts it from: (n, 3) [m]."""
        xp = array_namespace(handle)
        gap = xp.where(way > 0, xp.full_like(way, 0.5 * CHEST.stand_off), xp.full_like(way, -0.024))
        return xp.stack([handle[:, 0], handle[:, 1] + gap, xp.full_like(way, HOOK)], axis=-1)

    def expert(self, world: World, goal: Array) -> tuple[Array, Array]:
        """Pass over the bar, come down on the side from which it must be moved, and move it."""
        xp = array_namespace(goal)
        tool, handle = world.tool, world.objects[CHEST.name]
        more = goal[:, 0] - world.joints[CHEST.name]  # to open [m]
        to_place = self._beside(handle, more) - tool
        beside = to_place[:, 1] * xp.sign(more)  # how far the bar is from the middle of the fingers' side [m]
        low = tool[:, 2] < HOOK + 0.015
        ready = low & (xp.abs(to_place[:, 0]) < 0.03) & (xp.abs(to_place[:, 1]) < 0.02) & (beside < 0.02)
        over = xp.linalg.vector_norm(to_place[:, :2], axis=-1) < 0.01

        # The bar gives way only once the fingers touch it, so the wish leads it a little.
        lead = xp.clip(0.5 * more, -0.02, 0.02) + 0.012 * xp.sign(more)
        pull = xp.stack([to_place[:, 0], -lead, to_place[:, 2]], axis=-1)
        rise = low & ~over
        level = xp.where(over, to_place[:, 2], PASS - tool[:, 2])
        blocked = rise | (~over & (tool[:, 2] < PASS - 0.03))
        sideways = xp.where(blocked[:, None], xp.zeros_like(to_place[:, :2]), to_place[:, :2])
        approach = xp.concat([sideways, level[:, None]], axis=-1)
        move = xp.where(ready[:, None], pull, approach)
        done = xp.abs(more) < 0.006
        return xp.where(done[:, None], xp.zeros_like(move), move), -xp.ones_like(world.opening)


def handle_at(opening: Array) -> Array:
    """Where the handle is at openings (n,) [m]: (n, 3) [m]."""
    xp = array_namespace(opening)
    x, y, z = CHEST.handle
    return xp.stack([xp.full_like(opening, x), y - opening, xp.full_like(opening, z)], axis=-1)

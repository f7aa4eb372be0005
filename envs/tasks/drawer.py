"""Drawer: pull or push a drawer to an opening, hooking its handle with closed fingers."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from array_api_compat import array_namespace

from goalsight.envs.geometry.region import Array
from goalsight.envs.tasks.shared.opening import Furniture, Opening
from goalsight.envs.tasks.shared.parts import TOUCHED, add_box, add_joint
from goalsight.envs.tasks.shared.training import OPENING, Training
from goalsight.envs.tasks.shared.world import Thing

if TYPE_CHECKING:
    import mujoco

WOOD, FRONT, METAL = (0.62, 0.47, 0.32, 1.0), (0.80, 0.66, 0.47, 1.0), (0.20, 0.22, 0.25, 1.0)


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
        add_joint(drawer, self.name, (0, -1, 0), (0, self.travel), damping=8, friction=1.5)
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

        rod: dict[str, Any] = {
            "type": mujoco.mjtGeom.mjGEOM_CAPSULE,
            "size": [0.007, 0, 0],
            "mass": 0.02,
            "rgba": METAL,
        }
        front = self.stand_off
        rods = {"bar": (-0.05, 0, 0.05, 0), "post": (0.05, 0, 0.05, front), "other_post": (-0.05, 0, -0.05, front)}
        for part, (x0, y0, x1, y1) in rods.items():
            drawer.add_geom(name=f"{self.name}_{part}", fromto=[x0, y0, 0, x1, y1, 0], **rod, **TOUCHED)

    lever: ClassVar[float] = 1.0

    def handle_at(self, opening: Array) -> Array:
        """Where the handle is at openings (n,) [m]: (n, 3) [m]."""
        xp = array_namespace(opening)
        x, y, z = self.handle
        return xp.stack([xp.full_like(opening, x), y - opening, xp.full_like(opening, z)], axis=-1)

    def way_at(self, opening: Array) -> Array:
        """Straight to the right, (n, 2)."""
        xp = array_namespace(opening)
        return xp.stack([xp.zeros_like(opening), -xp.ones_like(opening)], axis=-1)


CHEST = Chest()


@dataclass(frozen=True, kw_only=True)
class Drawer(Opening):
    """The goal is an opening of the drawer [m]."""

    name: str = "drawer"
    training: Training = OPENING
    furniture: Furniture = CHEST
    objects: tuple[Thing, ...] = (CHEST,)
    openings: tuple[float, float] = (0.0, 0.15)  # [m]
    named_goals: tuple[tuple[str, tuple[float, ...]], ...] = (
        ("shut", (0.0,)),
        ("ajar", (0.04,)),
        ("half", (0.075,)),
        ("wide", (0.11,)),
        ("open", (0.15,)),
    )
    tolerance: float = 0.02  # of the opening [m]
    least_distance: float = 0.05

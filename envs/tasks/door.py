"""Door: swing a cabinet's door to an angle, hooking its peg with closed fingers."""

from dataclasses import dataclass
from math import hypot
from typing import TYPE_CHECKING

from array_api_compat import array_namespace

from goalsight.envs.geometry.region import Array
from goalsight.envs.tasks.drawer import FRONT, METAL, WOOD
from goalsight.envs.tasks.shared.opening import Furniture, Opening
from goalsight.envs.tasks.shared.parts import TOUCHED, add_box, add_joint
from goalsight.envs.tasks.shared.training import OPENING, Training
from goalsight.envs.tasks.shared.world import Thing

if TYPE_CHECKING:
    import mujoco

POST, PEG = 0.025, 0.085  # heights of the post that bears the peg, and of the peg's end [m]


@dataclass(frozen=True)
class Cabinet:
    """A low cabinet with one door, hinged at its far side and opening to the right; the joint is its angle [rad]."""

    name: str = "door"
    hinge: tuple[float, float] = (0.53, 0.12)  # [m]
    width: float = 0.17  # of the door [m]
    height: float = 0.09  # of the cabinet [m]
    depth: float = 0.12  # of the cabinet [m]
    reach: float = 0.13  # from the hinge to the peg, along the door [m]
    stand_off: float = 0.055  # from the door to the peg, room for a finger [m]
    widest: float = 1.4  # angle at which it stops [rad]

    def add_to(self, spec: "mujoco.MjSpec") -> None:
        """Add the cabinet and its door to a scene."""
        import mujoco

        half, deep, high = self.width / 2, self.depth / 2, self.height / 2
        x, y = self.hinge
        cabinet = spec.worldbody.add_body(name=f"{self.name}_cabinet", pos=[x - half, y + 0.006 + deep, high])
        sides = {
            "top": ([0, 0, high - 0.005], [half, deep, 0.005]),
            "back": ([0, deep - 0.005, 0], [half, 0.005, high]),
            "far": ([half - 0.005, 0, 0], [0.005, deep, high]),
            "near": ([0.005 - half, 0, 0], [0.005, deep, high]),
        }
        for side, (pos, size) in sides.items():
            add_box(cabinet, f"{self.name}_{side}", pos, size, rgba=WOOD)

        # Its frame is at the peg's end, where a hand takes hold of it.
        out, low = self.stand_off, POST - PEG
        door = spec.worldbody.add_body(name=self.name, pos=[x - self.reach, y - out, PEG])
        place = (self.reach, out, 0.0)
        add_joint(door, self.name, (0, 0, 1), (0, self.widest), damping=0.08, friction=0.05, hinge=place)
        board = [half - 0.002, 0.006, high - 0.004]
        add_box(door, f"{self.name}_board", [self.reach - half, out, high - PEG], board, rgba=FRONT, mass=0.3)
        rods: dict[str, tuple[list[float], list[float]]] = {
            "post": ([0, out, low], [0, 0, low]),
            "peg": ([0, 0, low], [0, 0, 0]),
        }
        for rod, (one, other) in rods.items():
            door.add_geom(
                name=f"{self.name}_{rod}",
                type=mujoco.mjtGeom.mjGEOM_CAPSULE,
                fromto=[*one, *other],
                size=[0.007, 0, 0],
                mass=0.02,
                rgba=METAL,
                **TOUCHED,
            )

    @property
    def lever(self) -> float:
        """From the hinge to the peg [m/rad]."""
        return hypot(self.reach, self.stand_off)

    def handle_at(self, opening: Array) -> Array:
        """Where the peg is at angles (n,) [rad]: (n, 3) [m]."""
        xp = array_namespace(opening)
        cos, sin = xp.cos(opening), xp.sin(opening)
        x = self.hinge[0] - self.reach * cos + self.stand_off * sin
        y = self.hinge[1] - self.reach * sin - self.stand_off * cos
        return xp.stack([x, y, xp.full_like(opening, PEG)], axis=-1)

    def way_at(self, opening: Array) -> Array:
        """The tangent of the peg's circle, (n, 2)."""
        xp = array_namespace(opening)
        from_hinge = self.handle_at(opening)[:, :2] - xp.asarray(self.hinge, dtype=opening.dtype)
        return xp.stack([-from_hinge[:, 1], from_hinge[:, 0]], axis=-1) / self.lever


CABINET = Cabinet()


@dataclass(frozen=True, kw_only=True)
class Door(Opening):
    """The goal is an angle of the door [rad]."""

    name: str = "door"
    training: Training = OPENING
    furniture: Furniture = CABINET
    objects: tuple[Thing, ...] = (CABINET,)
    openings: tuple[float, float] = (0.0, 1.2)  # [rad]
    named_goals: tuple[tuple[str, tuple[float, ...]], ...] = (
        ("shut", (0.0,)),
        ("ajar", (0.3,)),
        ("half", (0.6,)),
        ("wide", (0.9,)),
        ("open", (1.2,)),
    )
    tolerance: float = 0.1  # of the angle [rad]
    unit: str = "rad"
    least_distance: float = 0.3

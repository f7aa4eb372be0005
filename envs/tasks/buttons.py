"""Buttons: bring a row of rockers into a pattern, pressing their raised ends with closed fingers."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from array_api_compat import array_namespace

from goalsight.envs.geometry.region import Array
from goalsight.envs.tasks.shared.draws import Draws
from goalsight.envs.tasks.shared.moves import pass_over, until
from goalsight.envs.tasks.shared.panel import Panel, Part
from goalsight.envs.tasks.shared.parts import add_box, add_joint
from goalsight.envs.tasks.shared.training import PRESSING, Training
from goalsight.envs.tasks.shared.world import Thing, World

if TYPE_CHECKING:
    import mujoco

TILT = 0.45  # of a rocker that rests on one end [rad]
TOP = 0.02  # height of the panel [m]
HINGE = 0.038  # height about which rockers turn [m]
PLATE = (0.018, 0.04, 0.006)  # half edges of a rocker [m]
PRESSED_AT = 0.03  # from the hinge to where it is pressed [m]
PRESS, PASS = 0.024, 0.1  # tool heights at which a rocker has given way, and for passing over them [m]


@dataclass(frozen=True)
class Rocker:
    """A button that stays down at the end at which it was pressed; the joint is positive when that is the left one."""

    name: str
    x: float  # of its hinge [m]
    rgba: tuple[float, float, float, float]  # of its left half; the right one is dark
    y: float = 0.0  # likewise

    def add_to(self, spec: "mujoco.MjSpec") -> None:
        """Add the rocker and its piece of panel to a scene."""
        panel = spec.worldbody.add_body(name=f"{self.name}_panel", pos=[self.x, self.y, 0])
        add_box(panel, f"{self.name}_panel", [0, 0, TOP / 2], [0.04, 0.065, TOP / 2], rgba=(0.86, 0.87, 0.89, 1.0))
        rocker = spec.worldbody.add_body(name=self.name, pos=[self.x, self.y, HINGE])
        hinge = (0.0, 0.0, 0.0)
        add_joint(rocker, self.name, (-1, 0, 0), (-TILT, TILT), damping=0.002, friction=0.001, hinge=hinge)
        wide, long, thick = PLATE
        for side, rgba in ((1, self.rgba), (-1, (0.16, 0.18, 0.21, 1.0))):
            place = [0, side * long / 2, thick]
            add_box(rocker, f"{self.name}_{'left' if side > 0 else 'right'}", place, [wide, long / 2, thick], rgba=rgba)
        # Weighted at its top, it falls to either side and rests there: the state is the physics' own.
        rocker.explicitinertial = True
        rocker.mass, rocker.ipos, rocker.inertia = 0.08, [0, 0, 0.02], [5e-5, 2e-5, 5e-5]

    def place_at(self, offset: Array) -> Array:
        """Where the hinge is, whatever the tilts (n,): (n, 3) [m]."""
        xp = array_namespace(offset)
        return xp.stack([xp.full_like(offset, each) for each in (self.x, self.y, HINGE)], axis=-1)


ROW = (
    Rocker("green", 0.37, (0.16, 0.62, 0.27, 1.0)),
    Rocker("yellow", 0.45, (0.96, 0.77, 0.10, 1.0)),
    Rocker("red", 0.53, (0.85, 0.11, 0.10, 1.0)),
)


@dataclass(frozen=True, kw_only=True)
class Buttons(Panel):
    """The goal is a pattern: the end at which each button shall be down; the one that is farthest off counts."""

    name: str = "buttons"
    training: Training = PRESSING
    row: tuple[Part, ...] = ROW
    objects: tuple[Thing, ...] = ROW
    end: float = TILT
    goal_size: int = len(ROW)
    draws: Draws = Draws(tool=3, start=len(ROW), goal=len(ROW), _unused=13 - 2 * len(ROW))
    named_goals: tuple[tuple[str, tuple[float, ...]], ...] = (
        ("left", (TILT, TILT, TILT)),
        ("right", (-TILT, -TILT, -TILT)),
        ("green_left", (TILT, -TILT, -TILT)),
        ("yellow_left", (-TILT, TILT, -TILT)),
        ("yellow_right", (TILT, -TILT, TILT)),
    )
    unit: str = "rad"
    tolerance: float = 0.2  # of each button [rad]
    least_distance: float = 0.5
    settle_steps: int = 50

    def expert(self, world: World, goal: Array) -> tuple[Array, Array]:
        """One wrong button after the other: over its raised end, and down."""
        xp = array_namespace(goal)
        tool = world.tool
        place, more, done = self.next_one(world, goal)
        to_end = xp.stack([place[:, 0] - tool[:, 0], place[:, 1] + PRESSED_AT * xp.sign(more) - tool[:, 1]], axis=-1)
        over = xp.linalg.vector_norm(to_end, axis=-1, keepdims=True) < 0.01
        return until(done, pass_over(tool, to_end, over, low=PRESS, high=PASS), world)

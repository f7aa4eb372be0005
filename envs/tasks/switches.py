"""Switches: bring a row of sliding switches into a pattern, pushing their knobs with closed fingers."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from array_api_compat import array_namespace

from goalsight.envs.geometry.region import Array
from goalsight.envs.tasks.shared.draws import Draws
from goalsight.envs.tasks.shared.moves import pass_over, until
from goalsight.envs.tasks.shared.panel import Panel, Part
from goalsight.envs.tasks.shared.parts import SEEN, TOUCHED, add_box, add_joint
from goalsight.envs.tasks.shared.training import PRESSING, Training
from goalsight.envs.tasks.shared.world import Thing, World

if TYPE_CHECKING:
    import mujoco

TRAVEL = 0.03  # of a switch from the middle to either end [m]
TOP = 0.02  # height of the panel [m]
KNOB = 0.012  # radius of a knob [m]
PUSH, PASS = 0.045, 0.09  # tool heights for pushing a knob, and for passing over it [m]
BESIDE = 0.032  # from a knob's centre to that of the fingers that come down beside it [m]


@dataclass(frozen=True)
class Switch:
    """A knob that slides along y in a panel; the joint is its offset from the middle [m]."""

    name: str
    x: float  # of its slot [m]
    rgba: tuple[float, float, float, float]

    def add_to(self, spec: "mujoco.MjSpec") -> None:
        """Add the switch and its piece of panel to a scene."""
        import mujoco

        grey, dark = (0.74, 0.76, 0.80, 1.0), (0.16, 0.18, 0.21, 1.0)
        panel = spec.worldbody.add_body(name=f"{self.name}_panel", pos=[self.x, 0, 0])
        size = [0.04, TRAVEL + 0.035, TOP / 2]
        add_box(panel, f"{self.name}_panel", [0, 0, TOP / 2], size, rgba=grey)
        add_box(panel, f"{self.name}_slot", [0, 0, TOP], [0.006, TRAVEL + KNOB, 0.0005], rgba=dark, **SEEN)
        knob = spec.worldbody.add_body(name=self.name, pos=[self.x, 0, PUSH])
        add_joint(knob, self.name, (0, 1, 0), (-TRAVEL, TRAVEL), damping=4, friction=1)
        height = (0.064 - TOP) / 2
        knob.add_geom(
            name=self.name,
            type=mujoco.mjtGeom.mjGEOM_CYLINDER,
            pos=[0, 0, TOP + height - PUSH],
            size=[KNOB, height, 0],
            mass=0.05,
            rgba=self.rgba,
            **TOUCHED,
        )

    def place_at(self, offset: Array) -> Array:
        """Where the knob is at offsets (n,) [m]: (n, 3) [m]."""
        xp = array_namespace(offset)
        return xp.stack([xp.full_like(offset, self.x), offset, xp.full_like(offset, PUSH)], axis=-1)


ROW = (
    Switch("red", 0.37, (0.85, 0.11, 0.10, 1.0)),
    Switch("yellow", 0.45, (0.96, 0.77, 0.10, 1.0)),
    Switch("blue", 0.53, (0.13, 0.35, 0.85, 1.0)),
)


@dataclass(frozen=True, kw_only=True)
class Switches(Panel):
    """The goal is a pattern: the end at which each switch shall stand; the one that is farthest off counts."""

    name: str = "switches"
    training: Training = PRESSING
    row: tuple[Part, ...] = ROW
    objects: tuple[Thing, ...] = ROW
    end: float = TRAVEL
    goal_size: int = len(ROW)
    draws: Draws = Draws(tool=3, start=len(ROW), goal=len(ROW), _unused=13 - 2 * len(ROW))
    named_goals: tuple[tuple[str, tuple[float, ...]], ...] = (
        ("left", (TRAVEL, TRAVEL, TRAVEL)),
        ("right", (-TRAVEL, -TRAVEL, -TRAVEL)),
        ("red_left", (TRAVEL, -TRAVEL, -TRAVEL)),
        ("yellow_left", (-TRAVEL, TRAVEL, -TRAVEL)),
        ("yellow_right", (TRAVEL, -TRAVEL, TRAVEL)),
    )
    tolerance: float = 0.012  # of each switch [m]
    least_distance: float = 0.03

    def expert(self, world: World, goal: Array) -> tuple[Array, Array]:
        """One wrong switch after the other: over it, down behind its knob, and push."""
        xp = array_namespace(goal)
        tool = world.tool
        knob, more, done = self.next_one(world, goal)
        low = tool[:, 2] < PUSH + 0.02
        side = xp.sign(more)
        to_place = xp.stack(
            [knob[:, 0] - tool[:, 0], knob[:, 1] - side * BESIDE - tool[:, 1], PUSH - tool[:, 2]], axis=-1
        )
        behind = (knob[:, 1] - tool[:, 1]) * side
        ready = low & (xp.abs(to_place[:, 0]) < 0.012) & (behind > 0.01) & (behind < BESIDE + 0.015)
        over = xp.linalg.vector_norm(to_place[:, :2], axis=-1, keepdims=True) < 0.012
        approach = pass_over(tool, to_place[:, :2], over, low=PUSH, high=PASS)
        lead = side * (xp.minimum(xp.abs(more), xp.full_like(more, 0.02)) + 0.012)
        push = xp.stack([to_place[:, 0], lead, to_place[:, 2]], axis=-1)
        return until(done, xp.where(ready[:, None], push, approach), world)

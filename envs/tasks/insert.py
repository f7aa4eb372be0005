"""Insert: put a peg into one of three holes that are little wider than it."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from array_api_compat import array_namespace

from goalsight.envs.geometry.region import Array, Region
from goalsight.envs.tasks.shared.base import Task
from goalsight.envs.tasks.shared.draws import Drawn, Draws
from goalsight.envs.tasks.shared.grasping import fetch
from goalsight.envs.tasks.shared.parts import add_box
from goalsight.envs.tasks.shared.training import GRASPING, Training
from goalsight.envs.tasks.shared.world import Layout, Placement, Thing, World

if TYPE_CHECKING:
    import mujoco

HALF, TALL = 0.012, 0.04  # half of the peg's edge, and of its height [m]
TIP = 0.004  # half of the height of its lower end [m]
GRIP = 0.012  # over the peg's middle, where the fingers hold it [m]
BOARD, RIM = 0.03, 0.036  # the board's height, and half of its width across the holes [m]
LOWERING = 0.012  # displacement asked for at most, downward, with the peg in the hand [m]
OVER = BOARD + TALL + GRIP + 0.015  # height of the grip at which the peg passes over the board [m]


@dataclass(frozen=True)
class Peg:
    """A free square peg."""

    name: str = "peg"
    rgba: tuple[float, float, float, float] = (0.85, 0.11, 0.10, 1.0)

    def add_to(self, spec: "mujoco.MjSpec") -> None:
        """Add the peg to a scene, with a board of holes for it."""
        import mujoco

        body = spec.worldbody.add_body(name=self.name, pos=[0.45, -0.1, TALL])
        body.add_freejoint(name=self.name)
        # Its lower end is thinner, as that of a real one is bevelled, or it would have to be placed to the millimetre.
        parts = {self.name: (HALF, TIP, TALL - TIP), f"{self.name}_tip": (HALF - 0.004, TIP - TALL, TIP)}
        for name, (half, height, tall) in parts.items():
            body.add_geom(
                name=name,
                type=mujoco.mjtGeom.mjGEOM_BOX,
                pos=[0, 0, height],
                size=[half, half, tall],
                density=500,
                rgba=self.rgba,
                condim=4,
                friction=[0.5, 0.01, 0.0001],
                solref=[0.01, 1.0],
                solimp=[0.95, 0.99, 0.001, 0.5, 2.0],
            )


@dataclass(frozen=True)
class Holes:
    """A board with square holes through it, in a row along x."""

    centres: tuple[tuple[float, float], ...] = ((0.37, 0.13), (0.45, 0.13), (0.53, 0.13))  # [m]
    clearance: float = 0.002  # between the peg and each side of a hole [m]

    def add_to(self, spec: "mujoco.MjSpec") -> None:
        """Add the board to a scene."""
        wide, high, wood = HALF + self.clearance, BOARD / 2, (0.62, 0.47, 0.32, 1.0)
        y = self.centres[0][1]
        middles = [x for x, _ in self.centres]
        first, last = middles[0] - RIM, middles[-1] + RIM
        board = spec.worldbody.add_body(name="board", pos=[0, y, high])
        rail = (RIM - wide) / 2
        for side, name in ((1, "left"), (-1, "right")):
            place = [(first + last) / 2, side * (wide + rail), 0]
            add_box(board, f"board_{name}", place, [(last - first) / 2, rail, high], rgba=wood)
        edges = [first, *(edge for x in middles for edge in (x - wide, x + wide)), last]
        for number, (one, other) in enumerate(zip(edges[::2], edges[1::2], strict=True)):
            add_box(board, f"board_{number}", [(one + other) / 2, 0, 0], [(other - one) / 2, wide, high], rgba=wood)


PEG = Peg()


TRAINING = replace(GRASPING, steps=400_000)  # untried


@dataclass(frozen=True)
class Insert(Task):
    """The goal is a position of the peg, down in one of the holes."""

    name: str = "insert"
    training: Training = TRAINING
    objects: tuple[Thing, ...] = (PEG,)
    holes: Holes = Holes()
    uses_gripper: bool = True
    named_goals: tuple[tuple[str, tuple[float, ...]], ...] = (
        ("near", (0.37, 0.13, TALL)),
        ("middle", (0.45, 0.13, TALL)),
        ("far", (0.53, 0.13, TALL)),
    )
    tolerance: float = 0.01
    max_episode_steps: int = 75
    settle_steps: int = 50

    draws: Draws = Draws(tool=3, peg=3, whether_over=1, height=1, hole=1, _unused=3, yaw=1, _rest=3)
    start_region: Region = Region((0.38, -0.16, 0.16), (0.50, 0.02, 0.22))  # of the tool
    object_region: Region = Region((0.37, -0.18, TALL), (0.52, -0.04, TALL))
    yaw: float = 0.2  # the peg's edges are at most so far from the hand's [rad]
    training_below_share: float = 0.5  # of the training episodes start with the open hand around the peg's end

    def furnish(self, spec: "mujoco.MjSpec") -> None:
        """The board."""
        self.holes.add_to(spec)

    def draw(self, u: Drawn, training: bool) -> Layout:
        """See `Task.draw`. Training starts often have the hand over the peg, so that grasps happen."""
        xp = array_namespace(u.tool)
        tool = self.start_region.at(u.tool)
        peg = self.object_region.at(u.peg)
        if training:
            over = peg + xp.asarray((0.0, 0.0, 1.0), dtype=peg.dtype) * (GRIP + 0.09 * u.height)
            tool = xp.where(u.whether_over < self.training_below_share, over, tool)
        centres = xp.asarray(self.holes.centres, dtype=peg.dtype)  # (K, 2)
        which = xp.astype(xp.floor(u.hole[:, 0] * centres.shape[0]), xp.int64)
        goal = xp.concat([xp.take(centres, which, axis=0), xp.full_like(peg[:, 2:], TALL)], axis=-1)
        yaw = self.yaw * (2 * u.yaw[:, 0] - 1)
        return Layout(Placement(tool, objects={PEG.name: peg}, yaw={PEG.name: yaw}), goal)

    def goal_placement(self, layout: Layout) -> Placement:
        """The peg in its hole, the hand where it started."""
        xp = array_namespace(layout.goal)
        yaw = {PEG.name: xp.zeros_like(layout.goal[:, 0])}
        return replace(layout.start, objects={PEG.name: layout.goal}, yaw=yaw)

    def achieved(self, world: World) -> Array:
        """The peg's position."""
        return world.objects[PEG.name]

    def expert(self, world: World, goal: Array) -> tuple[Array, Array]:
        """Grasp the peg near its end, carry it over the hole, and lower it once it is right over it."""
        xp = array_namespace(goal)
        up = xp.asarray((0.0, 0.0, GRIP), dtype=goal.dtype)
        near = self.holes.clearance + 0.0015
        move, gripper = fetch(world, world.objects[PEG.name] + up, goal + up, HALF, over=OVER, near=near)
        # Slowly into the hole, or the peg turns in the hand.
        lowest = xp.where(gripper < 0, xp.full_like(gripper, -LOWERING), xp.full_like(gripper, -1.0))
        return xp.concat([move[:, :2], xp.maximum(move[:, 2:], lowest)], axis=-1), gripper

"""Push: slide a cube along the table to a point, with the gripper closed."""

from dataclasses import dataclass, replace
from math import pi

from array_api_compat import array_namespace

from goalsight.envs.geometry.region import Array, Region
from goalsight.envs.tasks.shared.draws import Drawn, Draws
from goalsight.envs.tasks.shared.moves import until
from goalsight.envs.tasks.shared.pushing import Pushing, get_behind
from goalsight.envs.tasks.shared.training import UNTRIED, Training
from goalsight.envs.tasks.shared.world import Cube, Layout, Placement, Thing, World

TRAINING = replace(UNTRIED, horizon=40)  # with 25 and 0.95 one seed fell back to 72%
CUBE = Cube("cube")
BESIDE = 0.055  # from the cube's centre to the closed fingers in the goal state, clear of its corners [m]
LOW, HIGH = 0.025, 0.085  # tool heights for pushing, and for passing over the cube [m]


@dataclass(frozen=True)
class Push(Pushing):
    """The goal is a position of the cube on the table."""

    name: str = "push"
    training: Training = TRAINING
    objects: tuple[Thing, ...] = (CUBE,)
    named_goals: tuple[tuple[str, tuple[float, ...]], ...] = (
        ("near_left", (0.37, 0.14, CUBE.half)),
        ("near_right", (0.37, -0.14, CUBE.half)),
        ("far_left", (0.53, 0.14, CUBE.half)),
        ("far_right", (0.53, -0.14, CUBE.half)),
        ("middle", (0.45, 0.0, CUBE.half)),
    )

    # Low, so that wandering meets the cube, and high enough to pass over it.
    workspace: Region = Region((0.28, -0.27, 0.015), (0.62, 0.27, 0.14))
    start_region: Region = Region((0.36, -0.14, 0.03), (0.52, 0.14, 0.06))  # of the tool
    object_region: Region = Region((0.36, -0.17, CUBE.half), (0.54, 0.17, CUBE.half))
    goal_region: Region = Region((0.34, -0.20, CUBE.half), (0.56, 0.20, CUBE.half))
    margin: float = 0.055
    draws: Draws = Draws(tool=3, thing=3, near=2, whether_near=1, goal=3, yaw=1, _unused=3)

    @property
    def goals_region(self) -> Region:
        """On the table."""
        return self.goal_region

    def yaw(self, u: Drawn) -> Array:
        """Anyhow: the cube looks the same after a quarter of a turn."""
        return 0.5 * pi * u.yaw[:, 0]

    def goal_placement(self, layout: Layout) -> Placement:
        """The cube at the goal, the fingers on the robot's side of it, where they hide nothing from the front."""
        xp = array_namespace(layout.goal)
        x, y = layout.goal[:, 0], layout.goal[:, 1]
        beside = xp.stack([x - BESIDE, y, xp.full_like(x, LOW)], axis=-1)
        return replace(layout.start, tool=beside, objects={CUBE.name: layout.goal})

    def expert(self, world: World, goal: Array) -> tuple[Array, Array]:
        """Pass over the cube, come down behind it, push it toward the goal."""
        xp = array_namespace(goal)
        tool = world.tool
        hand = get_behind(
            tool,
            world.objects[CUBE.name],
            goal,
            low=LOW,
            high=HIGH,
            behind=0.075,
            there=0.025,
            clear=0.06,
            straight=0.02,
        )
        pace = xp.minimum(0.4 * hand.gap, xp.full_like(hand.gap, 0.025))
        push = xp.concat([pace * hand.direction - hand.aside, LOW - tool[:, 2:]], axis=-1)
        return until(hand.gap < 0.01, xp.where(hand.ready, push, hand.approach), world)

"""Scene: a cube, a drawer and two buttons on one table, to be brought into a state that is shown."""

from dataclasses import dataclass

from array_api_compat import array_namespace

from goalsight.envs.geometry.region import Array, Region
from goalsight.envs.tasks.buttons import TILT, Buttons, Rocker
from goalsight.envs.tasks.drawer import Chest, Drawer
from goalsight.envs.tasks.shared.base import Task
from goalsight.envs.tasks.shared.draws import Drawn, Draws
from goalsight.envs.tasks.shared.grasping import fetch, holding
from goalsight.envs.tasks.shared.moves import rise_first
from goalsight.envs.tasks.shared.training import REARRANGING, Training
from goalsight.envs.tasks.shared.world import Cube, Layout, Placement, Thing, World, distance

CUBE = Cube("cube", rgba=(0.12, 0.35, 0.78, 1.0))
CHEST = Chest(handle=(0.45, 0.17, 0.06))
ROW = (
    Rocker("green", 0.40, (0.16, 0.62, 0.27, 1.0), y=-0.21),
    Rocker("red", 0.50, (0.85, 0.11, 0.10, 1.0), y=-0.21),
)
DRAWER = Drawer(furniture=CHEST, objects=(CHEST,), openings=(0.0, 0.12))
BUTTONS = Buttons(row=ROW, objects=ROW, goal_size=2, named_goals=())
CLEAR = 0.115  # tool height from which to cross the table [m]


def _goal(x: float, y: float, opening: float, green: float, red: float) -> tuple[float, ...]:
    return x, y, CUBE.half, opening, green * TILT, red * TILT


def _ends(u: Array) -> Array:
    """One tilt or the other [rad], by uniform numbers (n, K)."""
    xp = array_namespace(u)
    return xp.where(u < 0.5, xp.full_like(u, -TILT), xp.full_like(u, TILT))


@dataclass(frozen=True)
class Scene(Task):
    """The goal is where the cube lies, how far the drawer is open, and which end of each button is down.

    Its six numbers are metres, metres and radians. The error is that of the part that is farthest off, in units of what
    that part is allowed.
    """

    name: str = "scene"
    training: Training = REARRANGING
    objects: tuple[Thing, ...] = (CUBE, CHEST, *ROW)
    uses_gripper: bool = True
    goal_size: int = 6
    max_episode_steps: int = 200
    unit: str = "tolerances"
    tolerance: float = 1.0
    least_distance: float = 1.5
    settled: float = 0.5
    settle_steps: int = 50
    camera_back: float = 0.12
    named_goals: tuple[tuple[str, tuple[float, ...]], ...] = (
        ("shut", _goal(0.40, -0.05, 0.0, -1, -1)),
        ("open", _goal(0.50, -0.05, 0.12, 1, 1)),
        ("half", _goal(0.45, -0.08, 0.06, 1, -1)),
        ("near", _goal(0.38, -0.03, 0.10, -1, 1)),
        ("far", _goal(0.53, -0.06, 0.03, 1, 1)),
    )

    cube_within: float = 0.04  # [m]
    drawer_within: float = DRAWER.tolerance  # [m]
    button_within: float = BUTTONS.tolerance  # [rad]
    kept_share: float = 0.3  # of the goals leave the cube where it is, and as many the drawer
    yaw: float = 0.3  # the cube's edges are at most so far from the hand's [rad]
    draws: Draws = Draws(
        tool=3, cube=2, yaw=1, goal_cube=2, _unused=1, opening=1, goal_opening=1, kept=1, buttons=2, goal_buttons=2
    )
    start_region: Region = Region((0.38, -0.12, 0.13), (0.52, 0.12, 0.20))  # of the tool
    cube_region: Region = Region((0.37, -0.09, CUBE.half), (0.55, -0.02, CUBE.half))
    passing_region: Region = Region((0.45, 0.15, 0.2), (0.45, 0.15, 0.2))  # an arm must reach over the drawer

    def draw(self, u: Drawn, training: bool) -> Layout:
        """See `Task.draw`. Some goals leave a part as it is."""
        xp = array_namespace(u.tool)
        low, high = DRAWER.openings
        flat = xp.zeros_like(u.yaw)
        cubes = [self.cube_region.at(xp.concat([each, flat], axis=-1)) for each in (u.cube, u.goal_cube)]
        openings = low + (high - low) * u.opening, low + (high - low) * u.goal_opening
        cube = xp.where(u.kept < self.kept_share, cubes[0], cubes[1])
        opening = xp.where(u.kept > 1 - self.kept_share, openings[0], openings[1])
        start = xp.concat([cubes[0], openings[0], _ends(u.buttons)], axis=-1)
        return Layout(
            self._placement(self.start_region.at(u.tool), start, self.yaw * (2 * u.yaw[:, 0] - 1)),
            xp.concat([cube, opening, _ends(u.goal_buttons)], axis=-1),
        )

    def goal_placement(self, layout: Layout) -> Placement:
        """Everything in its place, the hand where it started."""
        return self._placement(layout.start.tool, layout.goal, layout.start.yaw[CUBE.name])

    def _placement(self, tool: Array, state: Array, yaw: Array) -> Placement:
        """The tool at (n, 3), the rest as goals (n, 6) say, the cube turned by yaw (n,)."""
        joints = {CHEST.name: state[:, 3]} | {part.name: state[:, 4 + i] for i, part in enumerate(ROW)}
        places = {CUBE.name: state[:, :3], CHEST.name: CHEST.handle_at(state[:, 3])}
        places |= {part.name: part.place_at(joints[part.name]) for part in ROW}
        return Placement(tool, objects=places, yaw={CUBE.name: yaw}, joints=joints)

    def achieved(self, world: World) -> Array:
        """The cube's position [m], the drawer's opening [m], the buttons' tilts [rad]."""
        xp = array_namespace(world.tool)
        parts = [world.objects[CUBE.name], DRAWER.achieved(world), BUTTONS.achieved(world)]
        return xp.concat(parts, axis=-1)

    def error(self, achieved: Array, desired: Array) -> Array:
        """How far the worst part is off, in units of what it is allowed."""
        xp = array_namespace(achieved, desired)
        parts = [
            distance(achieved[..., :3], desired[..., :3]) / self.cube_within,
            DRAWER.error(achieved[..., 3:4], desired[..., 3:4]) / self.drawer_within,
            BUTTONS.error(achieved[..., 4:], desired[..., 4:]) / self.button_within,
        ]
        return xp.max(xp.stack(parts, axis=-1), axis=-1)

    def markers(self, goal: Array) -> Array:
        """Where the cube and the handle shall be."""
        xp = array_namespace(goal)
        return xp.stack([goal[:, :3], CHEST.handle_at(goal[:, 3])], axis=1)

    def expert(self, world: World, goal: Array) -> tuple[Array, Array]:
        """The buttons, then the drawer, then the cube, which is held in its place."""
        xp = array_namespace(goal)
        cube = world.objects[CUBE.name]
        push, shut = BUTTONS.expert(world, goal[:, 4:])
        pull, _ = DRAWER.expert(world, goal[:, 3:4])
        carry, gripper = fetch(world, cube, goal[:, :3], CUBE.half)
        # Straight up from among the furniture before the hand crosses over to the cube.
        apart = xp.linalg.vector_norm((cube - world.tool)[:, :2], axis=-1, keepdims=True) > 0.04
        rise = apart & (world.tool[:, 2:] < CLEAR - 0.02) & ~holding(world, cube, CUBE.half)[1]
        carry = rise_first(rise, carry, CLEAR - world.tool[:, 2:])
        buttons_wrong = (BUTTONS.error(BUTTONS.achieved(world), goal[:, 4:]) > 0.5 * self.button_within)[:, None]
        drawer_wrong = (DRAWER.error(DRAWER.achieved(world), goal[:, 3:4]) > 0.5 * self.drawer_within)[:, None]
        move = xp.where(buttons_wrong, push, xp.where(drawer_wrong, pull, carry))
        return move, xp.where(buttons_wrong | drawer_wrong, shut, gripper)

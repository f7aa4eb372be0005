"""How a gripper that is known by its files only moves: what its joints do, and whether that is what was said of it."""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from goalsight.base.errors import UserError
from goalsight.envs.arms.catalogue import Arm
from goalsight.envs.arms.measures import AnyArm, ancestors, compile_arm
from goalsight.envs.simulation.actuators import ActuatorMemory

if TYPE_CHECKING:
    import mujoco

CUBE = 0.032  # how far open the hand is, per finger, when it is about to close on a cube in goal states [m]
MOVES = 0.3  # joints that turn less than this share of the one that turns most do not tell how far the hand is open
HARDLY = 0.25  # share of its width by which a gripper closes at least, as seen from the tool
SETTLING = 500  # physics steps for which the gripper moves, 2 s
SHARES = np.linspace(1.0, 0.0, 9)  # of the way from closed to open, at which the gripper is looked at


def measure_grip(arm: AnyArm, width: float) -> AnyArm:
    """Let the gripper close step by step, and take down how its joints stand."""
    import mujoco

    from goalsight.envs.simulation.scene import ArmIndex

    model = compile_arm(arm)
    index, memory = ArmIndex.of(arm, model), ActuatorMemory.of(model)
    data = mujoco.MjData(model)
    data.qpos[index.qpos] = data.ctrl[index.ctrl] = arm.home
    fingers = np.flatnonzero(np.isin(model.jnt_qposadr, index.finger_qpos) & (model.jnt_limited > 0))
    data.qpos[model.jnt_qposadr[fingers]] = np.clip(data.qpos[model.jnt_qposadr[fingers]], *model.jnt_range[fingers].T)
    closed, opened = np.array(arm.grip.told_closed), np.array(arm.grip.told_open)
    stands, gaps = [], []
    for share in SHARES:
        data.ctrl[index.gripper_ctrl] = closed + share * (opened - closed)
        memory.settle(data.ctrl[None], data.act[None], data.history[None], np.zeros(1, np.int64))
        mujoco.mj_step(model, data, SETTLING)
        stands.append(data.qpos[index.finger_qpos].copy())
        gaps.append(_gap(arm, model, data))
    poses = np.array(stands)  # (S, F), from open to closed
    travel = poses[0] - poses[-1]
    if not np.isfinite(poses).all() or np.abs(travel).max() < 1e-3:
        raise UserError(f"{arm.mjcf}: the gripper does not move between what closes and what opens it")
    _check_width(arm, width, gaps[0], gaps[-1])
    tells = np.abs(travel) >= MOVES * np.abs(travel).max()
    half = 0.5 * width
    opens = np.where(tells, half / np.where(tells, travel, 1.0) / tells.sum(), 0.0)
    openings = (poses - poses[-1]) @ opens  # (S,), falling
    around = [np.interp(min(CUBE, half), openings[::-1], joint[::-1]) for joint in poses.T]
    grip = replace(
        arm.grip,
        closed=tuple(map(float, poses[-1])),
        open=tuple(map(float, poses[0])),
        opens=tuple(map(float, opens)),
        around=tuple(map(float, around)),
    )
    return replace(arm, grip=grip)


def _gap(arm: Arm, model: "mujoco.MjModel", data: "mujoco.MjData") -> float:
    """How far apart what the gripper moves lies at either side of the tool, along its y [m].

    Not a number where one side shows nothing that the gripper moves. From within a finger, its other side is seen.
    """
    import mujoco

    tool = model.site(arm.prefix + arm.tool_site).id
    across = data.site_xmat[tool].reshape(3, 3)[:, 1]
    moved = {int(model.joint(arm.prefix + name).bodyid[0]) for name in arm.grip.joints}
    total, hit = 0.0, np.zeros(1, np.int32)
    for side in (across, -across):
        distance = mujoco.mj_ray(model, data, data.site_xpos[tool], side, None, 1, -1, hit)
        if distance < 0 or not moved & set(ancestors(model, model.geom_bodyid[hit[0]])):
            return float("nan")
        total += distance
    return total


def _check_width(arm: Arm, width: float, opened: float, closed: float) -> None:
    """Refuse what a table says of a gripper where one can see that it is otherwise.

    Args:
        arm: whose it is.
        width: that the table names [m].
        opened: the gap that is seen when it is told to open [m]; not a number where it cannot be seen.
        closed: likewise, when it is told to close.

    Raises:
        UserError: it closes when it is told to open, hardly moves, or is much wider or narrower.
    """
    if opened < 0.5 * closed:
        raise UserError(f"{arm.mjcf}: what [gripper] calls open closes it; exchange open and closed")
    if not 0.5 * width <= opened <= 2 * width and np.isfinite(opened):
        raise UserError(f"{arm.mjcf}: [gripper] width is {width:g} m, but open fingers are {opened:.3g} m apart")
    if opened - closed < HARDLY * width:
        raise UserError(f"{arm.mjcf}: told to close, the gripper stays open by {closed:.3g} m of {opened:.3g} m")

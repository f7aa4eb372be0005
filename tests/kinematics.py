"""Chains of joints multiplied out by hand, for checking the arms' models against the makers' tables."""

from collections.abc import Iterable, Sequence

import mujoco
import numpy as np
from numpy.typing import NDArray

Pose = NDArray[np.float64]  # homogeneous, (4, 4)
Row = tuple[float, float, float]  # of a Denavit-Hartenberg table: a [m], d [m], alpha [rad]


def rotation_x(angle: float) -> Pose:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[1, 0, 0, 0], [0, c, -s, 0], [0, s, c, 0], [0, 0, 0, 1]])


def rotation_z(angle: float) -> Pose:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0, 0], [s, c, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])


def translation(x: float, y: float, z: float) -> Pose:
    pose = np.eye(4)
    pose[:3, 3] = x, y, z
    return pose


def modified_dh(table: Sequence[Row], joints: Iterable[float]) -> Pose:
    """The last link in the base. Craig's convention: a row's a and alpha come before its joint."""
    pose = np.eye(4)
    for angle, (a, d, alpha) in zip(joints, table, strict=True):
        pose = pose @ rotation_x(alpha) @ translation(a, 0, 0) @ rotation_z(angle) @ translation(0, 0, d)
    return pose


def standard_dh(table: Sequence[Row], joints: Iterable[float]) -> Pose:
    """The last link in the base. Denavit and Hartenberg's convention: a row's a and alpha come after its joint."""
    pose = np.eye(4)
    for angle, (a, d, alpha) in zip(joints, table, strict=True):
        pose = pose @ rotation_z(angle) @ translation(0, 0, d) @ translation(a, 0, 0) @ rotation_x(alpha)
    return pose


def tool_in_base(model: mujoco.MjModel, joints: Sequence[float] | NDArray[np.float64]) -> Pose:
    """The site `tool` in the world of a model of an arm alone, whose first joints are `joints` [rad]."""
    data = mujoco.MjData(model)
    data.qpos[: len(joints)] = joints
    mujoco.mj_kinematics(model, data)
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = data.site("tool").xmat.reshape(3, 3), data.site("tool").xpos
    return pose

"""Arms: what the rest of the project needs to know about a robot, as data."""

from dataclasses import dataclass
from math import inf, pi

from goalsight.envs.region import Region, Vector3


@dataclass(frozen=True)
class Arm:
    """A robot arm with a gripper, described by the names in its MJCF file."""

    name: str
    mjcf: str  # path of the MJCF file inside `goalsight.assets`
    joints: tuple[str, ...]  # arm joints from base to wrist; each has a position actuator of the same name
    home: tuple[float, ...]  # joint positions with the tool pointing straight down [rad]
    gripper_range: tuple[float, float]  # actuator control when closed and when open
    base: str = "base"  # root body
    tool_site: str = "tool"  # the point between the fingertips; its z axis points out of the hand
    gripper_actuator: str = "gripper"
    finger_joints: tuple[str, ...] = ("finger_joint1", "finger_joint2")
    tip_site: str | None = None  # where the closed fingertips meet, if that is not the tool
    finger_travel: float = 1.0  # what a unit of the finger joints opens the hand by, per finger [m/m or m/rad]
    gripper_around: float | None = None  # finger joints from which it grips a cube in goal states, if not wide open
    mount: Vector3 = (0.0, 0.0, 0.0)  # where the base stands in the scene [m]
    max_speed: float = inf  # of a joint; control asks for no more [rad/s]
    turn_weight: float = 1.0  # being a radian off pointing straight down counts as being so far off its place [m/rad]
    reach: Region | None = None  # the part of tasks' regions that it can do, if not all [m]

    @property
    def prefix(self) -> str:
        """What precedes the arm's own names in a composed scene, so that they never clash with others."""
        return f"{self.name}/"


PANDA = Arm(
    name="panda",
    mjcf="arms/panda.xml",
    joints=tuple(f"joint{i}" for i in range(1, 8)),
    home=(0.0, -0.08714108, 0.0, -2.54177861, 0.0, 2.45463753, -0.78539816),  # tool at (0.45, 0, 0.20) m
    gripper_range=(0.0, 0.04),
)

UR5E = Arm(
    name="ur5e",
    mjcf="arms/ur5e.xml",
    joints=("shoulder_pan", "shoulder_lift", "elbow", "wrist_1", "wrist_2", "wrist_3"),
    home=(2.88735315, -1.46670605, 1.81159483, -1.91568511, -1.57079633, 2.88735315),  # tool at (0.45, 0, 0.20) m
    gripper_range=(0.0, 0.0425),
    mount=(-0.08, 0.0, 0.0),  # its long links fold up over nearer points
    max_speed=pi,
)

XARM7 = Arm(
    name="xarm7",
    mjcf="arms/xarm7.xml",
    joints=tuple(f"joint{i}" for i in range(1, 8)),
    home=(0.0, -0.05765789, 0.0, 1.02098262, 0.0, 1.07864051, -1.57079633),  # tool at (0.45, 0, 0.20) m
    gripper_range=(0.0, 0.042),
    max_speed=pi,
)

SO101 = Arm(
    name="so101",
    mjcf="arms/so101.xml",
    tip_site="tip",
    joints=("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll"),
    home=(0.12772814, 0.25077861, 0.24394899, 1.07606872, 1.74720396),  # tool at (0.45, 0, 0.12) m
    finger_joints=("gripper",),
    gripper_range=(-0.174533, 1.0),
    finger_travel=0.039,
    gripper_around=0.62,
    mount=(0.206, 0.0, 0.12),
    reach=Region((0.345, -0.18, 0.015), (0.555, 0.18, 0.15)),
    max_speed=4.71,  # 45 rpm
    turn_weight=0.03,
)

ARMS: dict[str, Arm] = {arm.name: arm for arm in (PANDA, UR5E, XARM7, SO101)}

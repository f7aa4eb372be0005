"""Arms: what the rest of the project needs to know about a robot, as data."""

from dataclasses import dataclass
from math import inf, pi
from typing import TYPE_CHECKING

from goalsight.envs.mjcf import load_asset
from goalsight.envs.region import Region, Vector3

if TYPE_CHECKING:
    import mujoco


@dataclass(frozen=True)
class Grip:
    """How a gripper is told to close and to open, and how its joints then stand."""

    actuators: tuple[str, ...]
    told_closed: tuple[float, ...]  # what each actuator is told
    told_open: tuple[float, ...]
    joints: tuple[str, ...]  # all that move with it
    closed: tuple[float, ...]  # where each joint then stands [m or rad]
    open: tuple[float, ...]
    opens: tuple[float, ...]  # what a unit of each joint opens the hand by, per finger [m/m or m/rad]
    around: tuple[float, ...] | None = None  # joints from which it grips a cube in goal states, if not wide open

    @classmethod
    def of(
        cls,
        closed: float,
        opened: float,
        *,
        joints: tuple[str, ...] = ("finger_joint1", "finger_joint2"),
        travel: float = 1.0,
        around: float | None = None,
    ) -> "Grip":
        """A gripper with the one actuator `gripper`, whose joints all follow what it is told.

        Args:
            closed: what it is told to close.
            opened: what it is told to open.
            joints: of the fingers.
            travel: what a unit of the joints opens the hand by, per finger [m/m or m/rad].
            around: where the joints stand around a cube, if not wide open.
        """
        count = len(joints)
        return cls(
            actuators=("gripper",),
            told_closed=(closed,),
            told_open=(opened,),
            joints=joints,
            closed=(closed,) * count,
            open=(opened,) * count,
            opens=(travel / count,) * count,
            around=None if around is None else (around,) * count,
        )


@dataclass(frozen=True)
class Arm:
    """A robot arm with a gripper, described by the names in its MJCF file."""

    name: str
    mjcf: str  # path of the MJCF file inside `goalsight.assets`
    joints: tuple[str, ...]  # arm joints from base to wrist
    home: tuple[float, ...]  # joint positions with the tool pointing straight down [rad]
    grip: Grip
    actuators: tuple[str, ...] | None = None  # the joints' position actuators, if not named as they are
    tool_site: str = "tool"  # point between the fingertips; its z axis points out of the hand, fingers open along y
    tip_site: str | None = None  # where the closed fingertips meet, if that is not the tool
    mount: Vector3 = (0.0, 0.0, 0.0)  # where the base stands in the scene [m]
    max_speed: float = inf  # of a joint; control asks for no more [rad/s]
    turn_weight: float = 1.0  # being a radian off pointing straight down counts as being so far off its place [m/rad]
    reach: Region | None = None  # the part of tasks' regions that it can do, if not all [m]

    @property
    def prefix(self) -> str:
        """What precedes the arm's own names in a composed scene, so that they never clash with others."""
        return f"{self.name}/"

    def load(self) -> "mujoco.MjSpec":
        """Its MJCF, to be attached to a scene."""
        return load_asset(self.mjcf)


PANDA = Arm(
    name="panda",
    mjcf="arms/panda.xml",
    joints=tuple(f"joint{i}" for i in range(1, 8)),
    home=(0.0, -0.08714108, 0.0, -2.54177861, 0.0, 2.45463753, -0.78539816),  # tool at (0.45, 0, 0.20) m
    grip=Grip.of(0.0, 0.04),
)

UR5E = Arm(
    name="ur5e",
    mjcf="arms/ur5e.xml",
    joints=("shoulder_pan", "shoulder_lift", "elbow", "wrist_1", "wrist_2", "wrist_3"),
    home=(2.88735315, -1.46670605, 1.81159483, -1.91568511, -1.57079633, 2.88735315),  # tool at (0.45, 0, 0.20) m
    grip=Grip.of(0.0, 0.0425),
    mount=(-0.08, 0.0, 0.0),  # its long links fold up over nearer points
    max_speed=pi,
)

XARM7 = Arm(
    name="xarm7",
    mjcf="arms/xarm7.xml",
    joints=tuple(f"joint{i}" for i in range(1, 8)),
    home=(0.0, -0.05765789, 0.0, 1.02098262, 0.0, 1.07864051, -1.57079633),  # tool at (0.45, 0, 0.20) m
    grip=Grip.of(0.0, 0.042),
    max_speed=pi,
)

SO101 = Arm(
    name="so101",
    mjcf="arms/so101.xml",
    tip_site="tip",
    joints=("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll"),
    home=(0.12772814, 0.25077861, 0.24394899, 1.07606872, 1.74720396),  # tool at (0.45, 0, 0.12) m
    grip=Grip.of(-0.174533, 1.0, joints=("gripper",), travel=0.039, around=0.62),
    mount=(0.206, 0.0, 0.12),
    reach=Region((0.345, -0.18, 0.015), (0.555, 0.18, 0.15)),
    max_speed=4.71,  # 45 rpm
    turn_weight=0.03,
)

ARMS: dict[str, Arm] = {arm.name: arm for arm in (PANDA, UR5E, XARM7, SO101)}

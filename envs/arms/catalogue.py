"""Arms: what the rest of the project needs to know about a robot, as data."""

from dataclasses import dataclass
from math import inf, pi
from typing import TYPE_CHECKING

from goalsight.base.errors import UserError
from goalsight.envs.arms.mjcf import load_asset
from goalsight.envs.geometry.region import Region, Vector3

if TYPE_CHECKING:
    import mujoco

SPARE = 2.0  # damping at the speed limit, as a multiple of the servo's force: links that swing push each other on


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
    holds_at: Vector3 = (0.0, 0.0, 0.0)  # where a cube lies that it grips, from the tool and in its frame [m]

    @classmethod
    def of(
        cls,
        closed: float,
        opened: float,
        *,
        joints: tuple[str, ...] = ("finger_joint1", "finger_joint2"),
        travel: float = 1.0,
        around: float | None = None,
        holds_at: Vector3 = (0.0, 0.0, 0.0),
    ) -> "Grip":
        """A gripper with the one actuator `gripper`, whose joints all follow what it is told.

        Args:
            closed: what it is told to close.
            opened: what it is told to open.
            joints: of the fingers.
            travel: what a unit of the joints opens the hand by, per finger [m/m or m/rad].
            around: where the joints stand around a cube, if not wide open.
            holds_at: where a cube lies that it grips, from the tool and in its frame [m].
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
            holds_at=holds_at,
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
    max_speed: tuple[float, ...] = (inf,)  # that joints turn with, one for all or one each [rad/s]
    response: float = 0.65  # share of the speed asked of the hand that a thing takes which it strikes; by trial
    turn_weight: float = 1.0  # being a radian off pointing straight down counts as being so far off its place [m/rad]
    reach: Region | None = None  # the part of tasks' regions that it can do, if not all [m]
    version: int = 0  # raised with every change of what tasks are with it; see `registration.id_of`

    @property
    def prefix(self) -> str:
        """What precedes the arm's own names in a composed scene, so that they never clash with others."""
        return f"{self.name}/"

    @property
    def max_speeds(self) -> tuple[float, ...]:
        """Of each joint [rad/s].

        Raises:
            UserError: there are neither one nor as many as joints, or one is not positive.
        """
        if not all(speed > 0 for speed in self.max_speed):
            raise UserError(f'arm "{self.name}": max_speed must be positive, got {list(self.max_speed)}')
        if len(self.max_speed) not in (1, len(self.joints)):
            raise UserError(
                f'arm "{self.name}": max_speed needs one number, or one for each of {len(self.joints)} joints'
            )
        return self.max_speed * (len(self.joints) // len(self.max_speed))

    def load(self) -> "mujoco.MjSpec":
        """Its MJCF, to be attached to a scene."""
        spec = load_asset(self.mjcf)
        self.limit_speeds(spec)
        return spec

    def limit_speeds(self, spec: "mujoco.MjSpec") -> None:
        """Keep its joints to their speed limits, as motors do: their force runs out as they get there.

        Damping that grows with the cube of the speed is hardly felt at half of the limit. Contacts and swinging links
        may push a joint past it for a moment, under extreme actions in up to 0.2% of steps and by up to a third.

        Raises:
            UserError: a joint has a speed limit, but its servo unlimited force.
        """
        for name, speed, actuator in zip(self.joints, self.max_speeds, self.actuators or self.joints, strict=True):
            if speed == inf:
                continue
            joint, servo = spec.joint(name), spec.actuator(actuator)
            force = max(*servo.forcerange, *joint.actfrcrange)
            if force <= 0:
                raise UserError(f'arm "{self.name}": max_speed needs a forcerange of actuator "{actuator}"')
            linear, quadratic, cubic = joint.damping
            joint.damping = [linear, quadratic, cubic + max(SPARE * force - linear * speed, 0.0) / speed**3]


PANDA = Arm(
    name="panda",
    mjcf="arms/panda.xml",
    joints=tuple(f"joint{i}" for i in range(1, 8)),
    home=(0.0, -0.08714108, 0.0, -2.54177861, 0.0, 2.45463753, -0.78539816),  # tool at (0.45, 0, 0.20) m
    grip=Grip.of(0.0, 0.04),
    max_speed=(2.175, 2.175, 2.175, 2.175, 2.61, 2.61, 2.61),
    response=0.625,
)

UR5E = Arm(
    name="ur5e",
    mjcf="arms/ur5e.xml",
    joints=("shoulder_pan", "shoulder_lift", "elbow", "wrist_1", "wrist_2", "wrist_3"),
    home=(2.88735315, -1.46670605, 1.81159483, -1.91568511, -1.57079633, 2.88735315),  # tool at (0.45, 0, 0.20) m
    grip=Grip.of(0.0, 0.0425),
    mount=(-0.08, 0.0, 0.0),  # its long links fold up over nearer points
    max_speed=(pi,),
    response=0.8,
)

XARM7 = Arm(
    name="xarm7",
    mjcf="arms/xarm7.xml",
    joints=tuple(f"joint{i}" for i in range(1, 8)),
    home=(0.0, -0.05765789, 0.0, 1.02098262, 0.0, 1.07864051, -1.57079633),  # tool at (0.45, 0, 0.20) m
    grip=Grip.of(0.0, 0.042),
    max_speed=(pi,),
)

SO101 = Arm(
    name="so101",
    mjcf="arms/so101.xml",
    tip_site="tip",
    joints=("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll"),
    home=(0.12772814, 0.25077861, 0.24394899, 1.07606872, 1.74720396),  # tool at (0.45, 0, 0.12) m
    # A cube is gripped against the fixed jaw.
    grip=Grip.of(-0.174533, 1.0, joints=("gripper",), travel=0.039, around=0.46, holds_at=(-0.0095, 0.0, 0.0)),
    mount=(0.206, 0.0, 0.12),
    reach=Region((0.345, -0.18, 0.015), (0.555, 0.18, 0.15)),
    max_speed=(4.71,),  # 45 rpm
    turn_weight=0.03,
    version=1,
)

ARMS: dict[str, Arm] = {arm.name: arm for arm in (PANDA, UR5E, XARM7, SO101)}

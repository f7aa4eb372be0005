"""Arms of the user's: an MJCF file, and a small TOML file that says what the MJCF does not.

    mjcf = "ur5e/ur5e.xml"          # without it, the file of the TOML's name; or "menagerie:ROBOT/FILE.xml"
    max_speed = 3.14                # of all joints, or of each [rad/s]; their actuators need a forcerange

    [tool]                          # the point between the fingertips
    site = "gripper/pinch"          # or: body = "hand", pos = [0, 0, 0.1], quat = [1, 0, 0, 0]

    [gripper]
    mjcf = "gripper/2f85.xml"       # if it is not in the arm's own MJCF; its names are then preceded by "gripper/"
    attach = "flange"               # ... and the site or body of the arm that it is fixed to
    actuators = ["gripper/fingers"]
    closed = [255]                  # what these are told to close
    open = [0]
    width = 0.085                   # between the fingertips when open [m]
    strength = 3                    # if it closes too weakly to hold a cube: so much stronger

    [servo]                         # only if the actuators are no position servos, or too slow to follow in 0.1 s
    stiffness = 4500                # one number for all joints, or one each [N m/rad]
    damping = 180                   # [N m s/rad]

`ArmTable` says what else may stand there. The rest is found out: which joints lie between base and tool, which
actuators drive them, a home pose over the table by inverse kinematics, and how the gripper's joints stand when it is
open, around a cube, and closed, by simulation.
"""

from dataclasses import dataclass, field
from importlib import resources
from math import pi
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from goalsight.base.errors import UserError, choose
from goalsight.envs.arms.catalogue import ARMS, Arm, Grip
from goalsight.envs.arms.gripping import measure_grip
from goalsight.envs.arms.measures import find_home, name_joints
from goalsight.envs.arms.mjcf import SCENE, load_asset, load_file
from goalsight.envs.arms.tables import ArmTable, read_table

if TYPE_CHECKING:
    import mujoco

MENAGERIE = "menagerie:"
OF_USERS = ("actuator", "body", "cam", "geom", "jnt", "sensor", "site", "tendon")  # numbers that MuJoCo does not read
SIZES = {"memory": -1, "njmax": -1, "nconmax": -1, "nuserdata": 0, "nkey": 0}  # the scene's, by their defaults
SIZES |= {f"nuser_{of}": -1 for of in OF_USERS}
UNDRAWN = 4  # of the groups of shapes, the renderers draw the first three


@dataclass(frozen=True)
class FileArm(Arm):
    """An arm whose MJCF is a file of the user's."""

    folder: Path = Path()
    table: ArmTable = field(kw_only=True)
    trusted: bool = False  # its files may name files outside the folder

    def load(self) -> "mujoco.MjSpec":
        """Its MJCF with gripper, tool and servos; motors hold its links up, as controllers of real arms do."""
        table = self.table
        spec = self._read(self.mjcf)
        if table.gripper.mjcf is not None:
            place = _element([*spec.sites, *spec.bodies], "site or body", table.gripper.attach or "", self.mjcf)
            frame = place.parent.add_frame(pos=place.pos, quat=place.quat) if _is_site(place) else place.add_frame()
            gripper = self._read(table.gripper.mjcf)
            spec.attach(gripper, frame=frame, prefix="gripper/")
        if table.tool.body is not None:
            body = _element(spec.bodies, "body", table.tool.body, self.mjcf)
            body.add_site(name=self.tool_site, pos=list(table.tool.pos), quat=list(table.tool.quat))
        else:
            _element(spec.sites, "site", self.tool_site, self.mjcf)
        for name in self.grip.actuators:
            _strengthen(_element(spec.actuators, "actuator", name, self.mjcf), table.gripper.strength)
        _part_from_base(spec)
        for body in spec.bodies[1:]:
            body.gravcomp = 1.0
        for geom in spec.geoms:
            if geom.group in table.hidden:
                geom.group = UNDRAWN
        for name in self.joints:
            self._hold(spec, name)
        if self.actuators is not None:  # they are found out by loading it
            self.limit_speeds(spec)
        return spec

    def _read(self, name: str) -> "mujoco.MjSpec":
        folder = self.folder
        if name.startswith(MENAGERIE):
            robot, _, name = name.removeprefix(MENAGERIE).partition("/")
            folder = _menagerie_folder(robot)
        spec = load_file(folder / name, folder, trusted=self.trusted)
        spec.option = load_asset(SCENE).option  # those of the scene count; MuJoCo would warn where others differ
        for size, usual in SIZES.items():
            setattr(spec, size, usual)
        for actuator in spec.actuators:
            actuator.name = actuator.name or actuator.target
        return spec

    def _hold(self, spec: "mujoco.MjSpec", name: str) -> None:
        """Give a joint a range if it has none, and a servo if it is asked for."""
        joint = _element(spec.joints, "joint", name, self.mjcf)
        if joint.range[0] == joint.range[1]:
            joint.range = [-2 * pi, 2 * pi]
        if self.table.servo is not None:
            values = self.table.servo.stiffness, self.table.servo.damping
            if any(len(each) not in (1, len(self.joints)) for each in values):
                raise UserError(f"{self.mjcf}: [servo] needs one number, or one for each of {len(self.joints)} joints")
            number = self.joints.index(name)
            _serve(spec, joint, *(each[number % len(each)] for each in values))


def _is_site(place: Any) -> bool:
    import mujoco

    return isinstance(place, mujoco.MjsSite)


def _strengthen(actuator: "mujoco.MjsActuator", times: float) -> None:
    """Multiply the gains of an actuator; its damping only so much as keeps it as lively."""
    gain, bias = np.array(actuator.gainprm), np.array(actuator.biasprm)
    gain[0] *= times
    bias[:3] *= (times, times, np.sqrt(times))
    actuator.gainprm, actuator.biasprm = gain, bias


def _part_from_base(spec: "mujoco.MjSpec") -> None:
    """Let the first links that move not touch what stands still; MuJoCo leaves only neighbours alone that both move."""
    still = {"world"}
    for body in spec.bodies[1:]:  # parents come before their children
        if body.parent.name not in still:
            continue
        if not body.joints:
            still.add(body.name)
        for base in still - {"world", body.name, ""} if body.joints and body.name else ():
            spec.add_exclude(bodyname1=base, bodyname2=body.name)


def _serve(spec: "mujoco.MjSpec", joint: "mujoco.MjsJoint", stiffness: float, damping: float) -> None:
    """Make a joint's actuator a position servo that is as strong as it was."""
    import mujoco

    there = [each for each in spec.actuators if each.target == joint.name]
    actuator = there[0] if there else spec.add_actuator(name=joint.name, target=joint.name)
    actuator.trntype = mujoco.mjtTrn.mjTRN_JOINT
    if actuator.gaintype == mujoco.mjtGain.mjGAIN_FIXED and actuator.biastype == mujoco.mjtBias.mjBIAS_NONE and there:
        # A motor: what it may be told times its gear is the torque that it has.
        actuator.forcerange = np.multiply(actuator.ctrlrange, abs(actuator.gear[0]))
        actuator.forcelimited = actuator.ctrllimited
    actuator.gear = [1.0] + [0.0] * 5
    actuator.set_to_position(kp=stiffness, kv=damping)
    # It follows at once, whatever state it had.
    actuator.actlimited, actuator.actrange = mujoco.mjtLimited.mjLIMITED_FALSE, [0.0, 0.0]
    actuator.nsample, actuator.delay = 0, 0.0
    actuator.ctrllimited = mujoco.mjtLimited.mjLIMITED_TRUE
    actuator.ctrlrange = joint.range


def find_arm(arm: str | Arm) -> Arm:
    """An arm by its name, by a file, or by "menagerie:NAME".

    Raises:
        UserError: there is no such arm, or its files do not say all that is needed.
    """
    if isinstance(arm, Arm):
        return arm
    if arm.startswith(MENAGERIE):
        return load_menagerie(arm.removeprefix(MENAGERIE))
    if arm.endswith((".toml", ".xml")):
        return load_arm(arm)
    return ARMS[choose("arm", arm, ARMS)]


def load_arm(path: str | Path, *, trusted: bool = False) -> FileArm:
    """An arm of the user's.

    Args:
        path: of a TOML file, or of the MJCF file beside it; see this module for what it says.
        trusted: let the files name others outside the folder in which the TOML lies.

    Raises:
        UserError: what is missing or wrong, and where.
    """
    path = Path(path).expanduser()
    described = path.with_suffix(".toml")
    if not described.exists():
        raise UserError(f"there is no {described}; it must name the tool and the gripper of the arm")
    return _complete(described, path.parent, trusted=trusted)


def load_menagerie(name: str) -> FileArm:
    """An arm of MuJoCo Menagerie that goalsight has a description of; of the others a TOML file can say it.

    Raises:
        UserError: there is no such arm, or it cannot be had.
    """
    known = resources.files("goalsight.assets").joinpath("menagerie")
    names = [file.name.removesuffix(".toml") for file in known.iterdir() if file.name.endswith(".toml")]
    described = known.joinpath(f"{choose('described Menagerie arm', name, names)}.toml")
    with resources.as_file(described) as file:
        return _complete(file, file.parent)


def _menagerie_folder(robot: str) -> Path:
    """Where a robot of MuJoCo Menagerie lies, fetched by the package `mujoco-menagerie` at its first use.

    Raises:
        UserError: the package is missing, or there is no such robot, or it cannot be fetched.
    """
    try:
        import mujoco_menagerie
    except ImportError:
        raise UserError('arms of MuJoCo Menagerie need the extra: pip install "goalsight[menagerie]"') from None
    try:
        return Path(mujoco_menagerie.get(robot).path())
    except (mujoco_menagerie.MenagerieError, OSError) as error:
        raise UserError(f'"{MENAGERIE}{robot}" cannot be had: {error}') from error


def _complete(described: Path, folder: Path, *, trusted: bool = False) -> FileArm:
    """Read the TOML file of an arm and find out the rest."""
    table = read_table(described)
    gripper = table.gripper
    bare = FileArm(
        name=table.name,
        mjcf=table.mjcf,
        joints=table.joints,
        home=table.start,
        grip=Grip(gripper.actuators, gripper.closed, gripper.open, (), (), (), ()),
        tool_site=table.tool.site or "tool",
        mount=(table.mount[0], table.mount[1], table.mount[2]),
        max_speed=table.max_speed,
        turn_weight=table.turn_weight,
        reach=table.region,
        folder=folder,
        table=table,
        trusted=trusted,
    )
    named = name_joints(bare)
    return measure_grip(find_home(named, table.home_at), table.gripper.width)


def _element(elements: Any, kind: str, name: str, where: str) -> Any:
    """An element of a spec by its name."""
    try:
        choose(kind, name, [each.name for each in elements if each.name])
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    return next(each for each in elements if each.name == name)

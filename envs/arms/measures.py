"""What is found out of an arm that is known by its files only: its joints, and a home pose."""

from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from goalsight.base.errors import UserError
from goalsight.envs.arms.catalogue import Arm
from goalsight.envs.arms.mjcf import SCENE, load_asset
from goalsight.envs.simulation.actuators import follows, lag
from goalsight.envs.simulation.control import DOWN, Chain, reach_for, rotation_error

if TYPE_CHECKING:
    import mujoco

RESTARTS = 20  # of inverse kinematics, from poses drawn at random
ITERATIONS = 200
NEAR, ASLANT = 0.002, 0.05  # how far off a home pose may be [m], and [rad]
FARTHEST = 100.0  # that a part of an arm lies from another [m]
HEAVIEST = 1e6  # that a mass, an inertia, an armature or a damping may be [kg, m, s]
LATEST = 0.1  # by which servos may come to what they are told [s]; with later ones experts fail at most tasks

Floats = NDArray[np.float64]
AnyArm = TypeVar("AnyArm", bound=Arm)


def compile_arm(arm: Arm) -> "mujoco.MjModel":
    """The arm at the empty table."""
    spec = load_asset(SCENE)
    spec.attach(arm.load(), frame=spec.worldbody.add_frame(pos=arm.mount), prefix=arm.prefix)
    try:
        model = spec.compile()
    except (ValueError, RuntimeError) as error:  # the latter where memory does not suffice
        raise UserError(f"{arm.mjcf}: {' '.join(str(error).split())}") from error
    for kind, places in (
        ("body", model.body_pos),
        ("centre of mass", model.body_ipos),
        ("joint", model.jnt_pos),
        ("site", model.site_pos),
    ):
        if not np.all(np.abs(places) <= FARTHEST):
            raise UserError(
                f"{arm.mjcf}: a {kind} lies more than {FARTHEST:g} m from what it hangs on; units are metres"
            )
    of_weight = (model.body_mass, model.body_inertia, model.dof_armature, model.dof_damping)
    for name, values in zip(("mass", "inertia", "armature", "damping"), of_weight, strict=True):
        if not np.all(np.abs(values) <= HEAVIEST):
            raise UserError(
                f"{arm.mjcf}: some {name} is more than {HEAVIEST:g}; units are kilograms, metres and seconds"
            )
    return model


def name_joints(arm: AnyArm) -> AnyArm:
    """Find the joints between base and tool, those that the gripper moves, and their actuators."""
    import mujoco

    model = compile_arm(arm)
    tool = model.site(arm.prefix + arm.tool_site).bodyid[0]
    chain = [model.joint(arm.prefix + name).id for name in arm.joints] or _joints_to(model, int(tool))
    if not chain or any(model.jnt_type[joint] != mujoco.mjtJoint.mjJNT_HINGE for joint in chain):
        raise UserError(f'{arm.mjcf}: there must be hinges, and nothing else, between the base and "{arm.tool_site}"')
    in_order = [joint for joint in _joints_to(model, int(tool)) if joint in chain]
    if in_order != chain:
        named = ", ".join(model.joint(joint).name.removeprefix(arm.prefix) for joint in in_order)
        raise UserError(f"{arm.mjcf}: joints must be named from the base to the tool, and lie between: {named}")
    others = (joint for joint in _joints_to(model, int(tool)) if joint not in chain)
    loose = next((joint for joint in others if not _held(model, joint)), None)
    if loose is not None:
        name = model.joint(loose).name.removeprefix(arm.prefix)
        raise UserError(
            f'{arm.mjcf}: joint "{name}" lies between the base and "{arm.tool_site}", but is not among the joints that '
            "are named, and neither a servo nor an equality holds it"
        )
    last = model.jnt_bodyid[chain[-1]]
    hand = [j for j in range(model.njnt) if j not in chain and last in ancestors(model, model.jnt_bodyid[j])]
    if not hand:
        raise UserError(f"{arm.mjcf}: no joint of a gripper moves beyond the arm's last one")

    def own(name: str) -> str:
        return name.removeprefix(arm.prefix)

    wrong = next((j for j in chain if model.jnt_range[j, 0] >= model.jnt_range[j, 1] and model.jnt_limited[j]), None)
    if wrong is not None:
        raise UserError(
            f'{arm.mjcf}: joint "{own(model.joint(wrong).name)}" has range {model.jnt_range[wrong].tolist()}'
        )
    joints = tuple(own(model.joint(j).name) for j in chain)
    fingers = tuple(own(model.joint(j).name) for j in hand)
    arm = replace(arm, joints=joints, grip=replace(arm.grip, joints=fingers))
    model = compile_arm(arm)  # now with ranges and servos
    actuators = tuple(own(model.actuator(_servo_of(model, arm, name)).name) for name in joints)
    _check_grip(model, arm)
    return replace(arm, actuators=actuators)


def ancestors(model: "mujoco.MjModel", body: int) -> list[int]:
    """A body and those that it is fixed to, up to the world."""
    found = [int(body)]
    while found[-1]:
        found.append(int(model.body_parentid[found[-1]]))
    return found


def _joints_to(model: "mujoco.MjModel", body: int) -> list[int]:
    """The joints between the world and a body, in order."""
    chain = reversed(ancestors(model, body)[:-1])
    return [int(model.body_jntadr[b]) + i for b in chain for i in range(model.body_jntnum[b])]


def _held(model: "mujoco.MjModel", joint: int) -> bool:
    """Whether an actuator drives a joint, which is told nothing else than to stay, or an equality fixes it."""
    import mujoco

    driven = (model.actuator_trntype == mujoco.mjtTrn.mjTRN_JOINT) & (model.actuator_trnid[:, 0] == joint)
    fixed = (model.eq_type == mujoco.mjtEq.mjEQ_JOINT) & (model.eq_obj1id == joint) & (model.eq_obj2id < 0)
    return bool(driven.any() or (fixed & (model.eq_active0 != 0)).any())


def _servo_of(model: "mujoco.MjModel", arm: Arm, joint: str) -> int:
    """The position actuator of a joint.

    Raises:
        UserError: there is none, or it does not go where it is told.
    """
    import mujoco

    number = model.joint(arm.prefix + joint).id
    why = f'joint "{joint}" has no position actuator'
    for i in range(model.nactuator):
        drives = model.actuator_trntype[i] == mujoco.mjtTrn.mjTRN_JOINT and model.actuator_trnid[i, 0] == number
        fixed = model.actuator_gaintype[i] == mujoco.mjtGain.mjGAIN_FIXED
        affine = model.actuator_biastype[i] == mujoco.mjtBias.mjBIAS_AFFINE
        gain, bias = model.actuator_gainprm[i, 0], model.actuator_biasprm[i, 1]
        gear = model.actuator_gear[model.actuator_outadr[i], 0]
        if not (drives and fixed and affine and gain > 0 and bias == -gain and gear == 1):
            continue
        if not follows(model, i):
            why = f'the actuator of joint "{joint}" is no position servo: it has a state of its own ({_kind(model, i)})'
        elif lag(model, i) > LATEST:
            why = f'the actuator of joint "{joint}" follows {lag(model, i):g} s late, more than {LATEST:g} s'
        else:
            return i
    raise UserError(f"{arm.mjcf}: {why}; a table [servo] with stiffness and damping makes it one")


def _kind(model: "mujoco.MjModel", actuator: int) -> str:
    """By what MJCF an actuator has a state."""
    import mujoco

    if model.actuator_plugin[actuator] >= 0:
        return "a plug-in"
    return f'dyntype="{mujoco.mjtDyn(model.actuator_dyntype[actuator]).name.removeprefix("mjDYN_").lower()}"'


def _check_grip(model: "mujoco.MjModel", arm: Arm) -> None:
    """Refuse a gripper that does not settle at what it is told.

    Raises:
        UserError: which actuator, and why.
    """
    import mujoco

    for name in arm.grip.actuators:
        actuator = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_ACTUATOR, arm.prefix + name)
        if actuator < 0:  # MuJoCo leaves out what drives nothing
            raise UserError(f'{arm.mjcf}: what the actuator "{name}" of [gripper] drives is not there')
        if not follows(model, actuator):
            raise UserError(
                f'{arm.mjcf}: actuator "{name}" of [gripper] does not settle at what it is told '
                f"({_kind(model, actuator)}); make it a position servo, as a [servo] is for the arm's joints alone"
            )


def find_home(arm: AnyArm, place: tuple[float, ...]) -> AnyArm:
    """Find joint positions with the tool pointing straight down over the table, near those that are given."""
    import mujoco

    model = compile_arm(arm)
    data = mujoco.MjData(model)
    joints = np.array([model.joint(arm.prefix + name).id for name in arm.joints])
    low, high = model.jnt_range[joints].T
    start = np.array(arm.home or _key_pose(model, model.jnt_qposadr[joints]))
    if len(start) != len(joints):
        raise UserError(f"{arm.mjcf}: start has {len(start)} numbers, one is needed for each of {len(joints)} joints")
    rng = np.random.default_rng(0)
    found: list[Floats] = []
    for attempt in range(RESTARTS):
        chain = _point_down(arm, model, data, start if attempt == 0 else rng.uniform(low, high), place)
        off = np.linalg.norm(chain.tool[0] - place)
        aslant = np.linalg.norm(rotation_error(chain.orientation, DOWN)) + (chain.orientation[0, 2, 2] > 0)
        if off < NEAR and (aslant < ASLANT or arm.turn_weight < 1) and _stands_free(model, data):
            found.append(chain.joints[0].copy())
            if attempt == 0:
                break
    if not found:
        where = ", ".join(f"{number:g}" for number in place)
        raise UserError(
            f"{arm.mjcf}: no pose found with the tool at ({where}) m, pointing straight down, and the arm off the "
            "table; another start, home_at or mount may help"
        )
    nearest = min(found, key=lambda pose: float(np.abs(pose - start).sum()))
    return replace(arm, home=tuple(float(number) for number in nearest))


def _point_down(
    arm: Arm, model: "mujoco.MjModel", data: "mujoco.MjData", pose: Floats, place: tuple[float, ...]
) -> Chain:
    """Bring the tool to a place, pointing straight down, as near as inverse kinematics comes from a pose (J,)."""
    import mujoco

    joints = np.array([model.joint(arm.prefix + name).id for name in arm.joints])
    places, tool = model.jnt_qposadr[joints], model.site(arm.prefix + arm.tool_site).id
    for _ in range(ITERATIONS):
        data.qpos[places] = np.clip(pose, *model.jnt_range[joints].T)
        mujoco.mj_kinematics(model, data)
        chain = Chain(
            joints=data.qpos[places][None],
            axes=data.xaxis[joints][None],
            anchors=data.xanchor[joints][None],
            tool=data.site_xpos[tool][None],
            orientation=data.site_xmat[tool].reshape(1, 3, 3),
            turn_weight=arm.turn_weight,
        )
        pose = reach_for(chain, np.array(place)[None], DOWN)[0]
    return chain


def _key_pose(model: "mujoco.MjModel", places: NDArray[np.int32]) -> Floats:
    """Where joints stand in the first keyframe, or without one at zero, within their ranges."""
    pose = model.key_qpos[0] if model.nkey else model.qpos0
    return np.array(pose[places], dtype=np.float64)


def _stands_free(model: "mujoco.MjModel", data: "mujoco.MjData") -> bool:
    """Whether nothing of the arm that can move touches what is fixed."""
    import mujoco

    mujoco.mj_forward(model, data)
    welds = model.body_weldid[model.geom_bodyid[data.contact.geom]]
    return not ((welds == 0).any(axis=1) & (data.contact.dist < 0)).any()

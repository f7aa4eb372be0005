"""Scenes: a table, an arm and a task's objects composed into one MuJoCo model."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from goalsight.base.errors import UserError, choose
from goalsight.envs.arms.catalogue import Arm
from goalsight.envs.arms.mjcf import SCENE, load_asset

if TYPE_CHECKING:
    import mujoco

    from goalsight.envs.tasks.shared.base import Task

LAST_DRAWN_GROUP = 2  # of geoms


class Furnishing(Protocol):
    """What is added to a scene beside the arm and the task's objects."""

    def furnish(self, spec: "mujoco.MjSpec") -> None:
        """Add it."""


def compose(arm: Arm, task: "Task", more: Sequence[Furnishing] = ()) -> "mujoco.MjModel":
    """Put the arm, the task's objects and `more` on the table and compile."""
    spec = load_asset(SCENE)
    spec.attach(arm.load(), frame=spec.worldbody.add_frame(pos=arm.mount), prefix=arm.prefix)
    for thing in task.objects:
        thing.add_to(spec)
    for each in (task, *more):
        each.furnish(spec)
    front = spec.camera("front")
    front.pos = np.add(front.pos, [task.camera_back, 0, 0])
    return spec.compile()


@dataclass(frozen=True)
class Touch:
    """A sensor of whether the arm touches a thing."""

    arm: Arm
    thing: str

    CONTACTS: ClassVar[int] = 1  # the strongest that are looked at
    NORMALS: ClassVar[bool] = False  # whether their normals are told as well

    @property
    def name(self) -> str:
        """Of the sensor."""
        return f"{type(self).__name__.lower()}-{self.thing}"

    def furnish(self, spec: "mujoco.MjSpec") -> None:
        """Add the sensor."""
        import mujoco

        found, normal = mujoco.mjtConDataField.mjCONDATA_FOUND, mujoco.mjtConDataField.mjCONDATA_NORMAL
        by_force = 2
        spec.add_sensor(
            name=self.name,
            type=mujoco.mjtSensor.mjSENS_CONTACT,
            objtype=mujoco.mjtObj.mjOBJ_XBODY,
            objname=next(body.name for body in spec.bodies if body.name.startswith(self.arm.prefix)),
            reftype=mujoco.mjtObj.mjOBJ_BODY,
            refname=self.thing,
            intprm=[1 << int(found) | self.NORMALS << int(normal), by_force, self.CONTACTS],
        )

    def felt(self, sensed: NDArray[np.floating[Any]]) -> NDArray[np.bool_]:
        """Whether the arm touches the thing, (N,), by what the sensor says, (N, D)."""
        return sensed[:, 0] > 0


class Grasp(Touch):
    """A sensor of whether the arm holds a thing."""

    CONTACTS = 16
    NORMALS = True
    OPPOSING = -0.5  # cosine of the angle from which two normals oppose each other

    def felt(self, sensed: NDArray[np.floating[Any]]) -> NDArray[np.bool_]:
        """Whether the arm touches the thing from opposing sides, (N,), by what the sensor says, (N, D)."""
        contacts = sensed.reshape(len(sensed), self.CONTACTS, -1)  # of each, whether there is one, and the normal
        normals = np.where(contacts[..., :1] > 0, contacts[..., 1:], 0.0)
        return np.matmul(normals, normals.transpose(0, 2, 1)).min(axis=(1, 2)) < self.OPPOSING


def camera_name(arm: Arm, model: "mujoco.MjModel", name: str) -> str:
    """The name in the model of a camera of the scene ("front") or of the arm ("wrist").

    Raises:
        UserError: there is no such camera.
    """
    names = [model.camera(i).name for i in range(model.ncam)]
    known = {full.removeprefix(arm.prefix): full for full in names}
    return known[choose("camera", name, known)]


def check_view(model: "mujoco.MjModel", name: str) -> None:
    """Make sure that a camera that stands still is in nothing that does, where it would see through walls or nothing.

    Raises:
        UserError: it is.
    """
    import mujoco

    camera = model.camera(name).id
    data = mujoco.MjData(model)
    mujoco.mj_kinematics(model, data)
    mujoco.mj_camlight(model, data)
    for geom in np.flatnonzero((model.geom_group <= LAST_DRAWN_GROUP) & (model.geom_rgba[:, 3] > 0)):
        turn = data.geom_xmat[geom].reshape(3, 3)
        place = (data.cam_xpos[camera] - data.geom_xpos[geom]) @ turn
        still = model.body_weldid[[model.geom_bodyid[geom], model.cam_bodyid[camera]]] == 0
        if still.all() and _holds(model.geom_type[geom], model.geom_size[geom], place):
            called = model.geom(geom).name or f"number {geom}"
            raise UserError(f'camera "{name}" is inside geom "{called}", where it sees nothing: move one of them')


def _holds(shape: int, size: NDArray[np.float64], place: NDArray[np.float64]) -> bool:
    """Whether a point in a geom's frame lies inside it; of meshes and other free forms that is not known."""
    import mujoco

    shapes = mujoco.mjtGeom
    across, up = np.hypot(place[0], place[1]), abs(place[2])
    if shape == shapes.mjGEOM_PLANE:
        return bool(place[2] < 0)
    if shape == shapes.mjGEOM_BOX:
        return bool((np.abs(place) < size).all())
    if shape == shapes.mjGEOM_SPHERE:
        return bool(np.linalg.norm(place) < size[0])
    if shape == shapes.mjGEOM_ELLIPSOID:
        return bool(np.linalg.norm(place / size) < 1)
    if shape == shapes.mjGEOM_CYLINDER:
        return bool(across < size[0] and up < size[1])
    if shape == shapes.mjGEOM_CAPSULE:
        return bool(np.hypot(across, max(up - size[1], 0.0)) < size[0])
    return False


def arm_geoms(arm: Arm, model: "mujoco.MjModel") -> NDArray[np.int64]:
    """The geoms that an arm is made of, (K,)."""
    bodies = [i for i in range(model.nbody) if model.body(i).name.startswith(arm.prefix)]
    return np.flatnonzero(np.isin(model.geom_bodyid, bodies))


@dataclass(frozen=True)
class ArmIndex:
    """Where the arm's parts lie in the arrays of a compiled model."""

    joints: NDArray[np.int64]  # joint ids, (J,)
    qpos: NDArray[np.int64]  # (J,)
    qvel: NDArray[np.int64]  # (J,)
    ctrl: NDArray[np.int64]  # (J,)
    finger_qpos: NDArray[np.int64]  # (F,)
    finger_qvel: NDArray[np.int64]  # (F,)
    gripper_ctrl: NDArray[np.int64]  # (A,)
    tool: int  # site id
    tip: int  # site id

    @classmethod
    def of(cls, arm: Arm, model: "mujoco.MjModel") -> "ArmIndex":
        """Resolve the arm's names once."""
        joints = [model.joint(arm.prefix + name) for name in arm.joints]
        fingers = [model.joint(arm.prefix + name) for name in arm.grip.joints]
        return cls(
            joints=np.array([joint.id for joint in joints]),
            qpos=np.array([joint.qposadr[0] for joint in joints]),
            qvel=np.array([joint.dofadr[0] for joint in joints]),
            ctrl=_actuators(arm.actuators or arm.joints, arm, model),
            finger_qpos=np.array([joint.qposadr[0] for joint in fingers]),
            finger_qvel=np.array([joint.dofadr[0] for joint in fingers]),
            gripper_ctrl=_actuators(arm.grip.actuators, arm, model),
            tool=model.site(arm.prefix + arm.tool_site).id,
            tip=model.site(arm.prefix + (arm.tip_site or arm.tool_site)).id,
        )


def _actuators(names: tuple[str, ...], arm: Arm, model: "mujoco.MjModel") -> NDArray[np.int64]:
    """Where actuators are told what to do; some take several numbers, so that the others' move up."""
    return np.array([model.actuator_ctrladr[model.actuator(arm.prefix + name).id] for name in names])


@dataclass(frozen=True)
class ThingIndex:
    """Where a task's thing lies in the arrays of a compiled model."""

    body: int
    qpos: slice  # position and quaternion, 7 entries; of a slide or a hinge 1
    qvel: slice  # linear velocity in the world, angular velocity in the body, 6 entries; of a slide or a hinge 1

    @classmethod
    def of(cls, name: str, model: "mujoco.MjModel") -> "ThingIndex":
        """Resolve the name of a body and of its joint once."""
        import mujoco

        joint = model.joint(name)
        free = joint.type[0] == mujoco.mjtJoint.mjJNT_FREE
        qpos, qvel = int(joint.qposadr[0]), int(joint.dofadr[0])
        return cls(model.body(name).id, slice(qpos, qpos + (7 if free else 1)), slice(qvel, qvel + (6 if free else 1)))

    @property
    def free(self) -> bool:
        """Whether it can lie anywhere."""
        return self.qpos.stop - self.qpos.start == 7

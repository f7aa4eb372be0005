"""Scenes: a table, an arm and a task's objects composed into one MuJoCo model."""

from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from goalsight.envs.arms import Arm
from goalsight.errors import choose

if TYPE_CHECKING:
    import mujoco

    from goalsight.envs.tasks.base import Task

SCENE = "scenes/tabletop.xml"


def load_spec(path: str) -> "mujoco.MjSpec":
    """Read an MJCF file of `goalsight.assets`."""
    import mujoco

    return mujoco.MjSpec.from_string(resources.files("goalsight.assets").joinpath(path).read_text())


def compose(arm: Arm, task: "Task") -> "mujoco.MjModel":
    """Put the arm and the task's objects on the table and compile."""
    spec = load_spec(SCENE)
    spec.attach(load_spec(arm.mjcf), frame=spec.worldbody.add_frame(pos=arm.mount), prefix=arm.prefix)
    for thing in task.objects:
        thing.add_to(spec)
    task.furnish(spec)
    front = spec.camera("front")
    front.pos = np.add(front.pos, [task.camera_back, 0, 0])
    return spec.compile()


def camera_name(arm: Arm, model: "mujoco.MjModel", name: str) -> str:
    """The name in the model of a camera of the scene ("front") or of the arm ("wrist").

    Raises:
        UserError: there is no such camera.
    """
    names = [model.camera(i).name for i in range(model.ncam)]
    known = {full.removeprefix(arm.prefix): full for full in names}
    return known[choose("camera", name, known)]


@dataclass(frozen=True)
class ArmIndex:
    """Where the arm's parts lie in the arrays of a compiled model."""

    joints: NDArray[np.int64]  # joint ids, (J,)
    qpos: NDArray[np.int64]  # (J,)
    qvel: NDArray[np.int64]  # (J,)
    ctrl: NDArray[np.int64]  # (J,)
    finger_qpos: NDArray[np.int64]
    finger_qvel: NDArray[np.int64]
    gripper_ctrl: int
    tool: int  # site id
    tip: int  # site id

    @classmethod
    def of(cls, arm: Arm, model: "mujoco.MjModel") -> "ArmIndex":
        """Resolve the arm's names once."""
        joints = [model.joint(arm.prefix + name) for name in arm.joints]
        fingers = [model.joint(arm.prefix + name) for name in arm.finger_joints]
        return cls(
            joints=np.array([joint.id for joint in joints]),
            qpos=np.array([joint.qposadr[0] for joint in joints]),
            qvel=np.array([joint.dofadr[0] for joint in joints]),
            ctrl=np.array([model.actuator(arm.prefix + name).id for name in arm.joints]),
            finger_qpos=np.array([joint.qposadr[0] for joint in fingers]),
            finger_qvel=np.array([joint.dofadr[0] for joint in fingers]),
            gripper_ctrl=model.actuator(arm.prefix + arm.gripper_actuator).id,
            tool=model.site(arm.prefix + arm.tool_site).id,
            tip=model.site(arm.prefix + (arm.tip_site or arm.tool_site)).id,
        )


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

"""What is known about a batch of simulations: physical queries, observations, and where they are in the arrays."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from mujoco.batch import Batch
from numpy.typing import NDArray

from goalsight.envs.arms.catalogue import Arm
from goalsight.envs.simulation.control import Chain, geometric_jacobian
from goalsight.envs.simulation.scene import ArmIndex, Grasp, ThingIndex, Touch
from goalsight.envs.tasks import Task, World

if TYPE_CHECKING:
    import mujoco

COLUMNS = [0, 3, 6, 1, 4, 7]  # of a rotation matrix that is laid out flat, the first two

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Observed:
    """What is known about N simulations after a step or a reset, as float32."""

    proprioception: NDArray[np.float32]  # (N, P)
    state: NDArray[np.float32]  # (N, S), begins with the proprioception
    achieved: NDArray[np.float32]  # (N, G)


class StateReader:
    """Reads a batch; the arrays that it holds are live views."""

    def __init__(
        self,
        batch: Batch,
        model: "mujoco.MjModel",
        arm: Arm,
        task: Task,
        touches: Sequence[Touch],
        joints_shown: bool,
    ) -> None:
        """Find everything once.

        Args:
            batch: what is read.
            model: what it simulates.
            arm: the arm in it.
            task: what is asked of it.
            touches: the sensors of what the arm touches.
            joints_shown: whether joints are part of the proprioception.
        """
        self._arm, self._task, self._touches, self._joints_shown = arm, task, touches, joints_shown
        self.index = ArmIndex.of(arm, model)
        self.tool = self.index.tool if task.uses_gripper else self.index.tip
        things = {thing.name: ThingIndex.of(thing.name, model) for thing in task.objects}
        self.objects = {name: thing for name, thing in things.items() if thing.free}
        self.parts = {name: thing for name, thing in things.items() if not thing.free}
        bind: Callable[[str], Floats] = batch.bind
        self.qpos, self.qvel = bind("qpos"), bind("qvel")
        self.site_xpos, self.site_xmat = bind("site_xpos"), bind("site_xmat")
        self._xaxis, self._xanchor = bind("xaxis"), bind("xanchor")
        self._xpos, self._xmat = bind("xpos"), bind("xmat")
        sensors = [model.sensor(touch.name) for touch in touches]
        self._sensed = [bind("sensordata")[:, one.adr[0] : one.adr[0] + one.dim[0]] for one in sensors]
        self.felt = np.zeros((len(self.qpos), len(touches)), bool)  # by each sensor when last asked, (N, T)

    def chain(self, ids: NDArray[np.int64] | slice = slice(None)) -> Chain:
        """The arms of simulations `ids` as chains of joints."""
        joints = self.index.joints
        return Chain(
            joints=self.qpos[ids][:, self.index.qpos],
            axes=self._xaxis[ids][:, joints],
            anchors=self._xanchor[ids][:, joints],
            tool=self.site_xpos[ids][:, self.tool],
            orientation=self.site_xmat[ids][:, self.tool].reshape(-1, 3, 3),
            turn_weight=self._arm.turn_weight,
        )

    def world(self) -> World:
        """The quantities that tasks speak about, for all simulations, as float64."""
        chain = self.chain()
        jacobian = geometric_jacobian(chain.axes, chain.anchors, chain.tool)
        twist = np.matmul(jacobian, self.qvel[:, self.index.qvel, None])[..., 0]  # (N, 6)
        return World(
            tool=chain.tool,
            tool_velocity=twist[:, :3],
            opening=self._opening(self.qpos[:, self.index.finger_qpos] - self._arm.grip.closed),
            objects={name: self._xpos[:, index.body].copy() for name, index in (self.objects | self.parts).items()},
            joints={name: self.qpos[:, index.qpos.start].copy() for name, index in self.parts.items()},
            velocities={name: self.qvel[:, index.qvel][:, :3] for name, index in self.objects.items()},
            orientation=chain.orientation,
            angular_velocity=twist[:, 3:],
            response=self._arm.response,
        )

    def _opening(self, fingers: Floats) -> Floats:
        """By how much finger joints at (N, F) open the hand, per finger [m], (N, 1); or how fast, for velocities."""
        return fingers @ np.array(self._arm.grip.opens)[:, None]

    def observe(self) -> Observed:
        """Proprioception, full state and achieved goal of all simulations."""
        world = self.world()
        closing = self._opening(self.qvel[:, self.index.finger_qvel])
        parts = [world.tool, world.tool_velocity, world.opening, closing]
        if self._task.turns:
            parts += [world.orientation.reshape(-1, 9)[:, COLUMNS], world.angular_velocity]
        if self._joints_shown:
            parts += [self.qpos[:, self.index.qpos], self.qvel[:, self.index.qvel]]
        own = sum(part.shape[1] for part in parts)
        for name, index in self.objects.items():
            position, velocity = world.objects[name], self.qvel[:, index.qvel]
            rotation = self._xmat[:, index.body].reshape(-1, 9)[:, COLUMNS]
            parts += [position, position - world.tool, velocity[:, :3], rotation, velocity[:, 3:]]
        for name, index in self.parts.items():
            handle = world.objects[name]
            parts += [handle, handle - world.tool, self.qpos[:, index.qpos], self.qvel[:, index.qvel]]
        state = np.concatenate(parts, axis=1).astype(np.float32)
        return Observed(state[:, :own], state, self._task.achieved(world).astype(np.float32))

    def state_layout(self) -> dict[str, slice]:
        """Which entries of the state hold what: metres, m/s, radians, rad/s, and rotation columns."""
        joints = len(self._arm.joints)
        sizes = {"tool": 3, "tool_velocity": 3, "opening": 1, "opening_velocity": 1}
        if self._task.turns:
            sizes |= {"tool_rotation": 6, "tool_angular_velocity": 3}
        if self._joints_shown:
            sizes |= {"joints": joints, "joint_velocities": joints}
        for name in self.objects:
            sizes |= {name: 3, f"{name}_from_tool": 3, f"{name}_velocity": 3}
            sizes |= {f"{name}_rotation": 6, f"{name}_angular_velocity": 3}
        for name in self.parts:
            sizes |= {name: 3, f"{name}_from_tool": 3, f"{name}_joint": 1, f"{name}_joint_velocity": 1}
        ends = np.cumsum(list(sizes.values()))
        return {name: slice(int(end) - size, int(end)) for (name, size), end in zip(sizes.items(), ends, strict=True)}

    def feel(self, ids: NDArray[np.int64] | slice = slice(None)) -> None:
        """Take down what simulations `ids` touch, while the batch still says it: any look at another state changes it.

        Sensors of contact say what was before the last substep, or, after all stages of `forward`, what is now.
        """
        for column, (touch, sensed) in enumerate(zip(self._touches, self._sensed, strict=True)):
            self.felt[ids, column] = touch.felt(sensed[ids])

    def touched(self) -> dict[str, NDArray[np.bool_]]:
        """Whether the arm touches each of the task's things, (N,) each."""
        felt = zip(self._touches, self.felt.T, strict=True)
        return {touch.thing: one.copy() for touch, one in felt if not isinstance(touch, Grasp)}

    def grasped(self) -> NDArray[np.bool_]:
        """Whether the hand holds what the task wants grasped, (N,); true where that is nothing."""
        for touch, felt in zip(self._touches, self.felt.T, strict=True):
            if isinstance(touch, Grasp):
                return felt.copy()
        return np.ones(len(self.qpos), bool)

"""Putting simulations at rest where a task wants everything to stand: the arm by inverse kinematics."""

from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

from goalsight.envs.arms.catalogue import Arm
from goalsight.envs.simulation.actuators import ActuatorMemory
from goalsight.envs.simulation.batch import GuardedBatch
from goalsight.envs.simulation.control import DOWN, reach_for
from goalsight.envs.simulation.state import StateReader
from goalsight.envs.tasks import Placement, Task
from goalsight.envs.tasks.shared.world import distance
from goalsight.envs.variation import Variation

IK_STEPS = 12  # of inverse kinematics from the home pose to a start or goal pose
IK_DAMPING = 0.01
IK_TOLERANCE = 0.005  # a pose that inverse kinematics misses by more counts as out of reach [m]
STAGE_POS = mujoco.mjtStage.mjSTAGE_POS

Ids = NDArray[np.int64]
Floats = NDArray[np.floating[Any]]


class Placer:
    """Writes to the state of a batch."""

    def __init__(
        self, batch: GuardedBatch, reader: StateReader, arm: Arm, task: Task, variation: Variation | None
    ) -> None:
        """Find everything once.

        Args:
            batch: what is written to.
            reader: of its state.
            arm: the arm in it.
            task: what is asked of it.
            variation: what varies in it, if anything does.
        """
        self._batch, self._reader, self._arm, self._task, self._variation = batch, reader, arm, task, variation
        self._index = reader.index
        self._joint_low, self._joint_high = batch.model.jnt_range[self._index.joints].T
        self._qpos, self._ctrl = reader.qpos, batch.bind("ctrl")
        self._act, self._history = batch.bind("act"), batch.bind("history")
        self._memory = ActuatorMemory.of(batch.model)

    def place(self, ids: Ids, placement: Placement, closing: bool) -> NDArray[np.bool_]:
        """Set simulations `ids` to rest as they shall stand; returns who could reach, (n,).

        With `closing`, an open hand is told to close, and holds what lies in it once physics runs.
        """
        self._batch.reset(ids, stage=mujoco.mjtStage.mjSTAGE_NONE)
        self._put_things(ids, placement)
        self._set_fingers(ids, closing)
        reached = self._reach(ids, placement, closing)
        self._memory.settle(self._ctrl, self._act, self._history, ids)
        return reached

    def _put_things(self, ids: Ids, placement: Placement) -> None:
        for name, index in self._reader.objects.items():
            half, places = 0.5 * placement.yaw[name], placement.objects[name]
            if self._variation is not None:
                places = self._variation.lowered(ids, places, placement.tool)
            self._qpos[ids, index.qpos.start : index.qpos.start + 3] = places
            zero = np.zeros_like(half)
            quaternion = np.stack([np.cos(half), zero, zero, np.sin(half)], axis=1)
            self._qpos[ids, index.qpos.start + 3 : index.qpos.stop] = quaternion
        for name, index in self._reader.parts.items():
            self._qpos[ids, index.qpos.start] = placement.joints[name]

    def _set_fingers(self, ids: Ids, closing: bool) -> None:
        grip, opened = self._arm.grip, self._task.uses_gripper
        around = grip.around if closing and grip.around is not None else grip.open
        self._qpos[ids[:, None], self._index.finger_qpos] = around if opened else grip.closed
        told = grip.told_open if opened and not closing else grip.told_closed
        self._ctrl[ids[:, None], self._index.gripper_ctrl] = told

    def _reach(self, ids: Ids, placement: Placement, closing: bool) -> NDArray[np.bool_]:
        """Bring the tools where they shall be, from home; returns who got there, (n,)."""
        rows = ids[:, None]
        self._qpos[rows, self._index.qpos] = self._arm.home
        orientation = DOWN if placement.orientation is None else placement.orientation
        held_at = np.array(self._arm.grip.holds_at) if closing and self._task.uses_gripper else np.zeros(3)
        for _ in range(IK_STEPS):
            self._batch.forward(ids, stage=STAGE_POS)
            chain = self._reader.chain(ids)
            pose = reach_for(chain, placement.tool - chain.orientation @ held_at, orientation, IK_DAMPING)
            pose = np.clip(pose, self._joint_low, self._joint_high)
            self._qpos[rows, self._index.qpos] = pose
        self._ctrl[rows, self._index.ctrl] = pose
        self._batch.forward(ids, stage=STAGE_POS)
        chain = self._reader.chain(ids)
        return distance(chain.tool + chain.orientation @ held_at, placement.tool) < IK_TOLERANCE

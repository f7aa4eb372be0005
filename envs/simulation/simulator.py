"""The one stepping code: N goal-conditioned simulations of an arm, a task and a table.

`GoalVectorEnv` adds autoreset to it and `GoalEnv` takes its only row, so the two agree bit for bit.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

import mujoco
import numpy as np
from mujoco.batch import SimulationError
from numpy.typing import NDArray

from goalsight.base.errors import UserError, choose
from goalsight.base.memory import check_memory
from goalsight.envs.arms.catalogue import Arm
from goalsight.envs.arms.files import find_arm
from goalsight.envs.simulation.aids import GOAL_MARKERS, Markers, aids_of, marked_places
from goalsight.envs.simulation.batch import GuardedBatch
from goalsight.envs.simulation.control import CONTROLS, DOWN, JointControl
from goalsight.envs.simulation.placing import STAGE_POS, Placer
from goalsight.envs.simulation.scene import Grasp, Touch, compose
from goalsight.envs.simulation.state import StateReader
from goalsight.envs.tasks import TASKS, Layout, Task
from goalsight.envs.variation import Cast, Factor, Variation, at_work, factors_of

SUBSTEPS = 10  # physics steps per control step: 4 ms each, so control runs at 25 Hz
MOST_ENVS = 65_536
AT_REST = 0.1  # what moves faster after that has not come to rest, but falls [m/s]
MAX_DRAWS = 1000  # attempts at a valid layout before the task itself is to blame
MAX_LAYOUTS = 200  # valid layouts tried in physics, before task and arm are to blame
MAX_TRIES = 20  # likewise at a goal that was asked for; what it leaves open is drawn each time
BAD_STATE = [int(w) for w in (mujoco.mjtWarning.mjWARN_BADQPOS, mujoco.mjtWarning.mjWARN_BADQVEL)]
BAD_STATE += [int(w) for w in (mujoco.mjtWarning.mjWARN_BADQACC, mujoco.mjtWarning.mjWARN_BADCTRL)]

Ids = NDArray[np.int64]
Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class SimulatorSnapshot:
    """All from which N simulations go on; a copy."""

    state: Floats  # (N, S), the integration state
    goal_state: Floats  # (N, S)
    desired: NDArray[np.float32]  # (N, G)
    felt: NDArray[np.bool_]  # what was touched, (N, T)
    rngs: tuple[list[np.random.Generator | None], ...]  # of starts and goals, and of variation
    variation: dict[str, NDArray[Any]]  # what was drawn


def simulation_bytes(model: mujoco.MjModel) -> int:
    """Memory that a simulation of a batch takes, about [bytes]: what a `MjData` holds beside its stack."""
    return int(mujoco.MjData(model).nbuffer)


def _make_batch(model: mujoco.MjModel, num_envs: int, num_threads: int) -> GuardedBatch:
    """The simulations, with what cameras read kept current.

    Raises:
        UserError: they are more than memory holds, or than anyone would wait for.
    """
    check_memory(f"a batch of {num_envs:,}", num_envs * simulation_bytes(model), "take fewer")
    if num_envs > MOST_ENVS:  # their first reset would take longer than anyone waits
        raise UserError(f"num_envs must be at most {MOST_ENVS:,} in a process, got {num_envs:,}")
    batch = GuardedBatch(model, num_envs, min(num_threads, num_envs) if num_threads else 0)
    for name in ("geom_xpos", "geom_xmat", "cam_xpos", "cam_xmat", "light_xpos", "light_xdir"):
        batch.bind(name)
    return batch


class GoalSimulator:
    """N simulations of one task with one arm: seeded layouts, control, observation, goal states."""

    def __init__(
        self,
        task: str | Task,
        arm: str | Arm = "panda",
        num_envs: int = 1,
        *,
        control: str = "ee",
        num_threads: int = 0,
        training_starts: bool = False,
        vary: str | Factor | Sequence[str | Factor] = (),
        aids: str | Sequence[str] = (),
    ) -> None:
        """Compile the scene and make the batch; `reset` must follow. Arguments as in `GoalVectorEnv`."""
        if num_envs < 1:
            raise UserError(f"num_envs must be at least 1, got {num_envs}")
        whole_task = TASKS[choose("task", task, TASKS)] if isinstance(task, str) else task
        self.arm = find_arm(arm)
        self.task = whole_task.within(self.arm.reach, len(self.arm.home))
        self.control = CONTROLS[choose("control mode", control, CONTROLS)].within(self.task.workspace, self.task.turns)
        self.arm_actions = self.control.arm_size(len(self.arm.joints))
        self.action_size = self.arm_actions + self.task.uses_gripper
        self.num_envs = num_envs
        self.training_starts = training_starts
        self.aids = aids_of(aids)
        factors = factors_of(vary)
        markers = Markers.of(self.task) if GOAL_MARKERS in self.aids else Markers(0)
        touches = [Touch(self.arm, thing.name) for thing in self.task.objects]
        touches += [Grasp(self.arm, self.task.grasped)] if self.task.grasped else []
        self.model = compose(self.arm, self.task, (*factors, markers, *touches))
        self.batch = _make_batch(self.model, num_envs, num_threads)
        shows_joints = isinstance(self.control, JointControl)
        self.reader = StateReader(self.batch, self.model, self.arm, self.task, touches, shows_joints)
        self._index = self.reader.index
        self._joint_low, self._joint_high = self.model.jnt_range[self._index.joints].T
        self._ctrl = self.batch.bind("ctrl")
        self._rngs: list[np.random.Generator | None] = [None] * num_envs
        self._variation_rngs = self._rngs.copy()
        self._goal_state = np.zeros_like(self.batch.state)
        self.desired = np.zeros((num_envs, self.task.goal_size), np.float32)
        self._markers = np.array([self.model.geom(name).id for name in markers.names], np.int64)
        self.variation = self._make_variation(factors) if factors else None
        self._placer = Placer(self.batch, self.reader, self.arm, self.task, self.variation)

    def _make_variation(self, factors: Sequence[Factor]) -> Variation:
        neutral = np.zeros(self.action_size)
        neutral[self.arm_actions :] = 1.0  # the hand stays open
        layout = self.reader.state_layout()
        speeds = np.zeros(max(part.stop for part in layout.values()), bool)
        for name, part in layout.items():
            speeds[part] = name.endswith(("velocity", "velocities"))
        cast = Cast.of(self.arm, self.task, self.model)
        return Variation(at_work(factors, cast), self.batch, cast, neutral, speeds)

    def expert_action(self) -> NDArray[np.float32]:
        """Actions of the task's scripted expert, shape (N, A)."""
        move, gripper = self.task.expert(self.reader.world(), self.desired.astype(np.float64))
        turn = move[:, 3:] if self.task.turns else None
        arm = self.control.toward(self.reader.chain(), move[:, :3], turn)
        action = np.concatenate([arm, gripper], axis=1)[:, : self.action_size]
        return np.clip(action, -1, 1).astype(np.float32)

    # --- stepping -----------------------------------------------------------------------------------------------

    def check_actions(self, actions: Any) -> NDArray[np.float64]:
        """Actions as float64 within [-1, 1].

        Raises:
            UserError: a wrong shape, or a number that is not finite.
        """
        actions = np.asarray(actions, dtype=np.float64)
        if actions.shape != (self.num_envs, self.action_size):
            raise UserError(f"actions must have shape {(self.num_envs, self.action_size)}, got {actions.shape}")
        if not np.isfinite(actions).all():
            bad = np.flatnonzero(~np.isfinite(actions).all(axis=1))
            raise UserError(f"actions must be finite; those of environments {bad[:5].tolist()} are not")
        return np.clip(actions, -1.0, 1.0)

    def step(self, actions: Any) -> NDArray[np.bool_]:
        """Apply actions (N, A) for one control step; returns which simulations diverged, bool (N,)."""
        actions = self.check_actions(actions)
        if self.variation is not None:
            actions = self.variation.late(actions)
        chain = self.reader.chain()
        targets = self.control.targets(chain, actions[:, : self.arm_actions], DOWN)
        self._ctrl[:, self._index.ctrl] = np.clip(targets, self._joint_low, self._joint_high)
        if self.task.uses_gripper:
            closed, opened = np.array(self.arm.grip.told_closed), np.array(self.arm.grip.told_open)
            self._ctrl[:, self._index.gripper_ctrl] = closed + (opened - closed) * 0.5 * (1 + actions[:, -1:])
        diverged = np.zeros(self.num_envs, bool)
        try:
            self.batch.step(nstep=SUBSTEPS, stage=STAGE_POS)
        except SimulationError as error:
            diverged[error.ids] = True
        self.reader.feel()
        finite = np.isfinite(self.reader.qpos).all(axis=1) & np.isfinite(self.reader.qvel).all(axis=1)
        return diverged | ~finite | (self.batch.warning[:, BAD_STATE, 1] > 0).any(axis=1)

    # --- starts and goals ---------------------------------------------------------------------------------------

    def seed(self, ids: Ids, seeds: Sequence[int | None]) -> None:
        """Give simulations `ids` generators of their own; None keeps the one there is."""
        for i, seed in zip(ids, seeds, strict=True):
            if seed is not None or self._rngs[i] is None:
                self._rngs[i] = rng = np.random.default_rng(seed)
                self._variation_rngs[i] = rng.spawn(1)[0]

    def reset(self, ids: Ids, goals: Floats | None = None) -> None:
        """Draw new layouts for simulations `ids`, realise their goal states, and put them at their starts.

        Args:
            ids: which, (n,).
            goals: what they shall achieve, (n, G); None draws it.

        Raises:
            UserError: the task's regions hold no layout that is valid, within reach and stable, or a given goal
                cannot be achieved.
        """
        if self.variation is not None:
            self.variation.draw(ids, [rng for i in ids if (rng := self._variation_rngs[i]) is not None])
        pending, attempts, drawn = np.arange(len(ids)), 0, 0
        most = MAX_LAYOUTS if goals is None else MAX_TRIES
        while len(pending):
            now, wanted = ids[pending], None if goals is None else goals[pending]
            hopeless = goals is None and drawn >= most and len(pending) == len(ids)  # a large batch tells at once
            if hopeless or attempts >= most:
                raise self._no_layout(f"in {most} draws of its regions, no start and goal", wanted)
            attempts, drawn = attempts + 1, drawn + len(pending)
            layout = self._draw(now, wanted)
            good = self._realise_goal(now, layout)
            good &= self._realise_start(now, layout)
            pending = pending[~good]
        self._feel(ids)

    def _feel(self, ids: Ids) -> None:
        """Take down what simulations `ids` touch as they stand, and leave them as they are."""
        if self.reader.felt.size:
            before = self.batch.state[ids]
            self.batch.forward(ids)  # contact is told by the last of its stages, which writes to the state
            self.reader.feel(ids)
            self.batch.state[ids] = before
            self.batch.forward(ids, stage=STAGE_POS)

    def _no_layout(self, tried: str, goals: Floats | None) -> UserError:
        """What to say when nothing works out, be it for goals (n, G) that were asked for or for random ones."""
        if goals is None:
            what = f'{tried} that arm "{self.arm.name}" reaches and that come to rest'
        else:
            goal = [round(float(number), 4) for number in goals[0]]
            what = f"goal {goal} is out of reach, does not come to rest, or is no goal of this task"
        return UserError(f'task "{self.task.name}": {what}')

    def _draw(self, ids: Ids, goals: Floats | None) -> Layout:
        """Layouts that the task calls valid, from each simulation's own generator."""
        u = np.empty((len(ids), self.task.numbers))
        todo = np.arange(len(ids))
        for _ in range(MAX_DRAWS):
            # The only loop over environments: each has its own stream, whatever the batch around it.
            for row in todo:
                rng = self._rngs[ids[row]]
                assert rng is not None
                u[row] = rng.random(self.task.numbers)
            layout = self.task.lay_out(u, self.training_starts)
            layout = layout if goals is None else replace(layout, goal=goals)
            todo = np.flatnonzero(~self.task.valid(layout, self.task.achieved(layout.start.world())))
            if not len(todo):
                return layout
        unlucky = None if goals is None else goals[todo]
        raise self._no_layout(f"in {MAX_DRAWS} draws of its regions, no valid start and goal", unlucky)

    def _realise_goal(self, ids: Ids, layout: Layout) -> NDArray[np.bool_]:
        """Put simulations into their goal states, let them come to rest, and keep those states.

        What the settled state achieves becomes the desired goal, so every goal is achievable, and its image exact.
        """
        placement = self.task.goal_placement(layout)
        reached = self._placer.place(ids, placement, closing=True) & self.control.reaches(placement.tool)
        wanted = layout.goal
        if self.variation is not None and self.variation.settles:
            wanted = self.task.achieved(self.reader.world())[ids]  # smaller things stand a little off
        self._settle(ids[reached])
        world = self.reader.world()
        settled = self.task.achieved(world)[ids]
        self._goal_state[ids] = self.batch.state[ids]
        self.desired[ids] = settled
        self._mark(ids)
        still = np.ones(len(ids), bool)
        for velocity in world.velocities.values():
            still &= np.linalg.norm(velocity[ids], axis=1) < AT_REST
        return reached & still & (self.task.error(settled, wanted) < self.task.settled)

    def _settle(self, ids: Ids) -> None:
        """Let simulations come to rest, if there are any; not those whose arms, out of reach, may be in the table."""
        if len(ids):
            self.batch.step(ids, nstep=self.task.settle_steps, stage=STAGE_POS)

    def _mark(self, ids: Ids) -> None:
        """Put the markers of simulations `ids` where their goals are."""
        if len(self._markers):
            places = marked_places(self.task, self.desired[ids].astype(np.float64))
            self.batch.expand("geom_pos")[np.ix_(ids, self._markers)] = places

    def _realise_start(self, ids: Ids, layout: Layout) -> NDArray[np.bool_]:
        reached = self._placer.place(ids, layout.start, closing=False)
        if self.variation is not None and self.variation.settles:
            self._settle(ids[reached])
        start = self.task.achieved(self.reader.world())[ids]
        return reached & ~self.task.success(start.astype(np.float32), self.desired[ids])

    @contextmanager
    def show_goal(self, ids: Ids) -> Iterator[None]:
        """A context in which simulations `ids` are in their goal states."""
        before = self.batch.state[ids]
        try:
            self.batch.state[ids] = self._goal_state[ids]
            self.batch.forward(ids, stage=STAGE_POS)
            yield
        finally:
            self.batch.state[ids] = before
            self.batch.forward(ids, stage=STAGE_POS)

    def snapshot(self) -> SimulatorSnapshot:
        """A copy of all from which the simulations go on."""
        goals = self._goal_state.copy(), self.desired.copy()
        rngs = deepcopy((self._rngs, self._variation_rngs))
        drawn = self.variation.snapshot() if self.variation is not None else {}
        return SimulatorSnapshot(self.batch.state.copy(), *goals, self.reader.felt.copy(), rngs, drawn)

    def restore(self, snapshot: SimulatorSnapshot) -> None:
        """Go back to a snapshot; what follows is the same to the bit."""
        self.batch.state[:] = snapshot.state
        self._goal_state[:] = snapshot.goal_state
        self.desired[:] = snapshot.desired
        self.reader.felt[:] = snapshot.felt
        self._rngs, self._variation_rngs = deepcopy(snapshot.rngs)
        if self.variation is not None:
            self.variation.restore(snapshot.variation)
        self._mark(np.arange(self.num_envs))
        self.batch.forward(stage=STAGE_POS)

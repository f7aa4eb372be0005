"""What every arm must do: hold still, move, grip and let go, and stay within its limits."""

from dataclasses import replace

import mujoco
import numpy as np
import pytest
from numpy.typing import NDArray

from goalsight.base.errors import UserError
from goalsight.envs.arms.catalogue import ARMS, Arm
from goalsight.envs.simulation.scene import ArmIndex, camera_name, compose
from goalsight.envs.simulation.simulator import GoalSimulator
from goalsight.envs.tasks import TASKS
from goalsight.envs.tasks.pick_place import CUBE


@pytest.fixture(scope="module", params=ARMS.values(), ids=ARMS)
def arm(request: pytest.FixtureRequest) -> Arm:
    return request.param


@pytest.fixture(scope="module")
def workbench(arm: Arm) -> mujoco.MjModel:
    """The arm at the table with a cube of 5 cm and 0.1 kg."""
    return compose(arm, TASKS["pick_place"])


@pytest.fixture
def index(arm: Arm, workbench: mujoco.MjModel) -> ArmIndex:
    return ArmIndex.of(arm, workbench)


@pytest.fixture
def data(arm: Arm, workbench: mujoco.MjModel, index: ArmIndex) -> mujoco.MjData:
    """At home with the hand open."""
    data = mujoco.MjData(workbench)
    data.qpos[index.qpos] = data.ctrl[index.ctrl] = arm.home
    data.qpos[index.finger_qpos], data.ctrl[index.gripper_ctrl] = arm.grip.open, arm.grip.told_open
    mujoco.mj_forward(workbench, data)
    return data


def fingers(data: mujoco.MjData, index: ArmIndex) -> NDArray[np.float64]:
    return data.qpos[index.finger_qpos].copy()


def test_home_points_straight_down_over_the_workspace(data: mujoco.MjData, index: ArmIndex) -> None:
    tool = data.site(index.tool)
    np.testing.assert_allclose(tool.xmat.reshape(3, 3)[:, 2], [0, 0, -1], atol=1e-6)
    assert 0.1 < tool.xpos[2] < 0.25
    np.testing.assert_allclose(tool.xpos[:2], [0.45, 0], atol=1e-6)


def test_few_enough_shapes_to_draw_fast(workbench: mujoco.MjModel) -> None:
    assert workbench.ngeom <= 45
    assert workbench.nmesh == 0


def test_what_actuators_may_be_told_is_what_joints_may_do(workbench: mujoco.MjModel, index: ArmIndex) -> None:
    np.testing.assert_allclose(workbench.actuator_ctrlrange[index.ctrl], workbench.jnt_range[index.joints])


def test_holds_still_at_home(workbench: mujoco.MjModel, data: mujoco.MjData, index: ArmIndex) -> None:
    before = data.site(index.tool).xpos.copy()
    mujoco.mj_step(workbench, data, 250)
    np.testing.assert_allclose(data.site(index.tool).xpos, before, atol=1e-6)


def test_reaches_a_small_step_within_two_tenths_of_a_second(
    arm: Arm, workbench: mujoco.MjModel, data: mujoco.MjData, index: ArmIndex
) -> None:
    target = np.array(arm.home) - 0.05
    data.ctrl[index.ctrl] = target
    mujoco.mj_step(workbench, data, 50)
    np.testing.assert_allclose(data.qpos[index.qpos], target, atol=0.05 * 0.08)


def test_fingers_go_where_they_are_told_together(
    arm: Arm, workbench: mujoco.MjModel, data: mujoco.MjData, index: ArmIndex
) -> None:
    closed, opened = arm.grip.told_closed[0], arm.grip.told_open[0]
    for share in (0.0, 1.0, 0.4):
        target = closed + share * (opened - closed)
        data.ctrl[index.gripper_ctrl] = target
        mujoco.mj_step(workbench, data, 125)
        np.testing.assert_allclose(fingers(data, index), target, atol=0.0125 * (opened - closed))


def test_holds_a_cube_by_friction_and_lets_it_go(
    arm: Arm, workbench: mujoco.MjModel, data: mujoco.MjData, index: ArmIndex
) -> None:
    cube = data.joint("cube")
    height = data.site(index.tool).xpos[2]
    cube.qpos[:3] = data.site(index.tool).xpos
    data.ctrl[index.gripper_ctrl] = arm.grip.told_closed
    for _ in range(125):  # kept at its height until it is gripped
        cube.qpos[2], cube.qvel[2] = height, 0.0
        mujoco.mj_step(workbench, data)
    gripped = data.body("cube").xpos.copy()
    mujoco.mj_step(workbench, data, 750)
    np.testing.assert_allclose(data.body("cube").xpos, gripped, atol=1e-3)  # within 1 mm after 3 s
    data.ctrl[index.gripper_ctrl] = arm.grip.told_open
    mujoco.mj_step(workbench, data, 250)
    assert data.body("cube").xpos[2] == pytest.approx(CUBE.half, abs=2e-3)
    assert not data.warning.number.any()


def test_passes_through_itself_but_not_through_the_cube(arm: Arm, workbench: mujoco.MjModel) -> None:
    own = [i for i in range(workbench.ngeom) if workbench.geom(i).name.startswith(arm.prefix)]
    assert not (workbench.geom_contype[own] & 1).any()  # so that no two of its shapes meet
    solid = {workbench.geom(i).name.removeprefix(arm.prefix) for i in own if workbench.geom_conaffinity[i]}
    assert {"hand_body", "left_pad", "right_pad"} <= solid


def test_wrist_camera_sees_the_fingertips(arm: Arm, workbench: mujoco.MjModel, data: mujoco.MjData) -> None:
    camera = data.camera(camera_name(arm, workbench, "wrist"))
    edge = np.tan(np.radians(workbench.camera(camera.name).fovy[0]) / 2)
    for pad in ("left_pad", "right_pad"):
        x, y, z = camera.xmat.reshape(3, 3).T @ (data.geom(arm.prefix + pad).xpos - camera.xpos)
        assert z < 0
        assert max(abs(x), abs(y)) / -z < edge


@pytest.mark.parametrize("control", ["ee", "joint"])
def test_no_joint_turns_faster_than_it_may(arm: Arm, control: str) -> None:
    sim = GoalSimulator("reach", arm, 32, control=control)
    sim.seed(np.arange(32), list(range(32)))
    sim.reset(np.arange(32))
    rng, speeds = np.random.default_rng(0), []
    for _ in range(50):
        sim.step(np.sign(rng.uniform(-1, 1, (32, sim.action_size))))
        speeds.append(np.abs(sim.reader.qvel[:, sim.reader.index.qvel]) / arm.max_speeds)
    if control == "ee":
        assert 0.6 < np.max(speeds) <= 1
    else:  # it may hit the table, which throws it back
        assert np.mean(np.array(speeds) > 1) < 1e-3


def test_a_servo_at_full_force_gets_no_joint_past_its_limit(arm: Arm) -> None:
    spec = arm.load()
    for body in spec.bodies[1:]:
        body.gravcomp = 1.0
    model = spec.compile()
    for i, speed in enumerate(arm.max_speeds):
        data, joint = mujoco.MjData(model), model.joint(arm.joints[i])
        force = model.actuator((arm.actuators or arm.joints)[i]).forcerange[1]
        resisted = model.dof_damping[joint.dofadr[0]] * speed + model.dof_dampingpoly[joint.dofadr[0], 1] * speed**3
        assert resisted >= 2 * force * (1 - 1e-9), "at the limit damping outdoes the servo"
        data.qvel[joint.dofadr] = 0.5 * speed
        mujoco.mj_forward(model, data)
        assert -data.qfrc_damper[joint.dofadr[0]] < 0.7 * force, "and at half of it the servo has force to spare"


def test_speed_limits_are_one_or_one_each(arm: Arm) -> None:
    with pytest.raises(UserError, match=rf"max_speed needs one number, or one for each of {len(arm.joints)} joints"):
        replace(arm, max_speed=(1.0,) * (len(arm.joints) + 1)).load()

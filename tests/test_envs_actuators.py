"""Arms whose actuators have a state: at rest they stay, snapshots hold it, and what does not settle is refused."""

from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import pytest

from goalsight.base.errors import UserError
from goalsight.envs.arms.catalogue import PANDA
from goalsight.envs.arms.files import load_arm
from goalsight.envs.arms.mjcf import load_asset
from goalsight.envs.simulation.actuators import ActuatorMemory
from goalsight.envs.simulation.scene import ArmIndex, compose
from goalsight.envs.tasks import TASKS
from goalsight.envs.vector import GoalVectorEnv

SAID = """
mjcf = "arm.xml"
start = [0, -0.09, 0, -2.54, 0, 2.45, -0.79]

[tool]
site = "tool"

[gripper]
actuators = "gripper"
closed = 0
open = 0.04
width = 0.08
"""
SERVO = """
[servo]
stiffness = 4500
damping = 350
"""
Attributes = dict[str, Any]
INTEGRATOR, FILTER, EXACT = mujoco.mjtDyn.mjDYN_INTEGRATOR, mujoco.mjtDyn.mjDYN_FILTER, mujoco.mjtDyn.mjDYN_FILTEREXACT
ZERO_ORDER, LINEAR, CUBIC = 0, 1, 2  # how delayed commands are interpolated
STATEFUL: dict[str, Attributes] = {
    "exact filter": {"dyntype": EXACT, "dynprm": 0.05},
    "filter": {"dyntype": FILTER, "dynprm": 0.05},
    "early filter": {"dyntype": FILTER, "dynprm": 0.05, "actearly": True},
    "limited": {"dyntype": FILTER, "dynprm": 0.05, "actlimited": True, "actrange": [-3.2, 3.8]},
    "delay": {"delay": 0.04, "nsample": 10, "interp": ZERO_ORDER},
    "long delay": {"delay": 0.1, "nsample": 4, "interp": LINEAR},
    "both": {"delay": 0.02, "nsample": 8, "interp": CUBIC, "dyntype": EXACT, "dynprm": 0.03},
}
GRIPPER: Attributes = {"dyntype": EXACT, "dynprm": 0.1, "delay": 0.02, "nsample": 5}


def written(folder: Path, arm: Attributes | None = None, gripper: Attributes | None = None, said: str = SAID) -> str:
    """Write the built-in Panda as a user's file, with other attributes of its actuators; return the path."""
    spec = load_asset(PANDA.mjcf)
    for actuator in spec.actuators:
        for name, value in ((gripper if actuator.name == "gripper" else arm) or {}).items():
            setattr(actuator, name, [value] + [0.0] * 9 if name == "dynprm" else value)
        if actuator.name != "gripper":  # what MuJoCo grants to position actuators only
            actuator.inheritrange, actuator.ctrlrange = 0.0, spec.joint(actuator.target).range
    spec.compile()
    (folder / "arm.xml").write_text(spec.to_xml())
    (folder / "arm.toml").write_text(said)
    return str(folder / "arm.toml")


def drift(arm: str, task: str) -> np.ndarray:
    """How far tools move in a second after a reset, without a command, (16,) [m]."""
    env = GoalVectorEnv(task, arm, 16)
    env.reset(seed=0)
    start = env.sim.reader.world().tool.copy()
    actions = np.zeros((16, env.sim.action_size))
    actions[:, env.sim.arm_actions :] = 1.0  # the hand stays open
    farthest = np.zeros(16)
    for _ in range(25):
        env.step(actions)
        farthest = np.maximum(farthest, np.linalg.norm(env.sim.reader.world().tool - start, axis=1))
    env.close()
    return farthest


@pytest.mark.parametrize("kind", STATEFUL)
def test_without_a_command_the_tool_stays_where_it_was_put(tmp_path: Path, kind: str) -> None:
    stateful = drift(written(tmp_path, STATEFUL[kind], GRIPPER), "pick_place")
    (tmp_path / "plain").mkdir()
    plain = drift(written(tmp_path / "plain"), "pick_place")
    np.testing.assert_allclose(stateful, plain, atol=2e-4)  # 0.2 mm
    assert stateful.max() < 1e-3


@pytest.mark.parametrize("kind", STATEFUL)
def test_actuators_start_as_if_they_had_long_been_told_what_they_are_told(tmp_path: Path, kind: str) -> None:
    env = GoalVectorEnv("pick_place", written(tmp_path, STATEFUL[kind], GRIPPER), 3)
    env.reset(seed=1)
    model, index = env.model, ArmIndex.of(env.arm, env.model)
    told = env.batch.ctrl
    np.testing.assert_allclose(told[:, index.ctrl], env.batch.qpos[:, index.qpos], atol=1e-3)
    np.testing.assert_array_equal(told[:, index.gripper_ctrl], 0.04)  # open at the start
    for i in range(model.nactuator):
        if model.actuator_actadr[i] >= 0:
            np.testing.assert_array_equal(env.batch.act[:, model.actuator_actadr[i]], told[:, i])
        if model.actuator_historyadr[i] >= 0:
            data = env.batch.get_data(2)
            for ago in (0.0, 0.01, 1.0):
                read = np.zeros(1)
                found = mujoco.mj_readCtrl(model, data, i, data.time - ago, read, -1)
                np.testing.assert_allclose(read if found is None else found, told[2, i], atol=1e-12)
    with env.sim.show_goal(np.arange(3)):  # closed on the cube
        np.testing.assert_array_equal(env.batch.ctrl[:, index.gripper_ctrl], 0.0)
        np.testing.assert_array_equal(env.batch.act[:, model.actuator_actadr[index.gripper_ctrl]], 0.0)
    env.close()


def test_activations_settle_within_what_may_be_told_and_what_they_may_be() -> None:
    model = mujoco.MjModel.from_xml_string("""
        <mujoco><worldbody><body><joint name="j"/><geom size="0.1"/></body></worldbody><actuator>
          <pid name="two" joint="j" kp="1" kv="1"/>
          <general joint="j" dyntype="filter" ctrlrange="-1 1" ctrllimited="true"/>
          <general joint="j" dyntype="filterexact" actrange="-0.5 0.5" actlimited="true"/>
          <muscle joint="j" lengthrange="0 1"/>
          <general joint="j" dyntype="integrator"/>
          <general joint="j" dyntype="filter" delay="0.01" nsample="2" ctrlrange="-1 1" ctrllimited="true"/>
        </actuator></mujoco>""")
    assert model.nu == model.nactuator + 1  # the first one is told a place and a speed
    ctrl = np.array([[0.1, 0.2, 3.0, 3.0, 3.0, 3.0, 3.0], [0.3, 0.4, -3.0, -3.0, -3.0, -3.0, -3.0]])
    act, history = np.full((2, model.na), 9.0), np.full((2, model.nhistory), 9.0)
    ActuatorMemory.of(model).settle(ctrl, act, history, np.array([1]))
    np.testing.assert_array_equal(act, [[9.0] * 5, [-1.0, -0.5, 0.0, 9.0, -1.0]])
    np.testing.assert_array_equal(history[0], 9.0)
    np.testing.assert_array_equal(history[1], [9.0, 9.0, 9.0, 9.0, -3.0, -3.0])  # a counter, a place, times, commands


@pytest.mark.parametrize("kind", ["both", "delay", "filter"])
def test_a_snapshot_goes_on_to_the_bit(tmp_path: Path, kind: str) -> None:
    env = GoalVectorEnv("push", written(tmp_path, STATEFUL[kind]), 4, max_episode_steps=12)
    rng = np.random.default_rng(0)
    env.reset(seed=0)
    actions = rng.uniform(-1, 1, (20, 4, env.sim.action_size))
    for action in actions[:5]:
        env.step(action)
    snapshot = env.snapshot()

    def go_on(env: GoalVectorEnv) -> list[np.ndarray]:
        """Past the ends of episodes."""
        return [env.step(action)[0]["observation"].copy() for action in actions[5:]]

    first = go_on(env)
    env.restore(snapshot)
    second = go_on(env)
    other = GoalVectorEnv("push", env.arm, 4, max_episode_steps=12)
    other.reset(seed=9)
    other.restore(snapshot)
    third = go_on(other)
    for a, b, c in zip(first, second, third, strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(a, c)
    env.close()
    other.close()


def test_goal_states_hold_and_the_expert_does_its_work(tmp_path: Path) -> None:
    env = GoalVectorEnv("pick_place", written(tmp_path, STATEFUL["both"], GRIPPER), 16)
    env.reset(seed=0)
    achieved = np.zeros(16, bool)
    for _ in range(env.horizon - 1):
        *_, info = env.step(env.expert_action())
        achieved |= info["is_success"]
    assert achieved.mean() >= 0.9
    env.close()


@pytest.mark.parametrize(
    ("arm", "gripper", "says"),
    [
        ({"dyntype": INTEGRATOR}, {}, r'no position servo: .*\(dyntype="integrator"\); a table \[servo\]'),
        ({"dyntype": EXACT, "dynprm": 0.5}, {}, r"follows 0\.5 s late, more than 0\.1 s; a table \[servo\] with"),
        (STATEFUL["both"] | {"dynprm": 0.2}, {}, r"follows 0\.22 s late, more than 0\.1 s; a table \[servo\]"),
        ({}, {"dyntype": INTEGRATOR}, r'actuator "gripper" of \[gripper\] does not settle .* as a \[servo\] is for'),
    ],
)
def test_what_does_not_go_where_it_is_told_is_refused(
    tmp_path: Path, arm: Attributes, gripper: Attributes, says: str
) -> None:
    with pytest.raises(UserError, match=says) as refused:
        load_arm(written(tmp_path, arm, gripper))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "arm",
    [
        {"dyntype": EXACT, "dynprm": 0.5, "actlimited": True, "actrange": [-4, 4]},
        {"delay": 0.4, "nsample": 100},
        {"dyntype": INTEGRATOR, "actlimited": True, "actrange": [-4, 4]},
    ],
)
def test_a_servo_of_the_table_has_no_state(tmp_path: Path, arm: Attributes) -> None:
    path = written(tmp_path, arm, said=SAID + SERVO)
    model = compose(load_arm(path), TASKS["push"])
    assert (model.na, model.nhistory) == (0, 0)
    servo = model.actuator("arm/joint3")
    assert (servo.gainprm[0], servo.biasprm[1], servo.biasprm[2]) == (4500, -4500, -350)
    assert drift(path, "push").max() < 1e-3


@pytest.mark.parametrize(
    ("element", "says"),
    [
        ('intvelocity kp="4500" kv="350" actrange="-4 4"', r'"joint4" is no position servo: .*\[servo\]'),
        ('velocity kv="350"', r'"joint4" has no position actuator; a table \[servo\]'),
        ('pid kp="4500" ki="4500" kv="350"', r'"joint4" has no position actuator; a table \[servo\]'),
        ('muscle lengthrange="-4 4"', r'"joint4" has no position actuator; a table \[servo\]'),
        ('dcmotor motorconst="1" resistance="1" ', r'"joint4" has no position actuator; a table \[servo\]'),
        ('position kp="4500" kv="350" timeconst="0.05"', None),
    ],
)
def test_only_position_servos_will_do(tmp_path: Path, element: str, says: str | None) -> None:
    path = Path(written(tmp_path))
    mjcf = path.with_suffix(".xml")
    line = next(line for line in mjcf.read_text().splitlines() if 'name="joint4" joint="joint4"' in line)
    mjcf.write_text(mjcf.read_text().replace(line, f'<{element} name="joint4" joint="joint4"/>'))
    if says is None:
        assert drift(str(path), "reach").max() < 1e-3
    else:
        with pytest.raises(UserError, match=says):
            load_arm(path)

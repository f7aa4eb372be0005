"""Arms from files: what the user says, what is found out, and what is refused."""

import re
import sysconfig
from dataclasses import replace
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from strange_arm import SAID, SERVO, mjcf, strange_arm

from goalsight.agents.policies import make_policy
from goalsight.agents.rollout import rollout
from goalsight.base.errors import UserError
from goalsight.commands.cli import run
from goalsight.envs.arms.catalogue import ARMS, UR5E
from goalsight.envs.arms.files import find_arm, load_arm
from goalsight.envs.arms.tables import read_table
from goalsight.envs.simulation.control import DOWN
from goalsight.envs.simulation.scene import compose
from goalsight.envs.tasks import TASKS
from goalsight.envs.vector import GoalVectorEnv

OPENARM = Path(sysconfig.get_path("data")) / "share" / "openarm_mujoco" / "v2"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return strange_arm(tmp_path / "robot")


def motors(folder: Path) -> None:
    """Replace the servos by motors of 150 and 28 N m."""
    text = mjcf()
    head, _, tail = text.partition('    <position name="shoulder_pan_motor"')
    grip = tail[tail.index('    <position name="squeeze"') :]
    torques = dict(zip(UR5E.joints, (150, 150, 150, 28, 28, 28), strict=True))
    lines = [f'    <motor name="{j}_motor" joint="{j}" ctrlrange="-{t} {t}"/>\n' for j, t in torques.items()]
    (folder / "arm.xml").write_text(head + "".join(lines) + grip)


def success(arm: str, task: str) -> float:
    env = GoalVectorEnv(task, arm, 25)
    try:
        return float(rollout(env, make_policy("expert", seed=0), episodes=50, seed=0).success.mean())
    finally:
        env.close()


def test_the_same_arm_is_found_out_from_less(folder: Path) -> None:
    arm = load_arm(folder / "arm.toml")
    assert arm.name == "arm"
    assert arm.joints == UR5E.joints
    assert arm.actuators == tuple(f"{joint}_motor" for joint in UR5E.joints)
    np.testing.assert_allclose(arm.home, UR5E.home, atol=0.01)  # the same bend of the elbow, the same place
    assert set(arm.grip.joints) == set(UR5E.grip.joints)
    np.testing.assert_allclose(arm.grip.open, 0.0425, atol=1e-3)
    np.testing.assert_allclose(arm.grip.closed, 0.0, atol=1e-3)
    np.testing.assert_allclose(arm.grip.opens, 0.5, rtol=0.03)  # metres per finger and metre, shared by two joints
    assert arm.grip.around is not None
    np.testing.assert_allclose(arm.grip.around, 0.032, atol=1e-3)


def test_its_experts_do_as_well_as_with_the_built_in_one(folder: Path) -> None:
    assert success(str(folder / "arm.xml"), "pick_place") >= 0.95
    assert success(str(folder / "arm.toml"), "push") >= 0.95


def test_sizes_and_options_of_a_file_give_way_to_the_scenes_without_a_word(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    sizes = '<size njmax="900" nconmax="300" nuserdata="7" nkey="3"/><option timestep="0.001"/>'
    mjcf = folder / "arm.xml"
    mjcf.write_text(re.sub(r"(<mujoco[^>]*>)", rf"\1{sizes}", mjcf.read_text(), count=1))
    env = GoalVectorEnv("push", str(folder / "arm.toml"), num_threads=1)
    plain = GoalVectorEnv("push", "ur5e", num_threads=1)
    assert (env.model.nuserdata, env.model.nkey) == (0, 0)
    assert env.model.opt.timestep == plain.model.opt.timestep
    assert capfd.readouterr().err == ""


def test_motors_need_servos_and_are_as_strong_then(folder: Path) -> None:
    motors(folder)
    with pytest.raises(UserError, match=r'joint "shoulder_pan" has no position actuator; a table \[servo\]'):
        load_arm(folder / "arm.toml")
    (folder / "arm.toml").write_text(SAID + SERVO)
    arm = load_arm(folder / "arm.toml")
    model = compose(arm, TASKS["push"])
    servo = model.actuator("arm/elbow_motor")
    assert (servo.gainprm[0], servo.biasprm[1], servo.biasprm[2]) == (4500, -4500, -180)
    np.testing.assert_allclose(servo.forcerange, [-150, 150])
    assert success(str(folder / "arm.toml"), "push") >= 0.95


def test_a_speed_limit_needs_servos_whose_force_ends(folder: Path) -> None:
    text = mjcf()
    (folder / "arm.xml").write_text(text.replace('forcerange="-28 28"', ""))
    with pytest.raises(UserError, match=r'arm "arm": max_speed needs a forcerange of actuator "wrist_1_motor"'):
        load_arm(folder / "arm.toml")


NAMED = f"joints = {[*UR5E.joints]}".replace("'", '"') + SAID


@pytest.mark.parametrize(
    ("link", "joint"),
    [
        ("base", '<freejoint name="loose"/>'),
        ("base", '<joint name="loose" type="ball" range="0 0"/>'),
        ("hand", '<joint name="loose" type="slide"/>'),
        ("hand", '<joint name="loose" type="hinge"/>'),
    ],
)
def test_a_joint_that_is_neither_named_nor_held_is_refused(folder: Path, link: str, joint: str) -> None:
    text = re.sub(f'(<body name="{link}"[^>]*>)', rf"\1{joint}", mjcf())
    (folder / "arm.xml").write_text(text)
    (folder / "arm.toml").write_text(NAMED)
    with pytest.raises(UserError, match='joint "loose" lies between the base and "tool", but is not among the joints'):
        load_arm(folder / "arm.toml")


def test_a_joint_that_is_held_need_not_be_named(folder: Path) -> None:
    lift = re.sub('(<body name="base"[^>]*>)', r'\1<joint name="lift" type="slide" axis="0 0 1"/>', mjcf())
    held = lift.replace("</mujoco>", '<equality><joint joint1="lift"/></equality></mujoco>')
    (folder / "arm.xml").write_text(held)
    (folder / "arm.toml").write_text(NAMED)
    assert load_arm(folder / "arm.toml").joints == UR5E.joints


def test_a_home_it_cannot_reach_is_one_line(folder: Path) -> None:
    (folder / "arm.toml").write_text(SAID.replace("mount =", "home_at = [3, 0, 0.2]\nmount ="))
    with pytest.raises(UserError, match=r"no pose found with the tool at \(3, 0, 0.2\) m"):
        load_arm(folder / "arm.toml")


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ('body = "hand"', 'site = "tol"', 'no site "tol"'),
        ('body = "hand"', 'body = "hnd"', 'no body "hnd"; did you mean "hand"'),
        ('actuators = "squeeze"', 'actuators = "squeze"', 'no actuator "squeze"; did you mean "squeeze"'),
        ('mjcf = "arm.xml"', 'mjfc = "arm.xml"', 'no entry "mjfc"; did you mean "mjcf"'),
        ('mjcf = "arm.xml"', 'mjcf = "leg.xml"', "leg.xml: No such file"),
        ("width = 0.085", "", r"\[gripper\] does not say: width"),
        ("width = 0.085", "width = true", '"width" must be a number'),
        ("closed = 0", "closed = [0, 0]", "one number closed and open for each actuator"),
        ("open = 0.0425", "open = 0", "the gripper does not move"),
        ("closed = 0\nopen = 0.0425", "closed = 0.0425\nopen = 0", "calls open closes it; exchange open and closed"),
        ("closed = 0\n", "closed = 0.04\n", r"told to close, the gripper stays open by 0\.08 m of 0\.085 m"),
        ("width = 0.085", "width = 0.5", r"width is 0\.5 m, but open fingers are 0\.085 m apart"),
        ("width = 0.085", "width = 0.02", r"width is 0\.02 m, but open fingers are 0\.085 m apart"),
        ("pos = [0, 0, 0.153]", "pos = [0, 0, 0.153]\nquat = [0, 0, 0, 0]", "quat is a rotation"),
        ("pos = [0, 0, 0.153]", "pos = [0, 0, 0.153]\nquat = [1e-9, 0, 0, 0]", "quat is a rotation"),
        (
            "max_speed = 3.1416",
            'joints = ["elbow", "shoulder_pan", "shoulder_lift", "wrist_1", "wrist_2", "wrist_3"]\nmax_speed = 3.1416',
            "from the base to the tool, and lie between: shoulder_pan, shoulder_lift, elbow, wrist_1, wrist_2, wrist_3",
        ),
        ("start = [2.9,", "start = [", "start has 5 numbers"),
        ("max_speed = 3.1416", "max_speed = ", "cannot be read"),
        ("max_speed = 3.1416", "max_speed = [3, 3]", "one for each of 6 joints"),
        ("max_speed = 3.1416", "max_speed = 0", "max_speed must be positive, got"),
        ('mjcf = "arm.xml"', 'mjcf = "../arm.xml"', "lies outside"),
        ("[gripper]", "[servo]\nstiffness = [9, 9]\ndamping = 1\n[gripper]", "one for each of 6 joints"),
        ("[gripper]", "[servo]\nstiffness = -5\ndamping = 1\n[gripper]", r"\[servo\] needs positive stiffness"),
        ("width = 0.085", "width = nan", '"width" must lie in'),
        ("width = 0.085", f"width = {'9' * 400}", '"width" must lie in'),
        ("width = 0.085", "width = 85", r"width must lie in \[0.001, 1.0\] m, got 85"),
        ("width = 0.085", "width = 0.085\nstrength = 1e300", '"strength" must lie in'),
        ("pos = [0, 0, 0.153]", "pos = [0, 0, 153]", "pos, mount, home_at and reach are in metres"),
        ("mount =", "turn_weight = -1\nmount =", "turn_weight must not be negative"),
        ("max_speed = 3.1416", "max_speed = 1e-9", "max_speed must be at least 0.001 rad/s"),
        ("[gripper]", "[servo]\nstiffness = []\ndamping = []\n[gripper]", r"\[servo\] needs stiffness and damping"),
        ('"squeeze"\nclosed = 0\nopen = 0.0425', "[]\nclosed = []\nopen = []", r"\[gripper\] needs actuators"),
        ("pos = [0, ", "pos = [", r"\[tool\] pos is three numbers"),
        ('body = "hand"', 'body = "hand"\nsite = "tool"', r"\[tool\] has a site and a body"),
        ("mount =", "reach = [1, 1, 1, 0, 0, 0]\nmount =", "reach is low x, y, z and then high"),
    ],
)
def test_what_is_missing_or_wrong_is_said_in_one_line(folder: Path, before: str, after: str, says: str) -> None:
    (folder / "arm.toml").write_text(SAID.replace(before, after))
    with pytest.raises(UserError, match=says) as refused:
        load_arm(folder / "arm.toml")
    assert "\n" not in str(refused.value)


def test_an_actuator_that_drives_nothing_is_one_line(folder: Path) -> None:
    text = (folder / "arm.xml").read_text()
    begin, end = text.index("<tendon>"), text.index("</tendon>") + len("</tendon>")
    (folder / "arm.xml").write_text(text[:begin] + text[end:])
    with pytest.raises(UserError, match=r'what the actuator "squeeze" of \[gripper\] drives is not there'):
        load_arm(folder / "arm.toml")


def test_no_file_no_arm(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there is no .*none\.toml"):
        find_arm(str(tmp_path / "none.xml"))
    with pytest.raises(UserError, match='no arm "pandda"; did you mean "panda"'):
        find_arm("pandda")


# --- by name ------------------------------------------------------------------------------------------------------


def test_an_arm_of_menagerie_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mujoco_menagerie")
    monkeypatch.setenv("MENAGERIE_ROOT", str(tmp_path))
    with pytest.raises(UserError, match=r'"menagerie:franka_emika_panda" cannot be had: .* not found'):
        find_arm("menagerie:franka_emika_panda")
    with pytest.raises(UserError, match='no described Menagerie arm "franka_panda"'):
        find_arm("menagerie:franka_panda")
    # A Panda that is named as Menagerie's is, though drawn otherwise.
    panda = resources.files("goalsight.assets").joinpath(ARMS["panda"].mjcf).read_text()
    for number in range(1, 8):
        panda = panda.replace(f'<position name="joint{number}"', f'<position name="actuator{number}"')
    panda = panda.replace('name="gripper"', 'name="actuator8"').replace('name="tool"', 'name="its_tool"')
    (tmp_path / "franka_emika_panda").mkdir()
    (tmp_path / "franka_emika_panda" / "panda.xml").write_text(panda)
    arm = find_arm("menagerie:franka_emika_panda")
    assert arm.name == "menagerie_panda"
    assert arm.joints == ARMS["panda"].joints


def test_descriptions_of_menagerie_are_whole() -> None:
    folder = resources.files("goalsight.assets").joinpath("menagerie")
    with resources.as_file(folder) as files:
        tables = {file.stem: read_table(file) for file in files.glob("*.toml")}
    assert len(tables) >= 16
    assert len({table.name for table in tables.values()}) == len(tables)
    for name, table in tables.items():
        assert table.mjcf.startswith(f"menagerie:{name}/")
        assert table.name.startswith("menagerie_")


def test_a_weak_hand_may_be_made_stronger(folder: Path) -> None:
    own = compose(load_arm(folder / "arm.toml"), TASKS["push"]).actuator("arm/squeeze")
    (folder / "arm.toml").write_text(SAID.replace("width = 0.085", "width = 0.085\nstrength = 4"))
    stronger = compose(load_arm(folder / "arm.toml"), TASKS["push"]).actuator("arm/squeeze")
    np.testing.assert_allclose(stronger.gainprm[0], 4 * own.gainprm[0])
    np.testing.assert_allclose(stronger.biasprm[:3], own.biasprm[:3] * (4, 4, 2))
    (folder / "arm.toml").write_text(SAID.replace("width = 0.085", "width = 0.085\nstrength = 0"))
    with pytest.raises(UserError, match=r"\[gripper\] strength must be positive, got 0"):
        load_arm(folder / "arm.toml")


@pytest.mark.slow
@pytest.mark.skipif(not OPENARM.exists(), reason="openarm-mujoco is not installed")
def test_an_arm_of_meshes_from_a_package(tmp_path: Path) -> None:
    described = tmp_path / "openarm.toml"
    described.write_text(f"""
mjcf = "{(OPENARM / "openarm_bimanual.xml").as_posix()}"
mount = [0.27, 0.15, 0.65]
start = [0.3, 0, 0, 1.2, 0, 0.5, 0]

[tool]
body = "openarm_right_ee_base_link"
pos = [0, 0, -0.13]
quat = [0, 1, 0, 0]

[gripper]
actuators = "right_finger1_ctrl"
closed = 0
open = -0.7854
width = 0.1
{SERVO.replace("[180, 180, 180, 70, 70, 70]", "50").replace("[4500, 4500, 4500, 2000, 2000, 2000]", "900")}
""")
    with pytest.raises(UserError, match="lies outside"):
        load_arm(described)
    arm = load_arm(described, trusted=True)
    assert arm.joints == tuple(f"openarm_right_joint{i}" for i in range(1, 8))
    env = GoalVectorEnv("reach", arm, 20)
    assert rollout(env, make_policy("expert", seed=0), episodes=20, seed=0).success.mean() >= 0.9
    env.close()


def test_the_command_line_takes_an_arm(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "arm.toml").write_text(f'name = "shop_floor"\n{SAID}')
    try:
        assert run(["envs", "--arm-file", str(folder / "arm.toml")]) == 0
        assert "goalsight/ShopFloorPush-v1" in capsys.readouterr().out
        assert run(["bench", "--env", "ShopFloorPush-v1", "--num-envs", "4", "--seconds", "0.1", "--windows", "1"]) == 0
        assert run(["envs", "--arm-file", str(folder / "arm.toml")]) == 2
        assert 'an arm named "shop_floor" is registered already' in capsys.readouterr().err
        assert run(["envs", "--arm-file"]) == 2
        assert "--arm-file needs a file" in capsys.readouterr().err
    finally:
        forget("shop_floor")


def forget(name: str) -> None:
    """Undo `register_arm`."""
    import gymnasium

    from goalsight.envs import ids

    ARMS.pop(name, None)
    for env_id in [key for key, spec in ids._ARGUMENTS.items() if spec["arm"] == name]:
        del ids._ARGUMENTS[env_id], gymnasium.registry[env_id]
        ids._SOURCES.pop(env_id, None)


def test_a_tool_upside_down_is_no_home(folder: Path) -> None:
    arm = load_arm(folder / "arm.toml")
    env = GoalVectorEnv("reach", replace(arm), 1)
    env.reset(seed=0)
    turn = env.sim.reader.site_xmat[0, env.sim.reader.tool].reshape(3, 3)
    np.testing.assert_allclose(turn, DOWN, atol=0.02)
    env.close()

"""Tasks from elsewhere: plug-in packages, modules by name, and the contract that they are held to."""

import errno
import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from array_api_compat import array_namespace

from goalsight.base.errors import UserError
from goalsight.commands.cli import run
from goalsight.commands.listing import Envs, list_envs
from goalsight.commands.new_task import NewTask, new_task
from goalsight.envs.geometry.region import Array
from goalsight.envs.registration import env_ids, register_task
from goalsight.envs.tasks import TASKS, Layout, Push, Reach, World
from goalsight.envs.vector import GoalVectorEnv
from goalsight.eval.contract import check, keeps


def install(folder: Path, name: str, entry: str) -> None:
    """What an installer leaves behind for `name`, so that its entry point is found on the path."""
    info = folder / f"{name}-0.1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text(f"[goalsight.tasks]\n{name} = {entry}\n")


def goalsight(*arguments: str, path: Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, with a folder on its path."""
    return subprocess.run(
        [sys.executable, "-m", "goalsight", *arguments],
        env=os.environ | {"PYTHONPATH": str(path)},
        cwd=cwd or path,
        capture_output=True,
        text=True,
    )


def test_plugins_are_found_and_broken_ones_break_nothing(tmp_path, capsys):
    new_task(NewTask("turn_valve", out=tmp_path / "src"))
    said = capsys.readouterr().out
    assert "turn_valve.py" in said
    assert "lift a cube" in said  # whatever its name
    (tmp_path / "src" / "bad_tasks.py").write_text("raise RuntimeError('the moon\\nis full')")
    (tmp_path / "src" / "more_tasks.py").write_text(
        "from dataclasses import replace\n"
        "from goalsight.envs.registration import register_task\n"
        "from goalsight.envs.tasks import Push\n"
        "def register():\n"
        "    register_task(replace(Push(), name='tiny_push', tolerance=0.01), namespace='more', arms=['panda'])\n"
    )
    install(tmp_path / "src", "turn_valve", "turn_valve")
    install(tmp_path / "src", "bad_tasks", "bad_tasks:register")
    install(tmp_path / "src", "more_tasks", "more_tasks:register")
    listed = goalsight("envs", "--json", path=tmp_path / "src", cwd=tmp_path)
    found = json.loads(listed.stdout)
    assert found["ids"]["turn_valve/PandaTurnValve-v1"] == "turn_valve"
    assert found["ids"]["more/PandaTinyPush-v1"] == "more_tasks"
    assert found["ids"]["goalsight/PandaPush-v1"] == "goalsight"
    assert found["failed_plugins"] == {"bad_tasks": "RuntimeError: the moon is full"}
    assert "plug-in bad_tasks failed" in goalsight("envs", path=tmp_path / "src", cwd=tmp_path).stdout
    wrong = goalsight("eval", "--policy", "random", "--env", "more/PandaTinyPusch-v1", path=tmp_path / "src")
    assert wrong.returncode == 2
    assert 'did you mean "more/PandaTinyPush-v1"?' in wrong.stderr
    assert 'plug-in "bad_tasks" failed: RuntimeError: the moon is full' in wrong.stderr
    assert wrong.stderr.count("\n") == 1


def test_a_plugin_that_exits_breaks_nothing_either(tmp_path):
    (tmp_path / "leaves.py").write_text("raise SystemExit(0)")
    install(tmp_path, "leaves", "leaves")
    listed = goalsight("envs", "--json", path=tmp_path)
    assert json.loads(listed.stdout)["failed_plugins"] == {"leaves": "SystemExit: 0"}
    asked = goalsight("--import", "leaves", "envs", path=tmp_path)
    assert (asked.returncode, asked.stdout) == (2, "")
    assert asked.stderr == 'goalsight: module "leaves" does not import: SystemExit: 0\n'


def test_a_plugin_neither_prints_among_results_nor_ends_the_process(tmp_path):
    (tmp_path / "talks.py").write_text("print('hello')")
    (tmp_path / "ends.py").write_text("import os\nos._exit(3)")
    for name in ("talks", "ends"):
        install(tmp_path, name, name)
    listed = goalsight("envs", "--json", path=tmp_path)
    assert json.loads(listed.stdout)["failed_plugins"] == {"ends": "SystemExit: it ends the process with code 3"}
    assert listed.stderr == "hello\n"


@pytest.mark.parametrize(
    "way", ["print('hello')", "import os\nos.write(1, b'hello')", "import os\nos.system('echo hello')"]
)
def test_nothing_that_strangers_print_gets_among_results(tmp_path, way):
    (tmp_path / "talks.py").write_text(way)
    install(tmp_path, "talks", "talks")
    listed = goalsight("envs", "--json", path=tmp_path)
    assert json.loads(listed.stdout)["failed_plugins"] == {}
    assert listed.stderr.strip() == "hello"
    asked = goalsight("envs", "--json", "--import", "talks", path=tmp_path / "talks-0.1.dist-info", cwd=tmp_path)
    assert json.loads(asked.stdout)["failed_plugins"] == {}
    assert asked.stderr.strip() == "hello"


def test_a_module_that_ends_the_process_is_named(tmp_path):
    (tmp_path / "ends.py").write_text("import os\nos._exit(3)")
    asked = goalsight("envs", "--import", "ends", path=tmp_path)
    assert (asked.returncode, asked.stdout) == (2, "")
    assert asked.stderr == 'goalsight: module "ends" does not import: SystemExit: it ends the process with code 3\n'


def test_a_module_whose_thread_keeps_the_process_alive_is_named(tmp_path):
    code = "import threading, time\nthreading.Thread(target=time.sleep, args=(1.5,), name='ticker').start()"
    (tmp_path / "ticks.py").write_text(code)
    asked = goalsight("envs", "--json", "--import", "ticks", path=tmp_path)
    assert asked.returncode == 0
    assert asked.stderr == (
        'goalsight: module "ticks" has begun a thread, "ticker", that is no daemon: this program ends when that does\n'
    )


@pytest.mark.parametrize(
    ("load", "name"), [("load_plugins()", "the plug-in hangs"), ("import_tasks('hangs')", 'module "hangs"')]
)
def test_what_hangs_is_named_and_given_up(tmp_path, load, name):
    (tmp_path / "hangs.py").write_text("import time\ntime.sleep(60)")
    if "plugins" in load:
        install(tmp_path, "hangs", "hangs")
    code = (
        "from goalsight.envs import plugins; plugins.LONG, plugins.TOO_LONG = 0.2, 0.6; "
        f"plugins.{load}; print('loaded')"
    )
    env = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    waits, gives_up = done.stderr.splitlines()
    assert waits == f"goalsight: {name} has been loading for 0.2 s; it is given up after 0.6 s"
    assert gives_up.startswith(f"goalsight: {name} has not loaded within 0.6 s")


@pytest.mark.parametrize(
    ("task", "namespace", "why"),
    [
        (replace(Push(), name="tidy"), "my space", "a namespace has letters"),
        (replace(Push(), name="tidy"), "a:b", "a namespace has letters"),
        (replace(Push(), name="Tidy up"), "mine", "a task's name has small letters"),
        (replace(Push(), name=""), "mine", "a task's name has small letters"),
        (Push, "mine", "takes an instance of a Task"),
        (Push(), "mine", 'a task named "push" is registered already, by goalsight'),
        (replace(Push(), name="pick__place"), "goalsight", "PickPlace-v1 is registered already, by goalsight"),
    ],
)
def test_what_cannot_be_registered_leaves_nothing_behind(task, namespace, why):
    before = env_ids(), set(TASKS), set(gym.registry)
    with pytest.raises(UserError, match=why) as refused:
        register_task(task, namespace=namespace)
    assert "\n" not in str(refused.value)
    assert (env_ids(), set(TASKS), set(gym.registry)) == before


def test_a_folder_that_holds_a_package_is_no_module(tmp_path):
    new_task(NewTask("turn_crank", out=tmp_path / "turn_crank"))
    done = goalsight("--import", "turn_crank", "envs", path=tmp_path)
    assert done.returncode == 2
    assert '"turn_crank" is a folder here, ' in done.stderr
    inside = goalsight("--import=turn_crank", "envs", path=tmp_path / "turn_crank")
    assert "turn_crank/PandaTurnCrank-v1" in inside.stdout


def test_a_picture_that_cannot_be_written_is_said_before_the_checks(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    for place in ("a.foo", "a", "file/a.png"):
        assert run(["check-task", "PandaReach-v1", "--picture", str(tmp_path / place)]) == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_module_of_the_current_folder_is_imported_on_request(tmp_path):
    new_task(NewTask("turn_knob", out=tmp_path / "here"))
    listed = goalsight("envs", "--import", "turn_knob", path=tmp_path, cwd=tmp_path / "here")
    assert "turn_knob/So101TurnKnob-v2  from turn_knob" in listed.stdout
    judged = goalsight(
        "eval", "--policy", "expert", "--env", "turn_knob:turn_knob/PandaTurnKnob-v1", "--episodes", "5", "--json",
        path=tmp_path, cwd=tmp_path / "here",
    )  # fmt: skip
    assert json.loads(judged.stdout)["success"]["count"] == 5, judged.stderr


def test_modules_that_do_not_import_are_one_line(capsys):
    assert run(["--import", "no_such_module", "envs"]) == 2
    assert 'module "no_such_module" does not import: ModuleNotFoundError' in capsys.readouterr().err
    assert run(["envs", "--import"]) == 2
    assert "--import needs the name of a module" in capsys.readouterr().err


def test_the_written_package_passes_its_own_tests(tmp_path):
    folder = new_task(NewTask("lift_it", out=tmp_path / "lift_it"))
    assert "@" not in "".join(path.read_text() for path in folder.iterdir()).replace("@dataclass", "")
    tested = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"], cwd=folder, capture_output=True, text=True
    )
    assert tested.returncode == 0, tested.stdout
    ruff = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "E,F,UP", "--line-length", "120", folder],
        capture_output=True,
        text=True,
    )
    assert ruff.returncode == 0, ruff.stdout


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Turn", "small letters"),
        ("2turn", "small letters"),
        ("class", "word of Python's own"),
        ("push", "a task or a module"),
    ],
)
def test_names_that_make_no_package_are_refused(tmp_path, name, message):
    with pytest.raises(UserError, match=message):
        new_task(NewTask(name, out=tmp_path / "new"))
    assert not (tmp_path / "new").exists()


def test_a_package_goes_into_the_current_folder_where_that_is_empty(tmp_path, monkeypatch):
    (tmp_path / "turn_knob").mkdir()
    monkeypatch.chdir(tmp_path / "turn_knob")
    new_task(NewTask("turn_knob", out=Path()))
    assert (tmp_path / "turn_knob" / "turn_knob.py").exists()
    assert [entry.name for entry in tmp_path.iterdir()] == ["turn_knob"]


def test_a_task_that_says_nothing_of_itself_is_listed_by_what_it_came_from(capsys):
    class Silent(Reach):
        __doc__ = None

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(TASKS, "silent", Silent())
        assert list_envs(Envs(json=True))["tasks"]["silent"]["about"] == Reach.__doc__.partition("\n")[0]
    capsys.readouterr()


def test_nothing_is_overwritten(tmp_path):
    (tmp_path / "turn.py").write_text("mine")
    with pytest.raises(UserError, match="not empty"):
        new_task(NewTask("turn", out=tmp_path))
    assert (tmp_path / "turn.py").read_text() == "mine"


@dataclass(frozen=True)
class Lazy(Reach):
    """An expert that stays where it is."""

    def expert(self, world, goal):
        move, gripper = super().expert(world, goal)
        return 0 * move, gripper


@dataclass(frozen=True)
class NumpyOnly(Push):
    """Uses what torch has not."""

    def draw(self, u: np.ndarray, training: bool) -> Layout:
        layout = super().draw(u, training)
        return replace(layout, goal=np.asarray(layout.goal).copy().astype(np.float64) + 1e-3)


@dataclass(frozen=True)
class Precise(Push):
    """Rewards in double precision."""

    def dense_reward(self, achieved, desired):
        return -np.asarray(self.error(achieved, desired), np.float64)


@pytest.mark.parametrize(
    ("task", "failing", "why"),
    [
        (Lazy(), "expert, 5 episodes", "0% succeed"),
        (NumpyOnly(), "NumPy and torch agree", ""),
        (Precise(), "reward is compute_reward", "the dense reward is float64"),
    ],
)
def test_what_breaks_the_contract_is_named(task, failing, why):
    failed = {outcome.check: outcome.said for outcome in check(GoalVectorEnv, task, "panda", episodes=5)
              if not outcome.passed}  # fmt: skip
    assert failing in failed
    assert why in failed[failing]


def test_check_task_prints_each_check_and_draws(tmp_path, capsys):
    assert run(["check-task", "PandaReach-v1", "--episodes", "10", "--picture", str(tmp_path / "new" / "p.png")]) == 0
    out = capsys.readouterr().out
    assert out.count("ok     ") == 12
    assert "12 of 12 checks passed" in out
    assert (tmp_path / "new" / "p.png").stat().st_size > 10_000
    assert run(["check-task", "PandaReech-v1"]) == 2
    assert 'did you mean "PandaReach-v1"' in capsys.readouterr().err


def test_a_full_disk_leaves_nothing_of_a_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = Path.write_text

    def full(path: Path, text: str) -> int:
        if path.name == "pyproject.toml":
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(path, text)

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(UserError, match="No space left on device"):
        new_task(NewTask("turn_wheel", out=tmp_path / "turn_wheel"))
    assert not list(tmp_path.iterdir())
    monkeypatch.undo()
    (tmp_path / "turn_wheel").mkdir()  # an empty one is taken
    assert len(list(new_task(NewTask("turn_wheel", out=tmp_path / "turn_wheel")).iterdir())) == 4
    assert [path.name for path in tmp_path.iterdir()] == ["turn_wheel"]


@dataclass(frozen=True)
class Written(Reach):
    """Achieves where the tool is, by numbers that are written out."""

    name: str = "written"

    def achieved(self, world: World) -> Array:
        xp = array_namespace(world.tool)
        return world.tool + xp.where(world.tool[:, :1] < 100.0, -0.1, 1.0) + 0.1


def test_the_contract_names_what_differs_between_numpy_and_torch():
    outcome = keeps("NumPy and torch agree", lambda **kwargs: GoalVectorEnv(Written(), "panda", **kwargs))
    assert not outcome.passed
    assert re.match(r"achieved differs by up to 1\.\de-09 \(float64 by NumPy, float64 by torch\); ", outcome.said)

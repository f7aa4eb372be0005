"""How the program begins: signals at any moment, and nothing of the current folder that nobody asked for."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from goalsight.base.checkpoints import SUMS
from goalsight.base.errors import UserError
from goalsight.base.files import atomic_write_json
from goalsight.base.imports import import_named
from goalsight.envs.ids import recorded

# What is imported if it is there, and what Python itself imports early.
OPTIONAL = (
    "random",
    "tempfile",
    "subprocess",
    "contextlib",
    "tensorflow",
    "matplotlib",
    "trackio",
    "wandb",
    "mlflow",
    "lerobot",
    "tqdm",
    "mujoco_menagerie",
)


def start(*arguments: str, cwd: Path | None = None) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [sys.executable, "-m", "goalsight", *arguments], cwd=cwd, stdout=pipe, stderr=pipe, text=True
    )


def wait_for_module(process: subprocess.Popen[str], name: str) -> None:
    """Wait until a process has mapped a library whose path holds `name`."""
    for _ in range(2000):
        if name in Path(f"/proc/{process.pid}/maps").read_text():
            return
        time.sleep(0.002)
    raise AssertionError(f"{name} was never loaded")


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("loaded", ["libpython", "numpy", "torch"])
def test_a_signal_while_modules_are_imported_is_one_line(number: signal.Signals, loaded: str, tmp_path: Path) -> None:
    process = start("train", "--obs", "state", "--steps", "100000", cwd=tmp_path)
    if loaded == "libpython":
        time.sleep(0.25)
    else:
        wait_for_module(process, loaded)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, "", "goalsight: interrupted\n")
    assert not list(tmp_path.glob("**/config.json"))


def test_nohup_keeps_hangups_away(tmp_path: Path) -> None:
    script = """
import os, signal
signal.signal(signal.SIGHUP, signal.SIG_IGN)
from goalsight.base.interruption import interrupted, interrupting
with interrupting(), interrupted() as stop:
    os.kill(os.getpid(), signal.SIGHUP)
    print(stop.requested)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.fixture(scope="module")
def trap(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of modules that leave a file behind when they are run."""
    folder = tmp_path_factory.mktemp("trap")
    for name in OPTIONAL:
        (folder / f"{name}.py").write_text(f"open({str(folder)!r} + '/ran-{name}', 'w').close()\n")
    (folder / "mine.py").write_text("import tqdm\nassert not hasattr(tqdm, 'x')\n")
    return folder


def test_nothing_of_the_current_folder_runs_unasked(trap: Path) -> None:
    options = ("--obs", "state", "--steps", "120", "--num-envs", "4", "--warmup", "100", "--eval-episodes", "4")
    for command in (("train", *options, "--eval-every", "120", "--out", "run"), ("eval", "run", "--episodes", "4")):
        process = start(*command, cwd=trap)
        assert process.wait(timeout=300) == 0, process.stderr and process.stderr.read()
    assert not list(trap.glob("ran-*"))
    meta = trap / "run" / "checkpoints" / "000120" / "meta.json"
    atomic_write_json(meta, json.loads(meta.read_text()) | {"env": "trackio:goalsight/PandaStranger-v1"})
    (meta.parent / SUMS).unlink()
    process = start("eval", "run", cwd=trap)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 2
    assert err.count("\n") == 1
    assert '"trackio", which is no installed plug-in; if you trust it: --import trackio' in err
    assert not list(trap.glob("ran-*"))


def test_a_module_that_the_user_names_is_found_in_the_current_folder(trap: Path, monkeypatch) -> None:
    monkeypatch.chdir(trap)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    assert import_named("json") is json
    assert str(trap) not in sys.path
    import_named("mine")
    assert not list(trap.glob("ran-*"))  # the installed tqdm comes first
    assert sys.path[-1] == os.getcwd()


def test_an_id_from_a_file_imports_nothing() -> None:
    assert recorded("goalsight/PandaPush-v1") == "goalsight/PandaPush-v1"
    assert recorded("json:any/Thing-v1") == "json:any/Thing-v1"  # imported already
    assert recorded("gone_tasks:goalsight/PandaPush-v1") == "goalsight/PandaPush-v1"  # registered already
    with pytest.raises(UserError, match="if you trust it: --import antigravity"):
        recorded("antigravity:any/Thing-v1")
    assert "antigravity" not in sys.modules


def test_pictures_are_drawn_where_home_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("no folder, as little as one that is read-only")
    known = {name: value for name, value in os.environ.items() if name not in ("WARP_CACHE_PATH", "XDG_CACHE_HOME")}
    code = "from goalsight.envs.rendering.quiet import start_warp, wp; start_warp(); print(wp.is_cpu_available())"
    env = known | {"HOME": str(tmp_path / "home")}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert done.stdout == "True\n", done.stderr
    (line,) = done.stderr.splitlines()
    assert f"goalsight: kernels cannot be kept in {tmp_path / 'home'}" in line

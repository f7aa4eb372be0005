"""`goalsight resume`: whatever stopped a run, another process goes on with it to the same bits."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from goalsight.base.runs import Run
from goalsight.commands.cli import run as run_command
from goalsight.commands.resume import RESUMES
from goalsight.pretrain.data.store import FrameStoreWriter

# The n-th file that is written and flushed does not fit on the disk any more.
FULL_DISK = """
import errno, sys
import goalsight.base.checkpoints as checkpoints
from goalsight.__main__ import main
write, left = checkpoints.write_flushed, int(sys.argv.pop(1))
def refuse(path, data):
    global left
    left -= 1
    if left < 0:
        raise OSError(errno.ENOSPC, "No space left on device")
    write(path, data)
checkpoints.write_flushed = refuse
main()
"""
STEPS = 12
UNEQUAL = {"wall_s", "pretrain/pairs_per_s"}  # measured times


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a frame store, and a pretraining that nothing stopped."""
    folder = tmp_path_factory.mktemp("workshop")
    rng = np.random.default_rng(0)
    with FrameStoreWriter(folder / "frames", image_size=32) as writer:
        for _ in range(4):
            writer.add_episode(rng.integers(0, 256, (20, 32, 32, 3), dtype=np.uint8), source="noise")
    assert start(folder, "whole").wait(timeout=300) == 0
    return folder


def start(folder: Path, name: str, *before: str) -> subprocess.Popen[str]:
    arguments = ["pretrain", "--data", "frames", "--steps", str(STEPS), "--batch", "4", "--threads", "1"]
    arguments += ["--image-size", "32", "--save-every", "0", "--out", name, "--seed", "3"]
    program = before or (sys.executable, "-m", "goalsight")
    return subprocess.Popen([*program, *arguments], cwd=folder, stderr=subprocess.PIPE, text=True)


def wait_for_steps(run: Path, steps: int) -> None:
    for _ in range(6000):
        if any(int(folder.name) >= steps for folder in run.glob("checkpoints/[0-9]*")):
            return
        time.sleep(0.01)
    raise AssertionError(f"{run} never came to step {steps}")


def same(run: Path, whole: Path) -> None:
    ended, expected = Run.open(run), Run.open(whole)
    assert ended.status == "finished"
    last = [path.checkpoint() / "model.safetensors" for path in (ended, expected)]
    assert last[0].parent.name == last[1].parent.name == f"{STEPS:06d}"
    assert last[0].read_bytes() == last[1].read_bytes()
    rows = [
        [{key: value for key, value in row.items() if key not in UNEQUAL} for row in one.metrics()]
        for one in (ended, expected)
    ]
    assert rows[0] == rows[1]
    assert ended.summary["encoder"] == expected.summary["encoder"]


@pytest.mark.parametrize(
    ("number", "code", "status"),
    [
        pytest.param(signal.SIGINT, 130, "interrupted", marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, 130, "interrupted", marks=pytest.mark.slow),
        (signal.SIGHUP, 130, "interrupted"),
        (signal.SIGKILL, -9, "killed"),
    ],
)
def test_a_pretraining_that_a_signal_ended_goes_on_to_the_bit(
    workshop: Path, number: signal.Signals, code: int, status: str
) -> None:
    run = workshop / number.name
    process = start(workshop, run.name)
    wait_for_steps(run, 4)
    process.send_signal(number)
    assert process.wait(timeout=60) == code
    assert Run.open(run).status == status
    subprocess.run([sys.executable, "-m", "goalsight", "resume", run.name], cwd=workshop, check=True)
    same(run, workshop / "whole")
    assert len(Run.open(run).manifest["resumed"]) == 1


def test_a_pretraining_that_a_full_disk_ended_goes_on_to_the_bit(workshop: Path) -> None:
    process = start(workshop, "full", sys.executable, "-c", FULL_DISK, "18")
    _, err = process.communicate(timeout=120)
    assert process.returncode == 2
    assert "No space left on device" in err.splitlines()[-1]
    run = Run.open(workshop / "full")
    assert run.status == "failed"
    assert "No space left" in run.manifest["error"]
    subprocess.run([sys.executable, "-m", "goalsight", "resume", "full"], cwd=workshop, check=True)
    same(workshop / "full", workshop / "whole")


def test_what_cannot_go_on_is_one_line(
    workshop: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(workshop)
    assert run_command(["resume", "whole"]) == 2
    assert capsys.readouterr().err == "goalsight: run whole is finished: there is nothing to go on with\n"
    assert run_command(["resume", "absent"]) == 2
    assert "run absent does not exist" in capsys.readouterr().err
    with Run.start("pretrain", {}, out=Path("live"), seed=0):
        assert run_command(["resume", "live"]) == 2
        assert "another process is writing live" in capsys.readouterr().err


def test_what_differs_is_said_and_ids_of_files_import_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def go_on(run: Run) -> Path:
        run.finish({"env": run.config["env"]})
        return run.path

    monkeypatch.setattr(type(RESUMES), "load", lambda self, name: go_on)
    run = Run.create("train", {"env": {"id": "goalsight/PandaPush-v1"}, "steps": 10}, out=tmp_path / "run", seed=0)
    config = json.loads((run.path / "config.json").read_text())
    (run.path / "config.json").write_text(json.dumps(config | {"steps": 20}))
    assert run_command(["resume", str(run.path)]) == 0
    assert f"since {run.path} was started: config.json: steps was 10, is 20" in capsys.readouterr().err
    other = Run.create("train", {"env": {"id": "antigravity:a/B-v1"}}, out=tmp_path / "other", seed=0)
    assert run_command(["resume", str(other.path)]) == 2
    assert "if you trust it: --import antigravity" in capsys.readouterr().err
    assert "antigravity" not in sys.modules
    assert Run.open(other.path).status == "failed"


def test_every_kind_of_run_says_what_goes_on_with_it() -> None:
    assert set(RESUMES) == {"collect", "pretrain", "train"}

"""The life of a run: one writer, a status that is true, and going on where it ended."""

import errno
import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import goalsight.base.life
from goalsight.base.errors import UserError
from goalsight.base.files import atomic_write_json
from goalsight.base.life import is_same_process_alive, this_process
from goalsight.base.runs import Run
from goalsight.base.video import VideoWriter

HELD = """
import os, sys, time
from pathlib import Path
from goalsight.base.runs import Run
from goalsight.base.video import VideoWriter
with Run.start("train", {"steps": 3}, out=Path(sys.argv[1]), seed=0) as run:
    print("held", flush=True)
    while not run.stopped:
        time.sleep(0.01)
    run.finish({"steps": 1})
"""

RACE = """
import os, sys
from pathlib import Path
from goalsight.base.errors import UserError
from goalsight.base.files import atomic_write_json
from goalsight.base.runs import Run
from goalsight.base.video import VideoWriter
folder, start, go = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
for number in range(100):
    os.write(start, b"."), os.read(go, 1)  # both begin each race together
    try:
        with Run.start("train", {"who": os.getpid()}, out=folder / str(number), seed=0) as run:
            run.finish({"who": os.getpid()})
    except UserError as error:
        print(number, error)
"""


def hold(path: Path) -> subprocess.Popen:
    process = subprocess.Popen([sys.executable, "-c", HELD, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_of_two_processes_that_make_one_folder_exactly_one_wins(tmp_path: Path) -> None:
    pipes = [(os.pipe(), os.pipe()) for _ in range(2)]
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACE, str(tmp_path), str(start[1]), str(go[0])],
            stdout=subprocess.PIPE,
            text=True,
            pass_fds=(start[1], go[0]),
        )
        for start, go in pipes
    ]
    for _ in range(100):
        for start, _go in pipes:
            os.read(start[0], 1)
        for _start, go in pipes:
            os.write(go[1], b".")
    said = [racer.communicate(timeout=60)[0].splitlines() for racer in racers]
    lost = sorted(int(line.split()[0]) for lines in said for line in lines)
    assert lost == list(range(100))
    assert all("choose another folder" in line for lines in said for line in lines)
    for number in range(100):
        run = Run.open(tmp_path / str(number))
        assert run.config["who"] == run.summary["who"] == run.manifest["process"]["pid"]
        assert run.status == "finished"


def test_a_living_run_is_told_from_a_dead_one(tmp_path: Path) -> None:
    process = hold(tmp_path / "run")
    run = Run.open(tmp_path / "run")
    assert run.status == "running"
    assert run.manifest["process"]["pid"] == process.pid
    assert is_same_process_alive(run.manifest["process"])
    with pytest.raises(UserError, match="another process is writing"), Run.resume(run.path):
        pass
    with pytest.raises(UserError, match="choose another folder"):
        Run.create("train", {}, out=run.path, seed=0)
    process.kill()
    process.wait()
    assert Run.open(tmp_path / "run").status == "killed"
    assert not is_same_process_alive(run.manifest["process"])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_end_a_run_that_finishes(tmp_path: Path, number: signal.Signals) -> None:
    process = hold(tmp_path / "run")
    process.send_signal(number)
    assert process.wait(timeout=20) == 0
    run = Run.open(tmp_path / "run")
    assert (run.status, run.summary) == ("interrupted", {"steps": 1})


def test_where_folders_cannot_be_locked_the_process_is_looked_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(handle: int, operation: int) -> None:
        raise OSError(errno.EBADF, "no locks here")

    monkeypatch.setattr(goalsight.base.life.fcntl, "flock", refuse)
    with Run.start("train", {}, out=tmp_path / "run", seed=0) as run:
        assert Run.open(run.path).status == "running"
        with pytest.raises(UserError, match="still runs, as process"), Run.resume(run.path):
            pass
        with pytest.raises(UserError, match="choose another folder"):
            Run.create("train", {}, out=run.path, seed=0)
    assert fcntl.flock is refuse
    run.manifest["process"]["began"] = "1"  # its number was given to another process
    run.set_status("running")
    assert Run.open(run.path).status == "killed"


def test_a_process_of_another_boot_is_dead_and_one_of_another_machine_may_live() -> None:
    mine = this_process()
    assert is_same_process_alive(mine)
    assert not is_same_process_alive(mine | {"boot": "before"})
    assert is_same_process_alive(mine | {"boot": "theirs", "host": "another"})
    assert not is_same_process_alive(mine | {"pid": 2**22 + 7})
    assert not is_same_process_alive({})


def test_what_a_body_raises_is_the_run_s_end(tmp_path: Path) -> None:
    with (
        pytest.raises(UserError, match="loss became nan"),
        Run.start("train", {}, out=tmp_path / "bad", seed=0),
    ):
        raise UserError("the loss became nan")
    run = Run.open(tmp_path / "bad")
    assert run.status == "failed"
    assert run.manifest["error"] == "UserError: the loss became nan"
    with pytest.raises(KeyboardInterrupt), Run.start("train", {}, out=tmp_path / "stopped", seed=0):
        raise KeyboardInterrupt
    assert Run.open(tmp_path / "stopped").status == "interrupted"


def test_a_folder_begun_by_a_killed_process_is_taken(tmp_path: Path) -> None:
    killed = """
import os, sys, goalsight.base.runs as runs
from pathlib import Path
write = runs.atomic_write_json
def stop(path, value):
    if path.name == "manifest.json":
        os.kill(os.getpid(), 9)
    write(path, value)
runs.atomic_write_json = stop
runs.Run.create("train", {}, out=Path(sys.argv[1]), seed=0)
"""
    done = subprocess.run([sys.executable, "-c", killed, str(tmp_path / "run")], check=False)
    assert done.returncode == -signal.SIGKILL
    assert (tmp_path / "run" / "config.json").exists()
    Run.create("train", {}, out=tmp_path / "run", seed=0)
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["config.json", "manifest.json"]


def test_a_run_goes_on_from_its_last_state(tmp_path: Path) -> None:
    state = {"weights": torch.arange(3.0), "rng": np.arange(4), "steps": 20, "best": None}
    with Run.start("train", {"steps": 30}, out=tmp_path / "run", seed=0) as run:
        for step in (10, 20, 30):
            run.log(step, {"loss": 1.0 / step})
            if step < 30:
                run.publish(step, {"w": torch.ones(1) * step}, {}, state=state | {"steps": step})
        run.stop.requested = True
    assert [path.parent.name for path in run.path.rglob("state.json")] == ["000020"]
    with Run.resume(run.path) as again:
        assert again.status == "running"
        assert again.differences == []
        kept = again.load_state()
        assert kept is not None
        assert torch.equal(kept["weights"], state["weights"])
        assert kept["rng"].tolist() == [0, 1, 2, 3]
        assert (kept["steps"], kept["best"]) == (20, None)
        again.log(30, {"loss": 0.25})
        again.finish({"steps": 30})
    rows = Run.open(run.path).metrics()
    assert [row["step"] for row in rows] == [10, 20, 30]
    assert rows[2]["loss"] == 0.25
    assert rows[1]["wall_s"] <= rows[2]["wall_s"] < rows[1]["wall_s"] + 5
    assert Run.open(run.path).status == "finished"
    with pytest.raises(UserError, match="is finished"), Run.resume(run.path):
        pass


def test_a_run_that_published_nothing_begins_anew_and_one_without_state_is_refused(tmp_path: Path) -> None:
    run = Run.create("train", {}, out=tmp_path / "run", seed=0)
    run.log(5, {"loss": 1.0})
    with Run.resume(run.path) as again:
        assert again.load_state() is None
        assert again.metrics() == []
        again.publish(5, {"w": torch.ones(1)}, {})
        with pytest.raises(UserError, match="keeps no training state"):
            again.load_state()


def test_what_has_changed_is_said(tmp_path: Path) -> None:
    run = Run.create("train", {"steps": 30, "lr": 0.1}, out=tmp_path / "run", seed=0)
    (run.path / "config.json").write_text('{"steps": 40, "lr": 0.1}')
    run.manifest["versions"]["numpy"] = "1.0"
    run.set_status("running")
    with Run.resume(run.path) as again:
        assert again.differences == [
            "config.json: steps was 30, is 40",
            f"version of numpy was 1.0, is {np.__version__}",
        ]
        assert again.config["steps"] == 40
    assert Run.open(run.path).manifest["resumed"][0]["differences"] == again.differences


def test_leftovers_of_a_killed_process_are_cleared_when_a_run_goes_on(tmp_path: Path) -> None:
    run = Run.create("train", {}, out=tmp_path / "run", seed=0)
    (run.path / ".summary.json.77.tmp").write_text("{")
    (run.path / "checkpoints" / ".000003.77.tmp").mkdir(parents=True)
    with Run.resume(run.path):
        pass
    assert sorted(path.name for path in run.path.rglob(".*")) == []


def test_the_same_step_published_again_is_never_without_a_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run.create("train", {}, out=tmp_path / "run", seed=0)
    run.publish(5, {"w": torch.ones(1)}, {}, state={"n": 1})
    rename, seen = os.rename, []

    def watched(source: Path, target: Path) -> None:
        rename(source, target)
        tensors, meta = Run.open(run.path).load()
        seen.append((float(tensors["w"]), meta["step"]))

    monkeypatch.setattr(os, "rename", watched)
    run.publish(5, {"w": torch.ones(1) * 2}, {}, state={"n": 2})
    assert seen[0] == (1.0, 5)
    assert seen[-1] == (2.0, 5)
    monkeypatch.undo()
    with Run.resume(run.path) as again:
        assert again.load_state() == {"n": 2}


def test_what_a_killed_process_had_begun_goes_when_the_file_is_written_again(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    (tmp_path / f".eval.json.{dead.pid}.tmp").write_text("{")
    (tmp_path / f".eval.json.{os.getppid()}.tmp").write_text("{")  # of a process that lives
    atomic_write_json(tmp_path / "eval.json", {"a": 1})
    assert sorted(path.name for path in tmp_path.iterdir()) == [f".eval.json.{os.getppid()}.tmp", "eval.json"]
    (tmp_path / f".play.{dead.pid}.partial.mp4").write_text("")
    with VideoWriter(tmp_path / "play.mp4", fps=10) as film:
        for shade in range(0, 200, 20):
            film.add(np.tile(np.arange(48, dtype=np.uint8)[:, None, None] + np.uint8(shade), (1, 48, 3)))
    assert (tmp_path / "play.mp4").exists()
    assert not list(tmp_path.glob(".play.*"))

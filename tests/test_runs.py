"""Run folders: whole or absent, readable again, and safe to read."""

import math
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import torch

import goalsight.base.checkpoints
import goalsight.base.files
from goalsight.agents.agent import load_agent
from goalsight.base.checkpoints import read_checkpoint
from goalsight.base.errors import UserError
from goalsight.base.runs import Run


@dataclass(frozen=True)
class Inner:
    low: float = -0.5


@dataclass(frozen=True)
class Config:
    data: Path = Path("play")
    sizes: tuple[int, ...] = (8, 16)
    inner: Inner = field(default_factory=Inner)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run.create("train", Config(), out=tmp_path / "run", seed=7, sources={"data": "abc123"})


def weights(value: float) -> dict[str, torch.Tensor]:
    return {"layer.weight": torch.full((2, 3), value), "steps": torch.tensor(4)}


def test_a_created_run_opens_with_what_was_asked_and_where_it_came_from(run: Run) -> None:
    again = Run.open(run.path)
    assert again.kind == "train"
    assert again.config == {"data": "play", "sizes": [8, 16], "inner": {"low": -0.5}}
    assert again.manifest["seed"] == 7
    assert again.manifest["sources"] == {"data": "abc123"}
    assert again.manifest["status"] == "running"
    assert again.manifest["versions"]["torch"] == metadata.version("torch")
    assert again.manifest["machine"]["cores"] >= 1


def test_default_folders_are_named_by_kind_and_time_and_never_shared(workplace: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        runs = list(pool.map(lambda seed: Run.create("pretrain", {}, seed=seed, name="reach"), range(16)))
    assert {run.path.parent for run in runs} == {Path("runs")}
    assert all(run.path.name.startswith("pretrain-reach-2") for run in runs)
    assert len({run.path for run in runs}) == 16
    assert all(Run.open(run.path).manifest["seed"] == seed for seed, run in enumerate(runs))


def test_a_folder_that_holds_anything_is_not_written_to(workplace: Path) -> None:
    (workplace / "mine").mkdir()
    (workplace / "mine" / "summary.json").write_text("precious")
    with pytest.raises(UserError, match="mine is not empty; choose another folder"):
        Run.create("train", {}, out=workplace / "mine", seed=0)
    assert [path.name for path in (workplace / "mine").iterdir()] == ["summary.json"]
    assert (workplace / "mine" / "summary.json").read_text() == "precious"


def test_a_folder_that_holds_a_run_is_not_overwritten(run: Run) -> None:
    with pytest.raises(UserError, match="holds a run already"):
        Run.create("train", {}, out=run.path, seed=0)


def test_finish_records_status_and_summary(run: Run) -> None:
    run.finish({"success": 0.97}, status="interrupted")
    again = Run.open(run.path)
    assert again.manifest["status"] == "interrupted"
    assert again.summary == {"success": 0.97}


def test_metrics_come_back_in_order_with_nan_and_without_a_torn_line(run: Run) -> None:
    run.log(10, {"loss": 0.5})
    run.log(20, {"loss": float("nan")})
    with (run.path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 30, "lo')  # a crash in the middle of a line
    rows = Run.open(run.path).metrics()
    assert [row["step"] for row in rows] == [10, 20]
    assert rows[0]["loss"] == 0.5
    assert math.isnan(rows[1]["loss"])
    assert "NaN" not in (run.path / "metrics.jsonl").read_text()  # JSON has no such word
    assert not (run.path / "tensorboard").exists()  # shown there on request only


def test_a_resumed_run_counts_on_and_starts_on_a_line_of_its_own(run: Run) -> None:
    (run.path / "metrics.jsonl").write_text('{"step": 1, "wall_s": 100.0}\n{"step": 2, "wa')
    again = Run.open(run.path)
    again.log(3, {"loss": 1.0})
    assert [row["step"] for row in again.metrics()] == [1, 3]
    assert again.metrics()[-1]["wall_s"] >= 100.0


def test_pictures_are_kept_as_png(run: Run) -> None:
    from PIL import Image

    image = np.zeros((4, 6, 3), np.uint8)
    image[1, 2] = (250, 10, 20)
    path = run.log_image(12, "grid", image)
    assert path == run.path / "pictures" / "grid-000012.png"
    np.testing.assert_array_equal(np.asarray(Image.open(path)), image)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64, torch.bool])
def test_tensors_come_back_bit_for_bit(run: Run, dtype: torch.dtype) -> None:
    tensor = (torch.arange(6).reshape(2, 3) % 2).to(dtype)
    run.publish(1, {"a": tensor, "transposed": tensor.T, "tied": tensor}, {"width": 3})
    tensors, meta = run.load()
    assert meta == {"step": 1, "width": 3}
    assert {name: value.dtype for name, value in tensors.items()} == dict.fromkeys(tensors, dtype)
    torch.testing.assert_close(tensors["transposed"], tensor.T, rtol=0, atol=0)
    torch.testing.assert_close(tensors["tied"], tensor, rtol=0, atol=0)


def test_pointers_follow_last_and_best(run: Run) -> None:
    run.publish(100, weights(1.0), {}, best=True)
    run.publish(200, weights(2.0), {})
    assert run.checkpoint("last").name == "000200"
    assert run.checkpoint("best").name == "000100"
    assert run.checkpoint(100) == run.checkpoint("000100") == run.path / "checkpoints" / "000100"
    assert run.load("best")[0]["layer.weight"][0, 0] == 1.0


def test_best_is_the_last_one_where_none_was_marked(run: Run) -> None:
    run.publish(5, weights(1.0), {})
    assert run.checkpoint("best").name == "000005"


def test_publishing_a_step_again_replaces_it(run: Run) -> None:
    run.publish(5, weights(1.0), {})
    run.publish(5, weights(2.0), {})
    assert run.load()[0]["layer.weight"][0, 0] == 2.0
    assert sorted(entry.name for entry in (run.path / "checkpoints").iterdir()) == ["000005", "last"]


def names(run: Run) -> list[str]:
    return sorted(entry.name for entry in (run.path / "checkpoints").iterdir())


def test_checkpoints_that_only_the_clock_asked_for_go_once_a_newer_one_is_there(run: Run) -> None:
    run.publish(1, weights(1.0), {}, keep=False)
    assert names(run) == ["000001", "last"]
    run.publish(2, weights(2.0), {}, best=True)
    run.publish(3, weights(3.0), {}, keep=False)
    assert names(run) == ["000002", "000003", "best", "last"]
    run.publish(4, weights(4.0), {}, keep=False)
    assert names(run) == ["000002", "000004", "best", "last"]
    assert run.load("best")[0]["layer.weight"][0, 0] == 2.0


def test_the_best_checkpoint_never_goes(run: Run) -> None:
    run.publish(1, weights(1.0), {}, best=True, keep=False)
    run.publish(2, weights(2.0), {}, keep=False)
    run.publish(3, weights(3.0), {}, keep=False)
    assert names(run) == ["000001", "000003", "best", "last"]


def test_a_step_published_again_to_be_kept_stays(run: Run) -> None:
    run.publish(1, weights(1.0), {}, keep=False)
    run.publish(1, weights(2.0), {})
    run.publish(2, weights(3.0), {})
    assert names(run) == ["000001", "000002", "last"]


def test_what_training_goes_on_from_stays_until_a_newer_one_is_there(run: Run) -> None:
    run.publish(1, weights(1.0), {}, state={"n": 1}, keep=False)
    run.publish(2, weights(2.0), {}, keep=False)  # as at the end: a process killed now goes on from step 1
    assert Run.open(run.path).load_state() == {"n": 1}
    run.publish(3, weights(3.0), {}, state={"n": 3}, keep=False)
    assert names(run) == ["000003", "last"]
    assert Run.open(run.path).load_state() == {"n": 3}


def test_a_process_killed_while_an_old_checkpoint_goes_leaves_a_run_that_loads(run: Run) -> None:
    run.publish(1, weights(1.0), {}, keep=False)
    killed = """
import os, sys, torch, goalsight.base.checkpoints
from goalsight.base.runs import Run
goalsight.base.checkpoints._drop_passing_but = lambda folder, newest: os.kill(os.getpid(), 9)
Run.open(sys.argv[1]).publish(2, {"a": torch.ones(3)}, {}, keep=False)
"""
    done = subprocess.run([sys.executable, "-c", killed, str(run.path)], check=False)
    assert done.returncode == -signal.SIGKILL
    again = Run.open(run.path)
    assert again.checkpoint().name == "000002"
    again.publish(3, weights(3.0), {}, keep=False)
    assert names(again) == ["000003", "last"]


def test_a_crash_before_the_rename_leaves_the_old_checkpoint(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run.publish(1, weights(1.0), {})

    def crash(sibling: Path, target: Path) -> None:
        assert (sibling / "model.safetensors").stat().st_size > 0
        raise KeyboardInterrupt

    monkeypatch.setattr(goalsight.base.checkpoints, "_move_into_place", crash)
    with pytest.raises(KeyboardInterrupt):
        run.publish(2, weights(2.0), {})
    assert run.checkpoint("last").name == "000001"
    assert run.load()[0]["layer.weight"][0, 0] == 1.0


def test_a_disk_that_fails_at_the_last_moment_leaves_the_old_checkpoint(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    run.publish(1, weights(1.0), {})
    rename = os.rename

    def fail(source: Path, target: Path) -> None:
        if source.name.endswith(".tmp"):
            raise OSError(28, "No space left on device")
        rename(source, target)

    monkeypatch.setattr(os, "rename", fail)
    with pytest.raises(UserError, match="No space left"):
        run.publish(1, weights(2.0), {})
    assert run.load()[0]["layer.weight"][0, 0] == 1.0


def test_what_a_killed_process_had_moved_away_comes_back(run: Run) -> None:
    run.publish(1, weights(1.0), {})
    folder = run.path / "checkpoints"
    os.rename(folder / "000001", folder / ".000001.123.old")
    run.publish(2, weights(2.0), {})
    assert sorted(entry.name for entry in folder.iterdir()) == ["000001", "000002", "last"]


def test_a_process_killed_while_publishing_leaves_a_run_that_loads(run: Run) -> None:
    run.publish(1, weights(1.0), {})
    killed = """
import os, sys, torch, goalsight.base.checkpoints
from goalsight.base.runs import Run
goalsight.base.checkpoints._move_into_place = lambda sibling, target: os.kill(os.getpid(), 9)
Run.open(sys.argv[1]).publish(2, {"a": torch.ones(3)}, {})
"""
    done = subprocess.run([sys.executable, "-c", killed, str(run.path)], check=False)
    assert done.returncode == -signal.SIGKILL
    again = Run.open(run.path)
    assert list((run.path / "checkpoints").glob(".*.tmp"))  # what the dead process left
    assert again.load()[0]["layer.weight"][0, 0] == 1.0
    again.publish(3, weights(3.0), {})
    assert not list((run.path / "checkpoints").glob(".*.tmp"))


def test_a_pointer_that_fell_behind_or_vanished_does_not_lose_the_run(run: Run) -> None:
    run.publish(1, weights(1.0), {})
    (run.path / "checkpoints" / "last").write_text("000099\n")
    assert run.checkpoint().name == "000001"
    (run.path / "checkpoints" / "last").unlink()
    assert run.checkpoint().name == "000001"


def test_nothing_in_a_run_is_a_pickle(run: Run) -> None:
    run.publish(1, weights(1.0), {"note": "x"})
    run.log(1, {"loss": 1.0})
    run.finish({})
    kinds = {path.suffix for path in run.path.rglob("*") if path.is_file() and "tensorboard" not in path.parts}
    assert kinds == {".json", ".jsonl", ".safetensors", ""}
    (run.checkpoint() / "model.safetensors").write_bytes(b"\x80\x04\x95 a pickle")
    with pytest.raises(UserError, match="cannot read"):
        run.load()


@pytest.mark.parametrize("name", ["model.safetensors", "meta.json"])
def test_a_checkpoint_that_lacks_a_file_is_refused(run: Run, name: str) -> None:
    folder = run.publish(1, weights(1.0), {})
    (folder / name).unlink()
    with pytest.raises(UserError, match=name):
        read_checkpoint(folder)


@pytest.mark.parametrize("name", ["model.safetensors", "meta.json", "state.safetensors", "state.json", "sums.json"])
def test_a_checkpoint_that_is_not_what_was_written_is_refused(run: Run, name: str) -> None:
    folder = run.publish(1, weights(1.0), {"spread": True}, state={"steps": 1, "weights": weights(2.0)})
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data[:-4] + bytes([data[-4] ^ 1]) + data[-3:])
    with pytest.raises(UserError, match=r"cannot read .*") as caught:
        (run.load_state if name.startswith("s") else run.load)()
    assert "\n" not in str(caught.value)
    if name != "sums.json":
        assert f"{folder / name}: it is not what was written" in str(caught.value)


def test_lists_in_lists_in_lists_are_refused_in_one_line(run: Run) -> None:
    (run.path / "config.json").write_text('{"a": ' + "[" * 100_000 + "]" * 100_000 + "}")
    with pytest.raises(UserError, match="cannot read"):
        Run.open(run.path)


def test_a_missing_run_is_named_with_its_neighbours(run: Run) -> None:
    with pytest.raises(UserError, match=r"run .*absent does not exist; newest runs: .*run"):
        Run.open(run.path.parent / "absent")


@pytest.mark.parametrize("name", ["config.json", "manifest.json"])
def test_a_half_written_run_is_refused(run: Run, name: str) -> None:
    (run.path / name).unlink()
    with pytest.raises(UserError, match=f"half-written: no {name}"):
        Run.open(run.path)


def test_a_damaged_config_is_refused(run: Run) -> None:
    (run.path / "config.json").write_text("{")
    with pytest.raises(UserError, match="cannot read"):
        Run.open(run.path)


def test_a_recording_holds_no_agent(tmp_path: Path) -> None:
    Run.create("collect", {}, out=tmp_path / "play", seed=0).finish({})
    with pytest.raises(UserError, match="play holds no agent; give a folder that goalsight train made"):
        load_agent(tmp_path / "play")


def test_a_run_without_checkpoints_says_so(run: Run) -> None:
    with pytest.raises(UserError, match=r"has no checkpoint yet \(its status: killed\)"):
        run.load()


def test_an_unknown_checkpoint_lists_those_there_are(run: Run) -> None:
    run.publish(3, weights(1.0), {})
    with pytest.raises(UserError, match='no checkpoint "4"; choices: last, best, 3'):
        run.checkpoint(4)


def test_what_the_disk_refuses_is_one_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    run.publish(1, weights(1.0), {})
    monkeypatch.setattr(goalsight.base.checkpoints, "write_flushed", full)
    with pytest.raises(UserError, match=r"^cannot write .*000002: No space left on device$"):
        run.publish(2, weights(2.0), {})
    assert run.load()[0]["layer.weight"][0, 0] == 1.0
    assert not list((run.path / "checkpoints").glob(".*.tmp"))


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"^cannot write .*file/run: "):
        Run.create("train", {}, out=tmp_path / "file" / "run", seed=0)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_full_disk_while_logging_is_one_line(run: Run) -> None:
    run.log(1, {"loss": 1.0})
    (run.path / "metrics.jsonl").unlink()
    (run.path / "metrics.jsonl").symlink_to("/dev/full")
    with pytest.raises(UserError, match="No space left on device"):
        run.log(2, {"loss": 1.0})

"""`goalsight resume` of recordings and trainings, as processes: whatever stopped them, the bits are the same."""

import contextlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from goalsight.base.runs import Run
from goalsight.pretrain.data.store import FrameStore

COLLECT = "collect --frames 640 --steps 10 --num-envs 4 --image-size 32 --film 8"
TRAIN = "train --obs state --steps 1600 --num-envs 8 --warmup 320 --eval-every 800 --eval-episodes 4"
COMMANDS = {"collect": COLLECT.split(), "train": TRAIN.split()}
UNEQUAL = {"wall_s"}


def start(folder: Path, kind: str, name: str | Path) -> subprocess.Popen[str]:
    command = [*COMMANDS[kind], "--env", "PandaReach-v1", "--seed", "3", "--out", str(name)]
    return subprocess.Popen(
        [sys.executable, "-m", "goalsight", *command],
        cwd=folder,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def has_begun(run: Path, kind: str) -> bool:
    """Whether something of the run is kept already."""
    if kind == "train":
        return any(run.glob("checkpoints/[0-9]*/state.json"))
    index = run / "frames" / "index.json"
    return index.exists() and len(json.loads(index.read_text())["episodes"]) > 0


@pytest.fixture(scope="module", params=list(COMMANDS))
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A run of a kind that nothing stopped."""
    folder = tmp_path_factory.mktemp(request.param)
    process = start(folder, request.param, "whole")
    _, said = process.communicate(timeout=600)
    assert process.returncode == 0, said
    return request.param, folder


def wait_until_begun(process: subprocess.Popen[str], run: Path, kind: str) -> None:
    while not has_begun(run, kind):
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)


def goes_on_to_the_bit(run: Path, folder: Path, kind: str) -> None:
    command = [sys.executable, "-m", "goalsight", "resume", str(run)]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    ended, expected = Run.open(run), Run.open(folder / "whole")
    assert ended.status == "finished"
    if kind == "collect":
        assert FrameStore.open(run / "frames").content_hash == FrameStore.open(folder / "whole/frames").content_hash
        return
    weights = [one.checkpoint() / "model.safetensors" for one in (ended, expected)]
    assert weights[0].parent.name == weights[1].parent.name
    assert weights[0].read_bytes() == weights[1].read_bytes()
    rows = [[{k: v for k, v in row.items() if k not in UNEQUAL} for row in one.metrics()] for one in (ended, expected)]
    assert rows[0] == rows[1]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_what_a_signal_ended_goes_on_to_the_bit(whole: tuple[str, Path], number: signal.Signals) -> None:
    kind, folder = whole
    run = folder / number.name
    process = start(folder, kind, run.name)
    wait_until_begun(process, run, kind)
    process.send_signal(number)
    process.communicate(timeout=120)
    assert process.returncode == (-9 if number == signal.SIGKILL else 130)
    assert Run.open(run).status == ("killed" if number == signal.SIGKILL else "interrupted")
    goes_on_to_the_bit(run, folder, kind)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own."""
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=100m", "tmpfs", tmp_path], check=False)
    if mounted.returncode:
        pytest.skip("needs the right to mount a disk")
    yield tmp_path
    subprocess.run(["umount", "--lazy", tmp_path], check=True)


@pytest.mark.slow
def test_what_a_full_disk_ended_goes_on_to_the_bit(whole: tuple[str, Path], small_disk: Path) -> None:
    kind, folder = whole
    run, filler = small_disk / "run", small_disk / "filler"
    process = start(folder, kind, run)
    wait_until_begun(process, run, kind)
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(4096)):
            pass
    _, said = process.communicate(timeout=120)
    assert process.returncode == 2
    assert "No space left on device" in said.splitlines()[-1]
    assert Run.open(run).status != "finished"
    filler.unlink()
    goes_on_to_the_bit(run, folder, kind)

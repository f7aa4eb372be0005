"""Processes that `torchrun` starts train as one: the losses of a single process, to the bit, and one voice."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch

from goalsight.base.distributed import Group, agree, gather_json, gather_rows, group, together
from goalsight.base.errors import UserError
from goalsight.base.interruption import interrupted
from goalsight.base.runs import Run
from goalsight.commands import cli
from goalsight.pretrain.data.clips import Clips
from goalsight.pretrain.data.samplers import ClipSampler
from goalsight.pretrain.data.store import FrameStore, FrameStoreWriter

TOGETHER = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]


def spoken(*command, cwd):
    """Run a command with one thread, and return its exit code and what it says."""
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=env, timeout=300, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def data(tmp_path):
    rng = np.random.default_rng(0)
    with FrameStoreWriter(tmp_path / "store", image_size=16) as writer:
        for _ in range(6):
            writer.add_episode(rng.integers(256, size=(12, 16, 16, 3), dtype=np.uint8))
    return tmp_path / "store"


def test_two_processes_learn_what_one_does_to_the_bit(data, tmp_path):
    asked = [
        "-m",
        "goalsight",
        "pretrain",
        "--data",
        str(data),
        "--image-size",
        "16",
        "--steps",
        "20",
        "--threads",
        "1",
    ]
    runs = {}
    for name, start in (("one", [sys.executable]), ("two", TOGETHER)):
        code, out, err = spoken(*start, *asked, "--out", str(tmp_path / name), cwd=tmp_path)
        assert code == 0, err
        assert out.count("20 steps in") == 1, "only the first process speaks"
        runs[name] = Run.open(tmp_path / name)
    ours, others = (
        [row["pretrain/loss"] for row in runs[name].metrics() if "pretrain/loss" in row] for name in ("one", "two")
    )
    assert len(ours) == 2
    assert ours == others
    one, two = (runs[name].summary for name in ("one", "two"))
    assert (one["processes"], two["processes"]) == (1, 2)
    assert one["flops"] == two["flops"]
    assert one["encoder"] == two["encoder"]
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == ["one", "store", "two"]


def started_together(monkeypatch, rank, size=2):
    """Let this process think that `torchrun` has started it."""
    values = {"TORCHELASTIC_RUN_ID": "none", "RANK": rank, "WORLD_SIZE": size}
    for name, value in (values | {"LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": size}).items():
        monkeypatch.setenv(name, str(value))


def test_mistakes_are_one_line_of_one_process(data, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for rank, said in ((0, "goalsight: {}\n"), (1, "")):
        started_together(monkeypatch, rank)
        assert cli.run(["pretrain", "--data", str(data), "--image-size", "16", "--batch", "33"]) == 2
        words = "a batch of 33 cannot be shared out evenly among 2 processes"
        assert capsys.readouterr().err == said.format(words)
        assert cli.run(["envs"]) == 2
        assert capsys.readouterr().err == said.format("envs works in one process; torchrun is for pretrain")
    assert not (tmp_path / "runs").exists()


COMPARING = """
import json
import torch
from goalsight.base.distributed import agree, gather_json, sum_gradients, together
from goalsight.pretrain.objectives.contrastive import choose

CPU = torch.device("cpu")
with together(CPU) as members:
    weight = torch.randn(5, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    frames = torch.randn(3, 6, 5, generator=torch.Generator().manual_seed(1))
    now, later, rest = (frames[:, members.rows(6)] @ weight).unbind()
    loss, parts = choose(now, later, [rest], 0.5)
    (loss * len(now) / 6).backward()  # by its share of the batch, as every loss
    unused = torch.zeros(3, requires_grad=True)
    sum_gradients([weight, unused])
    said = agree([members.rank + 7.5], CPU)
    gathered = gather_json({"rank": members.rank, "text": "a" * members.rank}, CPU)
    if members.leads:
        found = {"loss": loss.item(), "gradient": weight.grad.tolist(), "said": said, "gathered": gathered}
        print(json.dumps(found | {"parts": parts, "unused": unused.grad is None}))
"""


def test_frames_of_all_processes_are_compared_with_each_other(tmp_path):
    (tmp_path / "comparing.py").write_text(COMPARING)
    alone, both = (
        json.loads(spoken(*start, "comparing.py", cwd=tmp_path)[1]) for start in ([sys.executable], TOGETHER)
    )
    assert both["loss"] == pytest.approx(alone["loss"])
    assert both["parts"] == pytest.approx(alone["parts"])
    torch.testing.assert_close(torch.tensor(both["gradient"]), torch.tensor(alone["gradient"]))
    assert alone["unused"]
    assert both["unused"]
    assert both["said"] == [7.5]
    assert both["gathered"] == [{"rank": 0, "text": ""}, {"rank": 1, "text": "a"}]


def test_alone_nothing_is_sent():
    assert group() == Group()
    assert group().leads
    rows = torch.zeros(2, 3)
    assert gather_rows(rows) is rows
    assert gather_json("x", torch.device("cpu")) == ["x"]
    assert agree([1.0], torch.device("cpu")) == [1.0]
    with together(torch.device("cpu")) as members:
        assert members.rows(10) == slice(0, 10)
    assert not torch.distributed.is_initialized()


def test_rows_are_shared_out_in_order():
    assert [Group(rank, 3).rows(12) for rank in range(3)] == [slice(0, 4), slice(4, 8), slice(8, 12)]
    with pytest.raises(UserError, match="a batch of 10 cannot be shared out evenly among 3 processes"):
        Group(0, 3).rows(10)


def test_a_process_reads_its_own_rows_of_what_all_draw(data):
    store = FrameStore.open(data)
    whole = ClipSampler(store, Clips(), batch=8, seed=0)
    halves = [ClipSampler(store, Clips(), batch=8, seed=0, rows=Group(rank, 2).rows(8)) for rank in range(2)]
    for _ in range(2):
        together_read = torch.cat([half.sample()["pixels"] for half in halves])
        assert torch.equal(together_read, whole.sample()["pixels"])


def test_what_torchrun_adds_to_ctrl_c_ends_nothing(monkeypatch, capsys):
    started_together(monkeypatch, 0)
    with interrupted() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.signal_name == "SIGINT"
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert capsys.readouterr().err.count("stopping after this step") == 1
    started_together(monkeypatch, 1)
    with interrupted() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.requested
    assert capsys.readouterr().err == ""

"""A pretraining that was stopped and resumed ends where one that was never stopped does, to the bit."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from test_pretrain_objectives import play

from goalsight.base.errors import UserError
from goalsight.base.runs import Run
from goalsight.pretrain import trainer as trainers
from goalsight.pretrain.encoders import vit as encoders
from goalsight.pretrain.encoders.vit import EncoderConfig
from goalsight.pretrain.objectives import OBJECTIVES, universal
from goalsight.pretrain.train import Pretrain, pretrain, resume

SIZE, STEPS = 16, 12


@pytest.fixture
def data(tmp_path, monkeypatch):
    """Episodes of noise, and an encoder that trains in seconds under the name nano."""
    monkeypatch.setitem(encoders.ENCODERS, "nano", EncoderConfig(SIZE, 32, 2, 2))
    return play(tmp_path / "store").path


def asked(data, name, **options):
    folder = data.parent
    batch = 20  # two shards, one of them short
    options = {"steps": STEPS, "batch": batch, "threads": 2, "seed": 3, **options}
    return Pretrain(data=(data,), out=folder / name, image_size=SIZE, cache=folder / "cache", **options)


def stopped_before(monkeypatch, number):
    """Let Ctrl-C arrive before a step."""
    step = trainers.Trainer.step

    def interrupted(self, *arguments):
        if self.steps == number:
            os.kill(os.getpid(), signal.SIGINT)
        return step(self, *arguments)

    monkeypatch.setattr(trainers.Trainer, "step", interrupted)


def go_on(path):
    """Hold a run that was stopped, and go on with it."""
    with Run.resume(path) as run:
        return resume(run)


def everything(run):
    """What a run ends with: its training state, and its measurements without their times."""
    state = run.load_state()
    state.pop("seconds")
    timed = ("wall_s", "pretrain/pairs_per_s")
    rows = [{name: value for name, value in row.items() if name not in timed} for row in run.metrics()]
    return state, rows


def assert_equal(one, other, path=""):
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other), path
    elif isinstance(one, dict):
        assert list(one) == list(other), path
        for name in one:
            assert_equal(one[name], other[name], f"{path}/{name}")
    elif isinstance(one, list):
        assert len(one) == len(other), path
        for number, (part, others) in enumerate(zip(one, other, strict=True)):
            assert_equal(part, others, f"{path}/{number}")
    else:
        assert one == other, path


@pytest.mark.parametrize("objective", ["masked", "latent", "contrastive", "temporal", "fused", "universal"])
def test_what_was_stopped_and_resumed_is_what_was_never_stopped(data, monkeypatch, objective):
    monkeypatch.setattr(trainers, "LOG_EVERY", 2)  # it is stopped after the fifth step, which is monitored
    monkeypatch.setattr(universal, "READ", 30)  # of 20 clips at a time: read at the third step, some kept at the fifth
    threads = 1 if OBJECTIVES.load(objective).whole_batch else 2  # two in one operation wait long on a busy machine
    whole = Run.open(pretrain(asked(data, "whole", objective=objective, threads=threads)))
    with monkeypatch.context() as patch:
        stopped_before(patch, 4)
        path = pretrain(asked(data, "halved", objective=objective, threads=threads))
    assert Run.open(path).manifest["status"] == "interrupted"
    assert Run.open(path).summary["steps"] == 5
    assert go_on(path) == path
    halved = Run.open(path)
    assert halved.manifest["status"] == "finished"
    assert halved.summary["encoder"] == whole.summary["encoder"]
    for name in ("loss", "flops", "steps", "lr"):
        assert halved.summary[name] == whole.summary[name]
    (state, rows), (others_state, others_rows) = everything(whole), everything(halved)
    assert {"objective", "optimiser", "sampler", "recent"} <= set(state)
    assert_equal(state, others_state)
    assert rows == others_rows
    kept = {name.split(".")[0] for name in state["objective"]}
    assert ("teacher" in kept) == (objective in ("latent", "universal"))
    read = [step for step in state["recent"] if "pretrain/read_action_learnt" in step]
    assert len(read) == (5 if objective == "universal" else 0), "at steps 2, 4, 6, 8 and 10"
    assert {name.split(".")[0] for name in whole.load()[0]} == {"encoder"}


def test_the_clock_of_a_budget_goes_on(data, monkeypatch):
    with monkeypatch.context() as patch:
        stopped_before(patch, 2)
        path = pretrain(asked(data, "run", steps=None, seconds=300.0))
    run = Run.open(path)
    trainer = trainers.Trainer(asked(data, "run", steps=None, seconds=300.0))
    trainer.load(run.load_state())
    assert trainer.seconds == pytest.approx(run.summary["seconds"], abs=0.01)
    assert trainer.steps == 3
    for damage in ({"recent": [{"pretrain/loss": []}]}, {"recent": [{}]}, {"steps": None}, {"objective": {}}):
        with pytest.raises(UserError, match="keeps a training state that does not fit"):
            trainer.load(run.load_state() | damage)
    # With nothing left of the budget not a step is taken.
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps(config | {"seconds": trainer.seconds}))
    go_on(path)
    assert Run.open(path).summary["steps"] == 3


def test_a_run_that_was_killed_before_its_first_checkpoint_begins_anew(data):
    whole = Run.open(pretrain(asked(data, "whole")))
    run = Run.create("pretrain", asked(data, "dead").settled(), out=data.parent / "dead", seed=3)
    run.manifest["sources"] = whole.manifest["sources"]
    run.set_status("interrupted")
    go_on(run.path)
    assert Run.open(run.path).summary["encoder"] == whole.summary["encoder"]


def test_other_data_and_options_that_cannot_be_are_one_line(data, monkeypatch):
    with monkeypatch.context() as patch:
        stopped_before(patch, 2)
        path = pretrain(asked(data, "run"))
    manifest = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps(manifest | {"sources": {"data": "0" * 64}}))
    with pytest.raises(UserError, match="has changed since"):
        go_on(path)
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps(config | {"objective_options": {"colour": "red"}}))
    with pytest.raises(UserError, match='the objective "masked" has no option colour'):
        go_on(path)
    (path / "config.json").write_text(json.dumps(config | {"objective_options": {"hide_next": "most"}}))
    with pytest.raises(UserError, match="hide_next cannot be 'most'"):
        go_on(path)


def test_the_first_checkpoint_comes_early(data, monkeypatch):
    published, publish = [], Run.publish

    def noted(run: Run, step: int, *parts: Any, **options: Any) -> Path:
        published.append(step)
        return publish(run, step, *parts, **options)

    monkeypatch.setattr(trainers, "FIRST_SAVE", 0.0)
    monkeypatch.setattr(Run, "publish", noted)
    path = pretrain(asked(data, "run"))
    assert published == [1, 12]
    assert [folder.name for folder in (path / "checkpoints").glob("0*")] == ["000012"]

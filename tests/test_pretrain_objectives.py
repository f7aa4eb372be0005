"""What holds for every objective: what it monitors and counts changes nothing that it learns, in one process or two."""

import copy
import os
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from goalsight.base.errors import UserError
from goalsight.base.flops import count_flops
from goalsight.base.runs import Run
from goalsight.pretrain import trainer as trainers
from goalsight.pretrain.data.store import FrameStore, FrameStoreWriter
from goalsight.pretrain.encoders import vit as encoders
from goalsight.pretrain.encoders.vit import EncoderConfig
from goalsight.pretrain.objectives import OBJECTIVES, numbers
from goalsight.pretrain.objectives.numbers import scaled
from goalsight.pretrain.objectives.paired import Paired
from goalsight.pretrain.objectives.universal import Universal
from goalsight.pretrain.pictures import enlarging, picture_grid
from goalsight.pretrain.train import Pretrain, pretrain
from goalsight.pretrain.trainer import Trainer

SIDE = 16
TOKENISERS = {"points": "local", "replaced": "codes"}
FELT, SILENT = Paired(partner="proprioception"), Universal(modalities=("pixels",))
EVERY = [*((name, None) for name in OBJECTIVES), ("paired", FELT), ("universal", SILENT)]
NAMES = [*OBJECTIVES, "paired with what is felt", "universal of pixels"]
SECONDS = {"seconds", "pairs_per_s", "matmul_peak", "share_of_peak"}  # of a summary, what depends on the clock


def play(path: Path) -> FrameStore:
    """Episodes of noise in which everything is known that any objective reads."""
    rng = np.random.default_rng(0)
    with FrameStoreWriter(path, image_size=SIDE) as writer:
        for number in range(6):
            columns = {name: rng.normal(size=(20, size)) for name, size in (("proprioception", 3), ("action", 2))}
            columns["place.object"] = rng.random((20, 2))
            writer.add_episode(
                rng.integers(256, size=(20, SIDE, SIDE, 3), dtype=np.uint8),
                columns={name: values.astype(np.float32) for name, values in columns.items()},
                instruction=("Lift the object.", "Push the object to the left.")[number % 2],
            )
    return FrameStore.open(path)


@pytest.fixture
def store(tmp_path):
    return play(tmp_path / "store")


@pytest.fixture
def small(monkeypatch):
    """An encoder that trains in no time, under the name nano."""
    monkeypatch.setitem(encoders.ENCODERS, "nano", EncoderConfig(SIDE, 16, 1, 2))


def asked(objective, options=None, **others):
    others = {"image_size": SIDE, "batch": 20, "threads": 1, "steps": 5, "device": "cpu", **others}
    tokeniser = TOKENISERS.get(objective, Pretrain.tokeniser)
    return Pretrain(data=(), objective=objective, objective_options=options, tokeniser=tokeniser, **others)


def learnt(store, *asked_for, steps=3, **others):
    """What a few steps have made of the weights, and what they measured."""
    with Trainer(asked(*asked_for, **others)) as trainer:
        trainer.open(store)
        for step in range(steps):
            trainer.recent.append(trainer.step(trainer.sampler.sample(), step / steps))
        weights = {name: value for name, value in trainer.objective.state_dict().items() if torch.is_tensor(value)}
        trainer.objective.headline(trainer.means())
        trainer.objective.alarms(trainer.means())
        return copy.deepcopy(weights), trainer.means()


@pytest.mark.parametrize(("objective", "options"), EVERY, ids=NAMES)
def test_how_often_it_monitors_changes_nothing_that_is_learnt(store, small, monkeypatch, objective, options):
    found = {}
    for every in (1, 10):
        monkeypatch.setattr(trainers, "LOG_EVERY", every)
        torch.manual_seed(every)  # nothing is drawn from what all share
        found[every] = learnt(store, objective, options)
    (often, measured), (seldom, others) = found[1], found[10]
    assert all(torch.equal(value, seldom[name]) for name, value in often.items())
    assert measured["loss"] == others["loss"]
    assert measured.keys() == others.keys(), "the first step is among those that are monitored"


@pytest.mark.parametrize(("objective", "options"), EVERY, ids=NAMES)
def test_counting_counts_the_loss_and_leaves_no_trace(store, small, monkeypatch, objective, options):
    with Trainer(asked(objective, options)) as trainer:
        monkeypatch.setattr(trainer.objective, "monitor", lambda *_: pytest.fail("what it monitors is no part of it"))
        trainer.open(store)
        batch = trainer.sampler.sample()
        alone = copy.deepcopy(trainer.objective)
        before, shared = copy.deepcopy(trainer.objective.state_dict()), torch.get_rng_state()
        counted = trainer.flops_per_step(batch)
        assert counted == trainers.Trainer.flops_per_step(trainer, batch)
        assert torch.equal(torch.get_rng_state(), shared)
        assert all(weight.grad is None for weight in trainer.objective.parameters())
        for name, value in trainer.objective.state_dict().items():
            assert torch.equal(value, before[name]) if torch.is_tensor(value) else value == before[name], name
        with trainers.autocast(trainer.device):
            assert counted == count_flops(lambda: alone(batch, torch.Generator().manual_seed(1))[0].backward())


@pytest.mark.parametrize(("objective", "options"), EVERY, ids=NAMES)
def test_a_single_clip_is_enough_to_learn_from(store, small, objective, options):
    _, measured = learnt(store, objective, options, batch=1)
    assert all(np.isfinite(value) for value in measured.values()), measured


@pytest.mark.parametrize(("objective", "options"), EVERY, ids=NAMES)
def test_pictures_are_drawn_without_the_other_processes(store, small, monkeypatch, objective, options):
    with Trainer(asked(objective, options)) as trainer:
        trainer.open(store)
        modules = [module for name, module in sys.modules.items() if name.startswith("goalsight.pretrain.objectives.")]
        for module in modules:
            if hasattr(module, "gather_rows"):
                monkeypatch.setattr(module, "gather_rows", lambda rows: pytest.fail("the others draw none"))
        shown = trainer.objective.visualise(trainer._shown, torch.Generator())
    large = SIDE * enlarging(SIDE)
    fit = [(trainers.PICTURED, side, side, 3) for side in (SIDE, large)]
    assert all(frames.shape in fit for frames in shown.values())
    assert len(picture_grid({name: frames.numpy() for name, frames in shown.items()})) > trainers.PICTURED * large


def test_numbers_are_scaled_by_their_spread_and_a_single_row_has_none(monkeypatch):
    rows = torch.tensor([[1.0, 7.0], [3.0, 7.0]])
    middle = 0.5**0.5  # half of a distance of 2, over a spread of the root of 2
    torch.testing.assert_close(scaled(rows), torch.tensor([[-middle, 0.0], [middle, 0.0]]))
    assert scaled(rows[:1]).tolist() == [[0.0, 0.0]]
    # Another process has 5 and 7 in the first column: a mean of 4, a variance of 20 / 3.
    monkeypatch.setattr(numbers, "gather_rows", lambda mine: torch.cat([mine, torch.tensor([[5.0, 7.0], [7.0, 7.0]])]))
    assert scaled(rows)[:, 0].tolist() == pytest.approx([-3 / (20 / 3) ** 0.5, -1 / (20 / 3) ** 0.5])
    torch.testing.assert_close(scaled(rows, alone=True), torch.tensor([[-middle, 0.0], [middle, 0.0]]))


@pytest.mark.parametrize(("objective", "options"), EVERY, ids=NAMES)
def test_a_gap_that_nothing_is_read_by_is_refused(small, objective, options):
    config = asked(objective, options, max_gap=5)
    if objective in ("fused", "universal", "paired", "replaced"):
        with pytest.raises(UserError, match=f'--max-gap does nothing for the objective "{objective}"; leave it out'):
            Trainer(config)
    else:
        assert Trainer(config).objective.reads(5) != Trainer(replace(config, max_gap=8)).objective.reads(8)


def together(folder: Path, config: Pretrain) -> dict[str, object]:
    """Train in two processes, and return the summary."""
    options = {} if config.objective_options is None else asdict(config.objective_options)
    given = {f"{config.objective}.{name.replace('_', '-')}": value for name, value in options.items()}
    given |= {name: getattr(config, name) for name in ("objective", "tokeniser", "steps", "batch", "threads")}
    given |= {"data": config.data[0], "image-size": SIDE, "out": folder / "two", "cache": config.cache}
    words = [
        word
        for name, value in given.items()
        for word in (f"--{name}", *(value if isinstance(value, tuple) else (value,)))
    ]
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "goalsight", "pretrain"]
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, *map(str, words)], capture_output=True, text=True, cwd=folder, env=env, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return Run.open(folder / "two").summary


# Each starts torch in three processes.
PROCESSES = [
    pytest.param(*one, id=name, marks=() if name == "fused" else pytest.mark.slow)
    for one, name in zip(EVERY, NAMES, strict=True)
]


@pytest.mark.parametrize(("objective", "options"), PROCESSES)
def test_two_processes_train_and_monitor_as_one(store, tmp_path, objective, options):
    config = asked(objective, options, steps=2, batch=32)
    config = replace(config, data=(store.path,), cache=tmp_path / "cache", out=tmp_path / "one")
    one, two = Run.open(pretrain(config)).summary, together(tmp_path, config)
    assert one.keys() == two.keys()
    if OBJECTIVES.load(objective).whole_batch:  # of which each process draws for its own part
        assert two["flops"] == pytest.approx(one["flops"], rel=0.02)
        assert two["loss"] == pytest.approx(one["loss"], rel=0.3)
    else:
        told = one.keys() - SECONDS - {"run", "processes"}
        assert {name: one[name] for name in told} == {name: two[name] for name in told}
    assert [path.name for path in (tmp_path / "two" / "pictures").iterdir()] == ["seen-000002.png"]

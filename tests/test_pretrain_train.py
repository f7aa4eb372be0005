"""Training end to end, tiny: the encoder learns, runs are whole, budgets and mistakes are honoured."""

import json
import os
import shutil
import signal

import numpy as np
import pytest
import torch
import tyro
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from goalsight.base.budgets import Budget, learning_rate
from goalsight.base.errors import UserError
from goalsight.base.options import options_from
from goalsight.base.runs import Run
from goalsight.commands import cli
from goalsight.pretrain import trainer as trainers
from goalsight.pretrain.data.store import FrameStore, FrameStoreWriter
from goalsight.pretrain.encoders import vit as encoders
from goalsight.pretrain.encoders.features import EncoderFeatures
from goalsight.pretrain.encoders.vit import EncoderConfig, load_encoder, random_encoder
from goalsight.pretrain.objectives import OBJECTIVES
from goalsight.pretrain.objectives.latent import Latent
from goalsight.pretrain.objectives.masked import MaskedPrediction
from goalsight.pretrain.train import Pretrain, pretrain

SIZE, SIDE = 16, 4  # of the frames and of the square in them [pixels]


def moving_squares(path, episodes=40, length=10, seed=0):
    """A square of a strong colour drifts over a chequered background; both differ from episode to episode."""
    rng = np.random.default_rng(seed)
    with FrameStoreWriter(path, image_size=SIZE) as writer:
        for _ in range(episodes):
            background = rng.integers(60, 190, (4, 4, 3), dtype=np.uint8).repeat(4, 0).repeat(4, 1)
            colour = rng.choice([0, 255], 3)  # so that no sum over pixels tells where the square is
            place, speed = rng.uniform(0, SIZE - SIDE, 2), rng.uniform(-1.5, 1.5, 2)
            frames, places = [], []
            for _ in range(length):
                speed = np.where((place + speed < 0) | (place + speed > SIZE - SIDE), -speed, speed)
                place = place + speed
                y, x = place.round().astype(int)
                frame = background.copy()
                frame[y : y + SIDE, x : x + SIDE] = colour
                frames.append(frame)
                places.append([y, x])
            writer.add_episode(np.stack(frames), {"square": np.array(places, np.float32)}, "moving squares")
    return FrameStore.open(path)


@pytest.fixture
def small(monkeypatch):
    """A preset that trains in seconds, under the name nano."""
    monkeypatch.setitem(encoders.ENCODERS, "nano", EncoderConfig(SIZE, 32, 2, 2))


@pytest.fixture
def squares(tmp_path):
    moving_squares(tmp_path / "squares")
    return tmp_path / "squares"


def config(data, out, **options):
    options = {"steps": 5, "batch": 8, "image_size": SIZE, "threads": 1, "cache": out.parent / "cache", **options}
    return Pretrain(data=(data,), out=out, **options)


def ridge_error(features, places):
    """Mean error of ridge regression on the second half of the frames, fitted on the first [pixels]."""
    x = features.reshape(len(features), -1)
    half = len(x) // 2
    x = x - x[:half].mean(0)
    x /= x[:half].std()
    mean = places[:half].mean(0)
    errors = []
    for strength in (1e-3, 1e-2, 1e-1):
        kernel = x[:half] @ x[:half].T
        kernel += strength * np.trace(kernel) / half * np.eye(half)
        predicted = x[half:] @ (x[:half].T @ np.linalg.solve(kernel, places[:half] - mean)) + mean
        errors.append(np.linalg.norm(predicted - places[half:], axis=1).mean())
    return min(errors)


def test_prediction_beats_copying_and_features_beat_random_ones(tmp_path, small):
    store = moving_squares(tmp_path / "squares", episodes=80)
    run = Run.open(pretrain(config(store.path, tmp_path / "run", steps=150, batch=16, lr=3e-3, max_gap=4)))
    assert run.summary["psnr_next_changed"] > run.summary["psnr_copy_changed"] + 1
    frames, places = store.frames(np.arange(store.num_frames)), np.array(store.labels["square"])
    error, random = (
        ridge_error(EncoderFeatures(encoder)(frames), places)
        for encoder in (load_encoder(run.path), random_encoder("nano", SIZE))
    )
    assert error < 0.85 * random


def test_a_run_holds_everything(tmp_path, squares, small, capsys):
    path = pretrain(config(squares, tmp_path / "run", steps=23))
    store, run = FrameStore.open(squares), Run.open(path)
    assert run.manifest["status"] == "finished"
    assert run.manifest["sources"] == {"data": store.content_hash}
    assert run.config["steps"] == 23
    assert [row["step"] for row in run.metrics()] == [10, 20, 23]
    assert {"pretrain/loss", "pretrain/psnr_next", "pretrain/pairs_per_s", "pretrain/lr"} <= set(run.metrics()[0])
    assert run.checkpoint().name == "000023"
    assert load_encoder(path).content_hash() == run.summary["encoder"]
    assert run.summary["flops"] == 23 * 8 * run.summary["flops_per_pair"] > 0
    with Image.open(path / "pictures" / "seen-000023.png") as picture:
        assert picture.size == (6 * 132 + 4, 6 * 132 + 24)  # six columns, six pairs
    assert str(path) in capsys.readouterr().out


def test_it_monitors_at_the_first_of_ten_steps_and_logs_what_it_found(tmp_path, squares, small, monkeypatch):
    monitored = []

    def monitor(self, batch, generator):
        monitored.append(len(batch["pixels"]))
        return {"pretrain/monitored": float(len(monitored))}

    monkeypatch.setattr(MaskedPrediction, "monitor", monitor)
    run = Run.open(pretrain(config(squares, tmp_path / "run", steps=21)))
    assert monitored == [8, 8, 8]
    assert [row["pretrain/monitored"] for row in run.metrics() if "pretrain/loss" in row] == [1.0, 2.0, 3.0]
    assert run.summary["monitored"] == 2.0, "the mean of three"


def test_the_same_seed_gives_the_same_bits(tmp_path, squares, small):
    hashes = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        hashes.append(load_encoder(pretrain(config(squares, tmp_path / name, seed=seed))).content_hash())
    assert hashes[0] == hashes[1] != hashes[2]


def test_json_is_all_that_stdout_holds(tmp_path, squares, small, capsys):
    pretrain(config(squares, tmp_path / "run", json=True))
    assert json.loads(capsys.readouterr().out)["steps"] == 5


def test_a_budget_of_operations_is_not_overdrawn_by_more_than_a_step(tmp_path, squares, small):
    pretrain(config(squares, tmp_path / "one", steps=1))
    step = Run.open(tmp_path / "one").summary["flops"]
    pretrain(config(squares, tmp_path / "run", steps=None, flops=3.5 * step))
    assert Run.open(tmp_path / "run").summary["steps"] == 4


def test_a_budget_of_seconds_ends(tmp_path, squares, small):
    pretrain(config(squares, tmp_path / "run", steps=None, seconds=0.5))
    assert 0.5 <= Run.open(tmp_path / "run").summary["seconds"] < 5


def test_a_budget_of_seconds_that_pays_for_no_step_is_one_line(tmp_path, squares, small):
    with pytest.raises(UserError, match="the budget of 1e-09 s is over before the first step; give more"):
        pretrain(config(squares, tmp_path / "run", steps=None, seconds=1e-9))
    assert Run.open(tmp_path / "run").status == "failed"


def test_an_interruption_leaves_a_run_that_loads(tmp_path, squares, small, monkeypatch):
    step = trainers.Trainer.step

    def interrupted_at_the_third(self, *arguments):
        if self.steps == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return step(self, *arguments)

    monkeypatch.setattr(trainers.Trainer, "step", interrupted_at_the_third)
    path = pretrain(config(squares, tmp_path / "run", steps=1000))
    run = Run.open(path)
    assert run.manifest["status"] == "interrupted"
    assert run.summary["steps"] == 3
    assert load_encoder(path).content_hash() == run.summary["encoder"]


def test_a_clip_in_which_nothing_changes_ends_in_a_sentence(tmp_path, small, capsys):
    with FrameStoreWriter(tmp_path / "still", image_size=SIZE) as writer:
        writer.add_episode(np.full((10, SIZE, SIZE, 3), 90, np.uint8))
    path = pretrain(config(tmp_path / "still", tmp_path / "run"))
    assert "no pixel in these clips changes by more than 5%" in capsys.readouterr().out
    assert "psnr_next_changed" not in Run.open(path).summary


@pytest.mark.parametrize("objective", ["masked", "latent"])
def test_a_stop_before_the_first_step_ends_in_a_sentence(tmp_path, squares, small, monkeypatch, capsys, objective):
    begin = trainers.Journal.__init__

    def interrupted(self, *arguments):
        os.kill(os.getpid(), signal.SIGINT)
        begin(self, *arguments)

    monkeypatch.setattr(trainers.Journal, "__init__", interrupted)
    path = pretrain(config(squares, tmp_path / "run", objective=objective))
    assert Run.open(path).manifest["status"] == "interrupted"
    assert Run.open(path).summary["steps"] == 0
    assert "stopped before the first step" in capsys.readouterr().out
    load_encoder(path)


def test_a_short_training_whose_loss_explodes_rings_an_alarm(squares, tmp_path, small, capsys):
    path = pretrain(config(squares, tmp_path / "run", steps=20, lr=0.9))
    alarms = Run.open(path).summary["alarms"]
    assert list(alarms) == ["apart"]
    assert alarms["apart"].endswith("the training has come apart; a smaller --lr than 0.9 may help")
    assert f"warning: {alarms['apart']}" in capsys.readouterr().err


def test_alarms_are_shown_while_training_kept_and_said_at_the_end(tmp_path, small, monkeypatch, capsys):
    frames = np.zeros((10, SIZE, SIZE, 3), np.uint8)  # black, so that the first guess, grey, is worse than copying
    frames[np.arange(10), np.arange(10)] = 30
    with FrameStoreWriter(tmp_path / "dark", image_size=SIZE) as writer:
        writer.add_episode(frames)
    shown = []
    monkeypatch.setattr(trainers, "SUMMARISED", 10)
    monkeypatch.setattr(tqdm, "set_postfix_str", lambda self, text, refresh: shown.append(text))
    path = pretrain(config(tmp_path / "dark", tmp_path / "run", steps=20, lr=1e-6))
    alarms = Run.open(path).summary["alarms"]
    assert list(alarms) == ["copying"]
    assert "no better than by copying the last frame" in alarms["copying"]
    assert f"warning: {alarms['copying']}" in capsys.readouterr().err
    assert shown[8] == ""
    assert shown[9].endswith("pairs/s, ALARM copying")


def test_options_of_parts_are_shown_recorded_and_used(tmp_path, squares, small, capsys):
    arguments = ["--data", str(squares), "--image-size", "16", "--steps", "1", "--batch", "4", "--threads", "1"]
    arguments += ["--cache", str(tmp_path / "cache")]
    chosen = ["--objective", "latent", "--latent.momentum", "0.5", "--tokeniser", "patches", "--patches.side", "4"]
    assert cli.run(["pretrain", *arguments, *chosen, "--out", str(tmp_path / "run")]) == 0
    run = Run.open(tmp_path / "run")
    assert run.config["objective_options"]["momentum"] == 0.5
    assert run.config["tokeniser_options"] == {"side": 4}
    assert run.load()[1]["objective_options"] == run.config["objective_options"]
    assert load_encoder(run.path).tokens == 16
    assert options_from(Pretrain, run.config).settled().objective_options == Latent(momentum=0.5)
    capsys.readouterr()
    assert cli.run(["pretrain", "--help"]) == 0
    told = capsys.readouterr().out
    everything = "".join(character for character in told if character not in " │\n")  # lines are broken anywhere
    assert "--objective{" + ",".join(OBJECTIVES) + "}" in everything
    for option in ("--masked.hide-next", "--latent.last-momentum", "--conv.grid", "--patches.side"):
        assert option in told


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["--latent.momentum", "0.5"],
            '--latent.momentum is an option of the objective "latent", but "masked" is chosen',
        ),
        (["--patches.side", "4"], '--patches.side is an option of the tokeniser "patches", but "conv" is chosen'),
        (["--masked.hide-next", "2"], "hide_next must lie in (0, 1), got 2.0"),
        (["--objective", "fused", "--max-gap", "4"], '--max-gap does nothing for the objective "fused"; leave it out'),
        (["--objective", "latnet"], 'no objective "latnet"; did you mean "latent"?'),
        (["--tokeniser", "patch"], 'no tokeniser "patch"; did you mean "patches"?'),
        (["--objective", "latent", "--latent.momentun", "1"], "did you mean --latent.momentum?"),
    ],
)
def test_options_that_do_not_fit_are_one_line(squares, capsys, arguments, words):
    assert cli.run(["pretrain", "--data", str(squares), *arguments]) == 2
    complaint = capsys.readouterr().err
    assert words in complaint
    assert complaint.count("\n") == 1


@pytest.mark.parametrize("objective", ["masked", "latent"])
def test_a_loss_that_is_no_number_is_one_line_and_costs_no_checkpoint(tmp_path, squares, small, monkeypatch, objective):
    step = trainers.Trainer.step
    monkeypatch.setattr(trainers, "LOG_EVERY", 1)  # what is no number is not monitored

    def spoilt_after_two(self, *arguments):
        if self.steps == 2:
            with torch.no_grad():
                self.encoder.norm.weight.fill_(float("nan"))
        return step(self, *arguments)

    monkeypatch.setattr(trainers.Trainer, "step", spoilt_after_two)
    with pytest.raises(UserError, match=r"the loss became nan at step 2 .* clips that begin at frames .*, ") as caught:
        pretrain(config(squares, tmp_path / "run", save_every=0.0, objective=objective))
    assert "\n" not in str(caught.value)
    assert Run.open(tmp_path / "run").manifest["status"] == "failed"
    tensors, _ = Run.open(tmp_path / "run").load()
    assert all(value.isfinite().all() for value in tensors.values())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"size": "nanno"}, 'did you mean "nano"'),
        ({"objective": "mask"}, 'did you mean "masked"'),
        ({"image_size": 60}, "choices: 16, 32, 64"),
        ({"device": "gpu"}, "choices: auto, cpu, cuda"),
        ({"steps": 0}, "budget in steps must be positive"),
        ({"steps": None, "flops": -1.0}, "budget in flops must be positive"),
        ({"batch": 0}, "batch must be at least 1"),
        ({"lr": 0.0}, "lr must lie in"),
        ({"fps": float("nan")}, "fps must not be negative"),
    ],
)
def test_mistakes_are_one_line_and_leave_no_run(tmp_path, squares, options, words):
    with pytest.raises(UserError, match=words) as caught:
        pretrain(config(squares, tmp_path / "run", **options))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_the_command_line_takes_several_paths_and_scientific_budgets():
    asked = tyro.cli(Pretrain.for_command_line([]), args=["--data", "a.mp4", "b", "--flops", "1e14", "--size", "tiny"])
    assert [str(path) for path in asked.data] == ["a.mp4", "b"]
    assert asked.flops == 1e14


def test_the_learning_rate_rises_then_falls():
    assert [learning_rate(spent, 2.0, warmup=0.2) for spent in (0.0, 0.1, 0.2)] == [0.0, 1.0, 2.0]
    assert learning_rate(0.6, 2.0, warmup=0.2) == pytest.approx(1.0)
    assert learning_rate(1.0, 2.0, warmup=0.2) == pytest.approx(0.0)
    assert learning_rate(1.7, 2.0, warmup=0.2) == pytest.approx(0.0)


def test_the_budget_nearest_its_end_counts():
    budget = Budget(seconds=10, steps=100, flops=1e9)
    assert budget.spent(seconds=2, steps=50, flops=1e8) == 0.5
    assert budget.spent(seconds=9, steps=50, flops=1e8) == 0.9
    with pytest.raises(UserError, match="give a budget"):
        Budget()


def test_a_budget_too_small_for_one_step_is_refused_before_a_run_is_made(squares, tmp_path, small):
    with pytest.raises(UserError, match=r"one step takes .* operations, and the budget is 1e\+03; give more"):
        pretrain(config(squares, tmp_path / "run", steps=None, flops=1e3))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("spoil", [Tensor.detach, lambda loss: loss.expand(2)])
def test_an_objective_of_ones_own_that_returns_no_loss_is_refused(squares, tmp_path, small, monkeypatch, spoil):
    loss = MaskedPrediction.loss

    def spoilt(self, batch, generator):
        found, parts = loss(self, batch, generator)
        return spoil(found), parts

    monkeypatch.setattr(MaskedPrediction, "loss", spoilt)
    with pytest.raises(UserError, match='the objective "masked" returns no loss to learn from'):
        pretrain(config(squares, tmp_path / "run"))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("happens", "said"),
    [
        (lambda store: os.utime(store / "pixels.raw", (1, 1)), "was changed while it was learnt from; train anew"),
        (shutil.rmtree, "was removed while it was learnt from; put it back and resume the run"),
    ],
)
def test_data_that_changes_under_a_training_ends_it_and_what_was_published_stays(
    squares, tmp_path, small, monkeypatch, happens, said
):
    step, path, store = trainers.Trainer.step, tmp_path / "run", tmp_path / "store"
    shutil.copytree(squares, store)

    def stepped(self, *arguments):
        if self.steps == 3:
            happens(store)
        return step(self, *arguments)

    monkeypatch.setattr(trainers.Trainer, "step", stepped)
    with pytest.raises(UserError, match=f"{store} {said}"):
        pretrain(config(store, path, save_every=0.0))
    assert Run.open(path).manifest["status"] == "failed"
    assert Run.open(path).checkpoint("last").name == "000003"
    assert load_encoder(path).config.image_size == SIZE

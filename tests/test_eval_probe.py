import json
from dataclasses import asdict

import numpy as np
import pytest

from goalsight.agents.collecting.collect import Collect, collect
from goalsight.base.errors import UserError
from goalsight.base.runs import Run
from goalsight.eval.probes.probe import SHARES, Probe, averaged, out_of_sight, probe, split_episodes
from goalsight.pretrain.data.store import FrameStore
from goalsight.pretrain.data.writer import FrameStoreWriter
from goalsight.pretrain.encoders.vit import EncoderConfig, VideoEncoder
from goalsight.pretrain.train import Pretrain, pretrain

CONFIG = EncoderConfig(image_size=16, width=16, depth=1, heads=1)


def a_store(path, *, episodes=20, length=10, labels=True, fallen=0, beyond=0):
    """Episodes of a 3x3 square on grey, labelled with where it is [m], one pixel being 1 cm."""
    rng = np.random.default_rng(0)
    with FrameStoreWriter(path, image_size=16) as writer:
        for _ in range(episodes):
            frames = np.full((length, 16, 16, 3), 100, np.uint8)
            places = rng.integers(1, 15, (length, 2))
            for frame, (row, column) in zip(frames, places, strict=True):
                frame[row - 1 : row + 2, column - 1 : column + 2] = (255, 0, 0)
            positions = np.column_stack([places / 100, np.full(length, 0.02)]).astype(np.float32)
            positions[:fallen, 2] = -0.7
            positions[length - beyond :] = np.nan
            still = np.full((length, 3), 0.3, np.float32)
            writer.add_episode(frames, {"object": positions, "gripper": still} if labels else None)
    return FrameStore.open(path)


def an_encoder(path):
    run = Run.create("pretrain", {}, out=path, seed=0)
    weights = {f"encoder.{name}": value for name, value in VideoEncoder(CONFIG, seed=5).state_dict().items()}
    run.publish(1, weights, {"encoder": asdict(CONFIG)})
    return run


def test_episodes_are_dealt_out_whole(tmp_path):
    store = a_store(tmp_path / "store", fallen=2, beyond=1)
    parts = split_episodes(store, 100, 3, leave_out=out_of_sight(store))
    members = {name: set(store.episode_of_frame[rows]) for name, rows in parts.items()}
    # 20 episodes at shares of 0.6, 0.15 and 0.25, and 100 frames likewise.
    assert {name: len(episodes) for name, episodes in members.items()} == {"train": 12, "validation": 3, "test": 5}
    assert {name: len(rows) for name, rows in parts.items()} == {"train": 60, "validation": 15, "test": 25}
    assert sum(len(episodes) for episodes in members.values()) == len(set.union(*members.values()))
    assert all((rows % 10 >= 2).all() for rows in parts.values()), "fallen objects are left out"
    assert all((rows % 10 < 9).all() for rows in parts.values()), "and those beyond the picture's edge"
    again = split_episodes(store, 100, 3, leave_out=out_of_sight(store))
    assert all(np.array_equal(parts[name], again[name]) for name in SHARES)


def test_averaging_worked_by_hand():
    frames = np.zeros((1, 4, 4, 3), np.uint8)
    frames[0, :2, 2:, 0] = [[255, 0], [0, 255]]
    assert averaged(frames, 2).tolist() == [[0, 0, 0, 0.5, 0, 0, 0, 0, 0, 0, 0, 0]]
    with pytest.raises(UserError, match="cannot be averaged down to 3"):
        averaged(frames, 3)


def test_probe_of_a_run(tmp_path, capsys):
    store, run = a_store(tmp_path / "play" / "frames", episodes=40), an_encoder(tmp_path / "run")
    found = probe(Probe(run.path, data=tmp_path / "play", frames=400))
    errors = found["errors_cm"]
    assert set(errors) == {"encoder", "random encoder", "pixels 16x16", "pixels 8x8", "mean position"}
    # Rows and columns are even in 1 to 14: the mean is about 5.7 cm away; pixels show where the square is.
    assert 5.0 < errors["mean position"]["object"] < 6.5
    assert errors["pixels 16x16"]["object"] < 0.6 * errors["mean position"]["object"]
    assert errors["encoder"]["gripper"] == 0.0
    assert found["worst"]["factor"] == "object"
    assert found["data"]["hash"] == store.content_hash
    assert json.loads((run.path / "probe.json").read_text())["errors_cm"] == errors
    assert capsys.readouterr().out.startswith("worst factor: object")


def test_what_cannot_be_probed_is_one_line(tmp_path):
    run = an_encoder(tmp_path / "run")
    a_store(tmp_path / "unlabelled", labels=False)
    a_store(tmp_path / "short", episodes=5)
    for data, message in (
        ("nowhere", "no frame store"),
        ("unlabelled", "without positions"),
        ("short", "at least 8 episodes"),
    ):
        with pytest.raises(UserError, match=message):
            probe(Probe(run.path, data=tmp_path / data))
    with pytest.raises(UserError, match="does not exist"):
        probe(Probe(tmp_path / "no-run", data=tmp_path / "short"))
    with pytest.raises(UserError, match="at least 100"):
        Probe(run.path, data=tmp_path, frames=10)


@pytest.mark.slow
def test_an_encoder_that_watched_play_knows_where_the_object_is(tmp_path):
    play = collect(Collect(frames=8_000, steps=25, film=0, out=tmp_path / "play"))
    run = pretrain(Pretrain(data=(play,), steps=300, out=tmp_path / "encoder", cache=tmp_path / "frames"))
    errors = {name: row["object"] for name, row in probe(Probe(run, data=play, frames=6000))["errors_cm"].items()}
    assert errors["encoder"] < 0.85 * errors["random encoder"]
    assert errors["encoder"] < 0.95 * errors["pixels 8x8"], "pixels averaged down to the grid of the encoder's tokens"

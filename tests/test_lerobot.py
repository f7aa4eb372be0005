"""LeRobot data sets: one that the official package wrote is read, ours is read by it, and damage is one line."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from goalsight.base.errors import UserError
from goalsight.commands.cli import run
from goalsight.pretrain.data.exporters.base import Origin
from goalsight.pretrain.data.exporters.lerobot import LeRobotExporter
from goalsight.pretrain.data.ingest import cached_ingest, ingest
from goalsight.pretrain.data.lerobot import column_of, feature_of
from goalsight.pretrain.data.store import FrameStore, FrameStoreWriter

OFFICIAL = Path(__file__).parent / "data" / "lerobot"  # see data/make_lerobot.py
LENGTHS = [5, 3, 4]


@pytest.fixture
def official(tmp_path):
    return Path(shutil.copytree(OFFICIAL, tmp_path / "set"))


def test_a_set_of_the_official_package_is_read(tmp_path, capfd):
    store = ingest([OFFICIAL], tmp_path / "store", 16)
    assert store.episode_lengths.tolist() == LENGTHS
    assert store.instructions == ("Push the block.", "Lift the block.", "Push the block.")
    assert store.sources[1] == f"{OFFICIAL} episode 1"
    time, episode = np.concatenate([np.arange(n) for n in LENGTHS]), np.repeat([0, 1, 2], LENGTHS)
    np.testing.assert_array_equal(store.columns["proprioception"], np.stack([np.arange(12), time, episode], 1))
    np.testing.assert_array_equal(store.columns["action"], np.stack([time, -episode], 1))
    np.testing.assert_array_equal(store.columns["reward"], time[:, None] - 10)
    assert store.columns["success"].dtype == bool
    assert np.flatnonzero(store.columns["success"]).tolist() == [4, 7, 11]
    # No picture of one episode stands in another: AV1 keeps a grey to within a few steps.
    frames = store.frames(np.arange(12)).astype(int)
    np.testing.assert_allclose(frames[:, 8, 12, 0], 20 + 40 * episode + 8 * time, atol=5)
    assert f"{OFFICIAL}: of its cameras, front is read; not wrist" in capfd.readouterr().err


def test_the_cache_notices_that_a_set_has_changed(official, tmp_path):
    first = cached_ingest([official], tmp_path / "cache", 16)
    assert cached_ingest([official], tmp_path / "cache", 16).path == first.path
    (official / "meta" / "info.json").touch()
    assert cached_ingest([official], tmp_path / "cache", 16).path != first.path


def old_format(root):
    info = json.loads((root / "meta" / "info.json").read_text()) | {"codebase_version": "v2.1"}
    (root / "meta" / "info.json").write_text(json.dumps(info))


def cut(file):
    def damage(root):
        path = next(root.glob(file))
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    return damage


def without(file):
    return lambda root: next(root.glob(file)).unlink()


def pipe(file):
    def damage(root):
        path = next(root.glob(file))
        path.unlink()
        os.mkfifo(path)

    return damage


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (old_format, r"has the format v2.1; v3.0 is read; convert it with"),
        (cut("data/*/*.parquet"), "is damaged"),
        (cut("meta/episodes/*/*.parquet"), "is damaged"),
        (cut("meta/info.json"), "is damaged"),
        (without("meta/info.json"), "is damaged.*info.json"),
        (lambda root: shutil.rmtree(root / "meta"), "is damaged.*info.json"),
        (pipe("meta/info.json"), "is damaged.*info.json is no plain file"),
        (without("data/*/*.parquet"), "is damaged.*file-000.parquet"),
        (without("meta/episodes/*/*.parquet"), r"has no meta/episodes/\*/\*.parquet"),
        (without("videos/*front/*/*.mp4"), "is damaged.*file-000.mp4"),
        (pipe("videos/*front/*/*.mp4"), "is damaged.*file-000.mp4 is no plain file"),
        (pipe("data/*/*.parquet"), "is damaged.*file-000.parquet is no plain file"),
        (cut("videos/*front/*/*.mp4"), "cannot be read as video"),
    ],
)
def test_damage_is_one_line_that_names_the_set(official, tmp_path, damage, said):
    damage(official)
    with pytest.raises(UserError, match=said) as caught:
        ingest([official], tmp_path / "store", 16)
    assert str(official) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "store").exists()


def test_a_set_that_names_files_elsewhere_reads_none_of_them(official, tmp_path):
    info = json.loads((official / "meta" / "info.json").read_text())
    info["data_path"] = "/etc/passwd"
    info["features"]["../../evil"] = info["features"]["action"]
    (official / "meta" / "info.json").write_text(json.dumps(info))
    with pytest.raises(UserError, match="is damaged"):
        ingest([official], tmp_path / "store", 16)
    assert not list(tmp_path.rglob("evil*"))


def test_without_pyarrow_it_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UserError, match=r"pip install 'goalsight\[data\]'"):
        ingest([OFFICIAL], tmp_path / "store", 16)


def test_names_go_there_and_back():
    columns = ("action", "proprioception", "state", "reward", "success", "achieved_goal", "position.object", "effort")
    assert [column_of(feature_of(name)) for name in columns] == list(columns)
    assert feature_of("position.object") == "observation.position.object"


def recording(folder, lengths=(5, 4), size=32):
    """A store with every kind of column, whose pictures brighten from frame to frame."""
    rng = np.random.default_rng(0)
    with FrameStoreWriter(folder, image_size=size, fps=25) as writer:
        for number, length in enumerate(lengths):
            frames = np.zeros((length, size, size, 3), np.uint8)
            frames[:] = (40 + 100 * number + 8 * np.arange(length))[:, None, None, None]
            frames[:, : size // 2] //= 2
            columns = {name: rng.normal(size=(length, 3)).astype(np.float32) for name in ("action", "proprioception")}
            columns |= {"state": rng.normal(size=(length, 5)).astype(np.float32)}
            columns |= {"reward": -np.ones((length, 1), np.float32), "success": np.arange(length)[:, None] > 2}
            cube = np.where(np.arange(length)[:, None] < 2, np.nan, number).astype(np.float32) * np.ones((1, 3))
            writer.add_episode(frames, {"cube": cube}, columns=columns, instruction=f"Do number {number}.")
    return FrameStore.open(folder)


def exported(store, out, **origin):
    LeRobotExporter().export(store, out, Origin(robot="toy", **origin))
    return out


def test_what_is_exported_is_read_again_as_it_was(tmp_path):
    store = recording(tmp_path / "store")
    again = ingest([exported(store, tmp_path / "set")], tmp_path / "again", 32)
    assert again.episode_lengths.tolist() == store.episode_lengths.tolist()
    assert again.instructions == store.instructions
    assert again.columns.keys() == store.columns.keys()
    for name, values in store.columns.items():
        assert again.columns[name].dtype == values.dtype
        np.testing.assert_array_equal(again.columns[name], values)
    frames = np.arange(store.num_frames)
    np.testing.assert_allclose(again.frames(frames).astype(int), store.frames(frames).astype(int), atol=4)


def test_the_metadata_by_hand(tmp_path):
    store = recording(tmp_path / "store")
    out = exported(store, tmp_path / "set", camera="wrist")
    info = json.loads((out / "meta" / "info.json").read_text())
    assert (info["codebase_version"], info["fps"], info["robot_type"]) == ("v3.0", 25, "toy")
    assert (info["total_episodes"], info["total_frames"], info["total_tasks"]) == (2, 9, 2)
    assert info["data_path"] == "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
    assert info["features"]["observation.state"] == {"dtype": "float32", "shape": [3], "names": None}
    assert info["features"]["observation.images.wrist"]["shape"] == [32, 32, 3]
    episode = pq.read_table(out / "meta/episodes/chunk-000/file-000.parquet").to_pylist()[1]
    key = "videos/observation.images.wrist"
    assert (episode["dataset_from_index"], episode["dataset_to_index"], episode["length"]) == (5, 9, 4)
    assert (episode[f"{key}/from_timestamp"], episode[f"{key}/to_timestamp"]) == (0.2, 0.36)
    assert episode["tasks"] == ["Do number 1."]
    rows = pq.read_table(out / "data/chunk-000/file-000.parquet").to_pydict()
    assert rows["index"] == list(range(9))
    assert rows["next.done"] == [False] * 4 + [True] + [False] * 3 + [True]
    assert rows["frame_index"] == [0, 1, 2, 3, 4, 0, 1, 2, 3]
    np.testing.assert_allclose(rows["timestamp"], np.array(rows["frame_index"]) / 25)


def test_the_statistics_by_hand(tmp_path):
    store = recording(tmp_path / "store")
    stats = json.loads((exported(store, tmp_path / "set") / "meta" / "stats.json").read_text())
    action = store.columns["action"]
    for name, value in (("mean", action.mean(0)), ("std", action.std(0)), ("min", action.min(0))):
        np.testing.assert_allclose(stats["action"][name], value, atol=1e-6)
    assert stats["action"]["count"] == [9]
    assert stats["observation.position.cube"]["max"] == [1, 1, 1]  # what is not known does not count
    half = np.quantile(action[:5], 0.5, axis=0) * 5 / 9 + np.quantile(action[5:], 0.5, axis=0) * 4 / 9
    np.testing.assert_allclose(stats["action"]["q50"], half, atol=1e-6)
    pictures = store.frames(np.arange(9)) / 255
    np.testing.assert_allclose(np.ravel(stats["observation.images.front"]["mean"]), pictures.mean((0, 1, 2)), atol=1e-6)
    assert np.shape(stats["observation.images.front"]["std"]) == (3, 1, 1)


def test_files_are_split_where_they_grow_large(tmp_path, monkeypatch):
    monkeypatch.setattr("goalsight.pretrain.data.exporters.lerobot.DATA_MB", 1e-6)
    monkeypatch.setattr("goalsight.pretrain.data.exporters.lerobot.VIDEO_MB", 1e-9)
    monkeypatch.setattr("goalsight.pretrain.data.exporters.lerobot.CHUNK", 2)
    store = recording(tmp_path / "store", (60, 61, 5))
    out = exported(store, tmp_path / "set")
    files = ["chunk-000/file-000", "chunk-000/file-001", "chunk-001/file-000"]
    assert sorted(str(path.relative_to(out / "data")) for path in out.glob("data/*/*")) == [
        f"{file}.parquet" for file in files
    ]
    again = ingest([out], tmp_path / "again", 32)
    np.testing.assert_array_equal(again.columns["action"], store.columns["action"])
    assert len(list(out.glob("videos/*/*/*.mp4"))) == 3


@pytest.mark.parametrize(
    ("kind", "said"), [({"fps": 0}, "give --fps"), ({"fps": 12.5}, "whole number of frames"), ({"size": 31}, "even")]
)
def test_what_does_not_fit_is_refused_in_one_line(tmp_path, kind, said):
    size = kind.get("size", 32)
    with FrameStoreWriter(tmp_path / "store", image_size=size, fps=kind.get("fps", 25)) as writer:
        writer.add_episode(np.zeros((2, size, size, 3), np.uint8))
    with pytest.raises(UserError, match=said):
        exported(FrameStore.open(tmp_path / "store"), tmp_path / "set")
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def test_an_export_is_whole_or_absent(tmp_path, monkeypatch):
    store = recording(tmp_path / "store")
    with monkeypatch.context() as patch:
        patch.setattr("goalsight.pretrain.data.exporters.lerobot.stats_of", lambda values: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            exported(store, tmp_path / "set")
    assert [path.name for path in tmp_path.iterdir()] == ["store"]
    exported(store, tmp_path / "set")
    with pytest.raises(UserError, match="exists already"):
        exported(store, tmp_path / "set")


def test_the_command_exports_a_recording_and_says_what_is_none(tmp_path, capsys):
    recording(tmp_path / "run" / "frames")
    (tmp_path / "run" / "config.json").write_text(json.dumps({"env": "goalsight/PandaPush-v1", "camera": "studio"}))
    assert run(["export", str(tmp_path / "run"), "--out", str(tmp_path / "set")]) == 0
    assert f"9 frames in 2 episodes: {tmp_path / 'set'}" in capsys.readouterr().out
    info = json.loads((tmp_path / "set" / "meta" / "info.json").read_text())
    assert info["robot_type"] == "panda"
    assert "observation.images.studio" in info["features"]
    for wrong, said in (
        ([str(tmp_path), "--out", "x"], "holds no recording; make one with `goalsight collect`"),
        (
            [str(tmp_path / "run"), "--out", "x", "--format", "lerobott"],
            'no format "lerobott"; did you mean "lerobot"?',
        ),
    ):
        assert run(["export", *wrong]) == 2
        assert said in capsys.readouterr().err


OFFICIAL_PYTHON = "GOALSIGHT_LEROBOT_PYTHON"  # a Python with lerobot 0.6 installed
READ = """
import json, sys
from lerobot.datasets.lerobot_dataset import LeRobotDataset
data = LeRobotDataset("goalsight/ours", root=sys.argv[1], video_backend="pyav")
rows = [data[i] for i in range(len(data))]
print(json.dumps({
    "episodes": data.num_episodes, "fps": data.fps, "cameras": data.meta.camera_keys,
    "task": [row["task"] for row in rows],
    "episode": [int(row["episode_index"]) for row in rows],
    "grey": [[float(row["observation.images.front"][:, y].mean()) * 255 for y in (4, 28)] for row in rows],
    **{name: [row[name].tolist() for row in rows] for name in ("action", "observation.state", "next.success")},
    "mean": data.meta.stats["action"]["mean"].tolist(),
}))
"""


@pytest.mark.slow
def test_the_official_package_reads_ours(tmp_path):
    python = os.environ.get(OFFICIAL_PYTHON)
    if not python:
        pytest.skip(f"{OFFICIAL_PYTHON} names no Python with lerobot")
    store = recording(tmp_path / "store")
    out = exported(store, tmp_path / "set")
    env = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hub")}
    ran = subprocess.run([python, "-c", READ, str(out)], capture_output=True, text=True, check=False, env=env)
    assert ran.returncode == 0, ran.stderr
    read = json.loads(ran.stdout.splitlines()[-1])
    print(read)
    assert (read["episodes"], read["fps"], read["cameras"]) == (2, 25, ["observation.images.front"])
    assert read["task"] == ["Do number 0."] * 5 + ["Do number 1."] * 4
    assert read["episode"] == [0] * 5 + [1] * 4
    np.testing.assert_allclose(read["action"], store.columns["action"], atol=1e-6)
    np.testing.assert_allclose(read["observation.state"], store.columns["proprioception"], atol=1e-6)
    np.testing.assert_array_equal(read["next.success"], store.columns["success"].ravel())
    np.testing.assert_allclose(read["grey"], store.frames(np.arange(9))[:, [4, 28], 0, 0], atol=4)
    np.testing.assert_allclose(read["mean"], store.columns["action"].mean(0), atol=1e-6)

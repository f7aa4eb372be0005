"""LeRobot data sets: one that the official package wrote is read, and what is damaged is one line."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from goalsight.base.errors import UserError
from goalsight.pretrain.data.ingest import cached_ingest, ingest
from goalsight.pretrain.data.lerobot import column_of, feature_of

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


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (old_format, r"has the format v2.1; v3.0 is read; convert it with"),
        (cut("data/*/*.parquet"), "is damaged"),
        (cut("meta/episodes/*/*.parquet"), "is damaged"),
        (cut("meta/info.json"), "is damaged"),
        (without("data/*/*.parquet"), "is damaged.*file-000.parquet"),
        (without("meta/episodes/*/*.parquet"), r"has no meta/episodes/\*/\*.parquet"),
        (without("videos/*front/*/*.mp4"), "is damaged.*file-000.mp4"),
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

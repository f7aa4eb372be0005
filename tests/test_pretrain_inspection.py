"""What data holds before it is learnt from: cuts part episodes, and what is worth nothing is counted."""

import json

import numpy as np
import pytest
from films import SIZE, film, filmed, gif, image, one_line, play
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from goalsight.base.errors import UserError
from goalsight.commands import cli
from goalsight.pretrain.data.cuts import scenes
from goalsight.pretrain.data.ingest import find_sources, ingest
from goalsight.pretrain.data.inspection import CAPTION, caption, contact_sheet, describe, in_words, worthless
from goalsight.pretrain.data.store import FrameStore, FrameStoreWriter
from goalsight.pretrain.data_command import Data


def plain(*values, size=8):
    return [np.full((size, size, 3), value, np.uint8) for value in values]


def parted(values):
    return [[int(frame[0, 0, 0]) for frame in scene] for scene in scenes(plain(*values))]


def test_a_scene_ends_where_frames_differ_much_more_than_around():
    assert parted([10, 12, 14, 200, 202, 204, 206]) == [[10, 12, 14], [200, 202, 204, 206]]
    assert parted([10, 12, 30, 32]) == [[10, 12, 30, 32]], "18 is too little"
    assert parted([10, 60, 110, 160, 210]) == [[10, 60, 110, 160, 210]], "and 50 each time is how it moves"
    assert parted([0, 255] * 6) == [[0, 255] * 6], "what flickers has no scenes"
    assert parted([10, 11, 200, 201, 202, 30, 31, 32]) == [[10, 11], [200, 201, 202], [30, 31, 32]]
    assert parted([10, 200]) == [[10, 200]], "too few to tell"
    assert parted([10, 10, 10, 250, 10, 10, 10]) == [[10, 10, 10, 250, 10, 10, 10]], "a flash is no cut"
    assert parted([]) == []
    assert parted([7]) == [[7]]


@given(st.lists(st.integers(0, 255), max_size=30))
def test_scenes_hold_every_frame_in_its_order(values):
    found = parted(values)
    assert [value for scene in found for value in scene] == values
    assert all(found)


def test_scenes_of_a_video_are_episodes(tmp_path):
    # 32 x 32: the second half shows another place.
    frames = np.concatenate([np.full((5, 32, 32, 3), 30, np.uint8), np.full((4, 32, 32, 3), 200, np.uint8)])
    file = filmed(tmp_path / "film.mp4", frames)
    store = ingest([file], tmp_path / "store", SIZE)
    assert store.episode_lengths.tolist() == [5, 4]
    assert store.sources == (str(file), f"{file} scene 1")
    assert store.episode(1).mean() == pytest.approx(200, abs=6)


def recording(path):
    with FrameStoreWriter(path, image_size=8, fps=4.0) as writer:
        writer.add_episode(np.stack(plain(100, 100, 3, 100)), {"gripper": np.zeros((4, 3), np.float32)})
        writer.add_episode(np.stack(plain(100, 50)), {"gripper": np.zeros((2, 3), np.float32)})
    return FrameStore.open(path)


def test_frames_of_which_nothing_can_be_learnt_by_hand(tmp_path, monkeypatch):
    store = recording(tmp_path / "store")
    for at_once in (2, 3, 100):
        monkeypatch.setattr("goalsight.pretrain.data.inspection.AT_ONCE", at_once)
        found = worthless(store)
        # The second episode's first frame is like the last one before it, and begins anew.
        assert found.repeated.tolist() == [False, True, False, False, False, False]
        assert found.black.tolist() == [False, False, True, False, False, False]


def test_info_by_hand(tmp_path):
    store = recording(tmp_path / "store")
    found = describe(store, find_sources([store.path]))
    assert json.loads(json.dumps(found)) | {"mebibytes": 0} == {
        "store": str(store.path),
        "sources": 1,
        "recorded": [{"height_width": [8, 8], "fps": 4.0, "sources": 1}],
        "image_size": 8,
        "fps": 4.0,
        "episodes": 2,
        "frames": 6,
        "seconds": 1.5,
        "episode_frames": {"least": 2, "median": 3.0, "most": 4},
        "repeated_frames": 1,
        "black_frames": 1,
        "columns": {"position.gripper": [3]},
        "instructions": {"episodes": 0, "different": 0, "commonest": []},
        "mebibytes": 0,
    }
    said = in_words(found).splitlines()
    assert said[0] == "6 frames of 8 x 8 in 2 episodes of 2 to 4, 3 in the median, 2 s at 4 frames/s"
    assert said[1:4] == [
        "recorded: 1 source of 8 x 8 at 4 frames/s",
        "1 frames (16.7%) repeat the one before, 1 (16.7%) are black",
        "columns: pixels, position.gripper 3",
    ]


def test_how_sources_were_recorded(tmp_path, capsys):
    folder = tmp_path / "many"
    folder.mkdir()
    for name in ("one.mp4", "two.mp4"):
        film(folder / name, fps=20)
    gif(folder / "three.gif", [100, 100, 100])
    (folder / "broken.mp4").write_bytes(b"nothing")
    (folder / "pictures").mkdir()
    for number in range(3):
        image(folder / "pictures" / f"{number}.png", size=(30, 20))
    assert cli.run(["data", "info", str(folder), "--cache", str(tmp_path / "cache"), "--json"]) == 0
    told = capsys.readouterr()
    assert told.err.count("left out") == 1
    found = json.loads(told.out)
    assert (found["sources"], found["episodes"]) == (5, 4)
    assert found["recorded"] == [
        {"height_width": [32, 48], "fps": 20.0, "sources": 2},
        {"height_width": [20, 30], "fps": 0.0, "sources": 1},  # folders and files in the order of their names
        {"height_width": [20, 20], "fps": 10.0, "sources": 1},
    ]
    assert cli.run(["data", "info", str(folder), "--cache", str(tmp_path / "cache")]) == 0
    assert "recorded: 1 source of 30 x 20 at unknown rate" in capsys.readouterr().out


def test_a_contact_sheet_by_hand(tmp_path):
    store = recording(tmp_path / "store")
    sheet = contact_sheet(store, 5, 3)
    assert sheet.shape == (2 * 8 + 1, 3 * 8 + 2, 3)
    middles = sheet[4::9, 4::9, 0]
    # Of four frames the first, the last, and the one in the middle that an even number is rounded to; then both.
    assert middles.tolist() == [[100, 3, 100], [100, 50, 255]]
    assert (sheet[8] == 255).all()
    assert contact_sheet(store, 1, 1).shape == (8, 8, 3)


def test_show_writes_a_picture_that_can_be_seen(tmp_path, capsys):
    play(tmp_path / "play", count=5)
    out = tmp_path / "sheet.png"
    assert cli.run(["data", "show", str(tmp_path / "play"), "--image-size", str(SIZE), "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"{out}\n"
    with Image.open(out) as sheet:
        assert sheet.size == (6 * (12 * 17 - 1), 2 * (CAPTION + 6 * 16))
        rows = np.asarray(sheet).reshape(2, CAPTION + 6 * 16, 6 * (12 * 17 - 1), 3)
    captions, frames = rows[:, :CAPTION], rows[:, CAPTION:]
    assert (captions < 100).any((1, 2, 3)).all()
    assert (captions > 200).mean() > 0.9
    store = ingest([tmp_path / "play"], tmp_path / "store", SIZE)
    for row in range(2):
        assert np.array_equal(frames[row, ::6, : 6 * 16 : 6], store.episode(row)[0])
    words = caption(store, 1)
    assert words.startswith("1   ")
    assert f"{store.episode_lengths[1]} frames" in words


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["info", "nowhere"], "nowhere does not exist; give recorded play"),
        (["look", "here"], "invalid choice"),
        (["show", "nowhere", "--out", "sheet.txt"], "out must end in .png, .jpg or .webp"),
        (["show", "nowhere", "--frames", "0"], "frames must be at least 1"),
    ],
)
def test_mistakes_are_one_line(arguments, words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.run(["data", *arguments]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1


def test_options_are_checked_in_python_too():
    with pytest.raises(UserError, match="fps must not be negative") as caught:
        Data("info", (), fps=-1.0)
    assert one_line(caught)

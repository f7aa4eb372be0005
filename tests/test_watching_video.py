"""What is taken as video to watch: another scene, camera or rate is refused at once, and silence needs no columns."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from goalsight.agents.collecting.collect import Collect, PlayEnv, collect
from goalsight.agents.train import Train, train
from goalsight.agents.watching.origin import check_video
from goalsight.agents.watching.video import SilentVideo, open_video
from goalsight.base.errors import UserError
from goalsight.base.video import VideoWriter
from goalsight.envs.config import EnvConfig
from goalsight.pretrain.data.readers.base import Reading
from goalsight.pretrain.data.readers.video import VideoReader, thinned
from goalsight.pretrain.data.store import FrameStore, FrameStoreWriter

SIZE = 16
REACH = "goalsight/PandaReach-v1"
ENV = EnvConfig(REACH, obs="pixels", image_size=SIZE)


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten episodes of play in `ENV`."""
    out = tmp_path_factory.mktemp("video") / "play"
    return collect(Collect(env=PlayEnv(REACH, image_size=SIZE), frames=60, steps=6, num_envs=10, film=0, out=out))


def film(path: Path, *, fps: int = 25, frames: int = 8, size: int = 32) -> Path:
    rng = np.random.default_rng(0)
    with VideoWriter(path, fps=fps) as video:
        for _ in range(frames):
            video.add(rng.integers(0, 255, (size, size, 3), dtype=np.uint8))
    return path


def lerobot(folder: Path, **info: object) -> Path:
    """No more of a data set than what says where it comes from."""
    (folder / "meta").mkdir(parents=True)
    camera = {"observation.images.front": {"dtype": "video", "shape": [16, 16, 3]}}
    whole = {"codebase_version": "v3.0", "robot_type": "panda", "fps": 25, "features": camera, **info}
    (folder / "meta" / "info.json").write_text(json.dumps(whole))
    return folder


def test_a_recording_of_the_same_scene_is_taken_and_its_size_does_not_matter(recording: Path) -> None:
    check_video([recording], ENV)
    check_video([recording / "frames"], ENV.change(image_size=32, control="joint", vary=("mass",)))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"id": "goalsight/PandaPush-v1"}, "shows goalsight/PandaReach-v1, and goalsight/PandaPush-v1 is to be learnt"),
        ({"camera": "wrist"}, "recorded with camera front, and goalsight/PandaReach-v1 is seen with camera wrist"),
        ({"renderer": "opengl"}, "recorded with renderer raytrace"),
        ({"aids": ("goal_markers",)}, "recorded with aids none, .* with aids goal_markers"),
    ],
)
@pytest.mark.parametrize("part", ["", "frames"])
def test_a_recording_of_another_scene_is_refused(recording: Path, part: str, changes: dict, says: str) -> None:
    with pytest.raises(UserError, match=says):
        check_video([recording / part], ENV.change(**changes))


@pytest.mark.parametrize(
    ("info", "says"),
    [
        ({"robot_type": "ur5e"}, "shows the arm ur5e, and goalsight/PandaReach-v1 has panda"),
        ({"features": {"observation.images.wrist": {}}}, "recorded with camera wrist"),
        ({"fps": 10}, "gives 10 frames a second, and goalsight/PandaReach-v1 makes 25 steps a second"),
        ({}, None),
        ({"robot_type": "someone's", "features": {"observation.images.top": {}}}, None),  # it may be that: who knows
    ],
)
def test_a_data_set_is_asked_for_its_arm_its_camera_and_its_rate(tmp_path: Path, info: dict, says: str | None) -> None:
    path = lerobot(tmp_path / "set", **info)
    if says is None:
        check_video([path], ENV)
        return
    with pytest.raises(UserError, match=says):
        check_video([path], ENV)


@pytest.mark.parametrize(
    ("fps", "rate"),
    [
        (10, 10.0),
        (24, 24.0),
        (25, 25.0),
        (30, 30.0),
        (40, 20.0),  # 25 ms apart: one in two
        (50, 25.0),
        (60, 30.0),  # one in two; one in three would be 50 ms apart
        (100, 25.0),
    ],
)
def test_the_rate_of_a_thinned_video_is_that_of_the_frames_that_are_kept(tmp_path: Path, fps: int, rate: float) -> None:
    path = film(tmp_path / "film.mp4", fps=fps, frames=2)
    assert VideoReader().rate(path, Reading(SIZE, 25.0)) == pytest.approx(rate)
    assert VideoReader().rate(path, Reading(SIZE, 0.0)) == pytest.approx(fps)
    kept = [time for time, _ in thinned(((number / fps, None) for number in range(600)), 25.0)]
    assert (len(kept) - 1) / (kept[-1] - kept[0]) == pytest.approx(rate)
    if rate == 10:
        with pytest.raises(UserError, match="gives 10 frames a second"):
            check_video([path], ENV)
    else:
        check_video([path], ENV)


def test_a_video_of_another_size_is_brought_to_that_of_the_images(tmp_path: Path) -> None:
    store = open_video([film(tmp_path / "film.mp4", size=64)], SIZE).store
    assert (store.image_size, store.num_frames) == (SIZE, 8)


def silent(recording: Path, out: Path, *columns: str) -> SilentVideo:
    """The same frames with no columns but these."""
    store = FrameStore.open(recording / "frames")
    with FrameStoreWriter(out, image_size=SIZE) as writer:
        for number in range(store.num_episodes):
            kept = {name: store.columns[name][store.rows_of(number)] for name in columns}
            writer.add_episode(store.episode(number), source="silent", columns=kept)
    return open_video([out], SIZE)


def test_without_columns_nothing_is_known_and_nothing_audited(recording: Path, tmp_path: Path) -> None:
    video = silent(recording, tmp_path / "silent")
    facts = {"watched_frames": 60, "watched_episodes": 10, "watched_skill": None, "watched_actions": "none"}
    assert video.facts == facts
    assert video.audit(3).shape == (0, 3)


def test_actions_are_named_as_not_learnt_from(
    recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    video = silent(recording, tmp_path / "heard", "action", "success")
    assert video.facts["watched_actions"] == "not learnt from"
    assert "their actions are not learnt from" in capsys.readouterr().err
    success = FrameStore.open(recording / "frames").columns["success"].reshape(10, 6)
    assert video.facts["watched_skill"] == pytest.approx(success[:, -1].mean())
    assert video.audit(3).shape == (12, 3)  # a fifth of the episodes
    assert video.audit(4).shape == (0, 4)  # actions of another size say nothing of ours


def damaged(folder: Path) -> dict[str, Path]:
    """Files and folders that are no video."""
    whole = film(folder / "whole.mp4", frames=3).read_bytes()
    for name, held in (("empty.mp4", b""), ("text.mp4", b"hello"), ("text.txt", b"hello"), ("cut.mp4", whole[:40])):
        (folder / name).write_bytes(held)
    (folder / "folder").mkdir()
    film(folder / "one.mp4", frames=1)
    return {path.name: path for path in folder.iterdir()} | {"absent.mp4": folder / "absent.mp4"}


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("absent.mp4", "does not exist"),
        ("empty.mp4", "is empty"),
        ("one.mp4", "only one frame"),
        ("whole.mp4", "no episode of four frames or more"),
        ("cut.mp4", "has no pictures in it"),
        ("text.mp4", "cannot be read as video"),
        ("text.txt", "holds nothing to watch"),
        ("folder", "holds nothing to watch"),
    ],
)
def test_what_is_no_video_is_one_line_and_leaves_nothing(tmp_path: Path, name: str, says: str) -> None:
    path = damaged(tmp_path)[name]
    with pytest.raises(UserError, match=says) as refused:
        train(Train(ENV, video=(path,), steps=100, out=tmp_path / "run"))
    assert "\n" not in str(refused.value)
    assert path.name in str(refused.value)
    assert not (tmp_path / "run").exists()


def test_what_breaks_off_is_watched_as_far_as_it_goes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = film(tmp_path / "whole.mp4", frames=40, size=64)
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    assert 4 <= open_video([cut], SIZE).store.num_frames < 40
    assert "breaks off" in capsys.readouterr().err


def test_an_encoder_without_a_map_and_scenes_without_goal_images_are_refused_before_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recording: Path
) -> None:
    from goalsight.agents import material
    from goalsight.pretrain.encoders.vit import random_encoder

    asked = Train(ENV, video=(recording,), steps=100, out=tmp_path / "run")
    foreign = EnvConfig("gymnasium_robotics:FetchReach-v4", obs="pixels", image_size=SIZE)
    film(tmp_path / "film.mp4")
    with pytest.raises(UserError, match="goal images"):
        train(replace(asked, env=foreign, video=(tmp_path / "film.mp4",)))
    encoder = random_encoder(image_size=SIZE, seed=0, tokeniser="conv")
    monkeypatch.setattr(material, "find_encoder", lambda *_, **__: encoder)
    with pytest.raises(UserError, match="found on the map of the tokeniser local, this encoder's is conv"):
        train(asked)
    assert not (tmp_path / "run").exists()


def test_a_recording_that_lost_its_run_is_taken_for_what_it_shows(recording: Path, tmp_path: Path) -> None:
    shutil.copytree(recording / "frames", tmp_path / "frames")
    check_video([tmp_path / "frames"], ENV.change(camera="wrist"))

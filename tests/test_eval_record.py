import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from goalsight.base.errors import UserError
from goalsight.base.video import decode, describe_video
from goalsight.envs.config import EnvChanges
from goalsight.envs.tasks import TASKS
from goalsight.eval.films.film import REACHED, WAITING, Caption, compose
from goalsight.eval.films.record import HELD, Record, record

REACH = EnvChanges("PandaReach-v1")


def caption(success):
    return Caption("goalsight/PandaPush-v1", "expert, episode 1 of 2, seed 10000", 10, 50, success)


@pytest.mark.parametrize("success", [True, False])
def test_view_and_goal_lie_side_by_side(success):
    view, goal = np.full((480, 480, 3), 200, np.uint8), np.full((480, 480, 3), 100, np.uint8)
    frame = compose(view, goal, caption(success))
    assert frame.shape == (588, 1008, 3)
    assert (frame[64:544, 16:496] == 200).all()
    assert (frame[64:544, 512:992] == 100).all()
    # The frame around the view says whether the goal is reached; that of the goal never changes.
    assert tuple(frame[300, 13]) == (REACHED if success else WAITING)
    assert tuple(frame[300, 994]) == WAITING
    # Bright letters stand in the header, above both pictures.
    assert (frame[:60, :400].max(axis=-1) > 200).sum() > 300


@pytest.mark.parametrize("size", [64, 111, 480, 512])
def test_every_size_has_even_sides(size):
    frame = compose(*[np.zeros((size, size, 3), np.uint8)] * 2, caption(False))
    assert frame.shape[0] % 2 == frame.shape[1] % 2 == 0
    assert frame.shape[1] > 2 * size


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    path = tmp_path_factory.mktemp("film") / "reach.mp4"
    config = Record(policy="expert", env=REACH, episodes=2, size=64, fps=10, out=path, gif=True)
    return record(config)


def test_the_expert_reaches_its_goal_on_film(film):
    facts = describe_video(film)
    frames = list(decode(film))
    # Of each episode: the way, the goal held for a while, the last moment, and 8 frames standing still.
    assert 2 * (HELD + 8) < facts.frames < 2 * (50 + 8)
    assert (facts.codec, facts.pixel_format, facts.fps) == ("h264", "yuv420p", 10)
    assert facts.mean > 20
    edge = [frame[frame.shape[0] // 2, 1].astype(int) for frame in (frames[0], frames[-1])]
    assert np.abs(edge[0] - WAITING).max() < 40
    assert np.abs(edge[1] - REACHED).max() < 40
    assert [path.name for path in film.parent.iterdir() if path.name.startswith(".")] == []


def test_success_on_film_is_what_evaluations_count(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(TASKS, "reach", replace(TASKS["reach"], hold_steps=200))
    record(Record(policy="expert", env=REACH, episodes=1, size=64, fps=10, out=tmp_path / "a.mp4", json=True))
    assert json.loads(capsys.readouterr().out)["success"] == [False], "reached, but not for so long"


def test_a_gif_is_smaller_and_moves(film):
    with Image.open(film.with_suffix(".gif")) as gif:
        assert gif.size[0] == 480
        # Every second frame; those that stand still are merged into one that stands longer.
        assert 10 < gif.n_frames <= -(-describe_video(film).frames // 2)
        first = np.asarray(gif.convert("RGB")).astype(int)
        gif.seek(5)
        assert np.abs(np.asarray(gif.convert("RGB")) - first).sum() > 0


def test_doing_nothing_never_succeeds_and_json_says_so(tmp_path, capsys):
    path = record(
        Record(
            policy="nothing",
            env=EnvChanges("PandaPush-v1"),
            episodes=1,
            size=64,
            fps=10,
            out=tmp_path / "a.mp4",
            json=True,
        )
    )
    said = json.loads(capsys.readouterr().out)
    assert said["success"] == [False]
    assert said["frames"] == describe_video(path).frames == 51 + 8


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"size": 32}, "size must lie in"),
        ({"episodes": 0}, "episodes must be at least 1"),
        ({"seed": -3}, "seed must not be negative"),
        ({"out": "film.avi"}, "ends in .mp4"),
        ({"camera": "frnt"}, 'did you mean "front"'),
        ({"policy": "expat"}, 'did you mean "expert"'),
        ({"env": EnvChanges("PandaRech-v1")}, 'did you mean "PandaReach-v1"'),
    ],
)
def test_mistakes_are_one_line(tmp_path, wrong, message):
    from pathlib import Path

    asked = {"policy": "expert", "env": REACH, "out": tmp_path / "a.mp4"} | wrong
    with pytest.raises(UserError, match=message):
        record(Record(**asked | {"out": Path(asked["out"])}))
    assert not any(tmp_path.iterdir())


def test_an_unwritable_place_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        record(Record(policy="expert", env=REACH, size=64, out=tmp_path / "file" / "a.mp4"))

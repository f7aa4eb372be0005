"""`goalsight train --video` from end to end: it learns in silence, goes on to the bit, and refuses in one line."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from pages import read
from safetensors.torch import load_file

from goalsight.agents.agent import load_agent
from goalsight.agents.algorithms.sac import SACOptions
from goalsight.agents.collecting.collect import Collect, PlayEnv, collect
from goalsight.agents.collecting.play import SKILLED
from goalsight.agents.train import Train, resume, train
from goalsight.agents.watching.experience import gather
from goalsight.agents.watching.glimpse import Glimpse
from goalsight.agents.watching.options import Watching
from goalsight.agents.watching.watcher import Watcher
from goalsight.base.errors import UserError
from goalsight.base.files import read_json
from goalsight.base.runs import Run
from goalsight.envs.config import EnvConfig
from goalsight.eval.reports.labelled import READ, TRUE, draw_labels
from goalsight.eval.reports.report import Report, report
from goalsight.pretrain.data.store import FrameStore, FrameStoreWriter

SIZE = 32
REACH = "goalsight/PandaReach-v1"
FEW = {"estimator_updates": 250, "inverse_updates": 100, "imitation_updates": 100}
SHORT = Watching(play=20, rounds=1, attempts=10, hold=100, least_explained=0.0, **FEW)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording of the expert."""
    out = tmp_path_factory.mktemp("video") / "play"
    env = PlayEnv(REACH, image_size=SIZE)
    return collect(Collect(env=env, frames=500, steps=10, num_envs=10, seed=50, mix=SKILLED, film=0, out=out))


def config(out: Path, video: Path | None, **options) -> Train:
    asked = Train(
        EnvConfig(REACH, obs="pixels", image_size=SIZE),
        video=() if video is None else (video,),
        watching=SHORT,
        options=SACOptions(hidden=(32, 32)),
        steps=2000,
        num_envs=10,
        eval_every=500,
        eval_episodes=10,
        target_success=2.0,
        threads=1,
        out=out,
    )
    return replace(asked, **options)


@pytest.fixture(scope="module")
def whole(video: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A training that nothing stopped."""
    return Run.open(train(config(tmp_path_factory.mktemp("whole") / "run", video)))


def weights(run: Run) -> bytes:
    return (run.checkpoint() / "model.safetensors").read_bytes()


@pytest.mark.slow
def test_what_was_watched_and_what_it_came_to_is_in_the_run(whole: Run, video: Path) -> None:
    assert whole.status == "finished"
    first, second = whole.summary["watching"]
    horizon = 50
    assert (first["env_steps"], second["env_steps"]) == (20 * horizon, 30 * horizon)
    assert "attempts_success" in first
    judged = [(row["step"], row["eval/success"]) for row in whole.metrics() if "eval/success" in row]
    assert judged[:2] == [(one["env_steps"], one["success"]) for one in (first, second)]  # before any step of trial
    assert len(first["audited_actions_explained"]) == 3
    best, best_step = max((success, step) for step, success in judged)  # of equals the last
    assert whole.summary["best_success"] == best
    assert whole.checkpoint("best").name == f"{best_step:06d}"
    assert whole.summary["watched_frames"] == 500
    assert whole.summary["watched_skill"] > 0.5
    assert whole.summary["env_steps"] >= 2000
    assert whole.manifest["sources"]["video"] == FrameStore.open(video / "frames").content_hash
    agent = load_agent(whole.path, "last")
    frames = np.zeros((2, SIZE, SIZE, 3), np.uint8)
    agent.reset({"goal_pixels": frames}, np.ones(2, bool))
    assert agent.act({"pixels": frames}).shape == (2, 3)


@pytest.mark.slow
def test_the_report_of_a_run_shows_what_it_watched(whole: Run, tmp_path: Path) -> None:
    text = read(report(Report(whole.path, out=tmp_path / "report.html")))
    skill = whole.summary["watched_skill"]
    assert f"500 frames of silent video in 50 episodes, from play; {skill:.0%} of them end in success" in text
    assert text.count("data:image/png;base64,") == 3 * 8 + 2 * 4, "frames of three episodes, and some with labels"
    frames = Glimpse.kept_in(whole.path)
    assert frames is not None
    seen = [draw_labels(frames, (0, time), 100) for time in (0, 7)]
    assert all(label in seen[0] for label in ("<circle", READ, TRUE, "<path"))
    assert "<path" not in seen[1]  # no action is read where nothing follows
    assert "misread by [cm]" in text
    for one in whole.summary["watching"]:
        assert f"<td class=number>{one['env_steps']:,}</td><td class=number>{100 * one['goal_error']:.1f}</td>" in text
        assert f"<td class=number>{one['success']:.0%}</td>" in text
    assert f"Success before trial, {whole.summary['watching'][-1]['success']:.0%}, and after" in text
    assert "In the first 100 of these steps the actor only rehearsed the video" in text


@pytest.mark.slow
def test_video_is_silent(whole: Run, video: Path, tmp_path: Path) -> None:
    deaf, heard = tmp_path / "deaf", FrameStore.open(video / "frames")
    rng = np.random.default_rng(0)
    with FrameStoreWriter(deaf, image_size=SIZE) as writer:
        for number in range(heard.num_episodes):
            pixels = heard.episode(number)
            action = rng.uniform(-1, 1, (len(pixels), 3)).astype(np.float32)
            writer.add_episode(pixels, source="noise", columns={"action": action})
    actual = Run.open(train(config(tmp_path / "run", deaf)))
    ours, theirs = (load_file(run.checkpoint() / "model.safetensors") for run in (actual, whole))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(weight, theirs[name]) for name, weight in ours.items())
    audited = [run.summary["watching"][0]["audited_actions_explained"] for run in (actual, whole)]
    assert max(audited[0]) < 0 < max(audited[1])  # only the judgement of the labels hears them


def stopped(asked: Train, monkeypatch: pytest.MonkeyPatch, counts: Callable[[Run], bool]) -> Path:
    """A training that is asked to stop once `counts` has been true 30 times."""
    times = 0

    def asks(self: Run) -> bool:
        nonlocal times
        times += counts(self)
        return times > 30

    with monkeypatch.context() as patch:
        patch.setattr(Run, "stopped", property(asks))
        path = train(asked)
    assert Run.open(path).status == "interrupted"
    return path


def gone_on_with(path: Path) -> Run:
    with Run.resume(path) as run:
        resume(run)
    return Run.open(path)


def stopped_then_resumed(asked: Train, monkeypatch: pytest.MonkeyPatch, counts: Callable[[Run], bool]) -> Run:
    return gone_on_with(stopped(asked, monkeypatch, counts))


@pytest.mark.slow
def test_a_training_that_was_stopped_while_it_tried_goes_on_to_the_bit(
    whole: Run, video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def tries(run: Run) -> bool:
        return any((run.path / "replay").glob("*"))

    ended = stopped_then_resumed(config(tmp_path / "run", video), monkeypatch, tries)
    check_same(ended, whole)


def check_same(ended: Run, whole: Run) -> None:
    """A run came to the same as another, to the bit, whatever time it took."""
    assert weights(ended) == weights(whole)
    assert ended.summary["watching"] == [
        {**one, "seconds": other["seconds"]}
        for one, other in zip(whole.summary["watching"], ended.summary["watching"], strict=True)
    ]
    rows = [[{name: row[name] for name in row if name != "wall_s"} for row in run.metrics()] for run in (ended, whole)]
    assert rows[0] == rows[1]
    assert ended.summary["stage_flops"] == whole.summary["stage_flops"]


@pytest.mark.slow
def test_a_training_that_was_stopped_between_rounds_goes_on_from_the_newest(
    whole: Run, video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def has_judged(run: Run) -> bool:
        return any((run.path / "checkpoints").glob("*"))

    played: list[int] = []

    def counted(*args, episodes: int, **options):
        played.append(episodes)
        return gather(*args, episodes=episodes, **options)

    monkeypatch.setattr("goalsight.agents.watching.watcher.gather", counted)
    asked = config(tmp_path / "run", video)
    path = stopped(asked, monkeypatch, has_judged)
    found, first = Run.open(path), whole.summary["watching"][0]
    assert (found.summary["env_steps"], found.summary["updates"]) == (first["env_steps"], 0)
    assert found.summary["best_success"] == found.summary["last_success"] == first["success"]
    seconds = found.summary["seconds"]
    assert load_agent(path).facts["env_steps"] == first["env_steps"]
    assert played == [20, 10]
    with monkeypatch.context() as patch:
        patch.setattr(Run, "stopped", property(lambda run: True))
        again = gone_on_with(path)  # stopped once more before it has learnt anything
    assert (again.status, again.summary["env_steps"]) == ("interrupted", first["env_steps"])
    assert again.summary["best_success"] == first["success"]
    ended = gone_on_with(path)
    check_same(ended, whole)
    assert played == [20, 10, 10, 10], "play is not played again"
    assert ended.summary["seconds"] > seconds > 0


@pytest.mark.slow
def test_a_training_that_was_stopped_while_it_watched_begins_anew(
    whole: Run, video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = stopped_then_resumed(config(tmp_path / "run", video), monkeypatch, lambda run: True)
    assert weights(ended) == weights(whole)


@pytest.mark.slow
def test_a_round_that_memory_cannot_hold_twice_is_not_saved(
    video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("goalsight.agents.learning.free_memory", lambda: 1_000_000)
    path = stopped(config(tmp_path / "run", video), monkeypatch, lambda run: run.metrics() != [])
    assert not (path / "checkpoints").exists()
    assert "too little memory is free to save this round" in capsys.readouterr().err
    assert Run.open(path).summary["env_steps"] == 20 * 50


@pytest.mark.slow
def test_attempts_without_noise_are_made_too(video: Path, tmp_path: Path) -> None:
    run = Run.open(train(config(tmp_path / "run", video, watching=replace(SHORT, noise=0.0), steps=1500)))
    tensors = load_file(run.checkpoint() / "model.safetensors")
    assert all(tensor.isfinite().all() for tensor in tensors.values())


@pytest.mark.slow
def test_eyes_are_learnt_from_play_without_video_too(tmp_path: Path) -> None:
    run = Run.open(train(config(tmp_path / "run", None, eyes="estimates", steps=1500)))
    assert run.summary["eyes"] == "estimates"
    assert len(run.summary["watching"]) == 1
    assert "own_actions_explained" not in run.summary["watching"][0]


@pytest.mark.slow
def test_labels_that_are_not_to_be_believed_are_not_learnt_from(
    video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    doubtful = replace(SHORT, most_doubt=0.0)
    run = Run.open(train(config(tmp_path / "run", video, watching=doubtful, steps=1500)))
    assert len(run.summary["watching"]) == 1
    assert "nothing can be learnt of this video" in capsys.readouterr().err


@pytest.mark.slow
def test_labels_that_are_no_longer_believed_leave_trial_alone(
    video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    verdicts = iter([None, "they changed"])
    monkeypatch.setattr(Watcher, "_why_not", lambda watcher, measured: next(verdicts))
    rare = {"watching": replace(SHORT, rounds=3), "steps": 2500, "eval_every": 2000}
    run = Run.open(train(config(tmp_path / "run", video, **rare)))
    first, second = run.summary["watching"]  # no third
    assert "success" in first
    assert "success" in second  # of the agent that trial begins with
    assert run.status == "finished"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"env": EnvConfig(REACH, obs="state")}, "video is watched by an agent that sees pixels, got obs state"),
        ({"eyes": "tokens"}, "video is read by estimates, got eyes tokens"),
        ({"tune_blocks": 1}, "choose tune_blocks 0, or eyes tokens"),
        ({"algorithm": "bc", "options": None}, "bc imitates recorded actions; what is seen in video helps sac, td3"),
        ({"video": (Path("absent.mp4"),)}, "absent.mp4 does not exist"),
        ({"env": EnvConfig(REACH, obs="pixels", camera=("front", "wrist"))}, "read off one camera's images"),
    ],
)
def test_what_cannot_be_watched_is_one_line_and_leaves_nothing(options, says, tmp_path: Path, video: Path) -> None:
    with pytest.raises(UserError, match=says):
        train(replace(config(tmp_path / "run", video), **options))
    assert not (tmp_path / "run").exists()


def test_three_frames_show_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import Image

    monkeypatch.chdir(tmp_path)
    for number in range(3):
        Image.new("RGB", (SIZE, SIZE)).save(tmp_path / f"{number}.png")
    with pytest.raises(UserError, match="no episode of four frames or more"):
        train(config(tmp_path / "run", tmp_path))


def test_the_record_of_a_run_makes_the_same_training_again(tmp_path: Path) -> None:
    asked = config(tmp_path / "run", tmp_path / "film.mp4", seed=3)
    run = Run.create("train", {**asked.__dict__, "env": asked.env}, out=tmp_path / "run", seed=3)
    recorded = Train.recorded(read_json(run.path / "config.json"))
    assert (recorded.video, recorded.watching, recorded.estimates) == (asked.video, SHORT, True)

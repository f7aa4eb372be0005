"""What is drawn of a video that was watched: places in the picture by hand, and what a report says of it."""

import numpy as np
import pytest
import torch
from pages import read

from goalsight.agents.networks.estimates import Estimates
from goalsight.agents.networks.estimator import POINTS, StateEstimator
from goalsight.agents.watching.estimating import Legibility
from goalsight.agents.watching.experience import Experience, gather, unskilled
from goalsight.agents.watching.glimpse import Glimpse, glimpse_of
from goalsight.agents.watching.video import SilentVideo
from goalsight.base.runs import Run
from goalsight.envs.vector import GoalVectorEnv
from goalsight.eval.reports.labelled import READ, TRUE, arrow, draw_labels
from goalsight.eval.reports.report import Report, report
from goalsight.pretrain.data.store import FrameStore, FrameStoreWriter
from goalsight.pretrain.encoders.vit import random_encoder

EPISODES, LENGTH, GOAL = 5, 6, 3


def make_env(**options) -> GoalVectorEnv:
    return GoalVectorEnv("push", num_envs=EPISODES, obs="pixels", image_size=16, privileged=True, **options)


@pytest.fixture(scope="module")
def played() -> Experience:
    env = make_env(max_episode_steps=LENGTH)
    found = gather(env, unskilled(env, 0), episodes=EPISODES, seed=7)
    env.close()
    return found


def places_of(env: GoalVectorEnv, played: Experience) -> np.ndarray:
    """Where tool and cube were in each frame, (E, T, 2, 3) [m]."""
    layout, state = env.state_layout(), played.frames["state"][:, :LENGTH]
    return np.stack([state[..., layout[name]] for name in ("tool", env.task.objects[0].name)], 2)


def a_video(folder, env: GoalVectorEnv, played: Experience) -> SilentVideo:
    """The play as a recording that knows its actions and places."""
    places = places_of(env, played)
    with FrameStoreWriter(folder, image_size=16) as writer:
        for number in range(EPISODES):
            columns = {
                "action": played.actions[number],
                "position.gripper": places[number, :, 0],
                "position.object": places[number, :, 1],
            }
            writer.add_episode(played.frames["pixels"][number, :LENGTH], source="play", columns=columns)
    return SilentVideo(FrameStore.open(folder))


def perfect(env: GoalVectorEnv, played: Experience, kept: list[int]) -> tuple[Estimates, Legibility, np.ndarray]:
    """Estimates that read some numbers without any error, and what they read in each frame of the video."""
    truth = played.targets[:, :LENGTH].reshape(-1, played.targets.shape[-1])
    estimator = StateEstimator(random_encoder(image_size=16, tokeniser="local"), truth.shape[1])
    estimator.mean.copy_(torch.from_numpy(truth.mean(0)))
    estimator.spread.fill_(0.1)
    explained = np.isin(np.arange(truth.shape[1]), kept).astype(np.float32)
    seen = np.zeros((len(truth), len(kept) + 2 * POINTS), np.float32)
    seen[:, : len(kept)] = (truth - truth.mean(0))[:, kept] / 0.1
    return Estimates(estimator, kept, GOAL), Legibility(explained, np.full(truth.shape[1], 0.03), GOAL), seen


def test_points_are_seen_where_the_lens_puts_them():
    env = make_env()
    env.reset(seed=0)
    index = env.model.camera("front").id
    eye, axes = env.batch.cam_xpos[0, index], env.batch.cam_xmat[0, index].reshape(3, 3)
    edge = 0.8 * np.tan(np.radians(env.model.cam_fovy[index]) / 2)  # 0.8 m before the lens

    def seen(right: float, up: float, ahead: float) -> list[float]:
        return env.pictures.places((eye + axes @ [right, up, -ahead])[None], "front")[0].tolist()

    assert seen(0, 0, 0.8) == pytest.approx([0.5, 0.5])
    assert seen(edge, 0, 0.8) == pytest.approx([1.0, 0.5])
    assert seen(0, edge / 2, 0.8) == pytest.approx([0.5, 0.25])
    assert np.isnan(seen(0, 0, -0.8)).all()
    assert env.pictures.places(np.zeros((1, 7, 2, 3)), "front").shape == (EPISODES, 7, 2, 2)
    env.close()


def test_a_thing_is_seen_where_its_picture_changes_when_it_is_moved():
    size = 200
    env = make_env()
    env.reset(seed=0)
    before = env.render_frames(size=size, ids=np.array([0]))[0].astype(int)
    place = env.pictures.places(env.object_positions()["object"], "front")[0] * size
    index = env.sim.reader.objects[env.task.objects[0].name]
    env.sim.reader.qpos[0, index.qpos.start : index.qpos.start + 3] = [5.0, 5.0, 5.0]  # out of sight
    env.batch.forward()
    gone = env.render_frames(size=size, ids=np.array([0]))[0].astype(int)
    down, across = np.nonzero(np.abs(before - gone).sum(-1) > 30)
    assert len(down) > 20
    assert np.abs(np.array([across.mean(), down.mean()]) - place).max() < 0.02 * size
    env.close()


@pytest.mark.parametrize(
    ("options", "still"),
    [({}, True), ({"camera": "wrist"}, False), ({"vary": "camera"}, False), ({"vary": "light"}, True)],
)
def test_whether_a_camera_stands_still_is_known(options, still):
    env = make_env(**options)
    assert env.pictures.stands_still(env.config.cameras[0]) == still
    env.close()


def test_what_is_read_is_kept_where_it_is_in_the_picture(played, tmp_path):
    env = make_env()
    env.reset(seed=0)
    video = a_video(tmp_path / "video", env, played)
    features, legibility, seen = perfect(env, played, list(range(played.targets.shape[-1])))
    labels = played.actions.reshape(-1, 3)
    glimpse_of(video, env, features, legibility, seen, labels).save(tmp_path)
    found = Glimpse.kept_in(tmp_path)
    places = places_of(env, played)[:3]
    assert found.names.tolist() == ["gripper", "object"]
    assert found.tool == 0
    assert found.times.tolist() == [[*range(LENGTH)]] * 3
    assert np.array_equal(found.frames, played.frames["pixels"][:3, :LENGTH])
    assert np.allclose(found.read, env.pictures.places(places[None], "front")[0], atol=1e-4)
    # The first of five episodes is audited: there alone something is said to be true.
    assert np.allclose(found.true[0], found.read[0], atol=1e-4)
    assert np.isnan(found.true[1:]).all()
    sent = env.pictures.places((places[:, :, 0] + 0.04 * played.actions[:3])[None], "front")[0]
    assert np.allclose(found.read_moves[:, :-1], sent[:, :-1], atol=1e-4)
    assert np.allclose(found.true_moves[0, :-1], sent[0, :-1], atol=1e-4)
    assert np.isnan(found.read_moves[:, -1]).all()  # no frame follows, in which the action could be seen
    assert np.isnan(found.true_moves[1:]).all()
    assert found.own_errors == pytest.approx([0.03 * 3**0.5] * 2)
    assert found.errors == pytest.approx([0, 0], abs=1e-6)
    env.close()


def test_what_is_not_believed_or_cannot_be_placed_is_left_out(played, tmp_path):
    env = make_env()
    env.reset(seed=0)
    video = a_video(tmp_path / "video", env, played)
    layout = env.state_layout()
    kept = [number + GOAL for number in range(layout["tool"].start, layout["tool"].start + 2)]  # not how high it is
    labels = played.actions.reshape(-1, 3)
    found = glimpse_of(video, env, *perfect(env, played, kept), labels)
    assert found.names.tolist() == ["gripper"]
    assert found.own_errors == pytest.approx([(2 * 0.03**2 + 0.1**2) ** 0.5])  # height: what it is on average
    high = places_of(env, played)[..., 0, 2]
    assert found.errors == pytest.approx(
        [np.sqrt(((high[0] - played.frames["state"][:, :LENGTH, 2].mean()) ** 2).mean())]
    )
    env.close()
    moving = make_env(camera="wrist")
    moving.reset(seed=0)
    found = glimpse_of(video, moving, *perfect(moving, played, kept), labels)
    assert np.isnan(found.read).all()
    assert np.isnan(found.read_moves).all()
    assert len(found.errors) == 1
    moving.close()


def test_an_arrow_is_three_times_as_long_as_the_way():
    drawn = arrow((100, 100), (110, 95), READ, width=2)
    assert "M100.0 100.0L130.0 85.0M" in drawn
    assert READ in drawn
    assert arrow((100, 100), (100.5, 100), READ, width=2) == ""
    assert arrow((100, 100), (np.nan, 100), READ, width=2) == ""


def a_glimpse(**changes) -> Glimpse:
    """One episode of two frames with the tool and a cube, audited in its first frame."""
    nothing = np.full((1, 2, 2, 2), np.nan)
    true, moves = nothing.copy(), np.full((1, 2, 2), np.nan)
    true[0, 0] = [[0.5, 0.3], [0.2, 0.75]]
    true_moves, read_moves = moves.copy(), moves.copy()
    read_moves[0, 0], true_moves[0, 0] = [0.6, 0.25], [0.5, 0.2]
    parts = {
        "frames": np.zeros((1, 2, 8, 8, 3), np.uint8),
        "times": np.array([[0, 9]]),
        "names": np.array(["gripper", "object"]),
        "read": np.array([[[[0.5, 0.25], [0.25, 0.75]]] * 2]),
        "true": true,
        "read_moves": read_moves,
        "true_moves": true_moves,
        "own_errors": np.array([0.004, 0.01]),
        "errors": np.array([0.007, np.nan]),
    }
    return Glimpse(**parts | changes)


def test_labels_are_drawn_at_their_places():
    drawn = draw_labels(a_glimpse(), (0, 0), 200)
    assert '<circle cx="100.0" cy="50.0" r="7"' in drawn  # the tool, as read
    assert '<rect x="43.0" y="143.0" width="14"' in drawn  # the cube, as read
    assert '<circle cx="40.0" cy="150.0" r="4"' in drawn  # the cube, as it is
    assert "M100.0 50.0L160.0 50.0M" in drawn  # from where the tool is read to be
    assert "M100.0 60.0L100.0 0.0M" in drawn  # from where it is
    later = draw_labels(a_glimpse(), (0, 1), 200)
    assert "path" not in later
    assert TRUE not in later
    assert '<circle cx="100.0" cy="50.0" r="7"' in later


ROUNDS = [
    {
        "env_steps": 1000,
        "goal_error": 0.0231,
        "own_actions_explained": [0.8, 0.9, 0.7],
        "audited_actions_explained": [0.6, 0.4, 0.5],
        "doubt": 1.25,
        "unread_actions": [2],
        "attempts_success": 0.21,
    },
    {"env_steps": 2000, "goal_error": 0.0123, "own_actions_explained": [0.9], "doubt": 1.5},
]
GATES = {"hold": 400}


def a_training(folder, rounds=ROUNDS, video=("film.mp4",), finished=True, **facts) -> Run:
    config = {"env": "goalsight/PandaPush-v1", "obs": "pixels", "encoder": "random", "eyes": "estimates"}
    config |= {"video": list(video), "watching": GATES, "preset": {"eval_episodes": 20}}
    run = Run.create("train", config, out=folder, seed=0)
    for step, success in ((1000, 0.25), (2000, 0.45), (3000, 0.8)):
        run.log(step, {"eval/success": success})
    if finished:
        counted = {"watched_frames": 12_000, "watched_episodes": 300, "watched_skill": 0.97, "watched_actions": "none"}
        run.finish({"watching": rounds, "last_success": 0.8, "env_steps": 3000, **counted, **facts})
    return run


def test_the_chapter_tells_what_was_watched_and_what_came_of_it(tmp_path):
    run = a_training(tmp_path / "run")
    a_glimpse().save(run.path)
    text = read(report(Report(run.path)))
    assert "12,000 frames of silent video in 300 episodes, from film.mp4; 97% of them end in success" in text
    assert text.count("data:image/png;base64,") == 2 + 1, "two frames, and the first of them with labels"
    assert ">frame 10</text>" in text
    for name, errors in (("gripper", ("0.4", "0.7")), ("object", ("1.0", "-"))):
        cells = "".join(f"<td class=number>{error}</td>" for error in errors)
        assert f"<tr><td>{name}</td>{cells}</tr>" in text
    for number, cells in enumerate(
        (("1,000", "2.3", "80%", "50%", "1.25", "25%", "21%"), ("2,000", "1.2", "90%", "-", "1.50", "45%", "-"))
    ):
        row = "".join(f"<td class=number>{cell}</td>" for cell in cells)
        assert f"<tr><td>{number}</td>{row}</tr>" in text
    assert "Success before trial, 45%, and after 1,000 environment steps of it, 80%." in text
    assert "In the first 400 of these steps the actor only rehearsed the video" in text
    assert "In round 0 number 2 of an action could not be read, and was explored in half of the attempts" in text
    assert "45%  [26, 66]" in text  # Wilson's interval of 9 in 20
    assert "not believed" not in text
    assert "watched no video" not in text


def test_an_older_run_shows_what_it_has(tmp_path):
    text = read(report(Report(a_training(tmp_path / "old").path)))
    assert "The run has kept no frames of the video" in text
    assert "What each round came to" in text
    text = read(report(Report(a_training(tmp_path / "running", finished=False).path)))
    assert "has not come to its end" in text
    assert "What each round came to" not in text
    text = read(report(Report(a_training(tmp_path / "unknown", watched_skill=None).path)))
    assert "whether they end in success is not known" in text


def test_trial_that_was_rehearsal_alone_is_said_to_be_so(tmp_path):
    text = read(report(Report(a_training(tmp_path / "run", env_steps=2300).path)))
    assert "after 300 environment steps of it, 80%. In all of these steps the actor only rehearsed" in text


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 no archive"])
def test_frames_that_cannot_be_read_are_no_frames(tmp_path, content):
    (tmp_path / "watched.npz").write_bytes(content)
    assert Glimpse.kept_in(tmp_path) is None


def test_labels_that_were_not_believed_are_named(tmp_path):
    rounds = [{**ROUNDS[0], "refused": "doubt is <3>"}]
    text = read(report(Report(a_training(tmp_path / "run", rounds).path)))
    assert "In round 0 the labels were not believed" in text
    assert "not believed: doubt is &lt;3&gt;. The agent learnt by trial alone." in text
    assert "only rehearsed the video" not in text


def test_without_video_there_is_no_chapter(tmp_path):
    run = a_training(tmp_path / "run", [{"env_steps": 1000, "goal_error": 0.02}], video=())
    text = read(report(Report(run.path)))
    assert "What was watched" not in text
    assert "A state estimator, begun with a random encoder" in text

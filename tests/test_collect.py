import json
import os
import signal
from dataclasses import replace

import numpy as np
import pytest

from goalsight.agents.collecting.collect import STORE, Collect, PlayEnv, collect, resume
from goalsight.agents.collecting.film import COLUMNS, TILES
from goalsight.agents.collecting.narration import narrate
from goalsight.agents.collecting.play import BEHAVIOURS, Mix, Play
from goalsight.agents.rollout import rollout
from goalsight.base.errors import UserError
from goalsight.base.runs import Run
from goalsight.base.video import describe_video
from goalsight.envs.fingerprints import own_ids
from goalsight.envs.registration import make_vector
from goalsight.envs.simulation.control import TABLETOP
from goalsight.pretrain.data.ingest import ingest
from goalsight.pretrain.data.store import FrameStore


def play_through(env_id, *, num_envs=8, episodes=8, steps=40, mix=Mix(), seed=0):  # noqa: B008 (frozen)
    """Actions (E, T, A), points of the object or the gripper (E, T, 3), and behaviours (E,), without any pixels."""
    env = make_vector(env_id, num_envs=num_envs, max_episode_steps=steps + 1)
    policy = Play(mix, seed=seed)
    actions, points, behaviours = [], [], []
    wave = []

    def before_step(moment):
        place = env.object_positions()
        wave.append((moment.action, place.get("object", place["gripper"])))

    def after_wave(finished):
        columns = [np.stack(column, axis=1)[: len(finished)] for column in zip(*wave, strict=True)]
        actions.append(columns[0])
        points.append(columns[1])
        behaviours.append(policy.behaviour[: len(finished)].copy())
        wave.clear()

    rollout(env, policy, episodes=episodes, seed=seed, steps=steps, before_step=before_step, after_wave=after_wave)
    return np.concatenate(actions), np.concatenate(points), np.concatenate(behaviours)


def moved(points):
    return (np.linalg.norm(points - points[:, :1], axis=-1) > 0.01).mean()


def only(**shares):
    return Mix(**dict.fromkeys(BEHAVIOURS, 0.0) | shares)


@pytest.mark.parametrize("env_id", [env_id for env_id in own_ids() if "/Panda" in env_id])
def test_play_fits_every_task(env_id):
    for mix in (Mix(), only(expert=1.0), only(random=1.0)):
        env = make_vector(env_id, num_envs=3, num_threads=1)
        episodes = rollout(env, Play(mix, seed=1), episodes=3, seed=0, steps=6)
        assert len(episodes) == 3
        env.close()


def test_play_does_not_depend_on_the_number_of_environments():
    for first, second in zip(
        play_through("PandaPush-v1", num_envs=3), play_through("PandaPush-v1", num_envs=8), strict=True
    ):
        assert np.array_equal(first, second)


@pytest.mark.parametrize("env_id", ["PandaPush-v1", "PandaPickPlace-v1"])
def test_the_default_mix_moves_the_object_in_enough_frames(env_id):
    actions, points, behaviours = play_through(env_id, num_envs=64, episodes=128, steps=50)
    assert moved(points) >= 0.35
    assert np.abs(actions).max() <= 1
    assert len(np.unique(behaviours)) >= 4


def test_pushes_go_on_after_the_first():
    _, points, _ = play_through("PandaPush-v1", steps=100, mix=only(push=1.0))
    early, late = points[:, 50] - points[:, 0], points[:, 99] - points[:, 50]
    assert (np.linalg.norm(early, axis=-1) > 0.02).mean() > 0.7
    assert (np.linalg.norm(late, axis=-1) > 0.02).mean() > 0.7


def test_the_arm_touches_what_it_lifts_and_nothing_before(tmp_path):
    asked = Collect(env=PlayEnv("PandaPickPlace-v1", image_size=16), frames=400, film=0, mix=only(grasp=1.0))
    # What cameras looked at in between, goal states among it, must not be what is felt.
    some, all_at_once = (
        FrameStore.open(collect(replace(asked, num_envs=number, out=tmp_path / str(number))) / STORE)
        for number in (3, 8)
    )
    assert np.array_equal(some.columns["touched.object"], all_at_once.columns["touched.object"])
    store = all_at_once
    touched = store.columns["touched.object"].reshape(8, 50)
    place, hand = (store.labels[name].reshape(8, 50, 3) for name in ("object", "gripper"))
    lifted = np.nan_to_num(place[..., 2]) > 0.06
    assert lifted.any()
    assert touched[lifted].mean() > 0.95
    assert not touched[np.linalg.norm(place - hand, axis=-1) > 0.08].any()


def test_grasps_lift_the_object():
    _, points, _ = play_through("PandaPickPlace-v1", mix=only(grasp=1.0))
    assert (points[..., 2].max(axis=1) > 0.06).mean() > 0.7


def test_wandering_covers_the_workspace_without_an_object():
    actions, points, behaviours = play_through("PandaReach-v1", num_envs=16, episodes=16, steps=60)
    span = points.reshape(-1, 3).max(axis=0) - points.reshape(-1, 3).min(axis=0)
    assert (span > 0.6 * (np.array(TABLETOP.high) - np.array(TABLETOP.low))).all()
    assert actions.shape[-1] == 3
    assert not {BEHAVIOURS[k] for k in np.unique(behaviours)} & {"push", "grasp"}


@pytest.mark.parametrize("wrong", [{"push": -0.1}, dict.fromkeys(BEHAVIOURS, 0.0)])
def test_impossible_mixes_are_refused(wrong):
    with pytest.raises(UserError, match="shares of play"):
        Mix(**wrong)


def test_shares_leave_out_what_is_not_there():
    # Of 0.35, 0.2, 0.15, 0.2 and 0.1, without grasping 0.8 remain; without an object 0.45.
    mix = Mix()
    assert mix.shares(with_object=True, with_gripper=True).tolist() == pytest.approx([0.35, 0.2, 0.15, 0.2, 0.1])
    assert mix.shares(with_object=True, with_gripper=False)[:2].tolist() == pytest.approx([0.35 / 0.8, 0])
    assert mix.shares(with_object=False, with_gripper=False)[2] == pytest.approx(0.15 / 0.45)
    with pytest.raises(UserError, match="the task has no object"):
        only(push=1.0).shares(with_object=False, with_gripper=False)
    with pytest.raises(UserError, match="the task has no gripper to move"):
        only(grasp=1.0).shares(with_object=True, with_gripper=False)


PUSH = PlayEnv("PandaPush-v1", image_size=32)
SMALL = {"env": PUSH, "frames": 60, "steps": 12, "num_envs": 3, "film": 4}


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    return collect(Collect(out=tmp_path_factory.mktemp("play") / "run", **SMALL))


def test_several_things_are_played_with_and_labelled(tmp_path):
    env = PlayEnv("PandaSort2-v1", image_size=16)
    options = {"env": env, "frames": 400, "steps": 50, "num_envs": 8, "film": 0}
    run = collect(Collect(out=tmp_path / "run", mix=only(push=1.0), **options))
    store = FrameStore.open(run / STORE)
    assert set(store.labels) == {"gripper", "red", "blue"}
    moved = {}
    for name in ("red", "blue"):
        place = store.labels[name].reshape(8, 50, 3)
        moved[name] = np.nanmax(np.linalg.norm(place - place[:, :1], axis=-1), axis=1) > 0.01  # (8,)
    assert moved["red"].any()
    assert moved["blue"].any()
    assert Run.open(run).summary["moved_share"] > 0.1


def test_what_is_recorded(recorded):
    store, run = FrameStore.open(recorded / STORE), Run.open(recorded)
    assert store.episode_lengths.tolist() == [12] * 5
    assert set(store.labels) == {"gripper", "object"}
    assert store.labels["object"].shape == (60, 3)
    assert store.sources[4] == "goalsight/PandaPush-v1 play seed 4"
    assert run.manifest["status"] == "finished"
    assert run.manifest["sources"]["data"] == store.content_hash == run.summary["data"]
    assert run.summary["frames"] == 60
    assert sum(run.summary["episodes_by_behaviour"].values()) == 5
    # Each episode keeps its own positions: the objects of five episodes lie in five places.
    assert len(np.unique(store.labels["object"][::12], axis=0)) == 5
    # Frames show what the labels say: the red cube is in view, and no two frames of an episode are the same.
    assert store.episode(0).std() > 10
    assert (np.abs(np.diff(store.episode(0).astype(int), axis=0)).sum(axis=(1, 2, 3)) > 0).all()


def test_the_film_shows_the_recording(recorded):
    facts = describe_video(recorded / "videos" / "play.mp4")
    tile = 128 + 2
    assert (facts.frames, facts.width, facts.height) == (12, COLUMNS * tile, TILES // COLUMNS * tile)
    assert facts.pixel_format == "yuv420p"


def test_the_same_seed_records_the_same_frames(recorded, tmp_path):
    again = collect(Collect(out=tmp_path / "run", **SMALL | {"num_envs": 5, "film": 0}))
    assert FrameStore.open(again / STORE).content_hash == FrameStore.open(recorded / STORE).content_hash
    assert not (again / "videos").exists()


def interrupt_at_step(monkeypatch, step):
    from goalsight.envs.vector import GoalVectorEnv

    taken, real = [], GoalVectorEnv.step

    def counting_step(self, actions):
        taken.append(1)
        if len(taken) == step:
            os.kill(os.getpid(), signal.SIGINT)
        return real(self, actions)

    monkeypatch.setattr(GoalVectorEnv, "step", counting_step)


def test_an_interruption_keeps_the_finished_episodes(tmp_path, monkeypatch, capsys):
    interrupt_at_step(monkeypatch, 15)
    run = Run.open(collect(Collect(out=tmp_path / "run", **SMALL | {"json": True})))
    assert run.manifest["status"] == "interrupted"
    assert FrameStore.open(run.path / STORE).num_episodes == 3
    assert json.loads(capsys.readouterr().out)["episodes"] == 3


def test_an_interruption_before_the_first_episode_can_be_gone_on_from(recorded, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        interrupt_at_step(patch, 2)
        path = collect(Collect(out=tmp_path / "run", **SMALL))
    assert Run.open(path).manifest["status"] == "interrupted"
    assert Run.open(path).summary["episodes"] == 0
    same_files(go_on(path), recorded)


def go_on(path):
    with Run.resume(path) as run:
        return resume(run)


def same_files(run, other):
    """Two recordings are the same to the bit."""
    names = sorted(path.name for path in (other / STORE).glob("[!.]*"))
    assert sorted(path.name for path in (run / STORE).glob("[!.]*")) == names
    for name in names:
        assert (run / STORE / name).read_bytes() == (other / STORE / name).read_bytes(), name
    assert (run / "videos" / "play.mp4").read_bytes() == (other / "videos" / "play.mp4").read_bytes()
    counted = [
        {
            key: value
            for key, value in Run.open(path).summary.items()
            if key not in ("run", "seconds", "frames_per_second")
        }
        for path in (run, other)
    ]
    assert counted[0] == counted[1]


def test_a_recording_that_was_interrupted_goes_on_to_the_bit(recorded, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        interrupt_at_step(patch, 15)
        path = collect(Collect(out=tmp_path / "run", **SMALL))
    assert not FrameStore.open(path / STORE).complete
    same_files(go_on(path), recorded)
    assert Run.open(path).manifest["status"] == "finished"
    with pytest.raises(UserError, match="is finished"):
        go_on(path)


def test_a_killed_recording_loses_nothing_that_was_finished(recorded, tmp_path):
    """The process ends in the middle of the second wave, and of writing, without a word."""
    child = os.fork()
    if child == 0:
        from goalsight.pretrain.data.appender import StoreAppender

        real = StoreAppender.publish

        def publish(self, *, complete):
            if len(self.episodes) > 3:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(self, complete=complete)

        StoreAppender.publish = publish
        collect(Collect(out=tmp_path / "run", **SMALL))
        os._exit(1)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    run = Run.open(tmp_path / "run")
    assert run.status == "killed"
    store = FrameStore.open(run.path / STORE)
    assert (store.num_episodes, store.complete) == (3, False)
    worked = run.metrics()[-1]
    assert (worked["step"], worked["collect/episodes"]) == (store.num_frames, 3)
    np.testing.assert_array_equal(store.episode(2), FrameStore.open(recorded / STORE).episode(2))
    same_files(go_on(run.path), recorded)
    assert Run.open(run.path).metrics()[-1]["wall_s"] > worked["wall_s"]  # the clock goes on
    assert Run.open(run.path).summary["seconds"] > worked["wall_s"]


def test_a_full_disk_keeps_what_was_finished_and_the_recording_goes_on(recorded, tmp_path, monkeypatch):
    from goalsight.pretrain.data.appender import StoreAppender

    real = StoreAppender.publish

    def full(self, *, complete):
        if len(self.episodes) > 3:
            raise UserError(f"cannot write {self.path}: No space left on device")
        return real(self, complete=complete)

    with monkeypatch.context() as patch:
        patch.setattr(StoreAppender, "publish", full)
        with pytest.raises(UserError, match="No space left"):
            collect(Collect(out=tmp_path / "run", **SMALL))
    assert Run.open(tmp_path / "run").status == "failed"
    assert FrameStore.open(tmp_path / "run" / STORE).num_episodes == 3
    same_files(go_on(tmp_path / "run"), recorded)


def test_a_recording_is_a_lerobot_set_too_where_that_is_asked_for(recorded, tmp_path):
    path = collect(Collect(out=tmp_path / "run", **SMALL | {"format": "lerobot", "film": 0}))
    again = ingest([path / "lerobot"], tmp_path / "again", 32)
    store = FrameStore.open(recorded / STORE)
    assert again.instructions == store.instructions
    for name, values in store.columns.items():
        np.testing.assert_array_equal(again.columns[name], values)
    # Video keeps colours at half the sharpness, so a few pixels at the edge of the cube are far off.
    assert np.abs(again.episode(4).astype(int) - store.episode(4)).mean() < 4


def test_every_column_says_what_was_seen_done_and_felt(recorded):
    store = FrameStore.open(recorded / STORE)
    kinds = {name: (values.dtype.name, values.shape[1:]) for name, values in store.columns.items()}
    assert kinds["action"] == ("float32", (3,))  # Push leaves the gripper closed
    assert kinds["reward"] == ("float32", (1,))
    assert kinds["success"] == ("bool", (1,))
    assert {"proprioception", "state", "achieved_goal", "desired_goal", "position.object"} <= set(kinds)
    assert (store.fps, store.complete) == (25.0, True)
    np.testing.assert_array_equal(store.columns["reward"], np.where(store.columns["success"], 0.0, -1.0))
    # What Push achieves is where the object is, and the state holds what the arm feels.
    np.testing.assert_allclose(store.columns["achieved_goal"], store.labels["object"], atol=1e-6)
    assert store.columns["state"].shape[1] > store.columns["proprioception"].shape[1]
    # Replaying the actions brings the arm to where the next frame shows it.
    env = make_vector("PandaPush-v1", num_envs=1, max_episode_steps=13)
    env.reset(seed=[4])
    for row in range(48, 60):
        np.testing.assert_array_equal(env.object_positions()["gripper"][0], store.labels["gripper"][row])
        _, reward, *_ = env.step(store.columns["action"][row : row + 1])
        assert reward[0] == store.columns["reward"][row, 0]
    env.close()


LINE = np.linspace(0, 1, 10, dtype=np.float32)[:, None]


@pytest.mark.parametrize(
    ("behaviour", "things", "sentence"),
    [
        ("push", {"object": LINE * (0, 0.1, 0)}, "Push the object to the left."),
        ("random", {"object": LINE * (0, -0.1, 0.02)}, "Move the object to the right."),
        ("push", {"object": LINE * (-0.2, 0.1, 0)}, "Push the object towards the arm."),
        ("grasp", {"object": LINE * (0, 0, 0.2)}, "Lift the object."),
        ("grasp", {"object": np.sin(np.pi * LINE) * (0, 0, 0.2)}, "Lift the object and put it down where it was."),
        (
            "grasp",
            {"object": np.sin(np.pi * LINE) * (0, 0, 0.2) + LINE * (0.1, 0, 0)},
            "Lift the object and put it down away from the arm.",
        ),
        ("push", {"object": LINE * (0.3, 0, -0.4)}, "Push the object off the table."),
        ("push", {"object": np.sin(np.pi * LINE) * (0.1, 0, 0)}, "Push the object and bring it back."),
        ("wander", {"object": LINE * 0}, "Move the arm about and leave the object where it is."),
        ("wander", {"red": LINE * 0, "blue": LINE * 0}, "Move the arm about and leave everything where it is."),
        (
            "push",
            {"red": LINE * (0, 0.1, 0), "drawer": LINE * (0.1, 0, 0)},
            "Push the red object to the left and push the drawer away from the arm.",
        ),
        ("wander", {}, "Move the arm about."),
    ],
)
def test_what_has_happened_is_said_in_a_sentence(behaviour, things, sentence):
    paths = {"gripper": np.zeros((10, 3), np.float32)} | {
        name: path.astype(np.float32) for name, path in things.items()
    }
    assert narrate(behaviour, paths) == sentence


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"env": PlayEnv("PandaPsh-v1")}, 'did you mean "PandaPush-v1"'),
        ({"frames": 0}, "frames must be at least 1"),
        ({"seed": -1}, "must not be negative"),
    ],
)
def test_mistakes_are_one_line_and_leave_no_folder(tmp_path, wrong, message):
    with pytest.raises(UserError, match=message):
        collect(Collect(out=tmp_path / "run", **SMALL | wrong))
    assert not (tmp_path / "run").exists()


def test_a_folder_that_is_taken_or_unwritable_is_refused(recorded, tmp_path):
    with pytest.raises(UserError, match="holds a run already"):
        collect(Collect(out=recorded, **SMALL))
    assert FrameStore.open(recorded / STORE).num_frames == 60
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        collect(Collect(out=tmp_path / "file" / "run", **SMALL))


def test_of_many_episodes_at_once_all_that_were_asked_for_are_filmed(tmp_path):
    path = collect(Collect(out=tmp_path / "run", **SMALL | {"frames": 30 * 12, "num_envs": 30, "film": 30}))
    assert describe_video(path / "videos" / "play.mp4").frames == 2 * 12

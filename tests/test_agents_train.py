"""Training from end to end, thin: a run that can be loaded, acts the same twice, and repeats to the bit."""

import json
import shutil
from dataclasses import asdict, replace

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor

import goalsight
from goalsight.agents import checking
from goalsight.agents.agent import load_agent
from goalsight.agents.algorithms.bc import BCOptions
from goalsight.agents.algorithms.sac import SACOptions
from goalsight.agents.algorithms.td3 import TD3Options
from goalsight.agents.calibration import calibration_steps
from goalsight.agents.collecting.collect import Collect, PlayEnv, collect
from goalsight.agents.learning import Learner
from goalsight.agents.rollout import Episodes, rollout
from goalsight.agents.train import Train, train
from goalsight.agents.watch import Watch
from goalsight.agents.watching.options import Watching
from goalsight.base.checkpoints import SUMS
from goalsight.base.errors import UserError
from goalsight.base.runs import Run
from goalsight.commands import cli
from goalsight.envs.config import EnvConfig
from goalsight.envs.registration import make_vector
from goalsight.envs.tasks import TASKS, Task
from goalsight.pretrain.encoders.vit import random_encoder

TINY = {
    "num_envs": 4,
    "options": SACOptions(warmup=200),
    "steps": 320,
    "eval_every": 240,
    "eval_episodes": 4,
    "threads": 1,
    "env": EnvConfig("goalsight/PandaReach-v1", obs="pixels", image_size=16),
}
STATE = {"env": EnvConfig("goalsight/PandaReach-v1")}
TWO = replace(TINY["env"], camera=("front", "wrist"))


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    return Run.open(train(Train(**TINY, out=tmp_path_factory.mktemp("runs") / "pixels")))


def test_a_run_says_what_was_done(run):
    assert run.manifest["status"] == "finished"
    assert EnvConfig.recorded(run.config) == TINY["env"]
    assert run.config["critic"] == "state"
    assert run.config["encoder"] == "random"
    assert run.config["preset"]["steps"] == 320
    assert run.manifest["sources"] == {"encoder": random_encoder(image_size=16).content_hash()}
    row, last = run.metrics()
    assert [row["step"], last["step"]] == [240, 320], "also at the end, which is no multiple"
    assert {"eval/success", "train/success", "train/critic_loss", "train/temperature", "wall_s"} <= set(row)
    assert run.summary["env_steps"] == 320
    assert run.summary["updates"] == 30  # one in four of the 120 steps after the warm-up
    best = 320 if last["eval/success"] >= row["eval/success"] else 240
    assert (run.path / "checkpoints" / "best").read_text().strip() == f"{best:06d}"
    assert (run.path / "checkpoints" / "last").read_text().strip() == "000320"


def test_a_training_that_ends_before_its_first_evaluation_is_evaluated_at_its_end(tmp_path):
    short = Run.open(train(Train(**TINY | STATE | {"eval_every": 10_000}, out=tmp_path / "run")))
    (row,) = short.metrics()
    assert row["step"] == short.summary["env_steps"]
    assert short.summary["best_success"] == short.summary["last_success"] == row["eval/success"]


def test_a_loaded_agent_acts_on_images_and_the_same_way_twice(run):
    agent = load_agent(run.path, "last")
    assert agent.env_id == "goalsight/PandaReach-v1"
    assert agent.facts == {
        "env": "goalsight/PandaReach-v1",
        "obs": "pixels",
        "algorithm": "sac",
        "critic": "state",
        "encoder": "random",
        "tune_blocks": 0,
        "calibration_steps": 1024,
        "env_steps": 320,
    }
    env = make_vector(agent.env_id, 3, **agent.env_kwargs, num_threads=1)
    obs, _ = env.reset(seed=1)
    agent.reset(obs, np.ones(3, dtype=bool))
    actions = agent.act(obs, env)
    assert actions.shape == env.action_space.shape
    assert np.abs(actions).max() <= 1
    assert np.array_equal(actions, agent.act(obs, env))
    # What it does depends on the goal's image and not on where the goal is.
    elsewhere = obs | {"desired_goal": obs["desired_goal"] + 1}
    assert np.array_equal(actions, agent.act(elsewhere, env))
    agent.reset(obs | {"goal_pixels": obs["pixels"]}, np.array([True, False, False]))
    other = agent.act(obs, env)
    assert not np.array_equal(other[0], actions[0])
    assert np.array_equal(other[1:], actions[1:])
    episodes = rollout(env, agent, episodes=4, seed=0, steps=3)
    assert len(episodes) == 4
    env.close()


def test_an_agent_in_three_lines(run):
    agent = goalsight.load_agent(run.path)
    env = gym.make(agent.env_id, **agent.env_kwargs)
    obs, _ = env.reset(seed=1)
    action, state = agent.predict(obs)
    assert env.action_space.contains(action)
    assert state is None
    both = {key: np.stack([value, value]) for key, value in obs.items()}
    agent.reset(both, np.ones(2, dtype=bool))
    assert np.array_equal(agent.predict(both)[0], agent.act(both))
    assert np.allclose(agent.predict(both)[0][1], action, atol=1e-5)
    elsewhere = obs | {"goal_pixels": obs["pixels"]}
    assert not np.array_equal(agent.predict(elsewhere)[0], action), "another goal is seen without a reset"
    assert np.array_equal(agent.predict(obs)[0], action)
    assert not np.array_equal(agent.predict(obs, deterministic=False)[0], action)
    with pytest.raises(UserError, match="lacks goal_pixels"):
        agent.predict({"pixels": obs["pixels"], "observation": obs["observation"]})
    for ask in (agent.act, agent.predict):
        with pytest.raises(UserError, match=r"an observation is arrays by their names, .* got ndarray"):
            ask(obs["observation"])
    with pytest.raises(UserError, match=r"act takes a batch.* predict takes one observation, or a batch"):
        agent.act(obs)
    with pytest.raises(UserError, match=r'takes "observation" of shape \(8,\), got \(5,\)'):
        agent.predict(obs | {"observation": obs["observation"][:5]})
    with pytest.raises(UserError, match=r'of "observation" some numbers are not finite'):
        agent.predict(obs | {"observation": np.full_like(obs["observation"], np.nan)})
    mean, spread = evaluate_policy(agent, Monitor(env), n_eval_episodes=1)
    assert mean <= 0
    assert spread == 0
    env.close()


def test_an_encoder_in_three_lines(run):
    encoder = goalsight.load_encoder(str(run.path))
    assert encoder(torch.zeros(2, 16, 16, 3, dtype=torch.uint8)).shape == (2, encoder.tokens, encoder.config.width)


def test_the_same_seed_gives_the_same_weights(run, tmp_path):
    again = Run.open(train(Train(**TINY, out=tmp_path / "again")))
    first, second = run.load("last")[0], again.load("last")[0]
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    other = Run.open(train(Train(**TINY, out=tmp_path / "other", seed=1)))
    assert not torch.equal(first["actor.last.weight"], other.load("last")[0]["actor.last.weight"])


@pytest.mark.parametrize(
    "options",
    [
        STATE,
        {"critic": "pixels"},
        {"tune_blocks": 1},
        STATE | {"algorithm": "td3", "options": TD3Options(warmup=200)},
        {"env": TWO},
    ],
    ids=["state", "critic-pixels", "tuned", "td3", "two-cameras"],
)
def test_other_ways_to_see(options, tmp_path):
    small = TINY | {"steps": 240, "eval_every": 240}
    path = train(Train(**small | options, out=tmp_path / "run"))
    agent = load_agent(path)
    env = make_vector(agent.env_id, 2, **agent.env_kwargs, num_threads=1)
    assert len(rollout(env, agent, episodes=2, seed=0, steps=2)) == 2
    assert agent.facts["critic"] == ("state" if "env" in options else options.get("critic", "state"))
    env.close()


def test_stopping_early_leaves_a_run_that_can_be_loaded(tmp_path, monkeypatch):
    evaluate = Watch._evaluate

    def ask_to_stop(self: Watch) -> None:
        evaluate(self)
        self._run.stop.requested = True

    monkeypatch.setattr(Watch, "_evaluate", ask_to_stop)
    path = train(Train(**TINY | {"eval_every": 120} | STATE, out=tmp_path / "run"))
    run = Run.open(path)
    assert run.manifest["status"] == "interrupted"
    assert run.summary["env_steps"] == 120
    assert load_agent(path).facts["env_steps"] == 120


def test_training_ends_when_two_evaluations_in_a_row_reach_the_target(tmp_path, monkeypatch):
    successes = iter((False, True, False, True, True))

    def judged(*_: object, episodes: int, **__: object) -> Episodes:
        zeros = np.zeros(episodes)
        return Episodes(zeros.astype(int), np.full(episodes, next(successes)), zeros, zeros.astype(int), zeros > 0)

    monkeypatch.setattr(checking, "rollout", judged)
    config = Train(**TINY | STATE | {"eval_every": 40, "target_success": 0.5}, out=tmp_path / "run")
    summary = Run.open(train(config)).summary
    assert summary["reached_target"]
    assert (summary["env_steps"], summary["best_success"]) == (200, 1.0)
    assert next(successes, None) is None


def test_training_episodes_are_as_long_as_the_task_says():
    horizon = TASKS["push"].training.horizon
    assert horizon < TASKS["push"].max_episode_steps  # otherwise this shows nothing
    push = EnvConfig("goalsight/PandaPush-v1")
    asked = Train(env=push, num_envs=2, steps=2 * horizon + 2, threads=1)
    with Learner(asked) as learner:
        learner.loop.run(lambda: True)
        assert learner.loop.replay.size() == 2 * horizon  # both episodes have ended


# Steps, steps between evaluations, training horizon, discount, target entropy: what agents have been measured with.
NUMBERS = {
    "reach": (24_000, 1_600, None, 0.95, 0.0),
    "reach_pose": (60_000, 1_600, None, 0.95, 0.0),
    "push": (180_000, 5_000, 40, 0.97, 0.0),
    "slide": (400_000, 10_000, 40, 0.95, 0.0),
    "pick_place": (250_000, 10_000, None, 0.95, -2.0),
    "drawer": (60_000, 5_000, None, 0.95, 0.0),
    "door": (60_000, 5_000, None, 0.95, 0.0),
    "switches": (200_000, 10_000, None, 0.95, 0.0),
    "buttons": (200_000, 10_000, None, 0.95, 0.0),
    "insert": (400_000, 10_000, None, 0.95, -2.0),
    "scene": (500_000, 20_000, None, 0.95, -2.0),
    **{f"{name}{count}": (500_000, 20_000, None, 0.95, -2.0) for name in ("sort", "stack") for count in (2, 3, 4)},
}


@pytest.mark.parametrize("obs", ["state", "pixels"])
@pytest.mark.parametrize("task", sorted(NUMBERS))
def test_sac_learns_each_task_by_the_numbers_it_was_measured_with(task, obs):
    expected = NUMBERS[task] if (task, obs) != ("push", "pixels") else (200_000, 10_000, 40, 0.97, 0.0)
    training = TASKS[task].training
    options = SACOptions().completed(training)
    plan = Train(EnvConfig(obs=obs)).plan(options, training)
    assert (plan.steps, plan.eval_every, plan.horizon, options.gamma, options.target_entropy) == expected
    assert (plan.num_envs, plan.eval_episodes, plan.target_success) == (32, 50, 0.98)
    assert asdict(options) | {"gamma": 0, "target_entropy": 0} == {
        "updates_per_step": 0.25,
        "batch_size": 256,
        "warmup": 1600,
        "learning_rate": 1e-3,
        "gamma": 0,
        "tau": 0.02,
        "hidden": (256, 256, 256),
        "target_entropy": 0,
        "temperature": 0.1,
        "critics": 2,
        "random_actions": 0.2,
        "relabelled": 0.8,
        "averaged": 200,
    }


def test_every_task_says_what_learning_it_takes():
    assert set(NUMBERS) == set(TASKS)
    # A task that nobody has tried takes Push's numbers, in episodes of its own length.
    assert replace(TASKS["push"].training, horizon=None) == Task.training
    assert Train(steps=77, eval_every=7).plan(SACOptions(), Task.training).steps == 77


@pytest.mark.parametrize("words", [["--algorithm", "td3", "--noise", "0.3"], ["--noise=0.3", "--algorithm=td3"]])
def test_the_command_line_takes_the_options_of_the_chosen_algorithm(words):
    config = cli._parse(Train.for_command_line(words), "goalsight train", [*words, "--warmup", "7"])
    assert isinstance(config, Train)
    assert config.options == TD3Options(noise=0.3, warmup=7)
    with pytest.raises(UserError, match="Unrecognized options: --noise"):
        cli._parse(Train.for_command_line([]), "goalsight train", ["--noise", "0.3"])
    with pytest.raises(UserError, match='no algorithm "td4"; did you mean "td3"'):
        Train.for_command_line(["--algorithm", "td4"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"env": EnvConfig("goalsight/PandaPusch-v1", obs="pixels")}, 'did you mean "PandaPush-v1"'),
        ({"critic": "stat"}, 'no critic "stat"; did you mean "state"'),
        ({"encoder": "none"}, "obs pixels needs an encoder"),
        (STATE | {"encoder": "random"}, "obs state needs no encoder"),
        ({"encoder": "nowhere/at-all"}, "nowhere/at-all does not exist"),
        ({"steps": 0}, "steps must be positive, got 0"),
        ({"algorithm": "sacc"}, 'no algorithm "sacc"; did you mean "sac"'),
        ({"algorithm": "td3"}, 'the algorithm "td3" takes TD3Options, got SACOptions'),
        ({"tune_blocks": 9}, "3 blocks; the head can take 0 to 3"),
        ({"device": "gpu"}, 'no device "gpu"'),
        ({"env": replace(TINY["env"], camera="frnt")}, "front"),
        ({"env": TWO, "tune_blocks": 1}, "blocks are tuned on one camera's images"),
        ({"threads": -1}, "threads must be at least 1"),
        ({"threads": 100_000}, "and at most 1,024"),
        (STATE | {"steps": 2_000_000_000}, "store fewer steps"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(options, message, tmp_path):
    with pytest.raises(UserError) as error:
        train(Train(**TINY | options, out=tmp_path / "run"))
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()


def test_an_encoder_for_other_images_is_refused(tmp_path, monkeypatch):
    from goalsight.pretrain.encoders import vit as encoder

    monkeypatch.setattr(encoder, "load_encoder", lambda source: random_encoder(image_size=32))
    with pytest.raises(UserError, match="takes frames of 32 px, the environment gives 16 px"):
        train(Train(**TINY, encoder="some/run", out=tmp_path / "run"))


def test_agents_from_before_there_were_algorithms_are_read(run, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(run.path, copy)
    for meta in copy.glob("checkpoints/*/meta.json"):
        new = json.loads(meta.read_text())
        meta.write_text(json.dumps({name: value for name, value in new.items() if name not in ("spread", "options")}))
        (meta.parent / SUMS).unlink()
    old, new = load_agent(copy, "last"), load_agent(run.path, "last")
    theirs = new.actor.state_dict()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in old.actor.state_dict().items())


def test_a_damaged_agent_is_refused(run, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(run.path, copy)
    meta = copy / "checkpoints" / (copy / "checkpoints" / "best").read_text().strip() / "meta.json"
    meta.write_text(json.dumps(json.loads(meta.read_text()) | {"hidden": [8, 8]}))
    with pytest.raises(UserError, match=r"meta\.json: it is not what was written"):
        load_agent(copy, "best")
    (meta.parent / SUMS).unlink()  # as older versions and strangers write
    good = json.loads(meta.read_text())
    for change, says in (
        ({"hidden": [8, 8]}, "does not fit its description"),
        ({"hidden": [2**14, 2**14]}, "weights are too few for it"),
        ({"observation": {"observation": [10**15]}}, "weights are too few for it"),
        ({"hidden": ["x"]}, "meta.json: hidden: 0 cannot be 'x'"),
        ({"env": True}, "meta.json: env cannot be True"),
        ({"env_kwargs": {"control": 1}}, "control cannot be 1"),
        ({"sight": {}}, "meta.json has no vectors"),
    ):
        meta.write_text(json.dumps(good | change))
        with pytest.raises(UserError, match=says) as caught:
            load_agent(copy, "best")
        assert "\n" not in str(caught.value)


def test_what_takes_time_begins_only_where_a_run_can_be_made(run, tmp_path, monkeypatch):
    from goalsight.agents import learning

    monkeypatch.setattr(learning, "Learner", lambda config: pytest.fail("environments were built"))
    with pytest.raises(UserError, match="holds a run already"):
        train(Train(**TINY, out=run.path))
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="is not empty"):
        train(Train(**TINY, out=tmp_path))


def test_an_agent_that_sees_no_pixels_tunes_no_encoder():
    with pytest.raises(UserError, match="tuned from pixels, got obs state"):
        Train(**{**TINY, **STATE}, tune_blocks=1)


def test_it_is_said_what_of_an_agent_is_taken_for_an_encoder(run, capsys):
    from goalsight.agents.networks.features import find_encoder

    assert find_encoder(str(run.path), 16, 0).config.image_size == 16
    assert "trained an agent; the encoder that this agent sees by is taken" in capsys.readouterr().err
    frames = np.zeros((2, 16, 16, 3), np.uint8)
    encoder = goalsight.load_encoder(run.path)
    assert torch.equal(encoder(frames), encoder(torch.from_numpy(frames)))
    assert capsys.readouterr().err == ""
    with pytest.raises(UserError, match=r"takes frames \(B, 16, 16, 3\), .* got \(16, 16, 3\)"):
        encoder(frames[0])


def test_a_learning_that_comes_apart_says_when(tmp_path):
    options = SACOptions(warmup=100, learning_rate=1e30)
    asked = Train(**{**TINY, **STATE, "options": options, "steps": 3000, "eval_every": 2000}, out=tmp_path / "run")
    with pytest.raises(UserError, match=r"after [\d,]+ env steps: the learning has come apart.* than 1e\+30 may help"):
        train(asked)
    assert Run.open(tmp_path / "run").status == "failed"


def test_imitation_that_comes_apart_says_when(tmp_path):
    collect(Collect(env=PlayEnv("goalsight/PandaReach-v1"), frames=200, num_envs=4, film=0, out=tmp_path / "play"))
    options = BCOptions(learning_rate=1e30)
    asked = Train(
        STATE["env"], algorithm="bc", data=(tmp_path / "play",), options=options, steps=40, eval_episodes=2, threads=1
    )
    with pytest.raises(UserError, match=r"no numbers any more after [\d,]+ updates: .* than 1e\+30 may help"):
        train(replace(asked, out=tmp_path / "run"))
    assert Run.open(tmp_path / "run").status == "failed"


@pytest.mark.parametrize(("rate", "updates"), [(0.25, 30), (0.1, 12), (0.01, 1), (0.001, 0), (0.3, 36)])
def test_as_many_updates_are_made_as_the_steps_after_the_warm_up_ask_for(rate, updates, tmp_path):
    options = SACOptions(warmup=200, updates_per_step=rate, hidden=(8,))
    assert Run.open(train(Train(**{**TINY, **STATE, "options": options}, out=tmp_path / "run"))).summary[
        "updates"
    ] == pytest.approx(updates, abs=0)


def test_what_sets_scales_before_the_first_step_is_named_and_timed(run):
    assert run.summary["calibration_steps"] == calibration_steps(TINY["num_envs"]) == 128 * 8
    assert run.summary["stage_seconds"]["calibrating"] > 0


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"critic": "pixels", "env": EnvConfig("goalsight/PandaReach-v1")}, "obs state shows no pixels"),
        ({"watching": Watching(play=20)}, "--watching.play is an option of learning from video; add --video PATH"),
        ({"algorithm": "bc", "options": None}, "bc plays in no environments of its own; leave num_envs out"),
        ({"algorithm": "bc", "options": None, "num_envs": None, "critic": "pixels"}, "bc has no critic"),
    ],
)
def test_options_that_would_do_nothing_are_refused(options, says):
    with pytest.raises(UserError, match=says):
        Learner(Train(**TINY | options))


def test_of_several_algorithms_the_last_one_counts():
    for words in (["--algorithm", "td3", "--algorithm=sac"], ["--algorithm=td3", "--algorithm", "sac"]):
        assert Train.for_command_line(words)().options == SACOptions()
    assert Train.for_command_line(["--algorithm=sac", "--algorithm", "bc"])().options == BCOptions()


def test_an_encoder_that_has_moved_is_still_the_one(run, tmp_path):
    from goalsight.agents.train import resume
    from goalsight.base.runs import Run as Runs

    first = tmp_path / "here" / "encoder"
    shutil.copytree(run.path, first)
    asked = Train(**TINY | {"steps": 400}, encoder=str(first), out=tmp_path / "run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Watch, "rest", _stopping_at(240))
        train(asked)
    moved = tmp_path / "there" / "encoder"
    moved.parent.mkdir()
    first.rename(moved)
    config = tmp_path / "run" / "config.json"
    config.write_text(config.read_text().replace(str(first), str(moved)))
    with Runs.resume(tmp_path / "run") as again:
        resume(again)
    assert Run.open(tmp_path / "run").status == "finished"


def _stopping_at(steps):
    rest = Watch.rest

    def stopping(self):
        self._run.stop.requested |= self._loop.steps >= steps
        return rest(self)

    return stopping


def test_what_was_stopped_within_an_evaluation_keeps_its_best_agent(tmp_path, monkeypatch):
    from goalsight.agents.train import resume

    successes = iter((False, None, True, False))  # None: someone asks to stop before the second evaluation has ended

    def judged(env, agent, *, episodes: int, stop, **__: object) -> Episodes:
        zeros, success = np.zeros(episodes), next(successes)
        if success is None:
            stopping.requested = True
            zeros = zeros[:0]
        return Episodes(zeros.astype(int), np.full(len(zeros), success), zeros, zeros.astype(int), zeros > 0)

    watching = Watch.__init__

    def noted(self, learner, run, *rest, **options):
        nonlocal stopping
        stopping = run.stop
        watching(self, learner, run, *rest, **options)

    stopping = None
    monkeypatch.setattr(Watch, "__init__", noted)
    monkeypatch.setattr(checking, "rollout", judged)
    out = tmp_path / "run"
    train(Train(**TINY | STATE | {"eval_every": 120}, out=out))
    assert Run.open(out).status == "interrupted"
    with Run.resume(out) as again:
        resume(again)
    assert Run.open(out).summary["best_success"] == 1.0
    assert Run.open(out).checkpoint("best").name == "000240"
    assert load_agent(out, "best").facts["env_steps"] == 240

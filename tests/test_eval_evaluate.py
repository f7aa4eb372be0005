import json
from dataclasses import replace

import numpy as np
import pytest

from goalsight.agents.rollout import Episodes
from goalsight.base.errors import UserError
from goalsight.envs.config import EnvChanges, EnvConfig
from goalsight.envs.tasks import TASKS
from goalsight.envs.vector import GoalVectorEnv
from goalsight.eval.evaluate import Eval, evaluate, goals_of, result_name, summarise, table
from goalsight.eval.subject import baseline, resolve_subject


def test_summary_worked_by_hand():
    episodes = Episodes(
        index=np.arange(4),
        success=np.array([True, True, False, False]),
        returns=np.array([-1.0, -3.0, -50.0, -2.0]),
        lengths=np.array([50, 50, 50, 2]),
        diverged=np.array([False, False, False, True]),
    )
    found = summarise(episodes, 1.23456)
    # Wilson for 2 of 4: centre 0.5, half width = 1.959964 * sqrt(1/16 + 3.841459/64) / (1 + 3.841459/4) = 0.349961.
    assert found["success"] == {
        "count": 2,
        "total": 4,
        "rate": 0.5,
        "low": pytest.approx(0.150039, abs=1e-5),
        "high": pytest.approx(0.849961, abs=1e-5),
    }
    assert (found["mean_return"], found["diverged"], found["seconds"]) == (-14.0, 1, 1.235)


def test_expert_beside_its_floors(capsys):
    found = evaluate(Eval(policy="expert", env=EnvChanges("PandaReach-v1"), episodes=20, num_envs=8, json=True))
    printed = json.loads(capsys.readouterr().out)
    assert printed["success"] == found["success"]
    assert found["success"]["rate"] >= 0.9
    assert set(found["baselines"]) == {"nothing", "random"}
    assert found["baselines"]["nothing"]["success"]["rate"] == 0.0
    assert found["env"] == "goalsight/PandaReach-v1"
    assert found["checkpoint"] is None, "a policy that does not learn has none"
    assert found["versions"]["mujoco"]
    text = table(found).splitlines()
    assert text[0] == "goalsight/PandaReach-v1: 20 episodes, seeds 10000 to 10019"
    assert text[2].split()[0] == "expert"


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ({}, "eval.json"),
        ({"episodes": 5, "checkpoint": "best", "seed": 10_000}, "eval.json"),
        ({"checkpoint": "5000", "episodes": 5}, "eval_checkpoint_5000.json"),
        ({"checkpoint": "last"}, "eval_checkpoint_last.json"),
        ({"seed": 7}, "eval_seed_7.json"),
        ({"goals": "named"}, "eval_named_goals.json"),
        ({"env": EnvChanges(vary=("colour",))}, "eval_changed.json"),
        ({"env": EnvChanges(vary=()), "goals": "named", "seed": 7}, "eval_named_goals_changed_seed_7.json"),
    ],
)
def test_what_is_judged_otherwise_leaves_what_is_published(asked, name):
    assert result_name(Eval(**asked)) == name


def test_results_do_not_depend_on_the_number_of_environments(capsys):
    few, many = (
        evaluate(Eval(policy="random", env=EnvChanges("PandaPush-v1"), episodes=6, num_envs=n)) for n in (4, 6)
    )
    assert few["mean_return"] == many["mean_return"]
    assert few["baselines"]["expert"]["mean_return"] == many["baselines"]["expert"]["mean_return"]


def test_a_floor_acts_in_the_same_episodes_without_pixels():
    kwargs = {"obs": "pixels", "image_size": 32, "camera": "wrist", "control": "joint", "max_episode_steps": 7}
    found = baseline("random", EnvConfig("PandaPush-v1", **kwargs), seed=0)
    assert found.env.id == "goalsight/PandaPush-v1"
    assert found.env.arguments() == {"obs": "state", "control": "joint", "max_episode_steps": 7}
    assert found.make_env(2).horizon == 7


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({}, "name a training run, or --policy"),
        ({"policy": "expert"}, "needs --env"),
        ({"policy": "exprt", "env": "PandaReach-v1"}, 'did you mean "expert"'),
        ({"policy": "expert", "env": "PandaRech-v1"}, 'did you mean "PandaReach-v1"'),
        ({"run": "nowhere"}, "nowhere does not exist"),
        ({"run": "nowhere", "policy": "expert"}, "one of the two"),
        ({"run": "nowhere", "env": "PandaReach-v1"}, "knows its environment"),
    ],
)
def test_what_cannot_be_judged_is_one_line(wrong, message):
    asked = {"run": None, "policy": None, "which": "best", "seed": 0} | wrong
    changes = EnvChanges(asked.pop("env", None))
    with pytest.raises(UserError, match=message) as error:
        resolve_subject(**asked, changes=changes)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("wrong", [{"episodes": 0}, {"num_envs": 0}, {"seed": -1}])
def test_impossible_numbers_are_refused(wrong):
    with pytest.raises(UserError, match="got"):
        Eval(**wrong)


def test_a_half_written_run_is_refused(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UserError, match="half-written"):
        evaluate(Eval(run=tmp_path))


def test_named_goals_are_judged_one_by_one(capsys):
    found = evaluate(Eval(policy="expert", env=EnvChanges("PandaDrawer-v1"), episodes=7, num_envs=3, goals="named"))
    assert {name: row["total"] for name, row in found["by_goal"].items()} == {
        "shut": 2,
        "ajar": 2,
        "half": 1,
        "wide": 1,
        "open": 1,
    }
    assert sum(row["count"] for row in found["by_goal"].values()) == found["success"]["count"] == 7
    assert found["baselines"]["nothing"]["by_goal"]["open"]["rate"] == 0
    text = table(found)
    assert text.splitlines()[0].endswith("named goals in turn")
    assert "open    1 of 1   100%" in " ".join(text.split("\n"))


def test_a_task_without_named_goals_says_so():
    bare = replace(TASKS["push"], name="bare_push", named_goals=())
    with pytest.raises(UserError, match='"bare_push" of mine/PandaBarePush-v1 has no named goals'):
        goals_of(GoalVectorEnv(bare), "mine/PandaBarePush-v1")

"""Goals by name or as numbers: all named ones can be achieved, and what makes no sense is refused."""

from dataclasses import replace

import numpy as np
import pytest

from goalsight.base.errors import UserError
from goalsight.envs.fingerprints import own_ids
from goalsight.envs.registration import make_vector
from goalsight.envs.simulation.simulator import GoalSimulator
from goalsight.envs.tasks import TASKS, Push
from goalsight.envs.vector import GoalVectorEnv


@pytest.mark.parametrize("name", TASKS)
def test_named_goals_are_achieved_by_the_goal_state(name):
    task = TASKS[name]
    assert len(task.goals) >= 3
    env = GoalVectorEnv(task, num_envs=len(task.goals), num_threads=1)
    goals = np.array(list(task.goals.values()))
    obs, info = env.reset(seed=0, options={"goal": goals})
    assert (task.error(obs["desired_goal"], goals) < task.settled).all()
    assert not info["is_success"].any()
    with env.sim.show_goal(np.arange(env.num_envs)):
        np.testing.assert_array_equal(env.sim.reader.observe().achieved, obs["desired_goal"])
    again, _ = env.reset(seed=0, options={"goal": goals})
    np.testing.assert_array_equal(again["observation"], obs["observation"])
    by_name, _ = env.reset(seed=0, options={"goal": next(iter(task.goals))})
    assert (task.error(by_name["desired_goal"], goals[:1]) < task.settled).all()
    drawn, _ = env.reset(seed=0)
    assert (task.error(drawn["desired_goal"], goals) > task.settled).any(), "asked for once, not for ever"


@pytest.mark.parametrize("env_id", own_ids())
def test_every_arm_has_goals_of_each_kind(env_id, monkeypatch):
    drawn, kept = [], []
    realise = GoalSimulator._realise_goal

    def count(sim, ids, layout):
        good = realise(sim, ids, layout)
        drawn.append(len(ids))
        kept.append(good.sum())
        return good

    monkeypatch.setattr(GoalSimulator, "_realise_goal", count)
    env = make_vector(env_id, num_envs=40, num_threads=1)
    env.reset(seed=0)
    assert sum(kept) / sum(drawn) >= 0.6, "goals that are drawn again and again are hardly ever asked for"
    goals = np.resize(np.array(list(env.task.goals.values())), (40, env.task.goal_size))
    obs, _ = env.reset(seed=0, options={"goal": goals})
    assert (env.task.error(obs["desired_goal"], goals) < env.task.settled).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", TASKS)
def test_experts_achieve_named_goals(name):
    task = TASKS[name]
    goals = np.repeat(np.array(list(task.goals.values())), 10, axis=0)
    env = GoalVectorEnv(task, num_envs=len(goals))
    env.reset(seed=0, options={"goal": goals})
    for _ in range(env.horizon):
        *_, info = env.step(env.expert_action())
    share = info["final_info"]["is_success"].mean()
    assert share >= (0.8 if name == "slide" else 0.95)


@pytest.mark.parametrize(
    ("goal", "message"),
    [
        ("midle", 'did you mean "middle"'),
        ((0.4, 0.1), r"shape \(3,\) or \(2, 3\), got shape \(2,\)"),
        ((0.4, 0.1, np.nan), "finite"),
        ({"x": 1}, "a name or numbers"),
        ((3.0, 0.0, 0.025), r"goal \[3.0, 0.0, 0.025\] is out of reach"),
        ((0.45, 0.0, 0.5), "does not come to rest"),
    ],
)
def test_goals_that_make_no_sense_are_refused_in_one_line(goal, message):
    env = GoalVectorEnv("push", num_envs=2, num_threads=1)
    with pytest.raises(UserError, match=message) as error:
        env.reset(seed=0, options={"goal": goal})
    assert "\n" not in str(error.value)


def test_named_goals_must_fit_their_task():
    with pytest.raises(ValueError, match='goal "flat" has 2 numbers; those of task "push" have 3'):
        replace(Push(), named_goals=(("flat", (0.4, 0.1)),))

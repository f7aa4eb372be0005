"""Fingerprints: every id has one, it is what the id does, and a change is named."""

import copy
import json
from dataclasses import replace

import pytest

from goalsight.base.errors import UserError
from goalsight.commands.cli import run
from goalsight.envs import fingerprints
from goalsight.envs.fingerprints import compare, differences, own_ids, published
from goalsight.envs.simulation.control import CONTROLS, JointControl
from goalsight.envs.tasks import TASKS, Push, push, slide


def test_every_id_does_what_was_published():
    assert set(published()) == set(own_ids())
    assert {env_id: found for env_id, found in compare(own_ids()).items() if found} == {}


def test_a_change_is_named():
    before = published()["goalsight/PandaPush-v1"]
    assert differences(before, before) == []
    for change, named in (
        (lambda f: f["goal"].__setitem__(0, f["goal"][0] + 2e-4), "its goal"),
        (lambda f: f["states"]["10"].__setitem__(3, f["states"]["10"][3] - 2e-4), "its state after 10 steps"),
        (lambda f: f["states"]["1"].append(0.0), "its state after 1 steps"),
        (lambda f: f["rewards"]["dense"].__setitem__(2, 0.1), "its dense rewards"),
        (lambda f: f["success"].__setitem__("hold_steps", 3), "its hold_steps"),
        (lambda f: f["goal_picture"].__setitem__(5, f["goal_picture"][5] + 3), "the picture of its goal"),
    ):
        after = copy.deepcopy(before)
        change(after)
        assert differences(after, before) == [named]


class Penalised(Push):
    """Push with rewards of its own."""

    def sparse_reward(self, achieved, desired):
        return super().sparse_reward(achieved, desired) - 1

    def dense_reward(self, achieved, desired):
        return 7 * super().dense_reward(achieved, desired)


@pytest.mark.parametrize(
    ("task", "shown"),
    [
        (replace(Push(), tolerance=0.04), ["its sparse rewards", "its tolerance"]),
        (replace(Push(), hold_steps=10, max_episode_steps=60), ["its hold_steps", "its max_episode_steps"]),
        (replace(Push(), grasped="cube"), ["its grasped"]),
        (replace(Push(), named_goals=()), ["its named_goals"]),
        (Penalised(), ["its sparse rewards", "its dense rewards"]),
    ],
)
def test_what_decides_success_and_rewards_shows(monkeypatch, task, shown):
    monkeypatch.setitem(TASKS, "push", task)
    assert compare(["goalsight/PandaPush-v1"])["goalsight/PandaPush-v1"] == shown


def test_joint_control_and_how_things_move_show(monkeypatch):
    monkeypatch.setitem(CONTROLS, "joint", JointControl(step=0.1))
    shown = compare(["goalsight/PandaPush-v1"])["goalsight/PandaPush-v1"]
    assert shown == [f"its state after {fingerprints.JOINT_STEPS} steps by joint control"]
    monkeypatch.setitem(CONTROLS, "joint", JointControl())
    monkeypatch.setattr(push, "LOW", 0.03)
    shown = compare(["goalsight/PandaPush-v1"])["goalsight/PandaPush-v1"]
    assert "its state after 49 steps" in shown


def test_another_mujoco_is_named_beside_what_differs(monkeypatch):
    before = published()["goalsight/PandaPush-v1"]
    older = copy.deepcopy(before) | {"mujoco": "3.0.0"}
    assert differences(before, older) == []
    older["goal"][0] += 1
    assert differences(before, older) == ["its goal", f"and MuJoCo, which was 3.0.0 and is {before['mujoco']}"]


def test_another_tile_shows(monkeypatch):
    monkeypatch.setattr(slide, "EDGE", 0.04)
    changed = compare(["goalsight/PandaSlide-v1"])["goalsight/PandaSlide-v1"]
    assert "the picture of its goal" in changed


def test_the_commands_compare(monkeypatch, capsys):
    assert run(["envs", "--check", "PandaReach-v1"]) == 0
    assert capsys.readouterr().out == "goalsight/PandaReach-v1  as published\n"
    changed = copy.deepcopy(published())
    changed["goalsight/PandaReach-v1"]["goal"][2] += 1
    monkeypatch.setattr(fingerprints, "published", lambda: changed)
    assert run(["envs", "--check", "PandaReach-v1", "--json"]) == 1
    assert json.loads(capsys.readouterr().out) == {"goalsight/PandaReach-v1": ["its goal"]}
    assert run(["envs", "--check", "PandaReech-v1"]) == 2
    assert 'did you mean "PandaReach-v1"' in capsys.readouterr().err


def test_ids_from_elsewhere_have_none():
    with pytest.raises(UserError, match="mine/PandaPush-v1 has no fingerprint"):
        compare(["mine/PandaPush-v1"])

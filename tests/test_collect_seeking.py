"""Play by an agent that sets out for rare goals."""

import numpy as np
import pytest
from test_collect import go_on, interrupt_at_step, only, same_files

from goalsight.agents.algorithms.sac import SACOptions
from goalsight.agents.collecting import seeking
from goalsight.agents.collecting.collect import STORE, Collect, PlayEnv, collect
from goalsight.agents.collecting.seeking import rarity
from goalsight.agents.train import Train, train
from goalsight.base.errors import UserError
from goalsight.base.runs import Run
from goalsight.envs.config import EnvConfig
from goalsight.pretrain.data.store import FrameStore

REACH = "goalsight/PandaReach-v1"
TINY = {"num_envs": 4, "options": SACOptions(warmup=40), "steps": 60, "eval_every": 60, "eval_episodes": 2}


@pytest.fixture(scope="module")
def agent(tmp_path_factory):
    env = EnvConfig(REACH, obs="pixels", image_size=16)
    return train(Train(env=env, **TINY, threads=1, out=tmp_path_factory.mktemp("agent") / "pixels"))


@pytest.fixture
def asked(agent, monkeypatch):
    """Ten episodes in rounds of four."""
    monkeypatch.setattr(seeking, "ROUND", 4)
    env = PlayEnv(REACH, image_size=16)
    return {"env": env, "seek": agent, "frames": 80, "steps": 8, "num_envs": 2, "film": 4}


def test_what_lies_far_from_all_that_was_achieved_is_rare():
    # Two goals at 0 and 2 have a standard deviation of 1, so the kernel's is 0.1. At 0 one of them is met: density
    # 1/2. At 1 both are ten kernels away: exp(-50) each.
    achieved = np.array([[0.0], [2.0]])
    assert rarity(np.array([[0.0], [1.0]]), achieved) == pytest.approx([np.log(2), 50])
    # What never changed is measured by 0.1 times the least spread: 2 mm is two kernels away.
    assert rarity(np.array([[[0.002]]]), np.zeros((3, 1))) == pytest.approx(np.array([[2]]))


def test_goals_are_sought_where_little_was_achieved(asked, tmp_path):
    path = collect(Collect(out=tmp_path / "run", **asked))
    store = FrameStore.open(path / STORE)
    assert Run.open(path).summary["episodes_by_behaviour"] == {"seek": 10}
    known = store.columns["achieved_goal"][:32].astype(np.float64)  # in the first round
    wanted = store.columns["desired_goal"][::8]  # (10, G)
    unsought = collect(Collect(env=asked["env"], frames=160, steps=8, film=0, out=tmp_path / "unsought"))
    usual = FrameStore.open(unsought / STORE).columns["desired_goal"][::8]  # (20, G)
    assert np.median(rarity(wanted[4:8], known)) > np.median(rarity(usual, known))
    assert len(np.unique(wanted, axis=0)) == 10


def test_a_recording_that_seeks_goes_on_to_the_bit_and_does_not_depend_on_the_number_of_environments(
    asked, tmp_path, monkeypatch
):
    whole = collect(Collect(out=tmp_path / "whole", **asked))
    with monkeypatch.context() as patch:
        interrupt_at_step(patch, 8 * 3 + 3)  # in the second wave of the second round
        path = collect(Collect(out=tmp_path / "run", **asked))
    assert FrameStore.open(path / STORE).num_episodes == 6
    same_files(go_on(path), whole)
    other = collect(Collect(out=tmp_path / "other", **asked | {"num_envs": 3}))
    assert FrameStore.open(other / STORE).content_hash == FrameStore.open(whole / STORE).content_hash


def test_who_cannot_seek_is_refused_before_anything_is_made(agent, tmp_path):
    for changed, message in (
        ({"env": PlayEnv("PandaPush-v1")}, f"acts in {REACH}, and goalsight/PandaPush-v1 is to be recorded"),
        ({"env": PlayEnv(REACH)}, "has image_size 16, and what is recorded has 64"),
        ({"env": PlayEnv(REACH, image_size=16, camera="wrist")}, "has camera front, and what is recorded has wrist"),
        ({"seek": tmp_path / "nowhere"}, "nowhere"),
    ):
        asked = {"env": PlayEnv(REACH, image_size=16), "seek": agent} | changed
        with pytest.raises(UserError, match=message):
            collect(Collect(out=tmp_path / "run", **asked))
        assert not (tmp_path / "run").exists()
    with pytest.raises(UserError, match="one of the two"):
        Collect(seek=agent, mix=only(random=1.0))


def test_an_agent_that_sees_the_state_cannot_seek(tmp_path):
    blind = train(Train(env=EnvConfig(REACH), **TINY, threads=1, out=tmp_path / "state"))
    with pytest.raises(UserError, match="to seek it must see what is recorded"):
        collect(Collect(env=PlayEnv(REACH), seek=blind, out=tmp_path / "run"))

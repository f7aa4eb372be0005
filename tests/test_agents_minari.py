"""Data sets of Minari are imitated from state; what is wrong with one is one line."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from goalsight.agents.minari import EPISODES, METADATA, MinariPlay
from goalsight.agents.recordings import open_stores
from goalsight.agents.train import Train, train
from goalsight.base.errors import UserError
from goalsight.base.runs import Run
from goalsight.envs.config import EnvConfig

h5py = pytest.importorskip("h5py")
OFFICIAL = Path(__file__).parent / "data" / "minari"  # see data/make_minari.py


@pytest.fixture
def copy(tmp_path):
    return shutil.copytree(OFFICIAL, tmp_path / "set")


def test_what_minari_wrote_is_read_in_the_order_of_its_episodes():
    play = MinariPlay.open(OFFICIAL)
    assert play.episode_lengths.tolist() == [11, 11, 11]
    assert {name: values.shape for name, values in play.columns.items()} == {
        **{"state": (33, 8), "achieved_goal": (33, 3), "action": (33, 3)}
    }
    with h5py.File(OFFICIAL / EPISODES) as file:
        assert np.array_equal(play.columns["state"][11:22], file["episode_1/observations/observation"])
        assert np.array_equal(play.columns["action"][22:32], file["episode_2/actions"])
    assert not play.columns["action"][[10, 21, 32]].any(), "nothing is done in an episode's last moment"


def test_ten_episodes_are_ordered_by_number(copy):
    with h5py.File(copy / EPISODES, "a") as file:
        for number in range(3, 12):
            file.copy("episode_0", f"episode_{number}")
        file["episode_11/actions"][0] = 7
    assert MinariPlay.open(copy).columns["action"][11 * 11, 0] == 7


def test_it_is_imitated_from_state(tmp_path):
    asked = Train(EnvConfig("goalsight/PandaReach-v1", obs="state"), algorithm="bc", data=(OFFICIAL,), steps=3)
    folder = train(Train(**vars(asked) | {"out": tmp_path / "run"}))
    assert Run.open(folder).manifest["sources"]["data"] == MinariPlay.open(OFFICIAL).content_hash
    with pytest.raises(UserError, match="choose --obs state"):
        open_stores((OFFICIAL,), "pixels")
    with pytest.raises(UserError, match="of shape"):
        train(Train(EnvConfig("goalsight/PandaPush-v1", obs="state"), algorithm="bc", data=(OFFICIAL,), steps=3))


def test_what_is_damaged_is_one_line(copy):
    def refused(words):
        with pytest.raises(UserError, match=words) as caught:
            MinariPlay.open(copy)
        assert "\n" not in str(caught.value)

    whole = (copy / EPISODES).read_bytes()
    (copy / EPISODES).write_bytes(whole[: len(whole) // 2])
    refused("no episodes that can be read")
    (copy / EPISODES).write_bytes(whole)
    with h5py.File(copy / EPISODES, "a") as file:
        file["episode_0/observations/observation"][3] = np.nan
    refused("not finite")
    with h5py.File(copy / EPISODES, "a") as file:
        del file["episode_0/actions"]
        file["episode_0/actions"] = h5py.ExternalLink("other.hdf5", "/actions")
    refused("no episode_0/actions")
    (copy / METADATA).write_text("[")
    refused("cannot be read")
    (copy / METADATA).write_text(json.dumps({"data_format": "arrow"}))
    refused("have Minari write hdf5")

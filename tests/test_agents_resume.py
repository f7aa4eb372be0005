"""Trainings that go on: in a new process, equal to the bit to those that were never stopped."""

import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from test_agents_replay import frame, make, play

from goalsight.agents.algorithms.sac import SACOptions
from goalsight.agents.replay_files import ReplayFiles
from goalsight.agents.train import Train, resume, train
from goalsight.base.errors import UserError
from goalsight.base.files import to_json
from goalsight.base.runs import Run
from goalsight.envs.config import EnvConfig

CHILD = """
import sys
from pathlib import Path
from goalsight.agents import watch
from goalsight.agents.algorithms import ALGORITHMS
from goalsight.agents.train import Train, resume, train
from goalsight.base.runs import Run
from goalsight.envs.config import EnvConfig

out, obs, algorithm, stop_at = Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
rest = watch.Watch.rest

def stopping(self):
    if self._loop.steps >= stop_at:
        self._run.stop.requested = True
    return rest(self)

watch.Watch.rest = stopping
if out.exists():
    with Run.resume(out) as run:
        resume(run)
else:
    options = ALGORITHMS.load(algorithm).Options(warmup=200)
    train(Train(
        EnvConfig("goalsight/PandaPush-v1", obs=obs, image_size=16), algorithm=algorithm, options=options,
        num_envs=4, steps=480, eval_every=160, eval_episodes=2, threads=1, target_success=2.0, out=out,
    ))
"""
NEVER = 10**9


def process(out: Path, obs: str, algorithm: str, stop_at: int) -> Run:
    """Train, or go on, in a process of its own until `stop_at` steps."""
    words = [sys.executable, "-c", CHILD, str(out), obs, algorithm, str(stop_at)]
    subprocess.run(words, check=True, capture_output=True)
    return Run.open(out)


@pytest.mark.parametrize(("obs", "algorithm"), [("state", "sac"), ("pixels", "sac"), ("state", "td3")])
def test_a_training_that_was_stopped_ends_as_one_that_never_was(obs, algorithm, tmp_path):
    whole = process(tmp_path / "whole", obs, algorithm, NEVER)
    part = process(tmp_path / "part", obs, algorithm, 220)
    assert part.manifest["status"] == "interrupted"
    assert 220 <= part.summary["env_steps"] < 320
    process(tmp_path / "part", obs, algorithm, 360)
    part = process(tmp_path / "part", obs, algorithm, NEVER)
    assert part.manifest["status"] == "finished"
    ours, theirs = part.load("last")[0], whole.load("last")[0]
    assert ours.keys() == theirs.keys()
    assert not [name for name in ours if not torch.equal(ours[name], theirs[name])]
    timeless = [
        [{name: value for name, value in row.items() if name != "wall_s"} for row in run.metrics()]
        for run in (part, whole)
    ]
    assert timeless[0] == timeless[1]
    assert part.summary["updates"] == whole.summary["updates"] == 70  # one in four of the 280 steps after the warm-up
    assert not (part.path / "replay").exists()


def test_a_training_that_ended_before_it_could_say_so_keeps_its_last_checkpoint(tmp_path, monkeypatch):
    def cut_off(self, summary, **_):
        raise RuntimeError("the power went")

    asked = Train(
        EnvConfig("goalsight/PandaReach-v1"),
        options=SACOptions(warmup=10**6),
        num_envs=4,
        steps=200,
        eval_every=100,
        eval_episodes=2,
        threads=1,
        out=tmp_path / "run",
    )
    with monkeypatch.context() as patch:
        patch.setattr(Run, "finish", cut_off)
        with pytest.raises(RuntimeError, match="the power went"):
            train(asked)
    checkpoints = tmp_path / "run" / "checkpoints"
    before = {
        str(path.relative_to(checkpoints)): path.read_bytes() for path in checkpoints.rglob("*") if path.is_file()
    }
    assert "000200/state.json" in before  # the last evaluation was as good as any before
    with Run.resume(tmp_path / "run") as run:
        resume(run)
    assert Run.open(tmp_path / "run").status == "finished"
    after = {str(path.relative_to(checkpoints)): path.read_bytes() for path in checkpoints.rglob("*") if path.is_file()}
    assert after == before


def test_a_training_whose_data_has_changed_does_not_go_on(tmp_path):
    run = process(tmp_path / "run", "pixels", "sac", 220)
    run.manifest["sources"]["encoder"] = "another"
    run.set_status("interrupted")
    with pytest.raises(UserError, match="was made from encoder another"), Run.resume(run.path) as again:
        resume(again)


def test_only_what_changed_is_written_and_all_of_it_is_read(tmp_path):
    buffer = make(2, 6, seed=1)
    files = ReplayFiles(tmp_path, buffer)
    play(buffer, [[5], [5]])
    state = {"replay": buffer.state(), "files": files.save()}
    first = files.written
    files.tidy()
    play(buffer, [[3], [3]])  # the second environment ends the episode that it was in
    kept = {"replay": buffer.state(), "files": files.save()}
    assert 0 < files.written - first <= first
    assert files.save()["next"] == kept["files"]["next"]  # nothing changed, nothing is written
    assert len(list(tmp_path.iterdir())) == 2

    again = make(2, 6, seed=5)
    ReplayFiles(tmp_path, again).read(kept["files"])
    again.load(kept["replay"])
    ours, theirs = again.sample(64), buffer.sample(64)
    assert again.size() == buffer.size() > 0
    assert torch.equal(ours.actions, theirs.actions)
    assert all(torch.equal(ours.observations[key], theirs.observations[key]) for key in ours.observations)
    # Going back to the save before, as after a crash, leaves nothing that was written later.
    older = make(2, 6)
    ReplayFiles(tmp_path, older).read(state["files"])
    older.load(state["replay"])
    assert len(list(tmp_path.iterdir())) == 1
    assert older.size() == 10


def test_segments_of_which_nothing_counts_are_removed(tmp_path):
    buffer = make(1, 3)
    files = ReplayFiles(tmp_path, buffer)
    for episode in range(9):
        obs = [frame(np.array([episode]), np.array([time])) for time in range(6)]
        for time in range(5):
            done = np.array([time == 4])
            buffer.add(obs[time], obs[time + 1], np.zeros((1, 2)), np.zeros(1), done, [{}])
        files.save()
        files.tidy()
    # Three blocks, each in a segment of its own at the most.
    assert len(list(tmp_path.iterdir())) <= 3


def test_a_damaged_replay_is_refused_in_one_line(tmp_path):
    buffer = make(1, 3)
    files = ReplayFiles(tmp_path, buffer)
    play(buffer, [[5]])
    state = files.save()
    (segment,) = tmp_path.iterdir()
    whole = segment.read_bytes()
    segment.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(UserError, match="cannot be read: it is not what was written"):
        ReplayFiles(tmp_path, make(1, 3)).read(state)
    del state["sums"]  # as an earlier version
    ReplayFiles(tmp_path, make(1, 3)).read(state)
    segment.write_bytes(whole[:40])
    with pytest.raises(UserError, match="cannot be read") as error:
        ReplayFiles(tmp_path, make(1, 3)).read(state)
    assert "\n" not in str(error.value)


def test_a_record_says_what_was_asked_for(tmp_path):
    env = EnvConfig("goalsight/PandaReach-v1", vary=("mass",))
    asked = Train(env, num_envs=2, steps=8, options=SACOptions(hidden=(8,)))
    assert Train.recorded(to_json(asdict(asked))) == asked

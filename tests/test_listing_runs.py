"""`goalsight runs`: every run of a folder, and a word on what is damaged."""

import json
import os
from pathlib import Path

import pytest

from goalsight.base.files import atomic_write_json
from goalsight.base.runs import Run
from goalsight.commands import cli
from goalsight.commands.runs import Runs, list_runs

REACH = {"id": "goalsight/PandaReach-v1", "obs": "state"}


def begun(run: Run, when: str) -> Run:
    run.manifest["started"] = when
    atomic_write_json(run.path / "manifest.json", run.manifest)
    return run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run of each kind, one in a folder of its own, and three that are damaged."""
    where = tmp_path / "runs"
    agent = Run.create("train", {"env": REACH, "algorithm": "td3"}, out=where / "demo" / "agent", seed=0)
    for step, success in ((1000, 0.9), (2000, 0.4)):
        agent.log(step, {"eval/success": success})
    begun(agent, "2026-01-03T00:30:00+02:00")  # at 22:30 of the day before, by the clock of the others
    agent.finish({})
    encoder = begun(
        Run.create("pretrain", {"objective": "latent"}, out=where / "encoder", seed=0), "2026-01-02T23:00:00Z"
    )
    encoder.log(10, {"pretrain/loss": 0.25})
    encoder.finish({"alarms": {"collapse": "the features have collapsed"}})
    play = begun(Run.create("collect", {"env": REACH}, out=where / "play", seed=0), "2026-01-01T00:00:00Z")
    play.finish({"frames": 1234, "moved_share": 0.41, "seconds": 90.0})
    (where / "half").mkdir()
    (where / "half" / "config.json").write_text("{}")
    torn = Run.create("train", {"env": REACH}, out=where / "torn", seed=0)
    (torn.path / "manifest.json").write_text('{"kind": "tr')
    odd = Run.create("train", {"env": REACH}, out=where / "odd", seed=0)
    (odd.path / "manifest.json").write_text('{"kind": "train"}')
    (where / "notes.txt").write_text("not a run")
    (where / "comparison").mkdir()
    return where


def test_all_runs_are_listed_newest_first_and_damaged_ones_last(folder: Path) -> None:
    rows = list_runs(Runs(folder))
    assert [row.name for row in rows] == ["encoder", os.path.join("demo", "agent"), "play", "torn", "odd", "half"]
    encoder, agent, play, torn, odd, half = rows
    assert (agent.kind, agent.about) == ("train", "goalsight/PandaReach-v1, td3")
    assert (agent.status, agent.headline, agent.steps) == ("finished", "best 90%, last 40%", 2000)
    assert (encoder.about, encoder.headline) == ("latent", "loss 0.25, alarm: collapse")
    assert (play.headline, play.steps, play.seconds) == ("object moved in 41%", 1234, 90.0)
    assert {row.kind for row in (torn, odd, half)} == {"damaged"}
    assert torn.about.startswith("cannot read manifest.json")
    assert odd.about == "manifest.json has no status"
    assert half.about == "not a run, or half-written: no manifest.json"


def test_a_short_pretraining_has_steps_and_not_frames(tmp_path: Path) -> None:
    run = Run.create("pretrain", {"objective": "masked"}, out=tmp_path / "short", seed=0)
    run.finish({"steps": 6, "frames": 2000, "seconds": 1.0})
    (row,) = list_runs(Runs(tmp_path))
    assert row.steps == 6


def test_the_table_has_a_line_a_run(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["runs", str(folder)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 7
    assert lines[0].split() == ["run", "kind", "about", "status", "headline", "steps", "time", "started"]
    assert "1,234  90 s  2026-01-01 00:00" in lines[3]


def test_as_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["runs", str(folder), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["kind"] for row in rows] == ["pretrain", "train", "collect", *["damaged"] * 3]
    assert rows[5]["steps"] is None


def test_a_run_whose_process_is_gone_is_killed_and_one_that_failed_says_why(tmp_path: Path) -> None:
    run = Run.create("train", {"env": REACH}, out=tmp_path / "a", seed=0)
    run.manifest["process"]["pid"] = 2**22 + 1
    run.set_status("running")
    failed = Run.create("train", {"env": REACH}, out=tmp_path / "b", seed=0)
    failed.manifest["error"] = "ValueError: no"
    failed.set_status("failed")
    rows = {row.name: row for row in list_runs(Runs(tmp_path))}
    assert rows["a"].status == "killed"
    assert (rows["b"].status, rows["b"].headline) == ("failed", "ValueError: no")


def test_no_folder_and_no_runs(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["runs"]) == 2
    assert capsys.readouterr().err == "goalsight: runs is no folder; name one that holds runs\n"
    (workplace / "runs").mkdir()
    assert cli.run(["runs"]) == 0
    assert capsys.readouterr().out == "no runs in runs\n"

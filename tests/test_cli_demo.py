"""The demo's wiring: each stage gets what the one before made. The demo itself runs in `.ci/run`."""

import json
import signal
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from goalsight.agents import train
from goalsight.agents.collecting import collect
from goalsight.base.interruption import interrupted
from goalsight.commands import cli
from goalsight.commands.demo import PLANS
from goalsight.envs.registration import env_ids
from goalsight.eval import evaluate
from goalsight.eval.comparing import compare
from goalsight.eval.films import record
from goalsight.eval.reports import report
from goalsight.eval.stats import wilson
from goalsight.pretrain import train as pretrain

VERDICT = {"success": asdict(wilson(97, 100)), "baselines": {"random": {"success": asdict(wilson(5, 100))}}}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Any]]:
    """What each stage was asked for; no stage does anything."""
    asked: dict[str, list[Any]] = {}

    def put(module: object, name: str, answer: Any) -> None:
        def stage(config: Any) -> Any:
            print(f"{name} speaks")
            asked.setdefault(name, []).append(config)
            return answer

        monkeypatch.setattr(module, name, stage)

    put(collect, "collect", Path("play"))
    put(pretrain, "pretrain", Path("encoder"))
    put(train, "train", Path("agent"))
    put(evaluate, "evaluate", VERDICT)
    put(record, "record", Path("film.mp4"))
    put(report, "report", Path("report.html"))
    put(compare, "compare", {"groups": []})
    return asked


def test_each_stage_gets_what_the_one_before_made(
    asked: dict[str, list[Any]], workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (workplace / "d").mkdir()
    assert cli.run(["demo", "--task", "reach", "--out", "d", "--seed", "3"]) == 0
    assert list(asked) == ["collect", "pretrain", "train", "evaluate", "record", "report"]
    collecting, pretraining, training = (asked[name][0] for name in ("collect", "pretrain", "train"))
    assert collecting.env.id == training.env.id == PLANS["reach"].env
    assert collecting.env.id in env_ids()
    assert pretraining.data == (collecting.out,) == (Path("d/play"),)
    assert training.env.obs == "pixels"
    assert training.encoder == str(pretraining.out)
    assert {one.seed for one in (collecting, pretraining, training)} == {3}
    assert asked["evaluate"][0].run == asked["record"][0].run == training.out
    assert asked["evaluate"][0].episodes == 100
    assert [one.run for one in asked["report"]] == [training.out, pretraining.out]
    kept = json.loads((workplace / "d" / "demo.json").read_text())
    assert kept["success"]["rate"] == 0.97
    assert list(kept["seconds"]) == ["collect", "pretrain", "train", "eval", "record", "report"]
    printed = capsys.readouterr().out
    assert "success 97% of reach goals (95% interval 92% to 99%)\n" in printed


@pytest.mark.parametrize("task", ["push", "pick_place"])
def test_a_task_is_learnt_from_silent_video_and_beside_it_without(
    task: str,
    asked: dict[str, list[Any]],
    workplace: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def evaluated(config: Any) -> dict[str, Any]:
        return VERDICT if config.run.name == "agent" else VERDICT | {"success": asdict(wilson(2, 100))}

    monkeypatch.setattr(evaluate, "evaluate", evaluated)
    (workplace / "d").mkdir()
    assert cli.run(["demo", "--task", task, "--out", "d", "--seed", "3"]) == 0
    before = ["collect", "pretrain"] if PLANS[task].points else ["collect"]
    assert list(asked) == [*before, "train", "record", "report", "compare"]
    collecting, (training, alone) = asked["collect"][0], asked["train"]
    assert collecting.env.id == training.env.id == PLANS[task].env
    episodes = collecting.frames / collecting.steps
    assert episodes == {"push": 1000, "pick_place": 2500}[task]
    # Each is evaluated before its end: what was never evaluated cannot be compared.
    assert all(one.eval_every <= one.steps for one in asked["train"])
    if PLANS[task].points:
        pretraining = asked["pretrain"][0]
        assert pretraining.data == (collecting.out,)
        assert (pretraining.objective, pretraining.tokeniser) == ("points", "local")
        assert training.encoder == str(pretraining.out)
    watching = training.watching
    assert (watching.play + watching.rounds * watching.attempts) * collecting.steps < training.steps  # trial follows
    assert collecting.mix.expert == 1.0
    assert training.video == (collecting.out,)
    assert not alone.video
    assert alone.estimates
    assert alone.encoder == "random"
    watched = {"video": training.video, "encoder": training.encoder, "eyes": None, "out": training.out}
    assert replace(alone, **watched) == training  # all else alike
    assert asked["record"][0].run == training.out
    assert asked["compare"][0].runs == (training.out, alone.out)
    kept = json.loads((workplace / "d" / "demo.json").read_text())
    assert (kept["success"]["rate"], kept["without_video"]["rate"]) == (0.97, 0.02)
    assert list(kept["seconds"]) == [*before, "train", "without", "eval", "record", "report"]
    assert kept["paths"]["comparison"] == "d/compare.html"
    assert "as many steps without the video: 2% (95% interval 1% to 7%)" in capsys.readouterr().out


def test_json_is_all_that_stdout_holds(
    asked: dict[str, list[Any]], workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (workplace / "d").mkdir()
    assert cli.run(["demo", "--out", "d", "--json"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out) == json.loads((workplace / "d" / "demo.json").read_text())
    assert "collect speaks" in printed.err


def test_an_interruption_ends_the_line_after_the_stage_that_saved(
    asked: dict[str, list[Any]], workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(config: Any) -> Path:
        with interrupted():
            signal.raise_signal(signal.SIGINT)
        return Path("encoder")

    monkeypatch.setattr(pretrain, "pretrain", stopped)
    assert cli.run(["demo", "--out", "d"]) == 130
    assert list(asked) == ["collect"]
    assert not (workplace / "d" / "demo.json").exists()


def test_a_folder_with_a_demo_is_not_overwritten(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (workplace / "d").mkdir()
    (workplace / "d" / "demo.json").write_text("{}")
    assert cli.run(["demo", "--out", "d"]) == 2
    assert "d holds a demo already" in capsys.readouterr().err

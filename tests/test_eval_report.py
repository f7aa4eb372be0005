import base64
import json
import os
import re

import numpy as np
import pytest
import yaml
from pages import read

from goalsight.base.errors import UserError
from goalsight.base.files import atomic_write_json
from goalsight.base.runs import Run
from goalsight.base.video import VideoWriter
from goalsight.eval.reports.chapters import headline
from goalsight.eval.reports.page import facts
from goalsight.eval.reports.report import Report, report
from goalsight.eval.stats import wilson


def a_video(path):
    with VideoWriter(path, fps=10) as video:
        for number in range(3):
            video.add(np.random.default_rng(number).integers(0, 255, (32, 64, 3), dtype=np.uint8))


def result(count):
    row = {"mean_return": -10.0, "diverged": 0, "seconds": 1.0}
    success = wilson(count, 100)
    return {
        "env": "goalsight/PandaPush-v1",
        "subject": {"name": "agent", "critic": "state", "encoder_hash": "abc"},
        "checkpoint": "best",
        "episodes": 100,
        "seed": 10_000,
        "success": vars(success),
        **row,
        "baselines": {name: {"success": vars(wilson(n, 100)), **row} for name, n in (("random", 2), ("expert", 99))},
    }


def a_pretraining(folder):
    run = Run.create("pretrain", {"data": ["play"]}, out=folder, seed=0)
    for step in (10, 20):
        run.log(step, {"pretrain/loss": 1 / step, "pretrain/psnr_next": step, "pretrain/psnr_self": step + 1})
        run.log_image(step, "reconstruction", np.full((8, 8, 3), step, np.uint8))
    run.finish({})
    return run


def a_training(folder, watched, **config):
    sources = {"encoder": "abc", "encoder_path": str(watched)}
    run = Run.create("train", {"env": "goalsight/PandaPush-v1", **config}, out=folder, seed=0, sources=sources)
    for step, success in ((1000, 0.1), (2000, 0.8)):
        run.log(step, {"eval/success": success, "train/loss": 0.5})
    run.log(2500, {"train/loss": 0.4})
    return run


def test_a_whole_run(tmp_path):
    encoder = a_pretraining(tmp_path / "encoder")
    errors = {name: {"gripper": 0.4, "object": cm} for name, cm in (("encoder", 0.9), ("random encoder", 1.8))}
    atomic_write_json(
        encoder.path / "probe.json",
        {"errors_cm": errors, "worst": {"factor": "object", "scores": {"encoder": 0.61, "random encoder": 0.4}}},
    )
    text = read(report(Report(encoder.path)))
    assert "0.61" in text
    assert "R² of the worst factor, object; random encoder 0.40" in text
    run = a_training(tmp_path / "agent", encoder.path, obs="pixels", note="<script>")
    a_video(run.videos / "agent.mp4")
    atomic_write_json(run.path / "eval.json", result(85))
    text = read(report(Report(run.path)))
    assert "No video yet" not in text
    assert "85%" in text
    assert "success of the checkpoint best in 100 episodes, 95% interval 77% to 91%" in text
    assert "The checkpoint best in 100 episodes, on seeds 10000 to 10099, which are the same for the baselines." in text
    assert text.count("data:image/png;base64,") == 1, "only the newest picture of each name"
    assert text.count("data:video/mp4;base64,") == 1
    assert "<td class=number>0.90</td>" in text
    assert "<script>" not in text
    assert "2,500" in text


def test_the_card_of_a_run_is_for_hubs_and_for_people(tmp_path):
    run = a_training(tmp_path / "agent", tmp_path / "gone")
    report(Report(run.path))
    assert "Results" not in (run.path / "README.md").read_text(), "nobody has judged it"
    atomic_write_json(run.path / "eval.json", result(85))
    report(Report(run.path))
    text = (run.path / "README.md").read_text()
    before, head, rest = text.split("---\n", 2)
    assert before == ""
    said = yaml.safe_load(head)
    assert said["library_name"] == "goalsight"
    (found,) = said["model-index"][0]["results"]
    assert found["dataset"]["name"] == "goalsight/PandaPush-v1"
    assert found["metrics"][0]["value"] == "85% [77%, 91%]"
    words = "success of the checkpoint best in 100 episodes, with its 95% interval"
    assert found["metrics"][0]["name"] == words
    assert "The checkpoint best in 100 episodes, on seeds 10000 to 10099," in rest
    assert "| expert | 99% [95%, 100%] | 99 of 100 | -10.0 |" in rest
    assert 'goalsight.load_agent("agent")' in rest
    encoder = a_pretraining(tmp_path / "encoder")
    report(Report(encoder.path))
    assert "by the objective `masked`" in (encoder.path / "README.md").read_text()


def test_a_probe_of_an_earlier_version_is_still_shown(tmp_path):
    encoder = a_pretraining(tmp_path / "encoder")
    errors = {name: {"object": cm} for name, cm in (("encoder", 0.9), ("random encoder", 1.8))}
    old = {"errors_cm": errors, "worst": {"factor": "object", "encoder": 0.9, "random encoder": 1.8}}
    atomic_write_json(encoder.path / "probe.json", old)
    assert "0.90 cm" in read(report(Report(encoder.path)))


def test_a_probe_that_called_scores_otherwise_is_shown_without_them(tmp_path):
    encoder = a_pretraining(tmp_path / "encoder")
    asked = ("factor", "object"), ("seen", "frame"), ("head", "ridge"), ("labels", 9), ("error_cm", 0.9)
    answer = dict(asked) | {"judged_on": "held-out episodes", "told": 0.61}
    old = {
        "errors_cm": {name: {"object": cm} for name, cm in (("encoder", 0.9), ("random encoder", 1.8))},
        "worst": {"factor": "object", "told": {"encoder": 0.61, "random encoder": 0.4}},
        "answers": [answer | {"features": name} for name in ("encoder", "random encoder")],
    }
    atomic_write_json(encoder.path / "probe.json", old)
    text = read(report(Report(encoder.path)))
    assert "0.90" in text, "errors are as they were"
    assert "0.61" not in text
    assert "Factors are not shown, since an earlier version probed them." in text
    assert f"goalsight probe {encoder.path} --data PLAY" in text
    old["answers"] = [{"score": "much"}]
    atomic_write_json(encoder.path / "probe.json", old)
    with pytest.raises(UserError, match=r"probe\.json: answers: 0: score cannot be 'much'"):
        report(Report(encoder.path))


def test_steps_of_a_run_that_imitates_are_gradient_steps(tmp_path):
    online = read(report(Report(a_training(tmp_path / "online", tmp_path / "gone").path)))
    assert "env steps" in online
    assert "gradient steps" not in online
    offline = read(report(Report(a_training(tmp_path / "offline", tmp_path / "gone", data=["play"]).path)))
    assert "Success at the run&#39;s own evaluations over gradient steps." in offline
    assert "env steps" not in offline


@pytest.mark.parametrize(("counted", "shown"), [({"env_steps": 12_345}, "12,345"), ({"updates": 678}, "678")])
def test_a_run_is_as_long_as_it_says_itself_not_as_its_last_evaluation(counted, shown, tmp_path):
    run = a_training(tmp_path / "run", tmp_path / "gone")
    run.finish({"env_steps": 0, "seconds": 3600.0, **counted})
    values = {label: value for value, label in headline(Run.open(run.path))}
    assert values["env steps"] == shown
    assert values["of wall-clock time"] == "60.0 min"


def test_a_judgement_of_an_earlier_version_is_still_shown(tmp_path):
    run = a_training(tmp_path / "run", tmp_path / "gone", obs="state")
    old = result(85)
    old["floors"] = old.pop("baselines")
    del old["checkpoint"]
    atomic_write_json(run.path / "eval.json", old)
    text = read(report(Report(run.path)))
    assert "99%" in text
    assert "The checkpoint of unknown step in 100 episodes" in text


def test_costs_are_shown_stage_by_stage_and_left_out_where_none_were_counted(tmp_path):
    run = a_training(tmp_path / "run", tmp_path / "gone")
    assert "What it cost" not in read(report(Report(run.path)))
    stages = {"calibrating": 6.0, "learning": 30.0, "drawing": 45.0, "stepping": 15.0}
    run.finish({"seconds": 60.0, "flops": 2.5e12, "stage_seconds": stages, "stage_flops": {"learning": 2.5e12}})
    text = read(report(Report(run.path)))
    assert "60 s of wall-clock time and 2.5e+12 floating-point operations" in text
    for stage, share in (("calibrating", "10%"), ("learning", "50%"), ("drawing", "75%"), ("stepping", "25%")):
        assert re.search(f"<td>{stage}</td>.*{share}", text)


def test_a_run_with_nothing_yet_says_what_is_missing(tmp_path):
    run = Run.create("train", {"env": "goalsight/PandaReach-v1", "obs": "state"}, out=tmp_path / "run", seed=0)
    text = read(report(Report(run.path)))
    for words in ("No video yet", "Not evaluated yet", "no learning curve", "there was nothing to watch"):
        assert words in text
    assert f"goalsight eval {run.path}" in text


def test_an_encoder_that_has_moved_away_is_named(tmp_path):
    run = a_training(tmp_path / "run", tmp_path / "gone", obs="pixels", encoder="gone")
    assert "not where it was" in read(report(Report(run.path)))


@pytest.mark.parametrize("kind", ["collect", "pretrain"])
def test_other_kinds_of_run(tmp_path, kind):
    run = Run.create(kind, {"env": "goalsight/PandaPush-v1"}, out=tmp_path / kind, seed=0)
    assert "No video yet" in read(report(Report(run.path))) or kind == "pretrain"
    if kind == "collect":
        a_video(run.videos / "play.mp4")
        run.finish({"frames": 12_345, "moved_share": 0.41, "episodes_by_behaviour": {"push": 3}})
        text = read(report(Report(run.path)))
        assert "12,345" in text
        assert "41%" in text
        assert "data:video/mp4" in text


def test_pretraining_shows_its_curves(tmp_path):
    text = read(report(Report(a_pretraining(tmp_path / "run").path)))
    assert text.index("pretrain/loss over training steps") < text.index("pretrain/psnr over training steps")
    assert ">next</text>" in text
    assert ">self</text>" in text
    assert "No probe yet" in text
    assert "the objective masked: Predict the pixels or codes of hidden patches" in text
    assert "<p class=alarm>" not in text


def test_an_alarm_of_a_pretraining_is_shown(tmp_path):
    run = a_pretraining(tmp_path / "run")
    run.finish({"alarms": {"collapse": "the features have <collapsed>"}})
    assert "<p class=alarm>Alarm: the features have &lt;collapsed&gt;.</p>" in read(report(Report(run.path)))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"success": [1]}, r"eval\.json: success cannot be \[1\]"),
        ({"success": {"count": 1, "total": 2, "rate": 0.5, "low": 0.1}}, r"eval\.json has no high"),
        ({"seed": "x"}, r"eval\.json: seed cannot be 'x'"),
        ({"baselines": {"expert": {"success": 1.0}}}, r"eval\.json: baselines: expert: success cannot be 1.0"),
        ({"subject": {}}, r"eval\.json has no name"),
    ],
)
def test_a_damaged_judgement_is_one_line(tmp_path, change, says):
    run = a_training(tmp_path / "run", tmp_path / "gone")
    atomic_write_json(run.path / "eval.json", result(80) | change)
    with pytest.raises(UserError, match=says):
        report(Report(run.path))


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("command", ["goalsight", 1], "manifest.json: command: 1 cannot be 1"),
        ("machine", 3, "manifest.json: machine cannot be 3"),
        ("status", "done", "manifest.json: status cannot be 'done'"),
    ],
)
def test_a_damaged_manifest_is_one_line(tmp_path, name, value, says):
    run = a_pretraining(tmp_path / "run")
    atomic_write_json(run.path / "manifest.json", run.manifest | {name: value})
    with pytest.raises(UserError, match=says):
        report(Report(run.path))
    run.manifest.pop(name)
    atomic_write_json(run.path / "manifest.json", run.manifest)
    with pytest.raises(UserError, match=f"manifest.json has no {name}"):
        report(Report(run.path))


def test_no_run_and_no_place_are_one_line(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        report(Report(tmp_path / "nowhere"))
    run = a_pretraining(tmp_path / "run")
    report(Report(run.path))
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        report(Report(run.path, out=tmp_path / "file" / "report.html"))


def test_nested_facts_have_dotted_names():
    assert facts({"a": {"b": 1}, "c": None, "d": [1, 2]}) == (
        "<table><tr><th>a.b</th><td>1</td></tr><tr><th>d</th><td>1, 2</td></tr></table>"
    )


def test_what_lies_outside_a_run_is_not_put_into_its_page(tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(b"nobody's business")
    run = a_training(tmp_path / "run", tmp_path / "gone")
    (run.videos / "film.mp4").symlink_to(secret)
    (run.pictures / "reconstruction-000010.png").symlink_to(secret)
    os.mkfifo(run.videos / "other.mp4")
    text = read(report(Report(run.path)))
    assert base64.b64encode(b"nobody's business").decode() not in text
    assert "No video yet" in text


@pytest.mark.parametrize("name", ["eval.json", "metrics.jsonl", "summary.json", "config.json"])
def test_a_pipe_in_place_of_a_file_is_one_line(tmp_path, name):
    run = a_training(tmp_path / "run", tmp_path / "gone")
    (run.path / name).unlink(missing_ok=True)
    os.mkfifo(run.path / name)
    with pytest.raises(UserError, match=f"{name}|half-written") as caught:
        report(Report(run.path))
    assert "\n" not in str(caught.value)


def test_the_words_of_a_run_are_words_on_its_page(tmp_path):
    run = a_training(tmp_path / "run", tmp_path / "gone")
    manifest = json.loads((run.path / "manifest.json").read_text())
    manifest["versions"]["goalsight"] = "<script>alert(1)</script>"
    atomic_write_json(run.path / "manifest.json", manifest)
    text = read(report(Report(run.path)))
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert(1)" in text

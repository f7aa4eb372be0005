"""What benchmarks share: a sweep goes on with what its result lacks, and published summaries regenerate equal."""

import importlib
import importlib.util
import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from goalsight.base.errors import UserError
from goalsight.base.files import read_json
from goalsight.pretrain.train import Pretrain

spec = importlib.util.spec_from_file_location("reporting", Path(__file__).parents[1] / "benchmarks/reporting.py")
assert spec is not None
assert spec.loader is not None
reporting = importlib.util.module_from_spec(spec)
spec.loader.exec_module(reporting)


def test_a_sweep_goes_on_with_the_rows_that_its_result_lacks(tmp_path: Path) -> None:
    out = tmp_path / "results" / "sweep.json"
    rows = reporting.Rows(out)
    rows.beside = {"machine": "M"}
    assert rows.lacks({"seed": 0})
    rows.put({"seed": 0, "success": 0.5})
    again = reporting.Rows(out)
    assert not again.lacks({"seed": 0})
    assert again.lacks({"seed": 1})
    again.put({"seed": 1, "success": 0.75})
    assert read_json(out) == {
        "machine": "M",
        "rows": [{"seed": 0, "success": 0.5}, {"seed": 1, "success": 0.75}],
    }
    again.put({"seed": 0, "success": 1.0}, "seed")
    assert [(row["seed"], row["success"]) for row in again.rows] == [(1, 0.75), (0, 1.0)]


@pytest.mark.parametrize(
    ("made", "asked", "says"),
    [
        ({"asked": {"seed": 0, "steps": 10}}, {"seed": 0, "steps": 20}, "holds seed 0 with steps 10, now it is 20"),
        ({"asked": {"seed": 0, "steps": 10}}, {"seed": 0}, "holds seed 0 with steps 10, now it is None"),
        ({"seed": 0, "task": "push"}, {"seed": 0, "task": "reach"}, "holds seed 0 with task push, now it is reach"),
    ],
)
def test_a_row_made_with_other_options_is_refused(tmp_path: Path, made: dict, asked: dict, says: str) -> None:
    rows = reporting.Rows(tmp_path / "sweep.json")
    rows.put(made)
    with pytest.raises(UserError, match=f"{says}; choose another --out"):
        rows.lacks(asked, "seed")


@pytest.mark.parametrize("name", ["learning", "learning-v0", "learning-unbounded"])
def test_published_summaries_are_what_the_statistics_say_of_the_published_runs(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "benchmarks")
    learning_summary = importlib.import_module("learning_summary")
    published = Path(reporting.RESULTS / f"{name}.json")
    result = read_json(published)
    summary = learning_summary.summarise(result["runs"])
    assert json.loads(json.dumps(summary)) == result["summary"]
    assert learning_summary.report(summary) + "\n" == published.with_suffix(".md").read_text()


def test_the_line_through_doses_is_one_of_log_odds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "benchmarks")
    watching_doses = importlib.import_module("watching_doses")
    # Odds of 1, 10 and 100 to one: ten times as many episodes multiply them by ten.
    fitted = watching_doses.line([{10: 0.5, 1_000: 100 / 101}, {100: 10 / 11}], episodes=10**9)
    assert fitted == pytest.approx((math.log(10), -math.log(10)), abs=1e-4)
    assert watching_doses.at(fitted, 10_000) == pytest.approx(1_000 / 1_001)


def test_doses_are_summed_up_by_what_came_before_trial_and_at_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "benchmarks")
    watching_doses = importlib.import_module("watching_doses")

    def row(arm: str, seed: int, *success: float) -> dict:
        evaluations = [{"env_steps": 1_000 * k, "success": value} for k, value in enumerate(success)]
        return {"arm": arm, "seed": seed, "evaluations": evaluations, "watching": [{"env_steps": 1_000}]}

    rows = [row("points-25", 0, 0.0, 0.1, 0.2), row("points-100", 0, 0.0, 0.5, 0.6), row("no-video", 0, 0.9, 0.9, 0.9)]
    assert watching_doses.tables_of_doses(rows, tmp_path / "doses.svg") == []  # two doses make no curve
    text = "\n".join(
        watching_doses.tables_of_doses([*rows, row("points-500", 0, 0.0, 0.9, 1.0)], tmp_path / "doses.svg")
    )
    assert "| 100 | imitation alone | 50% | 50% |" in text
    assert "| 500 | and then trial | 100% | 100% |" in text
    assert "and 90% came" in text
    refused = row("points-500", 1, 0.0, 0.02, 0.15)  # at once, before any evaluation
    refused["watching"], refused["evaluations"] = [{"env_steps": 500}], refused["evaluations"][1:]
    found = watching_doses.doses([refused])
    assert found == {"imitation alone": {1: {500: 0.02}}, "and then trial": {1: {500: 0.15}}}
    assert (tmp_path / "doses.svg").read_text().startswith("<svg")


def test_powers_of_size_and_pairs_are_found_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "benchmarks")
    scaling = importlib.import_module("scaling")

    def row(parameters: float, pairs: float, seed: int) -> dict:
        flops = 6 * parameters * pairs
        score = 1 - (2 + seed) * parameters**-0.1 * pairs**-0.05  # what seed 1 asks about is harder
        return {"parameters": parameters, "pairs": pairs, "asked_flops": flops, "mean_score": score, "seed": seed}

    sizes, budgets = (1e5, 1e6, 1e7), (1e9, 1e10, 1e11)
    rows = [row(size, flops / size, seed) for size in sizes for flops in budgets for seed in (0, 1)]
    del rows[0]  # seeds need not have as many runs each
    assert scaling.fit(rows) == pytest.approx([0.1, 0.05, math.log(2), math.log(3)])
    assert scaling.predicted(scaling.fit(rows[:12]), rows[12:], [0, 1]) == pytest.approx(
        sum(one["mean_score"] for one in rows[12:]) / len(rows[12:])
    )
    found = scaling.exponents(rows)
    assert (found["parameters"].low, found["pairs"].high) == pytest.approx((0.1, 0.05))
    for place, one in enumerate(rows):  # nothing but noise
        one["mean_score"] = 0.5 + 0.1 * (-1) ** place
    flat = scaling.exponents(rows)["pairs"]
    assert flat.low < 0 < flat.high


def test_what_scaling_says_of_one_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "benchmarks")
    scaling = importlib.import_module("scaling")
    names = {"objective": "masked", "size": "nano", "parameters": 10, "seed": 0}
    budgets = ((1, 0.2), (10, 0.4))
    rows = [names | {"asked_flops": flops, "pairs": flops, "mean_score": score} for flops, score in budgets]
    text = scaling.report(rows, "masked")
    assert "| nano | 10 | 0.200 (0.200 to 0.200) | 0.400 (0.400 to 0.400) |" in text
    assert "exponents" not in text  # nothing can be fitted to one size
    assert scaling.plot(rows).startswith("<svg")
    with pytest.raises(UserError, match="huge"):
        scaling.Scaling(data=tmp_path, sizes=("huge",))


@pytest.mark.parametrize(
    ("task", "says"),
    [
        ("drawer", "without video the agent takes 3.8 times as many env steps to 80%"),
        ("stack2", "1 of the 1 paired runs with video never came to 80%"),  # so a ratio would mean nothing
    ],
)
def test_published_tables_of_watching_are_what_the_published_runs_say(
    task: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "benchmarks")
    summary = importlib.import_module("watching_summary")
    rows = reporting.Rows(reporting.RESULTS / "watching.json", "runs").rows
    text = summary.write(summary.with_earlier(rows, task), tmp_path / f"watching-{task}.json")
    assert says in text
    assert text == (reporting.RESULTS / f"watching-{task}.md").read_text()


def test_every_arm_of_watching_has_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "benchmarks")
    arms, names = importlib.import_module("watching_arms").ARMS, importlib.import_module("watching_summary").NAMES
    assert set(arms) <= set(names)
    assert len(set(names.values())) == len(names)


def test_success_by_trial_takes_the_place_of_control_and_imitation_is_a_score(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "benchmarks")
    trial = importlib.import_module("trial_from_encoders")
    rows = [
        {
            "objective": name,
            "seed": 0,
            "scores": {"object": 0.1 * place, "gripper": -0.1 * place},
            "control": {"success": 10 * place, "asked": {"episodes": 100}},
            "success": 0.2 * place,
            "last": 0.3 * place,
        }
        for place, name in enumerate(("masked", "latent", "points"), 1)
    ]
    text = trial.report([*rows, {"objective": "random", "seed": 0, "success": 0.05, "last": 0.1}])
    assert "| latent | 40.0% (40%) | 60% |" in text
    assert "| random | 5.0% (5%) | 10% |" in text
    assert "goes with success, of 3 encoders" in text
    assert "| success of those who imitate | 1.00 [" in text
    assert "| object | 1.00 [" in text
    assert "| gripper | -1.00 [" in text


def test_what_ablations_change_can_be_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "benchmarks")
    ablations = importlib.import_module("ablations")
    default = Pretrain(data=())
    for name, change in ablations.CHANGES.items():
        assert set(change.data) <= {*ablations.RECORDED, ablations.REAL}
        changed = replace(default, **change.options) != default
        assert not (change.pooled and change.options), "it is the default encoder that is read otherwise"
        assert changed == bool(change.options), f"{name} is the default already"


def test_what_was_not_imitated_stands_among_ablations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "benchmarks")
    ablations = importlib.import_module("ablations")
    row = {"seed": 0, "steps": 7, "errors_cm": {"object": 2.0}, "scores": {"object": 0.5, "gripper": 0.7}}
    pooled = row | {"arm": "read as the mean of its tokens", "scores": {"object": 0.1, "gripper": 0.3}}
    lines = ablations.report([row | {"arm": "default", "success": 0.25}, pooled]).splitlines()
    assert lines[2] == "| default | 7 | 0.600 (0.600) |  | 25% (25) |  | 2.00 cm |"
    assert lines[3] == "| read as the mean of its tokens | 7 | 0.200 (0.200) |  |  |  | 2.00 cm |"

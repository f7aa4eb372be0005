"""Objectives compared at equal operations: how many times the operations, by hand, and a whole comparison in small."""

import json

import numpy as np
import pytest

from goalsight.agents.collecting.collect import Collect, PlayEnv, collect
from goalsight.base.errors import UserError
from goalsight.eval.objectives.analysis import (
    SUCCESS,
    analyse,
    compute_ratio,
    goes_with,
    operations_for,
    scaling,
    scores,
)
from goalsight.eval.objectives.compare import CompareObjectives, compare_objectives


def test_operations_for_a_score_worked_by_hand():
    flops = np.array([1e10, 1e12, 1e13])
    lines = np.array([[0.2, 0.4, 0.5], [0.2, 0.4, 0.3]])  # of the second, 0.4 was reached once
    # Half way from 0.2 to 0.4 is half way from 1e10 to 1e12 in logarithms.
    assert operations_for(np.array([0.3, 0.4]), flops, lines) == pytest.approx([1e11, 1e12])
    assert operations_for(np.array([0.1, 0.45]), flops, lines).tolist() == pytest.approx([1e10, np.inf])


def test_how_many_times_the_operations_worked_by_hand():
    flops = np.array([1e10, 1e11, 1e12])
    quick = np.array([[0.3] * 3, [0.4] * 3, [0.5] * 3])
    slow = np.array([[0.2] * 3, [0.3] * 3, [0.4] * 3])
    found = compute_ratio((flops, quick), (flops, slow), np.random.default_rng(0))
    # The best that both reach is 0.4: after 1e11 operations, and after 1e12. Seeds are all the same: no spread.
    assert found["score"] == pytest.approx(0.4)
    assert (found["value"], found["low"], found["high"]) == pytest.approx((10, 10, 10))
    assert not found["bounded"]
    back = compute_ratio((flops, slow), (flops, quick), np.random.default_rng(0))
    assert back["value"] == pytest.approx(0.1)
    low = compute_ratio((flops, slow - 0.3), (flops, quick), np.random.default_rng(0))
    assert compute_ratio((flops[:1], slow[:1]), (flops, quick), np.random.default_rng(0)) is None
    assert low["bounded"], "what both reach, the quick one reaches with its smallest budget"


def test_a_power_law_is_found_again_and_foretold():
    flops = np.array([1e10, 1e11, 1e12])
    told = 1 - 0.8 * (flops / 1e10) ** -0.1
    found = scaling(flops, np.stack([told, told], 1), np.random.default_rng(0))
    assert found["exponent"]["value"] == pytest.approx(0.1)
    assert found["trend"]
    assert found["foretold"] == pytest.approx(told[-1])
    assert found["error"] == pytest.approx(0, abs=1e-9)
    flat = np.array([[0.3, 0.5], [0.5, 0.3], [0.3, 0.5]])
    assert not scaling(flops, flat, np.random.default_rng(0))["trend"]
    assert scaling(flops[:2], flat[:2], np.random.default_rng(0)) is None


def a_row(objective, flops, seed, told):
    return {"objective": objective, "asked_flops": flops, "seed": seed, "mean_told": told, "told": {"a": told / 2}}


def test_what_goes_with_control_worked_by_hand():
    rows = [a_row("masked", 1e10, seed, 0.1 * seed) for seed in range(4)]
    for row, success, other in zip(rows, (1, 2, 4, 3), (9, 7, 8, 6), strict=True):
        row["told"]["b"] = other / 10
        row["control"] = {"success": success, "asked": {"episodes": 10}}
    # Ranks 1 2 3 4 and 1 2 4 3: 1 - 6 (1 + 1) / (4 (16 - 1)) = 0.8. Ranks 4 2 3 1: 1 - 6 (9 + 1 + 4) / 60 = -0.4.
    found = goes_with(rows, np.random.default_rng(0))
    assert {factor: round(one["value"], 6) for factor, one in found.items()} == {
        **{"mean of all factors": 0.8, "a": 0.8, "worst factor": 0.8, "b": -0.4}
    }
    assert found["a"]["low"] <= 0.8 <= found["a"]["high"]
    assert scores(rows, SUCCESS)["masked"][1].tolist() == [[0.1, 0.2, 0.4, 0.3]]
    assert goes_with(rows[:2], np.random.default_rng(0)) == {}


def test_a_budget_counts_where_all_seeds_are_there():
    rows = [a_row("masked", 1e10, seed, 0.1 * seed) for seed in (0, 1)] + [a_row("masked", 1e11, 0, 0.5)]
    flops, values = scores(rows)["masked"]
    assert flops.tolist() == [1e10]
    assert values.tolist() == [[0.0, 0.1]]
    assert scores(rows, "a")["masked"][1].tolist() == [[0.0, 0.05]]


def test_both_at_once_are_judged_beside_their_halves():
    told = {"masked": 0.3, "contrastive": 0.2, "joint": 0.4}
    found = analyse([a_row(name, 1e10, seed, told[name] + 0.01 * seed) for name in told for seed in (0, 1)])
    halves = found["best_of_both"]["joint"]
    # Seeds are paired, so what they share cancels.
    assert [halves[half]["value"] for half in ("masked", "contrastive")] == pytest.approx([0.1, 0.2])
    assert halves["masked"]["low"] == pytest.approx(0.1)


def test_a_whole_comparison_goes_on_where_it_stopped(tmp_path, capsys):
    play = collect(Collect(frames=400, steps=25, film=0, out=tmp_path / "play"))
    capsys.readouterr()
    asked = {"data": play, "rates": (0.001,), "frames": 200, "out": tmp_path / "out"}
    few = CompareObjectives(objectives=("masked",), flops=(2e10,), seeds=("0",), **asked)
    assert compare_objectives(few) == tmp_path / "out"
    first = (tmp_path / "out" / "masked" / "2e+10-0.json").stat().st_mtime_ns
    control = {"control": play, "control_updates": 2, "control_episodes": 4}
    more = CompareObjectives(objectives=("masked", "points"), flops=(2e10,), seeds=("0",), **asked, **control)
    compare_objectives(more)
    assert (tmp_path / "out" / "masked" / "2e+10-0.json").stat().st_mtime_ns == first, "what is there is not made again"
    result = json.loads((tmp_path / "out" / "objectives.json").read_text())
    assert [row["objective"] for row in result["rows"]] == ["masked", "points"]
    assert [row["control"]["asked"]["episodes"] for row in result["rows"]] == [4, 4]
    assert not (tmp_path / "out" / "masked" / "2e+10-0-control").exists(), "actors are not kept"
    assert set(result["control"]["curves"]) == {"masked", "points"}
    alone = json.loads((tmp_path / "out" / "random" / "untrained-0-control.json").read_text())
    assert result["control"]["random"]["value"] == alone["success"] / 4
    assert all(abs(row["flops"] / 2e10 - 1) < 1 for row in result["rows"]), "a step or so more"
    assert set(result["references"]) == {"random encoder", "pixels 16x16"}
    page = (tmp_path / "out" / "objectives.html").read_text()
    assert "Factor by factor" in page
    assert "In control" in page
    assert (tmp_path / "out" / "objectives.svg").read_text().startswith("<svg")
    with pytest.raises(UserError, match="rates"):
        compare_objectives(CompareObjectives(**asked | {"rates": (0.002,)}))


def test_what_cannot_be_compared_is_one_line(tmp_path):
    with pytest.raises(UserError, match="no objective"):
        compare_objectives(CompareObjectives(data=tmp_path, objectives=("maskd",)))
    with pytest.raises(UserError, match="must not be among"):
        compare_objectives(CompareObjectives(data=tmp_path, seeds=("99-101",)))
    with pytest.raises(UserError, match="no frame store"):
        compare_objectives(CompareObjectives(data=tmp_path, objectives=("masked",)))
    play = collect(Collect(frames=25, steps=25, film=0, out=tmp_path / "play"))
    with pytest.raises(UserError, match="does not exist"):
        compare_objectives(CompareObjectives(data=play, control=tmp_path / "nothing"))
    small = collect(Collect(PlayEnv(image_size=32), frames=25, steps=25, film=0, out=tmp_path / "small"))
    with pytest.raises(UserError, match="32 px"):
        compare_objectives(CompareObjectives(data=play, control=small))
    with pytest.raises(UserError, match="above 0"):
        CompareObjectives(data=tmp_path, flops=())

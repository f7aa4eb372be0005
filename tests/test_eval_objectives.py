"""Objectives compared at equal FLOPs: how many times the FLOPs, by hand, and a whole comparison in small."""

import json

import numpy as np
import pytest

from goalsight.agents.collecting.collect import Collect, PlayEnv, collect
from goalsight.agents.train import Train
from goalsight.base.errors import UserError
from goalsight.base.files import atomic_write_json, to_json
from goalsight.base.runs import Run
from goalsight.envs.config import EnvConfig
from goalsight.eval.objectives.analysis import analyse, compute_ratio, flops_for, goes_with, scaling
from goalsight.eval.objectives.compare import CompareObjectives, compare_objectives
from goalsight.eval.objectives.control import check_control, imitate, recorded_in
from goalsight.eval.objectives.held_out import ASKED, CHOOSING, WATCHED, episodes_of, write_watched
from goalsight.eval.objectives.jobs import Jobs
from goalsight.eval.objectives.page import render
from goalsight.eval.objectives.pieces import references
from goalsight.eval.objectives.rows import SCORE, SUCCESS, WORST, Scores, on_shared_factors, scores
from goalsight.eval.objectives.wording import table
from goalsight.eval.probes.probe import open_labelled
from goalsight.pretrain.data.store import FrameStore
from goalsight.pretrain.data.writer import FrameStoreWriter


def rng():
    return np.random.default_rng(0)


def some_scores(flops, values):
    return Scores(np.array(flops), np.arange(len(values[0])), np.array(values))


def test_flops_for_a_score_worked_by_hand():
    flops = np.array([1e10, 1e12, 1e13])
    lines = np.array([[0.2, 0.4, 0.5], [0.2, 0.4, 0.3]])  # of the second, 0.4 was reached once
    # Half way from 0.2 to 0.4 is half way from 1e10 to 1e12 in logarithms.
    assert flops_for(np.array([0.3, 0.4]), flops, lines) == pytest.approx([1e11, 1e12])
    assert flops_for(np.array([0.1, 0.45]), flops, lines).tolist() == pytest.approx([1e10, np.inf])


def test_how_many_times_the_flops_worked_by_hand():
    flops = [1e10, 1e11, 1e12]
    quick = some_scores(flops, [[0.3] * 3, [0.4] * 3, [0.5] * 3])
    slow = some_scores(flops, [[0.2] * 3, [0.3] * 3, [0.4] * 3])
    found = compute_ratio(quick, slow, rng())
    # The best that both reach is 0.4: after 1e11 FLOPs, and after 1e12. Seeds are all the same: no spread.
    assert found["score"] == pytest.approx(0.4)
    assert (found["value"], found["low"], found["high"]) == pytest.approx((10, 10, 10))
    assert not found["bounded"]
    assert compute_ratio(slow, quick, rng())["value"] == pytest.approx(0.1)
    low = compute_ratio(some_scores(flops, slow.values - 0.3), quick, rng())
    assert low["bounded"], "what both reach, the quick one reaches with its smallest budget"
    assert compute_ratio(some_scores(flops[:1], slow.values[:1]), quick, rng()) is None
    assert compute_ratio(quick, slow, rng(), unlearnt=0.41) is None, "random weights know as much"
    assert compute_ratio(quick, slow, rng(), unlearnt=0.39)["value"] == pytest.approx(10)


def test_ratios_are_paired_by_seed():
    """Each seed asks about episodes of its own, by which all scores rise and fall: the ratio is 10 of each."""
    flops, luck = [1e10, 1e11, 1e12], np.array([-0.15, 0.0, 0.15])
    quick = some_scores(flops, np.array([[0.3], [0.4], [0.5]]) + luck)
    slow = some_scores(flops, np.array([[0.2], [0.3], [0.4]]) + luck)
    found = compute_ratio(quick, slow, rng())
    assert (found["value"], found["low"], found["high"]) == pytest.approx((10, 10, 10))
    others = Scores(slow.flops, slow.seeds + 5, slow.values)
    assert compute_ratio(quick, others, rng()) is None, "no seed is shared"


def test_the_head_of_the_ratio_says_what_the_number_is():
    rows = [a_row("points", flops, seed, score) for flops, score in ((1e10, 0.3), (1e11, 0.4)) for seed in (0, 1)]
    rows += [a_row("masked", flops, seed, score) for flops, score in ((1e10, 0.2), (1e12, 0.4)) for seed in (0, 1)]
    text = table(analyse(rows))
    # 0.4 takes `masked` 1e12 FLOPs and `points` 1e11: ten times as many.
    assert "FLOPs of masked / own FLOPs, to the same score" in text
    assert "10.00 [10.00, 10.00]" in next(line for line in text.splitlines() if line.startswith("points"))


def test_a_power_law_is_found_again_and_predicted():
    flops = np.array([1e10, 1e11, 1e12])
    score = 1 - 0.8 * (flops / 1e10) ** -0.1
    found = scaling(some_scores(flops, np.stack([score, score], 1)), rng())
    assert found["exponent"]["value"] == pytest.approx(0.1)
    assert found["trend"]
    assert found["predicted"] == pytest.approx(score[-1])
    assert found["error"] == pytest.approx(0, abs=1e-9)
    flat = [[0.3, 0.5], [0.5, 0.3], [0.3, 0.5]]
    assert not scaling(some_scores(flops, flat), rng())["trend"]
    assert scaling(some_scores(flops[:2], flat[:2]), rng()) is None


def a_row(objective, flops, seed, score, **others):
    """A row whose mean score is `score`, where no others are given."""
    known = {"a": score / 2, "c": 1.5 * score} | others
    return {"objective": objective, "asked_flops": flops, "seed": seed, "scores": known}


def judged(rows, successes):
    """The same rows, with successes of ten episodes."""
    control = [{"control": {"success": success, "asked": {"episodes": 10}}} for success in successes]
    return [row | one for row, one in zip(rows, control, strict=True)]


def test_what_goes_with_control_worked_by_hand():
    bs = enumerate((0.9, 0.7, 0.8, 0.6))
    rows = [a_row(f"objective {place}", 1e10, 3, 0.1 * place, b=b) for place, b in bs]
    rows, _ = on_shared_factors(judged(rows, (1, 2, 4, 3)))
    # Ranks 1 2 3 4 and 1 2 4 3: 1 - 6 (1 + 1) / (4 (16 - 1)) = 0.8. Ranks 4 2 3 1: 1 - 6 (9 + 1 + 4) / 60 = -0.4.
    found = goes_with(rows, rng())
    assert {factor: round(found[factor]["value"], 6) for factor in ("a", "c", WORST, "b")} == {
        **{"a": 0.8, "c": 0.8, WORST: 0.8, "b": -0.4}
    }
    assert found["a"]["low"] <= 0.8 <= found["a"]["high"]
    assert scores(rows, SUCCESS)["objective 2"].values.tolist() == [[0.4]]
    assert goes_with(rows[:2], rng()) == {}
    assert goes_with([], rng()) == {}


def test_what_goes_with_control_is_ranked_within_each_seed():
    """Seed 1 asks about easier episodes and succeeds less; within each seed what scores higher succeeds more."""
    rows = [a_row(f"objective {place}", 1e10, seed, 0.1 * place + 0.5 * seed) for seed in (0, 1) for place in range(3)]
    rows, _ = on_shared_factors(judged(rows, (4, 5, 6, 1, 2, 3)))
    assert goes_with(rows, rng())["a"]["value"] == pytest.approx(1.0)
    alone = on_shared_factors(judged([a_row("masked", 1e10, 2, 0.9)], (0,)))[0]
    assert goes_with([*rows, *alone], rng())["a"]["value"] == pytest.approx(1.0), "it has none beside it"


def test_means_are_over_the_factors_that_all_rows_know():
    rows = [a_row("masked", 1e10, 0, 0.4), a_row("masked", 1e10, 1, 0.2, b=-0.9), a_row("points", 1e10, 0, 0.6, b=0.9)]
    rows.append(a_row("points", 1e10, 1, 0.8))
    references = [{"features": "random encoder", "seed": 0, "scores": {"a": 0.1, "c": -0.3, "d": 1.0}}]
    found = analyse(judged(rows, (1, 2, 3, 4)), references)
    assert found["left_out_of_mean"] == ["b", "d"]
    # Of a and c: (0.2 + 0.6) / 2, (0.1 + 0.3) / 2, (0.3 + 0.9) / 2 and (0.4 + 1.2) / 2; of the reference 0.1 and,
    # for -0.3, 0.
    assert [row["mean_score"] for row in found["rows"]] == pytest.approx([0.4, 0.2, 0.6, 0.8])
    assert [row["worst"] for row in found["rows"]] == ["a"] * 4, "b is no worst factor where it is not known"
    assert found["levels"] == {"random encoder": {"value": pytest.approx(0.05)}}
    assert found["rows"][1]["scores"]["b"] == -0.9, "it stays in its row"
    # What a row does not know has no rank: no two encoders of a seed know b.
    assert set(found["control"]["goes_with"]) == {SCORE, "a", "c", WORST}
    assert "Means leave out b, d, which some splits" in table(found)


def test_a_score_that_is_not_known_has_no_rank():
    bs = enumerate((0.1, None, 0.2, 0.3, float("nan")))
    rows = [a_row(f"objective {place}", 1e10, 0, 0.1, b=b) for place, b in bs]
    found = analyse(judged(rows, (1, 9, 2, 3, 9)))
    assert found["left_out_of_mean"] == ["b"]
    assert found["control"]["goes_with"]["b"]["value"] == 1, "of 1, 2 and 3 successes; those of 9 do not count"


def test_a_budget_counts_where_all_seeds_are_there():
    rows = [a_row("masked", 1e10, seed, 0.1 * seed) for seed in (0, 1)] + [a_row("masked", 1e11, 0, 0.5)]
    found = scores(on_shared_factors(rows)[0])["masked"]
    assert found.flops.tolist() == [1e10]
    assert found.seeds.tolist() == [0, 1]
    assert found.values.tolist() == [[0.0, 0.1]]
    assert scores(rows, "a")["masked"].values.tolist() == [[0.0, 0.05]]


def test_both_at_once_are_judged_beside_their_halves():
    means = {"masked": 0.3, "contrastive": 0.2, "joint": 0.4}
    found = analyse([a_row(name, 1e10, seed, means[name] + 0.01 * seed) for name in means for seed in (0, 1)])
    halves = found["best_of_both"]["joint"]
    # Seeds are paired, so what they share cancels.
    assert [halves[half]["value"] for half in ("masked", "contrastive")] == pytest.approx([0.1, 0.2])
    assert halves["masked"]["low"] == pytest.approx(0.1)


def test_differences_are_paired_by_seed_and_not_by_place():
    by_seed = {1: 0.1, 2: 0.2, 3: 0.3, 4: 0.4}
    rows = [a_row("masked", 1e10, seed, by_seed[seed]) for seed in (1, 2, 3)]
    rows += [a_row("joint", 1e10, seed, by_seed[seed] + 0.05) for seed in (2, 3, 4)]
    found = analyse(rows)
    half = found["best_of_both"]["joint"]["masked"]
    assert found["ahead_of_default"]["joint"] == half
    assert half["seeds"] == [2, 3]
    assert (half["value"], half["low"], half["high"]) == pytest.approx((0.05, 0.05, 0.05))
    apart = [row for row in rows if (row["objective"], row["seed"]) not in {("masked", 2), ("masked", 3)}]
    assert analyse(apart)["best_of_both"]["joint"]["masked"] == {}, "no seed is shared"


def test_references_have_intervals_over_seeds():
    rows = [a_row("masked", 1e10, seed, 0.4) for seed in (0, 1)]
    beside = [{"features": "random encoder", "seed": seed, "scores": {"a": a, "c": a}} for seed, a in enumerate((0, 1))]
    found = analyse(rows, beside)["levels"]["random encoder"]
    # Of 0 and 1 the deviation is 1 / sqrt(2), and t with one degree of freedom is 12.706.
    assert (found["value"], found["low"], found["high"]) == pytest.approx((0.5, 0.5 - 6.353, 0.5 + 6.353), abs=1e-3)


def test_scores_above_random_weights_are_paired_by_seed():
    rows = [a_row("masked", 1e10, seed, 0.4 + 0.3 * seed) for seed in (0, 1)]
    levels = (("random encoder", 0.3), ("pixels 16x16", 0.25))
    beside = [
        {"features": name, "seed": seed, "scores": {"a": level + 0.3 * seed, "c": level + 0.3 * seed}}
        for name, level in levels
        for seed in (0, 1)
    ]
    found = analyse(judged(rows, (1, 10)), beside)
    (point,) = found["above_unlearnt"]["masked"]
    assert (point["value"], point["low"], point["high"]) == pytest.approx((0.1, 0.1, 0.1))
    assert found["above_unlearnt"]["pixels 16x16"][0]["value"] == pytest.approx(-0.05)
    assert analyse(rows)["above_unlearnt"] == {}
    # Student's interval of 10% and 100% leaves what a share can be.
    (success,) = found["control"]["curves"]["masked"]
    assert (success["value"], success["low"], success["high"]) == (0.55, 0.0, 1.0)
    assert "success in control" in table(found)
    assert "0.550 [0.000, 1.000]" in table(found)


def test_a_single_seed_has_no_interval():
    found = analyse(judged([a_row("masked", 1e10, 0, 0.2), a_row("points", 1e10, 0, 0.3)], (1, 2)))
    lines = [line.split() for line in table(found).splitlines() if line.startswith(("points", "masked"))]
    assert lines[:2] == [["points", "1e+10", "0.300", "+0.100"], ["masked", "1e+10", "0.200"]]
    assert lines[2:] == [["points", "1e+10", "0.200"], ["masked", "1e+10", "0.100"]], "of ten episodes each"


def test_references_are_made_for_each_seed_and_kept(tmp_path):
    a_store(tmp_path / "play", episodes=100, size=16)
    rows = [row for seed in (0, 1) for row in references(tmp_path / "play", "nano", 400, seed, tmp_path)]
    assert [(row["features"], row["seed"]) for row in rows] == [
        (name, seed) for seed in (0, 1) for name in ("random encoder", "pixels 16x16")
    ]
    assert rows[0]["scores"] != rows[2]["scores"], "another encoder, and other episodes"
    kept = json.loads((tmp_path / "references" / "1.json").read_text())
    kept["random encoder"]["mean_score"] = 0.5
    atomic_write_json(tmp_path / "references" / "1.json", kept)
    assert references(tmp_path / "play", "nano", 400, 1, tmp_path)[0]["mean_score"] == 0.5, "they are not made again"


def a_store(path, *, episodes, length=25, size=64):
    with FrameStoreWriter(path, image_size=size) as writer:
        for number in range(episodes):
            frames = np.full((length, size, size, 3), number, np.uint8)
            place = np.random.default_rng(number).random((length, 3)).astype(np.float32)
            felt = np.full((length, 2), number, np.float32)
            writer.add_episode(frames, {"gripper": place}, columns={"felt": felt}, instruction=f"Do {number}.")
    store = FrameStore.open(path)
    store.notes["state"] = {"opening": [0, 1]}
    return store


def test_no_encoder_watches_what_it_is_asked_about(tmp_path):
    store = a_store(tmp_path / "play", episodes=40, length=3, size=16)
    dealt = [episodes_of(store, share).tolist() for share in (WATCHED, CHOOSING, ASKED)]
    assert [len(members) for members in dealt] == [24, 6, 10]
    assert sorted(number for members in dealt for number in members) == list(range(40))
    watched = FrameStore.open(write_watched(store, tmp_path / "watched"))
    assert [int(watched.episode(k)[0, 0, 0, 0]) for k in range(watched.num_episodes)] == dealt[0]
    assert watched.columns["felt"][::3, 0].tolist() == dealt[0]
    assert watched.instructions == tuple(f"Do {number}." for number in dealt[0])
    assert watched.notes["state"] == {"opening": [0, 1]}
    before = (tmp_path / "watched" / "index.json").stat().st_mtime_ns
    write_watched(store, tmp_path / "watched")
    assert (tmp_path / "watched" / "index.json").stat().st_mtime_ns == before


def test_a_whole_comparison_goes_on_where_it_stopped(tmp_path, capsys):
    play = collect(Collect(PlayEnv(image_size=32), frames=2200, steps=50, film=0, out=tmp_path / "play"))
    capsys.readouterr()
    asked = {"data": play, "rates": (0.001,), "frames": 300, "out": tmp_path / "out"}
    few = CompareObjectives(objectives=("masked",), flops=(2e10,), seeds=("0",), **asked)
    assert compare_objectives(few) == tmp_path / "out"
    said = capsys.readouterr().out
    assert "random encoder" in said
    first = (tmp_path / "out" / "masked" / "2e+10-0.json").stat().st_mtime_ns
    skilled = collect(Collect(PlayEnv(image_size=32), frames=50, steps=25, film=0, out=tmp_path / "skilled"))
    control = {"control": skilled, "control_updates": 2, "control_episodes": 4}
    more = CompareObjectives(objectives=("masked", "points"), flops=(2e10,), seeds=("0",), **asked, **control)
    compare_objectives(more)
    assert (tmp_path / "out" / "masked" / "2e+10-0.json").stat().st_mtime_ns == first, "what is there is not made again"
    result = json.loads((tmp_path / "out" / "objectives.json").read_text())
    assert [row["objective"] for row in result["rows"]] == ["masked", "points"]
    store = open_labelled(play)
    run = Run.open(tmp_path / "out" / "points" / "2e+10-0")
    assert run.config["image_size"] == 32
    assert run.config["data"] == [str(tmp_path / "out" / "watched")]
    assert run.summary["frames"] == 50 * len(episodes_of(store, WATCHED)) == 50 * 26
    assert result["held_out"] == "No encoder has watched the held-out episodes."
    assert result["asked"]["data_hash"] == store.content_hash
    assert [row["control"]["asked"]["episodes"] for row in result["rows"]] == [4, 4]
    assert not (tmp_path / "out" / "masked" / "2e+10-0-control").exists(), "actors are not kept"
    assert set(result["control"]["curves"]) == {"masked", "points"}
    alone = json.loads((tmp_path / "out" / "random" / "untrained-0-control.json").read_text())
    assert result["control"]["random"]["value"] == alone["success"] / 4
    assert set(result["levels"]) == {"random encoder", "pixels 16x16"}
    page = (tmp_path / "out" / "objectives.html").read_text()
    for words in ("Factor by factor", "In control", "No encoder has watched", "FLOPs of masked / own FLOPs"):
        assert words in page
    assert "told" not in page
    assert (tmp_path / "out" / "objectives.svg").read_text().startswith("<svg")
    with pytest.raises(UserError, match="rates"):
        compare_objectives(CompareObjectives(**asked | {"rates": (0.002,)}))
    # Who asks for less, or without control, leaves the rest where it is.
    compare_objectives(few)
    after = json.loads((tmp_path / "out" / "objectives.json").read_text())
    assert after["rows"] == result["rows"]
    assert after["asked"] | {"objectives": ["masked", "points"], "budgets": [2e10], "seeds": [0]} == after["asked"]
    assert after["control"] == result["control"]


def test_a_result_without_intervals_of_references_is_drawn():
    rows = [a_row("masked", 1e10, seed, 0.4 + 0.1 * seed) for seed in (0, 1)]
    measured = {"flops": 1e10, "rate": 0.001, "steps": 3, "seconds": 1.0, "alarms": {}}
    references = [{"features": "random encoder", "seed": 0, "scores": {"a": 0.1, "c": 0.3}}]
    found = analyse([row | measured for row in rows], references)
    asked = {"size": "nano", "data": "play"}
    page = render({"asked": asked, "held_out": "Encoders have watched the frames.", **found})
    assert "<td class=number>0.200</td>" in page
    assert "Encoders have watched the frames." in page


def test_what_cannot_be_compared_is_one_line(tmp_path):
    with pytest.raises(UserError, match="no objective"):
        compare_objectives(CompareObjectives(data=tmp_path, objectives=("maskd",)))
    with pytest.raises(UserError, match="must not be among"):
        compare_objectives(CompareObjectives(data=tmp_path, seeds=("99-101",)))
    with pytest.raises(UserError, match="no recorded play at"):
        compare_objectives(CompareObjectives(data=tmp_path, objectives=("masked",)))
    with pytest.raises(UserError, match="above 0"):
        CompareObjectives(data=tmp_path, flops=())


@pytest.mark.parametrize(
    ("made", "asked", "says"),
    [
        ({"episodes": 8}, {}, "at least 8 episodes to hold some out, got 1 of the 8 in .*; record 64 or more"),
        ({"episodes": 100}, {"frames": 150}, "the validation split has 22 moments of one frame, and a probe needs 25"),
        # 50 frames of the 150 in six episodes, of which rows 24, 49 and 149 are the last of theirs.
        ({"episodes": 100}, {"frames": 200, "rates": (0.001,)}, "47 moments of a frame and the next"),
        ({"episodes": 40}, {"frames": 300}, "got 6 of the 40 in"),  # to choose learning rates by
        ({"episodes": 100, "size": 24}, {}, "24"),
        ({"episodes": 100}, {"size": "nanno"}, 'did you mean "nano"'),
        (
            {"episodes": 100},
            {"flops": (1e3, 1e12)},
            r"one step takes .*, and the budget is 1e\+03; give more",
        ),
        (
            {"episodes": 100},
            {"tuning_flops": 1e3},
            r"one step takes .*, and the budget is 1e\+03; give more",
        ),
        ({"episodes": 100}, {"objectives": ("universal",)}, 'has no column "action"'),
    ],
)
def test_what_would_come_to_nothing_is_refused_before_any_job(tmp_path, made, asked, says):
    a_store(tmp_path / "play", **made)
    wanted = {"objectives": ("masked",), "seeds": ("0",), "out": tmp_path / "out"}
    with pytest.raises(UserError, match=says):
        compare_objectives(CompareObjectives(data=tmp_path / "play", **wanted | asked))
    assert not (tmp_path / "out").exists()


def test_a_comparison_of_an_earlier_version_is_one_line_and_stays(tmp_path):
    a_store(tmp_path / "play", episodes=100)
    old = {"asked": {"data": str(tmp_path / "play")}, "rows": [{"objective": "masked", "mean_told": 0.3}]}
    (tmp_path / "out").mkdir()
    atomic_write_json(tmp_path / "out" / "objectives.json", old)
    with pytest.raises(UserError, match=r"out holds a comparison of an earlier version, .*; choose another --out"):
        compare_objectives(CompareObjectives(data=tmp_path / "play", seeds=("0",), out=tmp_path / "out"))
    assert json.loads((tmp_path / "out" / "objectives.json").read_text()) == old


def a_recording(path, env, size=64):
    """A run of `goalsight collect`, of black frames."""
    run = Run.create("collect", Collect(env), out=path, seed=0)
    a_store(path / "frames", episodes=2, size=size)
    run.finish({})
    return path


def test_control_is_judged_in_the_environment_that_was_recorded(tmp_path, monkeypatch):
    env = PlayEnv("goalsight/PandaPush-v1", camera="wrist", image_size=32, vary=("colour",), aids=("goal_markers",))
    play = a_recording(tmp_path / "play", env, size=32)
    seen = {"camera": "wrist", "image_size": 32, "vary": ("colour",), "aids": ("goal_markers",)}
    assert recorded_in(play) == EnvConfig("goalsight/PandaPush-v1", obs="pixels", **seen)
    trained = []

    def train(config):
        trained.append(config)
        run = Run.create("train", to_json(config), out=config.out, seed=config.seed)
        run.finish({"last_success": 0.75, "seconds": 1.0})

    monkeypatch.setattr("goalsight.agents.train.train", train)
    asked = {"play": str(play), "updates": 3, "episodes": 4}
    found = imitate("random", 5, asked, str(tmp_path / "judged.json"))
    assert found == {"asked": asked, "success": 3, "seconds": 1.0}
    (config,) = trained
    assert isinstance(config, Train)
    assert config.env == recorded_in(play)


def test_control_that_looks_otherwise_than_the_data_is_one_line(tmp_path):
    data = a_recording(tmp_path / "data", PlayEnv())
    check_control(a_recording(tmp_path / "alike", PlayEnv(vary=("colour",))), data)
    with pytest.raises(UserError, match=r"alike.* does not exist|nothing does not exist"):
        check_control(tmp_path / "nothing", data)
    with pytest.raises(UserError, match=r"small have 32 px, those of .*data 64 px; record both alike"):
        check_control(a_recording(tmp_path / "small", PlayEnv(image_size=32), size=32), data)
    with pytest.raises(UserError, match=r"camera wrist, .*data with camera front; record both alike"):
        check_control(a_recording(tmp_path / "wrist", PlayEnv(camera="wrist")), data)
    encoder = Run.create("pretrain", {}, out=tmp_path / "encoder", seed=0).path
    with pytest.raises(UserError, match="control imitates a run of goalsight collect"):
        check_control(encoder, data)


def test_control_is_judged_from_random_encoders_and_the_largest_budgets_first(tmp_path, capsys):
    config = CompareObjectives(tmp_path, flops=(1e9, 1e11, 1e10), control=tmp_path / "skilled")
    for name in ("masked", "points"):
        (tmp_path / name).mkdir()
        for budget in ("1e+09", "1e+10", "1e+11"):
            atomic_write_json(tmp_path / name / f"{budget}-0.json", {})
    atomic_write_json(tmp_path / "points" / "1e+11-0-control.json", {"asked": {"play": "another"}})
    jobs = Jobs(config, None, tmp_path, ("masked", "points"), [0])
    order = [job.arguments["encoder"] for job in jobs._imitations()]
    budgets = [str(tmp_path / name / f"{budget}-0") for budget in ("1e+11", "1e+10", "1e+09") for name in jobs._names]
    assert order == ["random", *budgets]
    assert (
        "goalsight: encoders imitated from by other options of --control before, and anew now: 1"
        in capsys.readouterr().err
    )

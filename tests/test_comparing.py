"""`goalsight compare`: groups, curves, what was reached, and what is said where something cannot be."""

import json
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pages import read

from goalsight.base.errors import UserError
from goalsight.base.files import atomic_write_json, to_json
from goalsight.base.runs import Run
from goalsight.commands import cli
from goalsight.eval.comparing.comparison import Asked, compared
from goalsight.eval.comparing.curves import aligned, mean_curve, shared_places
from goalsight.eval.comparing.members import settings_of, step_unit
from goalsight.eval.comparing.page import _short, render
from goalsight.eval.comparing.reaching import Reached, first_reaching, median_reached, ratio
from goalsight.eval.comparing.record import record
from goalsight.eval.comparing.wording import text

PUSH = "goalsight/PandaPush-v1"


def rng():
    return np.random.default_rng(0)


def a_run(folder, seed, success, *, status="finished", flops=None, every=1000, metric="eval/success", **config):
    asked = {"env": {"id": PUSH, "obs": "pixels"}, "encoder": "random", "seed": seed, "out": str(folder)}
    sources = {"encoder": "abc", "encoder_path": config["encoder"]} if "/" in config.get("encoder", "") else {}
    run = Run.create("train", asked | config, out=folder, seed=seed, sources=sources)
    rows = []
    for number, value in enumerate(success, start=1):
        row = {"step": every * number, "wall_s": 2.0 * number, metric: value}
        rows.append(row | ({} if flops is None else {"flops": flops * number}))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    run.set_status(status)
    return folder


@pytest.fixture
def six(tmp_path):
    """Three seeds of a group that learns at 1,000 or 2,000 steps, and of one that takes twice as long."""
    fast = [[0.9, 0.9, 1.0, 1.0], [0.0, 0.8, 0.9, 0.9], [0.1, 0.8, 0.9, 0.8]]
    slow = [[0.0, 0.9, 0.9, 0.9], [0.0, 0.0, 0.0, 0.8], [0.0, 0.1, 0.5, 0.9]]
    paths = [a_run(tmp_path / f"fast{seed}", seed, row, encoder="watched") for seed, row in enumerate(fast)]
    return paths + [a_run(tmp_path / f"slow{seed}", seed, row) for seed, row in enumerate(slow)]


def test_groups_differences_and_ratios_worked_by_hand(six):
    found = compared(six, Asked())
    random, watched = found.groups
    assert (random.name, watched.name) == ("encoder=random", "encoder=watched")
    assert random.seeds == watched.seeds == [0, 1, 2]
    assert random.settings == {"encoder": "random"}
    assert [run.at for run in found.reached[random.name]] == [2000, 4000, 4000]
    assert [run.at for run in found.reached[watched.name]] == [1000, 2000, 2000]
    assert found.median[random.name] == Reached(4000, False)
    (pair,) = found.pairs
    assert pair.seeds == [0, 1, 2]
    assert (pair.ratio.bound, pair.ratio.pairs) == ("exact", 3)
    assert [pair.ratio.value, pair.ratio.low, pair.ratio.high] == pytest.approx([2, 2, 2])  # twice, on every seed
    gain = pair.difference.estimate  # 0.9 - 1.0, 0.8 - 0.9 and 0.9 - 0.8
    assert [gain.value, gain.low, gain.high] == pytest.approx([-0.1 / 3, -0.1, 0.1])
    assert pair.improvement.value == pytest.approx((1.5 + 0.5 + 1.5) / 9)  # 0.9, 0.8, 0.9 beside 1.0, 0.9, 0.8
    assert found.final[watched.name].mean.value == pytest.approx(0.9)
    assert found.final[watched.name].interquartile_mean.value == pytest.approx(0.9)
    assert found.profiles[watched.name].share[[0, 85, 95, 100]] == pytest.approx([1, 2 / 3, 1 / 3, 0])


def test_the_order_of_runs_changes_no_bit(six):
    four = [*six[:2], *six[3:5]]
    first = json.dumps(to_json(record(compared(four, Asked())) | {"date": ""}))
    for paths in list(permutations(four))[::5]:
        assert json.dumps(to_json(record(compared(paths, Asked())) | {"date": ""})) == first


def test_a_group_is_the_same_whoever_stands_beside_it(six):
    alone, beside = compared(six[:3], Asked()), compared(six, Asked())
    assert alone.final["all runs"] == beside.final["encoder=watched"]
    assert (alone.curves["steps"]["all runs"].low == beside.curves["steps"]["encoder=watched"].low).all()


def test_one_group_is_shown_alone(six):
    found = compared(six[:2], Asked())
    assert [group.name for group in found.groups] == ["all runs"]
    assert not found.pairs
    assert any("nothing to compare it with" in note for note in found.notes)
    assert found.curves["steps"]["all runs"].mean == pytest.approx([0.45, 0.85, 0.95, 0.95])


def test_settings_have_the_names_of_the_command_line():
    config = {
        "env": {"id": PUSH, "obs": "pixels", "vary": []},
        "options": {"gamma": 0.9},
        "watching": {"play": 3},
        "steps": None,
        "encoder": None,
        "seed": 3,
        "out": "there",
        "track": ["wandb"],
        "json": True,
        "preset": {"gamma": 0.9, "steps": 100},
    }
    wanted = {"env": PUSH, "obs": "pixels", "vary": (), "gamma": 0.9, "watching.play": 3, "steps": 100}
    assert settings_of(config) == wanted
    assert settings_of(config | {"env": PUSH, "obs": "pixels", "vary": []}) == wanted  # as older runs record it


def test_a_group_is_named_by_the_fewest_settings_where_many_differ(tmp_path):
    for number, (a, b) in enumerate([(1, 1), (1, 2), (2, 1), (2, 2)]):
        a_run(tmp_path / f"{number}", 0, [0.5], options={"a": a, "b": b, "c": a, "d": b})
    found = compared(sorted(tmp_path.iterdir()), Asked())
    assert [group.name for group in found.groups] == ["a=1, b=1", "a=1, b=2", "a=2, b=1", "a=2, b=2"]
    assert list(found.groups[0].settings) == ["a", "b", "c", "d"]
    by = compared(sorted(tmp_path.iterdir()), Asked(by=("b",)))
    assert [(group.name, group.seeds) for group in by.groups] == [("b=1", [0, 0]), ("b=2", [0, 0])]
    assert "runs of one group differ in a, c" in by.notes
    assert by.pairs[0].seeds == []  # no seed has one run alone


def test_numbers_are_in_order_of_their_size(tmp_path):
    for value in (1000, 200, 30):
        a_run(tmp_path / f"{value}", 0, [0.5], batch_size=value)
    names = [group.name for group in compared(sorted(tmp_path.iterdir()), Asked()).groups]
    assert names == ["batch_size=30", "batch_size=200", "batch_size=1000"]


def test_curves_are_interpolated_and_end_where_the_first_run_does():
    long, short = (np.array([0.0, 10, 40]), np.array([0.0, 1, 1])), (np.array([5.0, 20]), np.array([0.0, 0.6]))
    places = shared_places([long[0], short[0]])
    assert places == pytest.approx([0, 5, 10, 20, 40])
    inside, values = aligned([long, short], places)
    assert inside == pytest.approx([5, 10, 20])
    assert values == pytest.approx(np.array([[0.5, 1, 1], [0, 0.2, 0.6]]))
    curve = mean_curve([long, short], places, rng())
    assert curve.mean == pytest.approx([0.25, 0.6, 0.8])
    assert (curve.low, curve.high) == (pytest.approx([0, 0.2, 0.6]), pytest.approx([0.5, 1, 1]))


def test_runs_that_share_no_place_have_no_curve():
    curve = mean_curve(
        [(np.array([0.0, 1]), np.ones(2)), (np.array([2.0, 3]), np.ones(2))], np.array([0.0, 1, 2, 3]), rng()
    )
    assert len(curve.x) == len(curve.mean) == 0


def test_very_many_places_become_evenly_spaced_ones():
    places = shared_places([np.arange(0, 5000, 3.0), np.arange(0, 5000, 7.0)], most=11)
    assert places == pytest.approx(np.linspace(0, 4998, 11))


def test_first_reaching():
    assert first_reaching([10, 20, 30], [0.1, 0.8, 0.7], 0.8) == Reached(20, False)
    assert first_reaching([10, 20, 30], [0.1, 0.2, 0.7], 0.8) == Reached(30, True)
    assert first_reaching([10, 20, 30, 40], [0.9, 0.7, 0.8, 0.8], 0.8, in_a_row=2) == Reached(30, False)
    assert first_reaching([10, 20, 30], [0.9, 0.7, 0.9], 0.8, in_a_row=2) == Reached(30, True)


@pytest.mark.parametrize(
    ("runs", "median"),
    [
        ([(1, False), (2, False), (9, True)], (2, False)),  # whenever the last would get there
        ([(1, False), (9, True), (9, True)], (9, True)),
        ([(1, False), (9, True)], (5, True)),
        # Stopped early, it might have been the second or the last: the median is 2 at least, 5 at most.
        ([(1, True), (2, False), (5, False)], (2, True)),
    ],
)
def test_medians_with_censored_runs(runs, median):
    assert median_reached([Reached(*run) for run in runs]) == Reached(*median)


def got(*steps, censored=()):
    return [Reached(step, place in censored) for place, step in enumerate(steps)]


def test_a_ratio_worked_by_hand():
    # The pairs' ratios are 2 and 4: their geometric mean is sqrt(8); draws of two pairs reach from 2 to 4.
    found = ratio(got(2000, 4000), got(1000, 1000), [(0, 0), (1, 1)], rng())
    assert (found.bound, found.pairs) == ("exact", 2)
    assert [found.value, found.low, found.high] == pytest.approx([8**0.5, 2, 4])


def test_pairs_take_out_what_seeds_share():
    ours, theirs = got(2000, 20_000, 200), got(1000, 10_000, 100)
    paired = ratio(ours, theirs, [(0, 0), (1, 1), (2, 2)], rng())
    apart = ratio(ours, theirs, [], rng())
    assert [paired.value, paired.low, paired.high] == pytest.approx([2, 2, 2])
    assert apart.value == pytest.approx(2)
    assert apart.pairs == 0
    assert apart.low < 0.5
    assert apart.high > 8


@pytest.mark.parametrize(
    ("ours", "theirs", "bound", "value"),
    [
        (got(4000, censored=[0]), got(1000), "at least", 4.0),
        (got(1000), got(4000, censored=[0]), "at most", 0.25),
        (got(4000, censored=[0]), got(4000, censored=[0]), "unknown", None),
        (got(0), got(1000), "unknown", None),
    ],
)
def test_where_runs_never_got_there_a_ratio_is_a_bound(ours, theirs, bound, value):
    found = ratio(ours, theirs, [], rng())
    assert (found.bound, found.low, found.high) == (bound, None, None)
    assert found.value == (value if value is None else pytest.approx(value))


@given(st.lists(st.tuples(st.integers(1, 10**6), st.integers(1, 10**6)), min_size=2, max_size=6))
def test_a_ratio_is_one_over_that_of_the_two_exchanged(steps):
    ours, theirs = got(*(one for one, _ in steps)), got(*(other for _, other in steps))
    pairs = [(place, place) for place in range(len(steps))]
    there, back = ratio(ours, theirs, pairs, rng()), ratio(theirs, ours, pairs, rng())
    assert there.value * back.value == pytest.approx(1)
    assert there.low <= there.value <= there.high
    assert there.low * back.high == pytest.approx(1)


def test_a_run_that_never_reached_it_is_said_to_be_censored(tmp_path):
    paths = [a_run(tmp_path / f"a{seed}", seed, [0.1, 0.2]) for seed in (0, 1)]
    paths += [a_run(tmp_path / f"b{seed}", seed, [0.9, 0.9], encoder="watched") for seed in (0, 1)]
    found = compared(paths, Asked())
    assert found.median["encoder=random"] == Reached(2000, True)
    said = text(found)
    assert "0 of 2       > 2,000" in said
    assert "at least 2.00 (a bound)" in said


def test_an_unfinished_run_counts_as_far_as_it_is(tmp_path, six):
    paths = [*six, a_run(tmp_path / "short", 3, [0.5, 0.5], status="interrupted")]
    found = compared(paths, Asked())
    assert f"{tmp_path / 'short'} is interrupted: it counts up to its last evaluation, at step 2,000" in found.notes
    assert any("final evaluations lie at different steps, from 2,000 to 4,000" in note for note in found.notes)
    assert found.curves["steps"]["encoder=random"].x[-1] == 2000
    assert found.curves["steps"]["encoder=watched"].x[-1] == 4000


def test_what_was_measured_again_counts_once(tmp_path):
    for seed in (0, 1):
        folder = a_run(tmp_path / f"{seed}", seed, [0.1, 0.9, 0.9])
        with (folder / "metrics.jsonl").open("a") as file:
            file.write('{"step": 2000, "wall_s": 9, "eval/success": 0.3}\n{"step": 3000, "wall_s": 10, "eval/succ')
    found = compared(sorted(tmp_path.iterdir()), Asked())
    assert found.groups[0].members[0].values.tolist() == [0.1, 0.3]


def test_what_steps_count():
    assert step_unit({"env": PUSH}) == step_unit({"data": []}) == "env steps"
    assert step_unit({"data": ["play"]}) == "gradient steps"


def test_steps_of_different_kinds_and_other_machines_have_no_axis(tmp_path):
    paths = [a_run(tmp_path / "sac", 0, [0.5, 0.9]), a_run(tmp_path / "bc", 0, [0.5, 0.9], data=["play"])]
    manifest = json.loads((paths[1] / "manifest.json").read_text())
    manifest["machine"] |= {"cpu": "another"}
    manifest["versions"] |= {"mujoco": "0.1"}
    atomic_write_json(paths[1] / "manifest.json", manifest)
    found = compared(paths, Asked())
    assert not found.curves
    assert found.left_out["steps"] == "some runs count env steps and others gradient steps"
    assert "different machines" in found.left_out["seconds"]
    assert "did not count their FLOPs" in found.left_out["operations"]
    assert found.pairs[0].ratio is None
    assert any("different versions of mujoco: 0.1, " in note for note in found.notes)


def test_operations_include_what_the_encoder_cost(tmp_path):
    encoder = Run.create("pretrain", {"data": ["play"]}, out=tmp_path / "encoder", seed=0)
    encoder.finish({"seconds": 60.0, "flops": 500})
    watched = [a_run(tmp_path / f"w{seed}", seed, [0, 1], flops=10, encoder=str(encoder.path)) for seed in (0, 1)]
    random = [a_run(tmp_path / f"r{seed}", seed, [0, 1], flops=10) for seed in (0, 1)]
    found = compared(watched + random, Asked())
    assert "operations" not in found.left_out
    assert found.curves["operations"]["encoder=random"].x.tolist() == [10, 20]
    assert found.curves["operations"][f"encoder={encoder.path}"].x.tolist() == [510, 520]
    assert any("pretrained for, up to 60 s" in note for note in found.notes)
    (encoder.path / "summary.json").unlink()
    assert "is not known any more" in compared(watched + random, Asked()).left_out["operations"]


def test_another_metric_is_no_percentage(tmp_path):
    paths = [a_run(tmp_path / f"{seed}", seed, [-50, -10.5], metric="eval/return") for seed in (0, 1)]
    found = compared(paths, Asked("eval/return", -20))
    assert found.reached["all runs"] == [Reached(2000, False)] * 2
    assert "%" not in text(found).replace("95% intervals", "")
    assert "-10.5" in text(found)


@pytest.mark.parametrize(
    ("change", "asked", "says"),
    [
        (lambda paths: paths[:1], Asked(), "at least two runs to compare, got 1"),
        (lambda paths: [paths[0], paths[0]], Asked(), "is named twice"),
        (lambda paths: [*paths, paths[0].parent / "nowhere"], Asked(), "nowhere does not exist"),
        (lambda paths: paths, Asked("eval/sucess"), 'did you mean "eval/success"'),
        (lambda paths: paths, Asked(by=("enoder",)), 'no setting "enoder"; did you mean "encoder"'),
        (lambda paths: paths, Asked(reach=1.5), "reach must lie in"),
    ],
)
def test_mistakes_are_named(six, change, asked, says):
    with pytest.raises(UserError, match=says):
        compared(change(six), asked)


def test_runs_that_cannot_be_compared_are_refused(tmp_path, six):
    play = Run.create("collect", {"env": {"id": PUSH}}, out=tmp_path / "play", seed=0).path
    with pytest.raises(UserError, match="is a collect run; training runs are compared"):
        compared([*six, play], Asked())
    reach = a_run(tmp_path / "zreach", 0, [1.0], env={"id": "goalsight/PandaReach-v1", "obs": "pixels"})
    with pytest.raises(UserError, match=r"different environments is not compared: .*fast0 .*Push-v1, .*zreach"):
        compared([*six, reach], Asked())
    again = a_run(tmp_path / "again", 0, [1.0])
    with pytest.raises(UserError, match="are the same training, of seed 0; name one of them"):
        compared([*six, again], Asked())
    young = a_run(tmp_path / "young", 7, [], status="failed")
    with pytest.raises(UserError, match=r"young \(failed\) has not measured anything yet"):
        compared([*six, young], Asked())


def test_the_command_writes_a_whole_page_and_says_the_same_as_json(six, tmp_path, capsys):
    out = tmp_path / "out"
    assert cli.run(["compare", *map(str, six), "--out", str(out), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((out / "compare.json").read_text())
    assert [group["name"] for group in printed["groups"]] == ["encoder=random", "encoder=watched"]
    assert printed["pairs"][0]["ratio"]["value"] == pytest.approx(2)
    page = read(out / "compare.html")
    for words in ("encoder=watched", "Env steps to 80%", "Performance profiles", "2.00 [2.00, 2.00]", "No curve over"):
        assert words in page
    assert page.count('id="FillBetween') == 6  # a band for each group over steps and time, and in the profiles


def test_the_table_goes_to_the_terminal_and_results_to_a_folder_of_their_own(six, workplace, capsys):
    assert cli.run(["compare", *map(str, six[1:5]), "--by", "encoder"]) == 0
    printed = capsys.readouterr().out
    assert "encoder=random - encoder=watched" in printed
    assert printed.splitlines()[-1].endswith("compare.html")
    (folder,) = (workplace / "runs").iterdir()
    assert {path.name for path in folder.iterdir()} == {"compare.html", "compare.json"}


def test_a_refusal_is_one_line_and_leaves_nothing(six, workplace, capsys):
    assert cli.run(["compare", str(six[0])]) == 2
    assert capsys.readouterr().err == "goalsight: needs at least two runs to compare, got 1\n"
    assert not (workplace / "runs").exists()


def test_groups_whose_long_names_begin_alike_each_have_a_bar(tmp_path):
    folder = "runs/a-folder-with-a-name-that-is-as-long-as-people-make-them/encoder"
    runs = [a_run(tmp_path / f"{k}", 0, [0.1 * k], encoder=f"{folder}-{k}") for k in range(3)]
    page = render(compared(runs, Asked(by=("encoder",))))
    for k in range(3):
        assert f"make-them/encoder-{k}</text>" in page


def test_names_that_are_cut_to_the_same_are_numbered():
    assert _short(["a", f"{'x' * 40}b{'y' * 40}", f"{'x' * 40}c{'y' * 40}"]) == [
        "a",
        f"{'x' * 20}...{'y' * 20}",
        f"{'x' * 20}...{'y' * 20} (2)",
    ]

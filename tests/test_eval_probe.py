import json
from dataclasses import asdict, replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from goalsight.agents.collecting.collect import Collect, collect
from goalsight.base.errors import UserError
from goalsight.base.runs import Run
from goalsight.eval.objectives.pieces import known
from goalsight.eval.probes import heads
from goalsight.eval.probes.answers import (
    Answer,
    answers_of,
    main_answers,
    mean_score,
    normalised,
    scores_by_factor,
    worst,
)
from goalsight.eval.probes.asking import by_ridge, judge
from goalsight.eval.probes.factors import SEEN, Factor, factors, moments, out_of_sight, rank_correlation, score
from goalsight.eval.probes.page import mean_by_labels
from goalsight.eval.probes.parts import SHARES, deal, parted, parted_by_seen, split_episodes
from goalsight.eval.probes.probe import Probe, open_labelled, probe
from goalsight.eval.probes.subjects import averaged, tokens_of
from goalsight.eval.reports.report import Report, report
from goalsight.pretrain.data.store import FrameStore
from goalsight.pretrain.data.writer import FrameStoreWriter
from goalsight.pretrain.encoders.vit import EncoderConfig, VideoEncoder, load_encoder
from goalsight.pretrain.train import Pretrain, pretrain

CONFIG = EncoderConfig(image_size=16, width=16, depth=1, heads=1)


def a_store(path, *, episodes=20, length=10, labels=True, fallen=0, beyond=0):
    """Episodes of a 3x3 square on grey, labelled with where it is [m], one pixel being 1 cm."""
    rng = np.random.default_rng(0)
    with FrameStoreWriter(path, image_size=16) as writer:
        for _ in range(episodes):
            frames = np.full((length, 16, 16, 3), 100, np.uint8)
            places = rng.integers(1, 15, (length, 2))
            for frame, (row, column) in zip(frames, places, strict=True):
                frame[row - 1 : row + 2, column - 1 : column + 2] = (255, 0, 0)
            positions = np.column_stack([places / 100, np.full(length, 0.02)]).astype(np.float32)
            positions[:fallen, 2] = -0.7
            positions[length - beyond :] = np.nan
            hand = np.full((length, 3), 0.3, np.float32)
            hand[:, 0] = np.arange(length) / 100
            writer.add_episode(frames, {"object": positions, "gripper": hand} if labels else None)
    return FrameStore.open(path)


def an_encoder(path):
    run = Run.create("pretrain", {}, out=path, seed=0)
    weights = {f"encoder.{name}": value for name, value in VideoEncoder(CONFIG, seed=5).state_dict().items()}
    run.publish(1, weights, {"encoder": asdict(CONFIG)})
    return run


def test_episodes_are_dealt_out_whole(tmp_path):
    store = a_store(tmp_path / "store", fallen=2, beyond=1)
    parts = split_episodes(store, 100, 3, leave_out=out_of_sight(store))
    members = {name: set(store.episode_of_frame[rows]) for name, rows in parts.items()}
    # 20 episodes at shares of 0.6, 0.15 and 0.25, and 100 frames likewise.
    assert {name: len(episodes) for name, episodes in members.items()} == {"train": 12, "validation": 3, "test": 5}
    assert {name: len(rows) for name, rows in parts.items()} == {"train": 60, "validation": 15, "test": 25}
    assert sum(len(episodes) for episodes in members.values()) == len(set.union(*members.values()))
    assert all((rows % 10 >= 2).all() for rows in parts.values()), "fallen objects are left out"
    assert all((rows % 10 < 9).all() for rows in parts.values()), "and those beyond the picture's edge"
    again = split_episodes(store, 100, 3, leave_out=out_of_sight(store))
    assert all(np.array_equal(parts[name], again[name]) for name in SHARES)


def test_averaging_worked_by_hand():
    frames = np.zeros((1, 4, 4, 3), np.uint8)
    frames[0, :2, 2:, 0] = [[255, 0], [0, 255]]
    assert averaged(frames, 2).tolist() == [[0, 0, 0, 0.5, 0, 0, 0, 0, 0, 0, 0, 0]]
    with pytest.raises(UserError, match="cannot be averaged down to 3"):
        averaged(frames, 3)


def test_a_share_of_the_episodes_is_dealt_out_as_all_are(tmp_path):
    store = a_store(tmp_path / "store")
    whole = deal(np.arange(20), 3)
    assert {name: len(members) for name, members in whole.items()} == {"train": 12, "validation": 3, "test": 5}
    assert sorted(np.concatenate(list(whole.values()))) == list(range(20))
    nothing = np.zeros(store.num_frames, bool)
    some = split_episodes(store, 200, 0, leave_out=nothing, episodes=whole["train"])
    seen = [set(store.episode_of_frame[rows]) for rows in some.values()]
    assert [len(episodes) for episodes in seen] == [7, 2, 3]  # of 12 episodes 7.2, 9 and 12 are ends, rounded
    assert set.union(*seen) == set(whole["train"]), "nothing of the others"


def test_a_recording_too_short_for_a_probe_is_one_line(tmp_path):
    store = a_store(tmp_path / "store")
    # Of 20 episodes of 10 frames a quarter is judged, 5 frames of each without a next one.
    at = parted(store, 200, 0, "frame")["test"].at
    assert len(at) == 50
    with pytest.raises(UserError, match="the test split has 45 moments of a frame and the next, and a probe needs 50"):
        parted(store, 200, 0, "next")
    run = an_encoder(tmp_path / "run")
    with pytest.raises(UserError, match=r"the test split has 45 moments .* record more episodes, or raise --frames"):
        probe(Probe(run.path, data=tmp_path / "store", frames=200))
    assert not (run.path / "probe.json").exists()
    long = a_store(tmp_path / "long", episodes=40)
    assert list(parted_by_seen(long, 400, 0)) == list(SEEN)
    with pytest.raises(UserError, match="the test split has 45 moments"):
        probe(Probe(run.path, data=tmp_path / "long", frames=400, unseen=(tmp_path / "store",)))
    still = episodes_of_two_frames(tmp_path / "still")
    with pytest.raises(UserError, match=r"nothing that .*still knows of a frame and a later one changes"):
        parted(still, 400, 0, "later")


def episodes_of_two_frames(path):
    """Between two frames lies one step, always."""
    with FrameStoreWriter(path, image_size=16) as writer:
        for number in range(200):
            place = np.full((2, 3), number / 1000, np.float32)
            writer.add_episode(np.zeros((2, 16, 16, 3), np.uint8), {"gripper": place})
    return FrameStore.open(path)


def test_answers_are_averaged_from_the_most_labels_worked_by_hand():
    def answer(factor, features, labels, score, place="held-out episodes"):
        return Answer(factor, "frame", features, "ridge", labels, place, score, None)

    answers = [
        answer("a", "encoder", 100, 0.1),
        answer("a", "encoder", 900, 0.8),
        answer("b", "encoder", 900, -0.5),
        answer("a", "random encoder", 900, 0.3),
        answer("b", "random encoder", 900, 0.2),
        answer("a", "encoder", 900, 0.6, "others"),
    ]
    assert mean_score(answers, "encoder") == pytest.approx(0.4), "0.8 and, for -0.5, 0; of 100 labels nothing"
    assert mean_score(answers, "encoder", "others") == 0.6
    assert {name: one.score for name, one in main_answers(answers, "encoder").items()} == {"a": 0.8, "b": -0.5}
    assert worst(answers) == {"factor": "b", "scores": {"encoder": -0.5, "random encoder": 0.2}}
    by_factor = scores_by_factor(answers, ("encoder", "random encoder"))
    assert list(by_factor) == ["b", "a"], "the one read worst comes first"
    assert by_factor["a"] == {"encoder": 0.8, "random encoder": 0.3}
    rows = [asdict(one) for one in answers]
    assert answers_of(rows) == answers
    assert answers_of([{"told" if key == "score" else key: value for key, value in rows[0].items()}]) == []


def test_scores_are_normalised_between_random_and_labels_worked_by_hand():
    def answer(factor, features, score, head="ridge"):
        return Answer(factor, "frame", features, head, 100, "held-out episodes", score, None)

    answers = [
        *(answer(*one) for one in (("a", "encoder", 0.6), ("b", "encoder", 0.1), ("c", "encoder", 0.5))),
        *(answer(name, "random encoder", 0.2) for name in "abc"),
        *(answer(name, "trained with labels", score, "labelled") for name, score in (("a", 1.0), ("b", 0.6))),
        answer("c", "trained with labels", 0.24, "labelled"),
    ]
    # (0.6 - 0.2) / (1 - 0.2), and (0.1 - 0.2) / (0.6 - 0.2); labels teach of c next to nothing.
    assert normalised(answers) == pytest.approx({"b": -0.25, "a": 0.5})
    assert list(normalised(answers)) == ["b", "a"], "the lowest first"
    assert normalised(answers[:6]) == {}


def test_the_mean_by_labels_is_of_the_same_factors_everywhere():
    place, motion = {100: 0.2, 1000: 0.6, 1200: 0.8}, {100: 0.4, 1000: -0.2, 1150: 0.0}  # pairs are fewer
    labels, means = mean_by_labels({"place": place, "motion": motion})
    assert labels == [100, 1000, 1200]
    # (0.2 + 0.4) / 2, (0.6 + 0) / 2 and, from all that each has, (0.8 + 0) / 2.
    assert means == pytest.approx([0.3, 0.3, 0.4])
    assert mean_by_labels({"place": place}) == ([100, 1000, 1200], [0.2, 0.6, 0.8])


def test_recordings_of_one_name_are_not_taken_for_each_other(tmp_path):
    asked = {"encoder": tmp_path / "run", "data": tmp_path / "play"}
    with pytest.raises(UserError, match='--unseen names "play" twice'):
        Probe(**asked, unseen=(tmp_path / "a" / "play", tmp_path / "b" / "play"))
    with pytest.raises(UserError, match='--unseen names "held-out region" twice'):
        Probe(**asked, unseen=(tmp_path / "held-out region",))
    assert len(Probe(**asked, unseen=(tmp_path / "a", tmp_path / "b")).unseen) == 2


def test_frames_that_cannot_be_averaged_down_are_refused_first(tmp_path):
    with FrameStoreWriter(tmp_path / "store", image_size=24) as writer:
        writer.add_episode(np.zeros((2, 24, 24, 3), np.uint8), {"gripper": np.zeros((2, 3), np.float32)})
    with pytest.raises(UserError, match="frames of 24 pixels cannot be averaged down to 16"):
        probe(Probe(tmp_path / "nothing", data=tmp_path / "store"))


def a_recording(path, positions, **columns):
    """One episode with things where they are said to be, and other columns."""
    count = len(next(iter(positions.values())))
    with FrameStoreWriter(path, image_size=16) as writer:
        labels = {name: np.float32(values) for name, values in positions.items()}
        writer.add_episode(np.zeros((count, 16, 16, 3), np.uint8), labels, columns=columns)
    return FrameStore.open(path)


def test_factors_worked_by_hand(tmp_path):
    hand = [[0, 0, 0.1], [0, 0, 0.05], [0, 0, 0.1]]
    cube = [[0.1, 0, 0.02], [0, 0, 0.02], [0, 0, 0.09]]  # lifted in the last frame, right below the hand
    turned = np.float32([[1, 0, 0], [0, 1, 0], [np.sqrt(0.5), np.sqrt(0.5), 0]])  # by 0, 90 and 45 degrees
    store = a_recording(
        tmp_path / "store",
        {"gripper": hand, "object": cube},
        state=np.concatenate([np.float32([[0.01], [0.02], [0.04]]), turned, np.zeros((3, 3), np.float32)], 1),
        action=np.float32([[1, 0], [0, 1], [0, 0]]),
        achieved_goal=np.float32([[1], [2], [5]]),
        **{"touched.object": np.array([[False], [True], [True]])},
    )
    store.notes["state"] = {"opening": [0, 1], "cube_rotation": [1, 7]}
    rows, none = np.arange(3), np.zeros(3, bool)
    seen = {one: moments(store, rows, one, leave_out=none, seed=0) for one in ("frame", "next", "later")}
    assert seen["frame"].tolist() == [[0], [1], [2]]
    assert seen["next"].tolist() == [[0, 1], [1, 2]], "nothing comes after the last frame"
    assert (seen["later"][:, 1] > seen["later"][:, 0]).all()
    values = {factor.name: factor.values for one, at in seen.items() for factor in factors(store, at, one)}
    assert values["object - gripper"].tolist() == pytest.approx(np.float32(cube) - np.float32(hand))
    assert values["object held"].ravel().tolist() == [0, 0, 1]
    assert values["object touched"].ravel().tolist() == [0, 1, 1]
    assert values["opening"].ravel().tolist() == pytest.approx([0.01, 0.02, 0.04])
    assert values["cube yaw"] == pytest.approx(np.array([[1, 0], [1, 0], [-1, 0]]), abs=1e-6), "quarter turns are alike"
    assert values["object motion"] == pytest.approx(np.array([[-0.1, 0, 0], [0, 0, 0.07]]))
    assert values["action"].tolist() == [[1, 0], [0, 1]]
    assert values["goal - achieved"].ravel().tolist() == [{1: 1, 2: 4}[seen["later"][0, 1]], 3]
    assert "gripper moving" not in values
    assert "object moving" not in values, "in each step it moves: nothing to read"


def test_scores_worked_by_hand():
    truth = np.float32([[0], [2]])  # a variance of 1
    share = Factor("a", "frame", truth)
    assert score(share, truth, np.array([[1.0], [1.0]])) == 0
    assert score(share, truth, np.array([[0.0], [1.0]])) == 0.5
    assert score(share, truth, np.array([[2.0], [0.0]])) == -3
    order = Factor("b", "later", np.float32([[1], [2], [3]]), ranked=True)
    assert score(order, order.values, np.array([[1.0], [10.0], [100.0]])) == pytest.approx(1)
    # Ranks 1, 2, 3 and 2, 1, 3: 1 - 6 (1 + 1 + 0) / (3 (9 - 1)) = 0.5.
    assert rank_correlation(np.array([1, 2, 3]), np.array([5, 4, 6])) == pytest.approx(0.5)
    # Equal ones share a rank of 1.5; the covariance is 1 and the variances 2/3 and 1/2 in shares: 0.866.
    assert rank_correlation(np.array([1, 2, 3]), np.array([4, 4, 6])) == pytest.approx(np.sqrt(0.75))
    assert rank_correlation(np.array([1, 2, 3]), np.array([4, 4, 4])) == 0


def test_probe_of_a_run(tmp_path, capsys):
    store, run = a_store(tmp_path / "play" / "frames", episodes=100), an_encoder(tmp_path / "run")
    found = probe(Probe(run.path, data=tmp_path / "play", frames=1000))
    errors = found["errors_cm"]
    assert set(errors) == {"encoder", "random encoder", "pixels 16x16", "pixels 8x8", "mean position"}
    # Rows and columns are even in 1 to 14: the mean is about 5.7 cm away; pixels show where the square is.
    assert 5.0 < errors["mean position"]["object"] < 6.5
    assert errors["pixels 16x16"]["object"] < 0.6 * errors["mean position"]["object"]
    scores = {
        (row["factor"], row["features"], row["labels"], row["judged_on"]): row["score"] for row in found["answers"]
    }
    all_of_it, little = (600, "held-out episodes"), (100, "held-out episodes")
    assert scores["object", "pixels 16x16", *all_of_it] > 0.9
    assert scores["object", "pixels 8x8", *all_of_it] > scores["object", "pixels 8x8", *little]
    assert scores["object", "shuffled labels", *all_of_it] < 0.1, "labels that say nothing teach nothing"
    assert scores["gripper", "pixels 16x16", *all_of_it] < 0.1, "it is not in the picture"
    beyond = [key for key in scores if key[0] == "object" and key[3] == "held-out region"]
    assert {key[1] for key in beyond} == {"encoder", "random encoder", "pixels 16x16", "pixels 8x8"}
    assert all(400 < key[2] < 500 for key in beyond), "about a quarter of the table was left out"
    assert found["worst"]["factor"] != "object"
    assert found["data"]["hash"] == store.content_hash
    kept = json.loads((run.path / "probe.json").read_text())
    assert kept["answers"] == found["answers"]
    page = (run.path / "probe.html").read_text()
    assert "What can be read" in page
    assert "object - gripper" in page
    assert capsys.readouterr().out.startswith("worst factor: ")
    assert "R² of each factor" in report(Report(run.path)).read_text(), "the run's own report draws it, too"


def test_of_what_never_changes_nothing_is_judged():
    touched = Factor("touched", SEEN[0], np.zeros((4, 1), np.float32))
    moved = Factor("moved", SEEN[0], np.arange(4, dtype=np.float32)[:, None])
    values = np.concatenate([touched.values, moved.values], 1)
    part = SimpleNamespace(factors=(touched, moved), values=values, sizes=(1, 1))
    (answer,) = judge(part, values + 0.1, ("encoder", "ridge", 4, "held-out region"), SEEN[0])
    # Of 0, 1, 2, 3 the squares about the mean add up to 5, and those of the errors to 4 / 100.
    assert (answer.factor, answer.score) == ("moved", pytest.approx(1 - 0.04 / 5, abs=1e-4))


def test_another_recording_and_a_module_of_others(tmp_path, capsys):
    a_store(tmp_path / "play", episodes=40)
    a_store(tmp_path / "others", episodes=60)
    torch.manual_seed(0)

    class Flat(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(16 * 16 * 3, 64)

        def forward(self, frames):
            return self.layer(frames.flatten(1).float() / 255)

    batch = torch.export.Dim("batch", min=2)
    example = (torch.zeros(4, 16, 16, 3, dtype=torch.uint8),)
    module = torch.export.export(Flat(), example, dynamic_shapes={"frames": {0: batch}})
    torch.export.save(module, tmp_path / "flat.pt2")
    asked = Probe(tmp_path / "flat.pt2", data=tmp_path / "play", frames=400, unseen=(tmp_path / "others",))
    with pytest.raises(UserError, match=r"if you trust .*: --trust"):
        probe(asked)
    found = probe(replace(asked, trust=True))
    scores = {
        (row["features"], row["judged_on"]): row["score"]
        for row in found["answers"]
        if row["factor"] == "object" and row["labels"] == 240
    }
    assert scores["encoder", "held-out episodes"] > 0.3, "random projections of pixels still hold places"
    assert scores["encoder", "others"] == pytest.approx(scores["encoder", "held-out episodes"], abs=0.3)
    assert (tmp_path / "flat.probe.json").exists()
    assert "judged on others, mean of its factors: encoder 0." in capsys.readouterr().out
    fixed = torch.export.export(Flat(), example)
    torch.export.save(fixed, tmp_path / "fixed.pt2")
    with pytest.raises(UserError, match=r"fixed.pt2 is to take frames \(n, H, W, 3\) uint8, of any number n") as error:
        probe(Probe(tmp_path / "fixed.pt2", data=tmp_path / "play", frames=400, trust=True))
    assert "\n" not in str(error.value)
    (tmp_path / "broken.pt2").write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"broken.pt2 holds no module"):
        probe(Probe(tmp_path / "broken.pt2", data=tmp_path / "play", trust=True))


def test_all_there_is_to_ask(tmp_path, monkeypatch):
    monkeypatch.setattr(heads, "UPDATES", 10)
    a_store(tmp_path / "play", episodes=40)
    run = an_encoder(tmp_path / "run")
    found = probe(Probe(run.path, data=tmp_path / "play", frames=400, complete=True))
    asked = {(row["features"], row["head"]) for row in found["answers"]}
    assert asked >= {
        ("encoder", "mlp"),
        ("random encoder", "attentive"),
        ("trained with labels", "labelled"),
        ("encoder, stem", "ridge"),
        ("encoder, block 1", "ridge"),
    }
    page = (run.path / "probe.html").read_text()
    assert "Layer by layer" in page


def test_of_the_mean_over_tokens_no_more_than_that_is_read(tmp_path):
    a_store(tmp_path / "play", episodes=40)
    run = an_encoder(tmp_path / "run")
    whole, pooled = (known(tmp_path / "play", run.path, 400, 0, pooled=mean)["scores"] for mean in (False, True))
    see = tokens_of(load_encoder(run.path))
    parts = parted_by_seen(open_labelled(tmp_path / "play"), 400, 0)["frame"]
    expected = by_ridge(lambda part: part.seen_by(see).mean(1), parts, {}, name="mean", seen="frame")
    assert expected
    for answer in main_answers(expected, "mean").values():
        assert pooled[answer.factor] == answer.score
    assert pooled["object"] < whole["object"], "where a token lies is lost"


def test_what_another_recording_does_not_know_is_not_judged_there(tmp_path, capsys):
    """The factors it knows are still told apart: their columns are picked by name."""
    run = an_encoder(tmp_path / "run")
    a_store(tmp_path / "play", episodes=40)
    others = a_store(tmp_path / "all", episodes=40)
    with FrameStoreWriter(tmp_path / "fewer", image_size=16) as writer:
        for number in range(others.num_episodes):
            rows = others.rows_of(number)
            writer.add_episode(others.episode(number), {"object": others.labels["object"][rows]})
    unseen = tuple(tmp_path / name for name in ("all", "fewer"))
    answers = answers_of(probe(Probe(run.path, data=tmp_path / "play", frames=400, unseen=unseen))["answers"])
    err = capsys.readouterr().err
    assert f"{tmp_path / 'fewer'} does not know gripper" in err
    assert f"{tmp_path / 'all'} does not know" not in err
    known, some = (main_answers(answers, "pixels 8x8", judged_on=place) for place in ("all", "fewer"))
    assert {"object", "gripper"} <= known.keys()
    assert "object" in some
    assert "gripper" not in some
    for factor, answer in some.items():
        assert answer.score == known[factor].score, "the same episodes and the same answers"


def test_a_head_is_kept_as_it_was_at_its_best_and_ends_when_nothing_better_comes(monkeypatch):
    """Of 100 updates every fifth looks; the second look is the best, and six more find nothing better."""
    errors, seen = iter([3.0, 1.0, *[2.0] * 18]), []

    class Counted(torch.nn.Linear):
        def forward(self, inputs):
            seen.append(self.weight.detach().clone())
            return super().forward(inputs)

    monkeypatch.setattr(heads, "read", lambda head, x: np.full((1, 1), next(errors) ** 0.5, np.float32))
    lesson = heads.Lesson(np.ones((8, 3), np.float32), np.ones((8, 1), np.float32))
    nothing = heads.Lesson(np.zeros((1, 3), np.float32), np.zeros((1, 1), np.float32))
    head = Counted(3, 1)
    heads.fit(head, lesson, nothing, seed=0, updates=100)
    assert len(seen) == 5 * (2 + heads.PATIENCE)
    assert torch.equal(head.weight, seen[10]), "as after ten updates, before the eleventh"


def test_what_cannot_be_probed_is_one_line(tmp_path):
    run = an_encoder(tmp_path / "run")
    a_store(tmp_path / "unlabelled", labels=False)
    a_store(tmp_path / "short", episodes=5)
    for data, message in (
        ("nowhere", "no recorded play at .*nowhere; give a run of `goalsight collect`"),
        ("unlabelled", "without positions"),
        ("short", r"at least 8 episodes .* got 5 of the 5 in .*short; record 8 or more"),
    ):
        with pytest.raises(UserError, match=message):
            probe(Probe(run.path, data=tmp_path / data))
    with pytest.raises(UserError, match="does not exist"):
        probe(Probe(tmp_path / "no-run", data=tmp_path / "short"))
    with pytest.raises(UserError, match="frames must be at least 200, got 199"):
        Probe(run.path, data=tmp_path, frames=199)


@pytest.mark.slow
def test_an_encoder_that_watched_play_knows_where_the_object_is(tmp_path):
    play = collect(Collect(frames=8_000, steps=25, film=0, out=tmp_path / "play"))
    run = pretrain(Pretrain(data=(play,), steps=300, out=tmp_path / "encoder", cache=tmp_path / "frames"))
    errors = {name: row["object"] for name, row in probe(Probe(run, data=play, frames=6000))["errors_cm"].items()}
    assert errors["encoder"] < 0.85 * errors["random encoder"]
    assert errors["encoder"] < 0.95 * errors["pixels 8x8"], "pixels averaged down to the grid of the encoder's tokens"

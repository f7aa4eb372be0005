"""Statistics for LeRobot, by hand: what is not known counts for nothing, in an episode and over several."""

import numpy as np
import pytest

from goalsight.pretrain.data.exporters.stats import QUANTILES, listed, merged, picture_stats, stats_of

LEVELS = [f"q{round(100 * share):02d}" for share in QUANTILES]


def column(*values):
    return np.array(values, np.float64)[:, None]


def test_an_episode_in_which_nothing_is_known_does_not_count():
    known, unknown = stats_of(np.full((10, 1), 5.0)), stats_of(np.full((10, 1), np.nan))
    for parts in ((known, unknown), (unknown, known)):
        whole = listed(merged(parts))
        assert whole["count"] == [20], "LeRobot counts frames"
        assert whole["std"] == [0.0]
        assert all(whole[name] == [5.0] for name in ("min", "max", "mean", *LEVELS))


def test_episodes_count_by_the_frames_in_which_each_number_is_known():
    one = np.concatenate([column(1, 3, np.nan, np.nan), column(7, 7, 7, 7)], 1)
    other = np.concatenate([column(8, 8, 8, 8, 8, 8), column(np.nan, np.nan, np.nan, -1, np.nan, np.nan)], 1)
    whole = merged([stats_of(one), stats_of(other)])
    every = [np.array([1, 3] + [8] * 6), np.array([7] * 4 + [-1])]
    np.testing.assert_allclose(whole["mean"], [52 / 8, 27 / 5])
    np.testing.assert_allclose(whole["std"], [values.std() for values in every])
    assert (whole["min"].tolist(), whole["max"].tolist()) == ([1, -1], [8, 7])
    assert whole["count"].tolist() == [10]
    np.testing.assert_allclose(whole["q50"], [(2 * 2 + 8 * 6) / 8, (7 * 4 - 1) / 5])  # of medians 2, 8 and 7, -1


def test_merging_some_and_then_the_rest_is_merging_all():
    rng = np.random.default_rng(0)
    parts = []
    for length in (3, 8, 5, 6):
        values = rng.normal(size=(length, 3))
        values[rng.random((length, 3)) < 0.4] = np.nan
        values[:, 2] = np.nan if length == 8 else values[:, 2]
        parts.append(stats_of(values))
    whole, halves = merged(parts), merged([merged(parts[:2]), merged(parts[2:])])
    assert whole.keys() == halves.keys()
    for name in whole:
        np.testing.assert_allclose(halves[name], whole[name], err_msg=name)


def test_what_is_never_known_is_zero_and_what_is_infinite_is_not_known():
    whole = listed(merged([stats_of(np.full((4, 1), np.nan)), stats_of(column(np.inf, -np.inf))]))
    assert whole["count"] == [6]
    assert all(whole[name] == [0.0] for name in ("min", "max", "mean", "std", *LEVELS))
    assert listed(stats_of(column(2, np.inf)))["max"] == [2.0]


def test_lerobot_is_told_what_it_knows_of():
    names = {"min", "max", "mean", "std", "count", *LEVELS}
    assert set(listed(stats_of(column(1, 2)))) == names
    pictures = [picture_stats(np.full((count, 8, 8, 3), level, np.uint8)) for count, level in ((6, 51), (2, 255))]
    assert set(listed(pictures[0])) == names
    whole = merged(pictures)
    assert whole["mean"].shape == (3, 1, 1)
    assert whole["mean"].ravel().tolist() == pytest.approx([(6 * 0.2 + 2) / 8] * 3)
    assert whole["count"].tolist() == [8]

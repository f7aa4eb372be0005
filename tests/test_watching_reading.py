"""Actions read off frames: windows by hand, what tells of an action and what does not, and doubt about the unseen."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from goalsight.agents.watching.inverse import InverseModel, bounds, explained, windows
from goalsight.agents.watching.reading import read_actions, typically_explained


def test_windows_hold_the_frame_and_its_changes_and_stop_at_the_episodes_ends():
    values = np.array([[1.0], [3.0], [6.0], [100.0], [90.0]], np.float32)  # episodes of three frames and of two
    first, last = bounds(np.array([3, 2]))
    assert first.tolist() == [0, 0, 0, 3, 3]
    assert last.tolist() == [2, 2, 2, 4, 4]
    seen = windows(values, first, last)
    # frame; change into it, out of it, and after that
    assert seen.tolist() == [[1, 0, 2, 3], [3, 2, 3, 0], [6, 3, 0, 0], [100, 0, -10, 0], [90, -10, 0, 0]]


@given(st.lists(st.integers(1, 6), min_size=1, max_size=6), st.integers(0, 99))
def test_windows_never_reach_into_another_episode(lengths, seed):
    lengths = np.array(lengths)
    values = np.repeat(np.arange(len(lengths)), lengths)[:, None].astype(np.float32)  # constant in each episode
    seen = windows(values, *bounds(lengths))
    assert (seen[:, 1:] == 0).all()
    assert (seen[:, 0] == values[:, 0]).all()


def test_windows_reach_as_far_as_they_are_asked_to():
    values = np.array([[0.0], [1.0], [3.0], [6.0], [10.0]], np.float32)
    seen = windows(values, *bounds(np.array([5])), (-2, 0, 3))
    # frame; change since two before it, and until three after it, as far as the episode goes
    assert seen.tolist() == [[0, 0, 6], [1, 1, 9], [3, 3, 7], [6, 5, 4], [10, 7, 0]]


def play_of_two_numbers(rng, episodes):
    """Places (E, 9, 2) and actions (E, 8, 2): one moves the first place at once, one the second three steps later."""
    actions = rng.uniform(-1, 1, (episodes, 8, 2)).astype(np.float32)
    places = np.zeros((episodes, 9, 2), np.float32)
    places[:, 1:, 0] = actions[..., 0].cumsum(1)
    places[:, 4:, 1] = actions[:, :5, 1].cumsum(1)
    return places, actions


def fit(seen, actions):
    torch.manual_seed(0)
    model = InverseModel(seen.shape[-1], actions.shape[-1])
    rows = seen.reshape(-1, seen.shape[-1]), actions.reshape(-1, actions.shape[-1])
    list(model.fit(*rows, updates=200, rng=np.random.default_rng(0)))
    return model


def test_what_shows_only_later_is_read_off_frames_further_away():
    rng = np.random.default_rng(0)
    (own, actions), (video, true) = play_of_two_numbers(rng, 400), play_of_two_numbers(rng, 50)
    held = np.arange(400) % 10 == 0
    lengths, shown = np.full(50, 9), video.reshape(-1, 2)
    reading = read_actions(shown, lengths, own, actions, held, least=0.5, fit=fit)
    labels = reading.labels.reshape(50, 9, 2)[:, :4]  # a later action's effect lies beyond the episode
    assert explained(true[:, :4].reshape(-1, 2), labels.reshape(-1, 2)).min() > 0.4
    assert reading.explained[0] > 0.9, "read off the nearest frames"
    assert reading.believed[0]
    sure = read_actions(shown[:, :1], lengths, own[..., :1], actions[..., :1], held, least=0.5, fit=fit)
    assert sure.unread == ()


def test_two_episodes_of_five_that_cannot_be_read_do_not_condemn_a_video():
    truth = np.zeros((5, 2, 1), np.float32)
    truth[:, 0], truth[:, 1] = 1, -1  # a variance of 1
    read = truth.copy()
    read[0], read[3] = 9, -9  # misread by far
    read[1] = [[0.5], [-0.5]]  # an error of 0.25, the middle one of 0, 0, 0.25, and two large ones
    assert typically_explained(truth, read).tolist() == [0.75]
    read[1] = -9
    assert typically_explained(truth, read)[0] < 0


def test_an_action_that_nothing_tells_of_is_not_believed():
    rng = np.random.default_rng(0)
    own, actions = play_of_two_numbers(rng, 100)
    own[..., 1] = 0
    reading = read_actions(
        own[:5].reshape(-1, 2), np.full(5, 9), own, actions, np.arange(100) % 10 == 0, least=0.5, fit=fit
    )
    assert reading.unread == (1,)
    assert reading.explained[1] < 0.2
    assert reading.doubt < 2, "of what is believed alone"


def test_what_is_explained_is_the_coefficient_of_determination():
    truth = np.array([[0.0, 1.0], [2.0, 1.0], [4.0, 4.0]], np.float32)
    read = np.array([[0.0, 2.0], [2.0, 2.0], [4.0, 2.0]], np.float32)
    # second column: squared errors 1, 1, 4 against 1, 1, 4 around its mean of 2
    assert explained(truth, read).tolist() == pytest.approx([1.0, 0.0])


def test_an_inverse_model_learns_a_rule_and_doubts_what_it_has_not_seen():
    rng = np.random.default_rng(0)
    torch.manual_seed(0)
    seen = rng.uniform(-1, 1, (2000, 3)).astype(np.float32)
    actions = np.stack([seen[:, 0], 0.5 * seen[:, 1] - 0.5 * seen[:, 2]], 1)
    model = InverseModel(3, 2)
    losses = list(model.fit(seen, actions, updates=300, rng=rng))
    labels, doubt = model.label(seen[:500])
    assert losses[-1] < 0.1 * losses[0]
    assert explained(actions[:500], labels).min() > 0.95
    far, far_doubt = model.label(10 * seen[:500])
    assert far_doubt.mean() > 2 * doubt.mean()
    assert np.abs(far).max() <= 1  # never more than an action can be

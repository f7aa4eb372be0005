import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from goalsight.eval.probes import ridge
from goalsight.eval.probes.ridge import Split, distances, read_out


def test_worked_by_hand(monkeypatch):
    # x = -1, 0, 1 and y = -2, 0, 2: the common scale is sqrt(2/3), so z = x / scale has z'z = 3 and z'y = 4 / scale.
    # With strength s the penalty is 3 s, hence w = 4 / scale / (3 + 3 s); at x = 2 it predicts 2 / scale * w.
    known = Split(np.float32([[-1], [0], [1]]), np.float32([[-2], [0], [2]]))
    for strength, expected in ((1e-6, 4.0), (1.0, 2.0), (3.0, 1.0)):
        monkeypatch.setattr(ridge, "STRENGTHS", (strength,))
        assert read_out(known, known, (1,))(np.float32([[2]]))[0, 0] == pytest.approx(expected, rel=1e-5)


def test_each_factor_has_the_strength_that_validation_likes_best(monkeypatch):
    monkeypatch.setattr(ridge, "STRENGTHS", (1e-6, 1.0))
    known = Split(np.float32([[-1], [0], [1]]), np.float32([[-2, -2], [0, 0], [2, 2]]))
    # At x = 2 the weak penalty says 4, the strong one 2: as in `test_worked_by_hand`.
    asked = Split(np.float32([[2]]), np.float32([[4, 2]]))
    assert read_out(known, asked, (1, 1))(asked.x)[0] == pytest.approx([4, 2], rel=1e-5)


@given(seed=st.integers(0, 1000), strength=st.sampled_from([1e-3, 1.0, 10.0]))
@settings(max_examples=20, deadline=None)
def test_both_forms_agree(seed, strength):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(12, 8)).astype(np.float32), rng.normal(size=(12, 3)).astype(np.float32)
    new = rng.normal(size=(5, 8)).astype(np.float32)

    def wide(x):  # features that are always zero change the form, from the primal to the dual
        return np.pad(x, ((0, 0), (0, 8)))

    # Scaled, the squares of 12 samples add up to 12 * 8, that is 12 for each of 8 directions, and with the zeros to
    # 12 * 16, that is 16 for each of 12; but those were divided by half of the square, so 8 of the others' 12.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ridge, "STRENGTHS", (strength,))
        first = read_out(Split(x, y), Split(x, y), (3,))(new)
        patch.setattr(ridge, "STRENGTHS", (strength * 12 / 8,))
        second = read_out(Split(wide(x), y), Split(wide(x), y), (3,))(wide(new))
    assert np.allclose(first, second, atol=1e-5)


def test_errors_are_mean_distances_of_each_factor():
    truth = np.zeros((2, 5), np.float32)
    predicted = np.array([[3.0, 4, 0, 0, 1], [0, 0, 0, 0, -3]])
    assert distances(predicted, truth, (3, 1, 1)).tolist() == [2.5, 0.0, 2.0]


def errors(train, validation, test, sizes):
    return distances(read_out(train, validation, sizes)(test.x), test.y, sizes)


def test_a_linear_map_is_found_and_noise_is_not():
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(20, 3))

    def part(count: int) -> Split:
        x = rng.normal(size=(count, 20))
        y = np.concatenate([x @ weights, rng.normal(size=(count, 3))], axis=1)
        return Split(x.astype(np.float32), y.astype(np.float32))

    linear, noise = errors(part(200), part(100), part(100), (3, 3))
    assert linear < 0.01
    # The mean distance of a normal point in space from its centre is 2 sqrt(2 / pi) = 1.596; each factor has its own
    # strength, so the noise is predicted by little more than its mean.
    assert noise == pytest.approx(1.596, rel=0.15)


def test_constant_features_do_no_harm():
    x, y = np.ones((10, 4), np.float32), np.ones((10, 3), np.float32)
    assert errors(Split(x, y), Split(x, y), Split(x, y), (3,)).tolist() == [0.0]

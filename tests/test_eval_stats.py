import pytest
from hypothesis import given
from hypothesis import strategies as st

from goalsight.eval.stats import wilson


def test_worked_by_hand():
    # 8 of 10, z = 1.959964, z^2 = 3.841459: centre = (0.8 + 0.192073) / 1.384146 = 0.716740,
    # half width = sqrt(3.841459 * (0.16 + 0.096036) / 10) / 1.384146 = sqrt(0.0983552) / 1.384146 = 0.226578.
    found = wilson(8, 10)
    assert found.rate == 0.8
    assert found.low == pytest.approx(0.490162, abs=1e-5)
    assert found.high == pytest.approx(0.943318, abs=1e-5)


def test_no_success_and_all_success():
    # At 0 of n the upper bound is z^2 / (n + z^2) = 3.841459 / 103.841459.
    none, every = wilson(0, 100), wilson(100, 100)
    assert none.low == 0
    assert none.high == pytest.approx(0.0369935, abs=1e-6)
    assert every.high == 1
    assert every.low == pytest.approx(1 - none.high)


@given(total=st.integers(1, 2000), share=st.floats(0, 1))
def test_interval_holds_the_rate_and_mirrors(total, share):
    count = round(share * total)
    found, mirrored = wilson(count, total), wilson(total - count, total)
    assert 0 <= found.low <= found.rate <= found.high <= 1
    assert found.low == pytest.approx(1 - mirrored.high)
    assert wilson(count, total, confidence=0.5).high <= found.high


@pytest.mark.parametrize(("count", "total", "confidence"), [(0, 0, 0.95), (3, 2, 0.95), (-1, 2, 0.95), (1, 2, 1.0)])
def test_impossible_counts_are_refused(count, total, confidence):
    with pytest.raises(ValueError, match="got"):
        wilson(count, total, confidence=confidence)

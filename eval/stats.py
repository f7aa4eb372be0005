"""Statistics of success: what a count out of so many episodes allows one to say."""

from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist


@dataclass(frozen=True)
class Proportion:
    """A share with its confidence interval, all in [0, 1]."""

    count: int
    total: int
    rate: float
    low: float
    high: float


def wilson(count: int, total: int, *, confidence: float = 0.95) -> Proportion:
    """The Wilson score interval, which holds near 0 and 1 and for few episodes, where the normal one does not.

    Args:
        count: successes.
        total: trials, at least 1.
        confidence: probability that such an interval covers the true rate.

    Raises:
        ValueError: if the numbers are no counts of successes and trials, or `confidence` is not in (0, 1).

    Source:
        E. B. Wilson, Probable inference, the law of succession, and statistical inference (1927).
    """
    if total < 1 or not 0 <= count <= total:
        raise ValueError(f"needs 0 <= count <= total and total >= 1, got {count} of {total}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie in (0, 1), got {confidence}")
    z2 = NormalDist().inv_cdf(0.5 + confidence / 2) ** 2
    rate = count / total
    centre = (rate + z2 / (2 * total)) / (1 + z2 / total)
    half = sqrt(z2 * (rate * (1 - rate) + z2 / (4 * total)) / total) / (1 + z2 / total)
    # Rounding may leave 1e-17 where the bound is exactly 0 or 1.
    low = 0.0 if count == 0 else centre - half
    high = 1.0 if count == total else centre + half
    return Proportion(count, total, rate, low, high)

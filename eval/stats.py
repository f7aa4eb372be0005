"""Statistics of success: what a count out of so many episodes, and a few seeds, allow one to say."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

DRAWS = 10_000  # of a bootstrap
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Proportion:
    """A share with its confidence interval, all in [0, 1]."""

    count: int
    total: int
    rate: float
    low: float
    high: float

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> "Proportion":
        """The one that a result keeps."""
        return cls(row["count"], row["total"], row["rate"], row["low"], row["high"])


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
    from scipy.stats import binomtest

    low, high = binomtest(count, total).proportion_ci(confidence, method="wilson")
    # Rounding may leave 1e-17 where the bound is exactly 0 or 1.
    low, high = (0.0 if count == 0 else float(low)), (1.0 if count == total else float(high))
    return Proportion(count, total, count / total, low, high)


@dataclass(frozen=True)
class Estimate:
    """A number with its confidence interval."""

    value: float
    low: float
    high: float


def interval(draws: ArrayLike, *, confidence: float = 0.95) -> tuple[float, float]:
    """The middle of a bootstrap's draws, (D,): the percentile interval."""
    low, high = np.quantile(np.asarray(draws, float), (0.5 - confidence / 2, 0.5 + confidence / 2))
    return float(low), float(high)


def estimate(value: float, draws: ArrayLike) -> Estimate:
    """A number with the percentile interval of its draws, (D,), which is widened where it would leave the number out.

    That happens at 0% and 100%, where every draw of an episode's luck lies to one side (Brown, Cai and DasGupta,
    Interval estimation for a binomial proportion, 2001, widen Jeffreys' interval there for the same reason).
    """
    low, high = interval(draws)
    return Estimate(value, min(low, value), max(high, value))


def mean_over_seeds(values: ArrayLike) -> Estimate:
    """The mean of what a few seeds came to, (n,), with Student's t interval, 95%; of one seed the value alone.

    A percentile bootstrap of so few covers less than it says: over three seeds it is the range from the least to the
    most, which holds the mean of normal draws in 75% of cases, over five in 84%.
    """
    each = np.asarray(values, float)
    mean = float(each.mean())
    if len(each) < 2:
        return Estimate(mean, mean, mean)
    from scipy.stats import t

    reach = float(t.ppf(0.975, len(each) - 1) * each.std(ddof=1) / np.sqrt(len(each)))
    return Estimate(mean, mean - reach, mean + reach)


def interquartile_mean(scores: ArrayLike, axis: int = -1) -> Any:
    """The mean of the middle half: of the sorted scores the lowest and the highest quarter, rounded down, are left out.

    Args:
        scores: at least one along `axis`, (..., n, ...).
        axis: along which they are averaged.

    Source:
        Agarwal et al., Deep reinforcement learning at the edge of the statistical precipice (2021), section 4.3.
    """
    from scipy.stats import trim_mean

    return trim_mean(np.asarray(scores, float), 0.25, axis=axis)


def probability_of_improvement(ours: ArrayLike, theirs: ArrayLike) -> Any:
    """How probably a run of ours scores above a run of theirs; ties count by half.

    Args:
        ours: (..., n).
        theirs: (..., m).

    Returns:
        in [0, 1], (...); one minus that of the two exchanged.

    Source:
        Agarwal et al. (2021), section 4.3: the Mann-Whitney U statistic over all pairs.
    """
    left, right = np.asarray(ours, float)[..., :, None], np.asarray(theirs, float)[..., None, :]
    return ((left > right) + 0.5 * (left == right)).mean(axis=(-2, -1))


def performance_profile(scores: ArrayLike, thresholds: ArrayLike) -> Floats:
    """The share of runs that score above each threshold.

    Args:
        scores: (..., n).
        thresholds: (T,).

    Returns:
        (..., T).

    Source:
        Agarwal et al. (2021), section 4.2.
    """
    profile: Floats = (np.asarray(scores, float)[..., None, :] > np.asarray(thresholds, float)[:, None]).mean(axis=-1)
    return profile


def resampled(scores: ArrayLike, rng: np.random.Generator, *, draws: int = DRAWS) -> Floats:
    """Draw seeds with replacement, again and again: one stratum of a stratified bootstrap.

    Args:
        scores: one row a seed, (n, ...).
        rng: gives the draws.
        draws: how many.

    Returns:
        (draws, n, ...).
    """
    rows = np.asarray(scores, float)
    chosen: Floats = rows[rng.integers(len(rows), size=(draws, len(rows)))]
    return chosen


def bootstrap(
    statistic: Callable[..., Any], *strata: ArrayLike, rng: np.random.Generator, draws: int = DRAWS
) -> Estimate:
    """A statistic of one or several groups of seeds, with the interval of a bootstrap that draws each within itself.

    Args:
        statistic: takes an array (..., n) a group and returns (...).
        strata: the scores of each group, (n,).
        rng: gives the draws.
        draws: how many.
    """
    value = float(statistic(*(np.asarray(scores, float) for scores in strata)))
    return estimate(value, statistic(*(resampled(scores, rng, draws=draws) for scores in strata)))


def bootstrap_mean_rates(won: ArrayLike, total: ArrayLike, *, rng: np.random.Generator, draws: int = DRAWS) -> Floats:
    """Draw the mean success of several seeds again and again, (draws,).

    Stratified: seeds are drawn with replacement, and for each drawn seed a rate that its episodes allow (from
    Jeffreys' posterior, which unlike resampling the episodes stays open at 0% and 100%). So the spread between
    seeds and the luck of the episodes both count.

    Args:
        won: successes of each seed, (n,).
        total: its episodes, (n,).
        rng: gives the draws.
        draws: how many.
    """
    successes, failures = np.asarray(won), np.asarray(total) - np.asarray(won)
    chosen = rng.integers(len(successes), size=(draws, len(successes)))
    means: Floats = rng.beta(successes[chosen] + 0.5, failures[chosen] + 0.5).mean(axis=1)
    return means

"""How groups end: means and interquartile means, and what lies between two groups."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from goalsight.eval.comparing.groups import Group, paired_seeds
from goalsight.eval.stats import (
    Estimate,
    bootstrap,
    bootstrap_mean_rates,
    estimate,
    interquartile_mean,
    interval,
    performance_profile,
    probability_of_improvement,
    resampled,
)

PROFILE_DRAWS = 2_000
THRESHOLDS = 101
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Final:
    """A group at its runs' last evaluations.

    Attributes:
        each: the metric of each run, by seed.
        mean: over the runs; the interval counts seeds, and episodes where the metric is a share of them.
        interquartile_mean: over the runs; the interval counts seeds.
    """

    each: tuple[float, ...]
    mean: Estimate
    interquartile_mean: Estimate


@dataclass(frozen=True)
class Difference:
    """What one group's runs are ahead of another's in the mean.

    Attributes:
        estimate: the difference, with its interval over seeds.
        pairs: runs that were paired by their seed; 0 where the groups share no two seeds and stand for themselves.
    """

    estimate: Estimate
    pairs: int


@dataclass(frozen=True)
class Profile:
    """The share of a group's runs that end above each threshold, (T,), with its 95% interval over seeds."""

    share: Floats
    low: Floats
    high: Floats


def finals(group: Group) -> Floats:
    """The metric at the last evaluation of each run, (n,)."""
    return np.array([member.final for member in group.members])


def final_of(group: Group, rng: np.random.Generator) -> Final:
    """Return how a group ends."""
    scores = finals(group)
    episodes = [member.episodes for member in group.members]
    if all(episodes):
        total = np.array(episodes, float)
        mean = estimate(float(scores.mean()), bootstrap_mean_rates(scores * total, total, rng=rng))
    else:
        mean = bootstrap(lambda rows: rows.mean(axis=-1), scores, rng=rng)
    return Final(tuple(map(float, scores)), mean, bootstrap(interquartile_mean, scores, rng=rng))


def difference(one: Group, other: Group, rng: np.random.Generator) -> Difference:
    """Return what `one` is ahead of `other`; by seed where they share two or more."""
    left, right = finals(one), finals(other)
    shared = paired_seeds(one, other)
    if len(shared) >= 2:
        gains = left[[one.by_seed[seed] for seed in shared]] - right[[other.by_seed[seed] for seed in shared]]
        return Difference(bootstrap(lambda rows: rows.mean(axis=-1), gains, rng=rng), len(shared))
    apart = bootstrap(lambda ours, theirs: ours.mean(axis=-1) - theirs.mean(axis=-1), left, right, rng=rng)
    return Difference(apart, 0)


def improvement(one: Group, other: Group, rng: np.random.Generator) -> Estimate:
    """Return how probably a run of `one` ends above a run of `other`."""
    return bootstrap(probability_of_improvement, finals(one), finals(other), rng=rng, draws=PROFILE_DRAWS)


def thresholds(groups: list[Group], *, share: bool) -> Floats:
    """Return where profiles are looked at: [0, 1] for shares, otherwise the range of all runs."""
    scores = np.concatenate([finals(group) for group in groups])
    low, high = (0.0, 1.0) if share else (float(scores.min()), float(scores.max()))
    return np.linspace(low, high, THRESHOLDS)


def profile_of(group: Group, at: Floats, rng: np.random.Generator) -> Profile:
    """Return a group's performance profile at thresholds, (T,)."""
    scores = finals(group)
    share = performance_profile(scores, at)
    draws = performance_profile(resampled(scores, rng, draws=PROFILE_DRAWS), at)  # (D, T)
    bounds = np.array([interval(column) for column in draws.T])
    return Profile(share, np.minimum(bounds[:, 0], share), np.maximum(bounds[:, 1], share))

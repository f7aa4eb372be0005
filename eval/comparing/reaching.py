"""How long it took to get somewhere: the first evaluation that does, where runs may never have."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from goalsight.eval.stats import bootstrap

Bound = Literal["exact", "at least", "at most", "unknown"]


@dataclass(frozen=True)
class Reached:
    """When a run first reached a level.

    Attributes:
        at: step of the first evaluation that does; of a run that never does, its last evaluation.
        censored: whether it never does, so that it would take longer than `at`.
    """

    at: float
    censored: bool


@dataclass(frozen=True)
class Ratio:
    """How many times as long one group takes as another: the geometric mean over pairs of runs.

    Attributes:
        bound: "exact" where all reached the level; "at least" or "at most" where one group's runs did not all;
            "unknown" where neither's did, or nothing took any steps.
        value: the ratio, or the bound; None where it is unknown.
        low: end of its 95% interval, where the ratio is exact.
        high: likewise.
        pairs: runs that were paired by their seed; 0 where the groups share no two seeds and stand for themselves.
    """

    bound: Bound
    value: float | None
    low: float | None
    high: float | None
    pairs: int


def first_reaching(steps: ArrayLike, values: ArrayLike, reach: float, in_a_row: int = 1) -> Reached:
    """Return the first step from which on so many values in a row are at least `reach`.

    Args:
        steps: (T,), rising.
        values: (T,).
        reach: the level.
        in_a_row: how many; with more than one a lucky evaluation does not count.
    """
    at, enough = np.asarray(steps, float), np.asarray(values, float) >= reach
    for _ in range(in_a_row - 1):
        enough = enough & np.append(enough[1:], False)  # whatever follows the last evaluation is not known
    return Reached(float(at[enough.argmax()]), False) if enough.any() else Reached(float(at[-1]), True)


def median_reached(runs: Sequence[Reached]) -> Reached:
    """The median over runs; censored, with the least that it can be, where it hangs on a run that never got there."""
    least = float(np.median([run.at for run in runs]))
    most = float(np.median([np.inf if run.censored else run.at for run in runs]))
    return Reached(least, least != most)


def ratio(
    ours: Sequence[Reached], theirs: Sequence[Reached], pairs: Sequence[tuple[int, int]], rng: np.random.Generator
) -> Ratio:
    """How many times as long ours take as theirs.

    Args:
        ours: a run each.
        theirs: likewise.
        pairs: places in `ours` and `theirs` that share a seed; with two or more, only these are compared.
        rng: of the bootstrap.
    """
    paired = len(pairs) >= 2
    left = [ours[one] for one, _ in pairs] if paired else list(ours)
    right = [theirs[other] for _, other in pairs] if paired else list(theirs)
    count = len(pairs) if paired else 0
    censored = any(run.censored for run in left), any(run.censored for run in right)
    if all(censored) or min(run.at for run in (*left, *right)) <= 0:
        return Ratio("unknown", None, None, None, count)
    logs = np.log([run.at for run in left]), np.log([run.at for run in right])
    value = float(np.exp(logs[0].mean() - logs[1].mean()))
    if any(censored):
        return Ratio("at least" if censored[0] else "at most", value, None, None, count)
    if paired:
        found = bootstrap(lambda rows: rows.mean(axis=-1), logs[0] - logs[1], rng=rng)
    else:
        found = bootstrap(lambda one, other: one.mean(axis=-1) - other.mean(axis=-1), *logs, rng=rng)
    return Ratio("exact", value, min(float(np.exp(found.low)), value), max(float(np.exp(found.high)), value), count)

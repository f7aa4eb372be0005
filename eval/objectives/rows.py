"""What encoders of a comparison scored: a row for each, with means over the factors that all rows know."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from goalsight.eval.probes.answers import mean_of

SCORE, WORST, SUCCESS = "mean of all factors", "worst factor", "success in control"
Floats = NDArray[np.float64]
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Scores:
    """Scores of an objective at the budgets at which all its seeds are there.

    Attributes:
        flops: budgets (B,), rising.
        seeds: (S,), rising.
        values: (B, S).
    """

    flops: Floats
    seeds: NDArray[np.int64]
    values: Floats

    def of(self, seeds: Iterable[int], flops: float) -> Floats:
        """The scores of some of the seeds at a budget, (n,)."""
        (row,) = np.flatnonzero(self.flops == flops)
        return np.array([self.values[row, np.flatnonzero(self.seeds == seed)[0]] for seed in seeds])


def shared_factors(rows: Sequence[Row]) -> list[str]:
    """The factors that all rows have a score of, in the order of the first row."""
    return [name for name in _known(rows[0]) if all(name in _known(row) for row in rows)] if rows else []


def _known(row: Row) -> dict[str, float]:
    """The scores of a row that are numbers; JSON has none for what is not."""
    return {name: score for name, score in row["scores"].items() if score is not None and np.isfinite(score)}


def on_shared_factors(rows: Sequence[Row]) -> tuple[list[dict[str, Any]], list[str]]:
    """Take means over the same factors everywhere: splits of episodes may differ in what changes in all their parts.

    Args:
        rows: with the "scores" of each, by factor.

    Returns:
        the rows with "mean_score" and "worst" of the factors that all rows know; and the names of the others.
    """
    shared = shared_factors(rows)
    others = [name for name in dict.fromkeys(name for row in rows for name in row["scores"]) if name not in shared]
    return [dict(row) | _summary({name: row["scores"][name] for name in shared}) for row in rows], others


def _summary(scores: Mapping[str, float]) -> dict[str, Any]:
    if not scores:
        return {"mean_score": float("nan"), "worst": ""}
    return {"mean_score": mean_of(scores.values()), "worst": min(scores, key=lambda name: scores[name])}


def score_of(row: Row, factor: str) -> float:
    """A row's score of a factor, `SCORE`, `WORST` or `SUCCESS`; not a number where the row does not know it."""
    if factor == SUCCESS:
        return float(row["control"]["success"] / row["control"]["asked"]["episodes"])
    if factor == SCORE:
        return float(row["mean_score"])
    return float(_known(row).get(row["worst"] if factor == WORST else factor, np.nan))


def scores(rows: Sequence[Row], factor: str = SCORE) -> dict[str, Scores]:
    """Scores of each objective, by its name.

    Args:
        rows: as `piece` returns them.
        factor: as of `score_of`.
    """
    found: dict[str, Scores] = {}
    for name in dict.fromkeys(row["objective"] for row in rows):
        of = [row for row in rows if row["objective"] == name]
        seeds = sorted({row["seed"] for row in of})
        table = {(row["asked_flops"], row["seed"]): score_of(row, factor) for row in of}
        budgets = sorted({row["asked_flops"] for row in of})
        whole = [flops for flops in budgets if all((flops, seed) in table for seed in seeds)]
        if whole:
            values = np.array([[table[flops, seed] for seed in seeds] for flops in whole])
            found[name] = Scores(np.array(whole), np.array(seeds), values)
    return found

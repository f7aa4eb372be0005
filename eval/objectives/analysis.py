"""What a comparison of objectives says: scores over operations, and how many times the operations one takes."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from goalsight.base.tables import text_table
from goalsight.eval.probes.factors import rank_correlation
from goalsight.eval.stats import Estimate, estimate

SCORE, SUCCESS = "mean of all factors", "success in control"
DRAWS = 2_000  # of the bootstrap
DEFAULT = "masked"  # the objective that all others are compared with
HALVES = {"joint": ("masked", "contrastive")}  # what an objective is made of
Floats = NDArray[np.float64]


def scores(rows: Sequence[Mapping[str, Any]], factor: str = SCORE) -> dict[str, tuple[Floats, Floats]]:
    """Scores of each objective, at the budgets at which all its seeds are there.

    Args:
        rows: as `piece` returns them.
        factor: one of those that were asked for, `SCORE`, or `SUCCESS`.

    Returns:
        by objective: operations (B,), rising, and scores (B, seeds), all of the same seeds.
    """
    found: dict[str, tuple[Floats, Floats]] = {}
    for name in dict.fromkeys(row["objective"] for row in rows):
        of = [row for row in rows if row["objective"] == name]
        seeds = sorted({row["seed"] for row in of})
        table = {(row["asked_flops"], row["seed"]): _score(row, factor) for row in of}
        budgets = sorted({row["asked_flops"] for row in of})
        whole = [flops for flops in budgets if all((flops, seed) in table for seed in seeds)]
        if whole:
            found[name] = np.array(whole), np.array([[table[flops, seed] for seed in seeds] for flops in whole])
    return found


def _score(row: Mapping[str, Any], factor: str) -> float:
    if factor == SUCCESS:
        return float(row["control"]["success"] / row["control"]["asked"]["episodes"])
    return float(row["mean_told"] if factor == SCORE else row["told"].get(factor, np.nan))


def operations_for(score: Floats, flops: Floats, values: Floats) -> Floats:
    """Operations after which a score is reached, on straight lines between budgets over their logarithms.

    Args:
        score: wanted, (D,).
        flops: budgets (B,), rising.
        values: scores at them, (D, B); what was reached once counts as reached after that.

    Returns:
        (D,); the smallest budget where that is enough, and infinity where none is.
    """
    best = np.maximum.accumulate(values, 1)
    logs = np.log(flops)
    found = np.empty(len(score))
    for row, (wanted, line) in enumerate(zip(score, best, strict=True)):
        if wanted > line[-1] + 1e-12:
            found[row] = np.inf
            continue
        after = int(np.argmax(line >= wanted - 1e-12))
        if after == 0:
            found[row] = logs[0]
            continue
        share = (wanted - line[after - 1]) / max(line[after] - line[after - 1], 1e-12)
        found[row] = logs[after - 1] + share * (logs[after] - logs[after - 1])
    return np.exp(found)


def compute_ratio(
    one: tuple[Floats, Floats], other: tuple[Floats, Floats], rng: np.random.Generator
) -> dict[str, Any] | None:
    """How many times the operations another objective takes to the best score that both reach.

    Args:
        one: operations (B,) and scores (B, seeds).
        other: likewise.
        rng: of the bootstrap over seeds.

    Returns:
        the ratio with its 95% interval, above 1 where `one` needs fewer, and the score; "bounded" where that is reached
        with the smallest budget already, so that the ratio may be larger or smaller. None where one has one budget
        only.
    """
    (flops, values), (others, theirs) = one, other
    if min(len(flops), len(others)) < 2:
        return None

    def ratio(mine: Floats, yours: Floats) -> tuple[Floats, Floats, Floats]:
        wanted = np.minimum(mine.max(1), yours.max(1))
        return wanted, operations_for(wanted, flops, mine), operations_for(wanted, others, yours)

    def drawn(table: Floats) -> Floats:
        chosen = rng.integers(table.shape[1], size=(DRAWS, table.shape[1]))
        return table[:, chosen].mean(2).T  # (DRAWS, B)

    wanted, mine, yours = ratio(values.mean(1)[None], theirs.mean(1)[None])
    _, ours, rest = ratio(drawn(values), drawn(theirs))
    found = estimate(float(yours[0] / mine[0]), rest / ours)
    bounded = bool(mine[0] <= flops[0] * (1 + 1e-9) or yours[0] <= others[0] * (1 + 1e-9))
    return asdict(found) | {"score": float(wanted[0]), "bounded": bounded}


def scaling(flops: Floats, values: Floats, rng: np.random.Generator) -> dict[str, Any] | None:
    """Fit what is not told yet as a power of the operations: 1 - score = a flops^-exponent.

    Args:
        flops: operations (B,), rising.
        values: scores (B, seeds).
        rng: of the bootstrap over seeds.

    Returns:
        the exponent with its 95% interval, "trend" where that leaves zero out; and how well the fit without the largest
        budget foretells the score there: "held_out", "foretold" and "error". None with fewer than three budgets.

    Source:
        the power laws of Kaplan et al. 2020, section 3, for a score that ends at 1.
    """
    if len(flops) < 3:
        return None
    logs = np.log(flops)

    def fitted(scores: Floats, at: Floats) -> tuple[Floats, Floats]:
        """Exponents (D,) and intercepts (D,) of scores (D, B)."""
        left = np.log(np.maximum(1 - scores, 1e-6))
        centred = at - at.mean()
        slope = (left - left.mean(1, keepdims=True)) @ centred / (centred @ centred)
        return -slope, left.mean(1) - slope * at.mean()

    chosen = rng.integers(values.shape[1], size=(DRAWS, values.shape[1]))
    drawn = values[:, chosen].mean(2).T
    mean = values.mean(1)
    found = estimate(float(fitted(mean[None], logs)[0][0]), fitted(drawn, logs)[0])
    exponent, intercept = fitted(mean[None, :-1], logs[:-1])
    foretold = float(1 - np.exp(intercept[0] - exponent[0] * logs[-1]))
    return {
        "exponent": asdict(found),
        "trend": bool(found.low > 0 or found.high < 0),
        "held_out": float(mean[-1]),
        "foretold": foretold,
        "error": foretold - float(mean[-1]),
    }


def analyse(rows: Sequence[Mapping[str, Any]], unlearnt: Sequence[float] = ()) -> dict[str, Any]:
    """Scores with intervals, ratios of operations to the default, and whether joint ones beat what they are made of.

    Args:
        rows: as `piece` returns them, with "control" where encoders were judged in it.
        unlearnt: success in control with random encoders, by seed.
    """
    rng = np.random.default_rng(0)
    found = scores(rows)
    curves = _curves(found, rng)
    ratios = {
        name: compute_ratio(curve, found[DEFAULT], rng)
        for name, curve in found.items()
        if DEFAULT in found and name != DEFAULT
    }
    halves = {
        name: {half: _difference(found[name], found[half], rng) for half in parts if half in found}
        for name, parts in HALVES.items()
        if name in found
    }
    fits = {name: scaling(*curve, rng) for name, curve in found.items()}
    judged = [row for row in rows if "control" in row]
    return {
        "curves": curves,
        "compute_ratios": ratios,
        "best_of_both": halves,
        "scaling": fits,
        "control": {
            "curves": _curves(scores(judged, SUCCESS), rng),
            "random": asdict(_mean(np.array(unlearnt), rng)) if unlearnt else None,
            "goes_with": goes_with(judged, rng),
        },
    }


def goes_with(rows: Sequence[Mapping[str, Any]], rng: np.random.Generator) -> dict[str, dict[str, float]]:
    """How far encoders that tell more of a factor succeed more often: Spearman's rank correlation.

    Args:
        rows: encoders that have been judged in control.
        rng: of the bootstrap over encoders.

    Returns:
        by factor, the mean of all and the least told: the correlation with its 95% interval, the highest first; nothing
        with fewer than three encoders.
    """
    if len(rows) < 3:
        return {}
    success = np.array([_score(row, SUCCESS) for row in rows])
    told = {factor: np.array([_score(row, factor) for row in rows]) for factor in (SCORE, *rows[0]["told"])}
    told["worst factor"] = np.array([min(row["told"].values()) for row in rows])
    chosen = rng.integers(len(rows), size=(DRAWS, len(rows)))
    found = {
        factor: estimate(
            rank_correlation(values, success), [rank_correlation(values[draw], success[draw]) for draw in chosen]
        )
        for factor, values in told.items()
    }
    return {factor: asdict(one) for factor, one in sorted(found.items(), key=lambda item: -item[1].value)}


def _curves(found: Mapping[str, tuple[Floats, Floats]], rng: np.random.Generator) -> dict[str, list[dict[str, float]]]:
    """By objective: at each budget the mean over seeds, with its interval."""
    return {
        name: [{"flops": float(at), **asdict(_mean(line, rng))} for at, line in zip(flops, values, strict=True)]
        for name, (flops, values) in found.items()
    }


def _mean(values: Floats, rng: np.random.Generator) -> Estimate:
    """The mean over seeds (n,), with the interval of a bootstrap."""
    chosen = rng.integers(len(values), size=(DRAWS, len(values)))
    return estimate(float(values.mean()), values[chosen].mean(1))


def _difference(one: tuple[Floats, Floats], other: tuple[Floats, Floats], rng: np.random.Generator) -> dict[str, Any]:
    """By how much one scores above the other at the largest budget that both have, over seeds that are paired."""
    shared = float(max(set(one[0]) & set(other[0]), default=np.nan))
    if np.isnan(shared):
        return {}
    mine, yours = (values[list(flops).index(shared)] for flops, values in (one, other))
    count = min(len(mine), len(yours))
    return {"flops": shared, **asdict(_mean(mine[:count] - yours[:count], rng))}


def table(result: Mapping[str, Any]) -> str:
    """A comparison as text for people: the largest budget of each objective, the best first."""
    curves = result.get("curves", {})
    if not curves:
        return "nothing has been measured yet"
    head = ["objective", "operations", f"told, {SCORE}", "times the operations of masked to the same"]
    lines = []
    for name, curve in sorted(curves.items(), key=lambda item: -item[1][-1]["value"]):
        last = curve[-1]
        lines.append([name, f"{last['flops']:.2g}", span(last), said_ratio(result["compute_ratios"].get(name))])
    for name, row in result["references"].items():
        lines.append([name, "0", f"{row['mean_told']:.3f}", ""])
    return text_table(head, lines)


def span(found: Mapping[str, float]) -> str:
    """A number with its interval."""
    return f"{found['value']:.3f} [{found['low']:.3f}, {found['high']:.3f}]"


def said_ratio(ratio: Mapping[str, Any] | None) -> str:
    """A ratio of operations in words; nothing where there is none."""
    if ratio is None:
        return ""
    words = f"{ratio['value']:.2f}x [{ratio['low']:.2f}, {ratio['high']:.2f}]"
    return f"{words}, by the smallest budget already" if ratio["bounded"] else words

"""What a comparison of objectives says: scores over FLOPs, how many times the FLOPs, and what goes with control."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from goalsight.eval.objectives.rows import (
    SCORE,
    SUCCESS,
    WORST,
    Floats,
    Row,
    Scores,
    on_shared_factors,
    score_of,
    scores,
)
from goalsight.eval.probes.factors import rank_correlation
from goalsight.eval.stats import estimate, mean_over_seeds

DRAWS = 2_000  # of the bootstrap
FEWEST = 3  # encoders, for a rank correlation to mean something
UNLEARNT = "random encoder"
DEFAULT = "masked"  # the objective that all others are compared with
HALVES = {"joint": ("masked", "contrastive")}  # what an objective is made of
MEAN = "mean R² over factors"  # on axes and in heads of tables
RATIO = f"FLOPs of {DEFAULT} / own FLOPs, to the same score"


def flops_for(score: Floats, flops: Floats, values: Floats) -> Floats:
    """FLOPs after which a score is reached, on straight lines between budgets over their logarithms.

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
    one: Scores, other: Scores, rng: np.random.Generator, *, unlearnt: float = -np.inf
) -> dict[str, Any] | None:
    """How many times the FLOPs of one objective another takes to the best score that both reach.

    Args:
        one: scores of an objective.
        other: of the one that it is compared with.
        rng: of the bootstrap over seeds.
        unlearnt: the score of random weights.

    Returns:
        the ratio, FLOPs of `other` / FLOPs of `one`, with its 95% interval over the seeds that both have, which are
        paired, since each seed asks about episodes of its own: above 1 where `one` needs fewer; and the score.
        "bounded" where that is reached with the smallest budget already, so that the ratio may be larger or smaller.
        None where one has one budget only, no seed is shared, or random weights reach that score.
    """
    seeds = sorted(set(one.seeds.tolist()) & set(other.seeds.tolist()))
    if min(len(one.flops), len(other.flops)) < 2 or not seeds:
        return None
    tables = [of.values[:, np.isin(of.seeds, seeds)] for of in (one, other)]
    chosen = rng.integers(len(seeds), size=(DRAWS, len(seeds)))

    def needed(mine: Floats, yours: Floats) -> tuple[Floats, Floats, Floats]:
        wanted = np.minimum(mine.max(1), yours.max(1))
        return wanted, flops_for(wanted, one.flops, mine), flops_for(wanted, other.flops, yours)

    wanted, mine, yours = needed(*(table.mean(1)[None] for table in tables))
    if wanted[0] <= unlearnt:
        return None
    _, ours, rest = needed(*(table[:, chosen].mean(2).T for table in tables))  # (DRAWS, B) each
    found = estimate(float(yours[0] / mine[0]), rest / ours)
    bounded = bool(mine[0] <= one.flops[0] * (1 + 1e-9) or yours[0] <= other.flops[0] * (1 + 1e-9))
    return asdict(found) | {"score": float(wanted[0]), "bounded": bounded}


def scaling(found: Scores, rng: np.random.Generator) -> dict[str, Any] | None:
    """Fit what is missing of a score of 1 as a power of the FLOPs: 1 - score = a flops^-exponent.

    Args:
        found: scores of an objective.
        rng: of the bootstrap over seeds.

    Returns:
        the exponent with its 95% interval, "trend" where that leaves zero out; and how well the fit without the largest
        budget predicts the score there: "held_out", "predicted" and "error". None with fewer than three budgets.

    Source:
        the power laws of Kaplan et al. 2020, section 3, for a score that ends at 1.
    """
    if len(found.flops) < 3:
        return None
    logs, values = np.log(found.flops), found.values

    def fitted(scores: Floats, at: Floats) -> tuple[Floats, Floats]:
        """Exponents (D,) and intercepts (D,) of scores (D, B)."""
        left = np.log(np.maximum(1 - scores, 1e-6))
        centred = at - at.mean()
        slope = (left - left.mean(1, keepdims=True)) @ centred / (centred @ centred)
        return -slope, left.mean(1) - slope * at.mean()

    chosen = rng.integers(values.shape[1], size=(DRAWS, values.shape[1]))
    drawn = values[:, chosen].mean(2).T
    mean = values.mean(1)
    whole = estimate(float(fitted(mean[None], logs)[0][0]), fitted(drawn, logs)[0])
    exponent, intercept = fitted(mean[None, :-1], logs[:-1])
    predicted = float(1 - np.exp(intercept[0] - exponent[0] * logs[-1]))
    return {
        "exponent": asdict(whole),
        "trend": bool(whole.low > 0 or whole.high < 0),
        "held_out": float(mean[-1]),
        "predicted": predicted,
        "error": predicted - float(mean[-1]),
    }


def analyse(rows: Sequence[Row], references: Sequence[Row] = (), unlearnt: Sequence[float] = ()) -> dict[str, Any]:
    """Scores with intervals, ratios of FLOPs to the default, and whether joint ones beat what they are made of.

    Args:
        rows: as `piece` returns them, with "control" where encoders were judged in it.
        references: as `references` returns them.
        unlearnt: success in control with random encoders, by seed.

    Returns:
        among others the rows and the references, their means taken over the factors that all of them know, and the
        names of the other factors, "left_out_of_mean".
    """
    rng = np.random.default_rng(0)
    alike, others = on_shared_factors([*rows, *references])
    rows, references = alike[: len(rows)], alike[len(rows) :]
    found, judged = scores(rows), [row for row in rows if "control" in row]
    levels = _levels(references)
    return {
        "rows": rows,
        "references": references,
        "left_out_of_mean": others,
        "curves": _curves(found),
        "above_unlearnt": _above_unlearnt(found, references),
        "ahead_of_default": _ahead(found),
        "compute_ratios": _ratios(found, rng, levels.get(UNLEARNT, {}).get("value", -np.inf)),
        "best_of_both": _halves(found),
        "scaling": {name: scaling(curve, rng) for name, curve in found.items()},
        "control": {
            "curves": _as_shares(_curves(scores(judged, SUCCESS))),
            "random": _as_share(asdict(mean_over_seeds(unlearnt))) if unlearnt else None,
            "goes_with": goes_with(judged, rng),
        },
        "levels": levels,
    }


def goes_with(rows: Sequence[Row], rng: np.random.Generator) -> dict[str, dict[str, float]]:
    """How far encoders with a higher score of a factor succeed more often: Spearman's rank correlation.

    Encoders are ranked among those of their seed, since each seed asks about episodes of its own; so a seed counts
    where several encoders of it are known.

    Args:
        rows: encoders that have been judged in control.
        rng: of the bootstrap over encoders.

    Returns:
        by factor, their mean and the worst of each encoder: the correlation with its 95% interval, the highest first,
        over the encoders whose score is known; nothing of fewer than three, or where none is above another.
    """
    seeds = np.array([row["seed"] for row in rows])
    success = np.array([score_of(row, SUCCESS) for row in rows])
    found = {}
    for factor in (SCORE, *dict.fromkeys(name for row in rows for name in row["scores"]), WORST):
        values = np.array([score_of(row, factor) for row in rows])
        known = np.isfinite(values)
        known &= np.array([(seeds[known] == seed).sum() > 1 for seed in seeds], bool)
        if known.sum() < FEWEST:
            continue
        pair = [_ranks_in_seed(some[known], seeds[known]) for some in (values, success)]
        if not all(np.ptp(ranks) for ranks in pair):
            continue
        chosen = rng.integers(known.sum(), size=(DRAWS, known.sum()))
        found[factor] = estimate(
            rank_correlation(*pair), [rank_correlation(*(some[draw] for some in pair)) for draw in chosen]
        )
    return {factor: asdict(one) for factor, one in sorted(found.items(), key=lambda item: -item[1].value)}


def _ranks_in_seed(values: Floats, seeds: NDArray[np.int64]) -> Floats:
    """The rank of values (n,) among those of the same seed (n,), from -1 / 2 to 1 / 2."""
    from scipy.stats import rankdata

    ranks = np.empty(len(values))
    for seed in np.unique(seeds):
        of = seeds == seed
        ranks[of] = (rankdata(values[of]) - 0.5) / of.sum() - 0.5
    return ranks


def _curves(found: Mapping[str, Scores]) -> dict[str, list[dict[str, float]]]:
    """By objective: at each budget the mean over seeds, with its interval."""
    return {
        name: [
            {"flops": float(at), **asdict(mean_over_seeds(line))}
            for at, line in zip(one.flops, one.values, strict=True)
        ]
        for name, one in found.items()
    }


def _as_share(found: dict[str, float]) -> dict[str, float]:
    """The same number, its interval kept within those that a share can be."""
    return found | {"low": max(found["low"], 0.0), "high": min(found["high"], 1.0)}


def _as_shares(curves: Mapping[str, Sequence[dict[str, float]]]) -> dict[str, list[dict[str, float]]]:
    return {name: [_as_share(point) for point in curve] for name, curve in curves.items()}


def _above_unlearnt(found: Mapping[str, Scores], references: Sequence[Row]) -> dict[str, list[dict[str, float]]]:
    """By objective and by other reference: by how much each is above random weights, paired by seed.

    Each seed asks about other episodes, by which all scores rise and fall; that is left out here.
    """
    level = {row["seed"]: score_of(row, SCORE) for row in references if row["features"] == UNLEARNT}
    if not level:
        return {}
    curves = {
        name: Scores(one.flops, one.seeds, one.values - np.array([level[seed] for seed in one.seeds.tolist()]))
        for name, one in found.items()
        if set(one.seeds.tolist()) <= set(level)
    }
    others = {row["features"] for row in references} - {UNLEARNT}
    beside = {
        name: [score_of(row, SCORE) - level[row["seed"]] for row in references if row["features"] == name]
        for name in sorted(others)
    }
    return _curves(curves) | {
        name: [{"flops": 0.0, **asdict(mean_over_seeds(values))}] for name, values in beside.items()
    }


def _others(found: Mapping[str, Scores]) -> list[str]:
    return [name for name in found if name != DEFAULT] if DEFAULT in found else []


def _ahead(found: Mapping[str, Scores]) -> dict[str, dict[str, Any]]:
    """By objective: by how much it is ahead of the default."""
    return {name: _difference(found[name], found[DEFAULT]) for name in _others(found)}


def _ratios(found: Mapping[str, Scores], rng: np.random.Generator, unlearnt: float) -> dict[str, dict[str, Any] | None]:
    """By objective: how many times its FLOPs the default takes."""
    return {name: compute_ratio(found[name], found[DEFAULT], rng, unlearnt=unlearnt) for name in _others(found)}


def _halves(found: Mapping[str, Scores]) -> dict[str, dict[str, dict[str, Any]]]:
    """By joint objective and half: by how much it is ahead."""
    return {
        name: {half: _difference(found[name], found[half]) for half in parts if half in found}
        for name, parts in HALVES.items()
        if name in found
    }


def _levels(references: Sequence[Row]) -> dict[str, dict[str, float]]:
    """By reference: the mean over seeds, with its interval where there are several."""
    found = {}
    for name in dict.fromkeys(row["features"] for row in references):
        values = np.array([score_of(row, SCORE) for row in references if row["features"] == name])
        found[name] = asdict(mean_over_seeds(values)) if len(values) > 1 else {"value": float(values[0])}
    return found


def _difference(one: Scores, other: Scores) -> dict[str, Any]:
    """By how much one scores above the other at the largest budget that both have, over the seeds that both have."""
    seeds = sorted(set(one.seeds.tolist()) & set(other.seeds.tolist()))
    budgets = set(one.flops.tolist()) & set(other.flops.tolist())
    if not seeds or not budgets:
        return {}
    shared = max(budgets)
    apart = mean_over_seeds(one.of(seeds, shared) - other.of(seeds, shared))
    return {"flops": shared, "seeds": seeds, **asdict(apart)}

"""What was asked of features and what was answered."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from statistics import fmean
from typing import Any, Literal

from goalsight.eval.probes.factors import Seen

Head = Literal["ridge", "mlp", "attentive", "labelled"]

NETWORKS: tuple[Head, ...] = ("mlp", "attentive")
ENCODER, RANDOM = "encoder", "random encoder"
FELT, SHUFFLED, LABELLED = "proprioception", "shuffled labels", "trained with labels"
HELD_OUT, REGION = "held-out episodes", "held-out region"
NORMALISED = "normalised"
TAUGHT = 0.05  # by which labels must teach more than a random encoder says, for a share of that to mean something


@dataclass(frozen=True)
class Answer:
    """How much of a factor was read.

    Attributes:
        factor: which.
        seen: in which frames.
        features: whose.
        head: what read them.
        labels: moments that were learnt from.
        judged_on: on what.
        score: R^2, the share of variance explained, or Spearman's rank correlation.
        error_cm: mean distance from the truth [cm]; None where that means nothing.
    """

    factor: str
    seen: Seen
    features: str
    head: Head
    labels: int
    judged_on: str
    score: float
    error_cm: float | None


def answers_of(rows: Iterable[Mapping[str, Any]]) -> list[Answer]:
    """Return the answers that a result keeps; none where a version wrote them that called them otherwise."""
    kept, names = list(rows), {field.name for field in fields(Answer)}
    return [Answer(**row) for row in kept] if all(row.keys() == names for row in kept) else []


def main_answers(
    answers: Sequence[Answer], features: str, head: Head = "ridge", judged_on: str = HELD_OUT
) -> dict[str, Answer]:
    """What one head reads of each factor from the most labels, by factor."""
    of = [one for one in answers if (one.features, one.head, one.judged_on) == (features, head, judged_on)]
    most: dict[str, Answer] = {}
    for one in of:
        if one.factor not in most or one.labels > most[one.factor].labels:
            most[one.factor] = one
    return most


def worst(answers: Sequence[Answer]) -> dict[str, Any]:
    """The factor with the lowest score by ridge regression off the encoder, and its score by each of the features."""
    known = main_answers(answers, ENCODER)
    factor = min(known, key=lambda name: known[name].score)
    names = {one.features for one in answers if one.head == "ridge"}
    found = {name: main_answers(answers, name) for name in sorted(names)}
    return {"factor": factor, "scores": {name: rows[factor].score for name, rows in found.items() if factor in rows}}


def mean_of(scores: Iterable[float]) -> float:
    """The mean of scores; below 0, where a guess is better, counts as 0."""
    return fmean(max(score, 0.0) for score in scores)


def mean_score(answers: Sequence[Answer], features: str, judged_on: str = HELD_OUT) -> float:
    """The mean score by ridge regression over the factors that were judged there; see `mean_of`."""
    return mean_of(one.score for one in main_answers(answers, features, judged_on=judged_on).values())


def normalised(answers: Sequence[Answer]) -> dict[str, float]:
    """Scores of the encoder by ridge regression where a random one's are 0, and a network's that labels trained are 1.

    Returns:
        by factor, the lowest first; of those that labels teach such a network by `TAUGHT` more than a random encoder
        says. Below 0 the encoder knows less than a random one, and above 1 more than labels have taught.
    """
    known, random = (main_answers(answers, name) for name in (ENCODER, RANDOM))
    found = {}
    for factor, taught in main_answers(answers, LABELLED, "labelled").items():
        if factor in known and factor in random and taught.score >= random[factor].score + TAUGHT:
            found[factor] = (known[factor].score - random[factor].score) / (taught.score - random[factor].score)
    return dict(sorted(found.items(), key=lambda item: item[1]))


SHOWN = (ENCODER, RANDOM, "pixels 16x16", FELT)  # whose answers are drawn


def scores_by_factor(answers: Sequence[Answer], features: Sequence[str]) -> dict[str, dict[str, float]]:
    """Scores by ridge regression off these features, by factor, the one read worst off the encoder first."""
    known = {name: main_answers(answers, name) for name in features}
    order = sorted(known[ENCODER], key=lambda factor: known[ENCODER][factor].score)
    return {factor: {name: rows[factor].score for name, rows in known.items() if factor in rows} for factor in order}

"""What was asked of features and what was answered."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from goalsight.eval.probes.factors import Seen

Head = Literal["ridge", "mlp", "attentive", "labelled"]

NETWORKS: tuple[Head, ...] = ("mlp", "attentive")
ENCODER, RANDOM = "encoder", "random encoder"
FELT, SHUFFLED, LABELLED = "proprioception", "shuffled labels", "trained with labels"
HELD_OUT, REGION = "held-out episodes", "held-out region"


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
        told: share of the variance that is explained, or a rank correlation.
        error_cm: mean distance from the truth [cm]; None where that means nothing.
    """

    factor: str
    seen: Seen
    features: str
    head: Head
    labels: int
    judged_on: str
    told: float
    error_cm: float | None


def main_answers(answers: Sequence[Answer], features: str, head: Head = "ridge") -> dict[str, Answer]:
    """What one head reads of each factor from all labels, on held-out episodes."""
    of = [one for one in answers if (one.features, one.head, one.judged_on) == (features, head, HELD_OUT)]
    most: dict[str, Answer] = {}
    for one in of:
        if one.factor not in most or one.labels > most[one.factor].labels:
            most[one.factor] = one
    return most


def worst(answers: Sequence[Answer]) -> dict[str, Any]:
    """The factor of which ridge regression reads least off the encoder, and what it reads off the others."""
    known = main_answers(answers, ENCODER)
    factor = min(known, key=lambda name: known[name].told)
    names = {one.features for one in answers if one.head == "ridge"}
    told = {name: main_answers(answers, name) for name in sorted(names)}
    return {"factor": factor, "told": {name: rows[factor].told for name, rows in told.items() if factor in rows}}


def mean_told(answers: Sequence[Answer], features: str, judged_on: str) -> float:
    """The mean over the factors that were judged there of what ridge regression told; below 0 counts as 0."""
    of = [one for one in answers if (one.features, one.head, one.judged_on) == (features, "ridge", judged_on)]
    return sum(max(one.told, 0.0) for one in of) / max(len(of), 1)


SHOWN = (ENCODER, RANDOM, "pixels 16x16", FELT)  # whose answers are drawn


def told_by(answers: Sequence[Answer], features: Sequence[str]) -> dict[str, dict[str, float]]:
    """What ridge regression reads off these features, by factor, the one read worst off the encoder first."""
    known = {name: main_answers(answers, name) for name in features}
    order = sorted(known[ENCODER], key=lambda factor: known[ENCODER][factor].told)
    return {factor: {name: rows[factor].told for name, rows in known.items() if factor in rows} for factor in order}

"""What an encoder knows, as one page that needs nothing but itself."""

from collections.abc import Mapping, Sequence
from typing import Any

from goalsight.base.provenance import now
from goalsight.eval.probes.answers import (
    ENCODER,
    HELD_OUT,
    LABELLED,
    NETWORKS,
    NORMALISED,
    RANDOM,
    REGION,
    SHOWN,
    Answer,
    answers_of,
    main_answers,
    mean_of,
    normalised,
)
from goalsight.eval.reports import page
from goalsight.eval.reports.plots import Series, dot_plot, line_plot

MEAN_OF_ALL = "mean of all factors"


def render(result: Mapping[str, Any]) -> str:
    """The page as HTML text."""
    answers = answers_of(result["answers"])
    scores, factor = result["worst"]["scores"], result["worst"]["factor"]
    cards = [
        (f"{scores[ENCODER]:.2f}", f"R² of the worst factor, {factor}; random encoder {scores[RANDOM]:.2f}"),
        *((f"{error:.2f} cm", f"error of {name}") for name, error in result["errors_cm"][ENCODER].items()),
    ]
    return page.whole(
        title="What the encoder knows",
        subtitle=f"{result['encoder']['path']}, asked on {result['data']['path']}, {now()}",
        cards=cards,
        sections=(_all(answers), _by_labels(answers, factor), _by_layer(answers), _elsewhere(answers), _places(result)),
    )


def _all(answers: Sequence[Answer]) -> str:
    """Every factor, the one with the lowest score first."""
    known = main_answers(answers, ENCODER)
    order = sorted(known, key=lambda name: known[name].score)
    names = [name for name in dict.fromkeys(one.features for one in answers if one.head == "ridge") if "," not in name]
    columns = {name: main_answers(answers, name) for name in names}
    for network in NETWORKS:
        if read := main_answers(answers, ENCODER, network):
            columns[f"encoder, {network}"] = read
    if read := main_answers(answers, LABELLED, "labelled"):
        columns[LABELLED] = read
    drawn = {factor: {name: rows[factor].score for name, rows in columns.items() if factor in rows} for factor in order}
    shares = normalised(answers)
    head = ["factor", *columns, *([NORMALISED] if shares else [])]
    rows = [
        [
            factor,
            *(f"{rows[factor].score:.2f}" if factor in rows else "" for rows in columns.values()),
            *([f"{shares[factor]:.2f}" if factor in shares else ""] if shares else []),
        ]
        for factor in order
    ]
    said = " Normalised, 0 is the random encoder and 1 what was trained with labels, where that knows more."
    few = {*SHOWN, LABELLED, "encoder, attentive"}
    return page.section(
        "What can be read, factor by factor",
        "R², the share of a factor's variance that is explained on held-out episodes, from all labels, by ridge "
        "regression unless another head is named; of steps between two frames, Spearman's rank correlation. 1 is "
        f"everything, 0 is no better than the mean.{said if shares else ''}",
        page.figure(
            dot_plot({name: {k: v for k, v in row.items() if k in few} for name, row in drawn.items()}),
            "R² of each factor; below 0 is drawn at 0.",
        ),
        page.grid(head, rows),
    )


def _by_labels(answers: Sequence[Answer], factor: str) -> str:
    """What more labels bring, of the worst factor and of all."""
    plots = []
    for title, factors in ((factor, {factor}), (MEAN_OF_ALL, {one.factor for one in answers})):
        lines: dict[str, dict[str, dict[int, float]]] = {}
        for one in answers:
            shown = one.features in (ENCODER, RANDOM, LABELLED) and one.judged_on == HELD_OUT
            if shown and one.factor in factors:
                name = one.features if one.head == "labelled" else f"{one.features}, {one.head}"
                lines.setdefault(name, {}).setdefault(one.factor, {})[one.labels] = one.score
        series = [Series(name, *mean_by_labels(scores)) for name, scores in lines.items()]
        plots.append(page.figure(line_plot(series, x_label="labels", y_label="R²", logarithmic=True), title))
    return page.section(
        "How many labels it takes", "The same factors read from fewer labelled moments.", page.pair(*plots)
    )


def mean_by_labels(scores: Mapping[str, Mapping[int, float]]) -> tuple[list[int], list[float]]:
    """The mean score over factors, always the same ones, by how many labels were learnt from; see `mean_of`.

    Args:
        scores: by factor and labels. Pairs of frames are fewer than frames, so factors differ in how many all are.

    Returns:
        labels that all factors have a score of, then the most of all, for what each makes of all that it has; (n,)
        each.
    """
    most = max(max(line) for line in scores.values())
    shared = sorted(set.intersection(*(set(line) for line in scores.values())) - {most})
    means = [mean_of(line[labels] for line in scores.values()) for labels in shared]
    return [*shared, most], [*means, mean_of(line[max(line)] for line in scores.values())]


def _by_layer(answers: Sequence[Answer]) -> str:
    layers = [one for one in answers if one.features.startswith(f"{ENCODER}, ")]
    if not layers:
        return ""
    names = list(dict.fromkeys(one.features for one in layers))
    factors = list(dict.fromkeys(one.factor for one in layers))
    scores = {(one.features, one.factor): one.score for one in layers}
    head = ["layer", *factors]
    rows = [
        [name.removeprefix(f"{ENCODER}, "), *(f"{scores[name, factor]:.2f}" for factor in factors)] for name in names
    ]
    words = f"R² by ridge regression off each layer's tokens, from {layers[0].labels:,} labels."
    return page.section("Layer by layer", words, page.grid(head, rows))


def _elsewhere(answers: Sequence[Answer]) -> str:
    """What is still read where nothing was learnt."""
    places = list(dict.fromkeys(one.judged_on for one in answers if one.judged_on != HELD_OUT))
    tables = []
    for place in places:
        of = [one for one in answers if one.judged_on == place]
        names, factors = (list(dict.fromkeys(getattr(one, key) for one in of)) for key in ("features", "factor"))
        scores = {(one.features, one.factor): one.score for one in of}
        rows = [
            [factor, *(f"{scores[name, factor]:.2f}" if (name, factor) in scores else "" for name in names)]
            for factor in factors
        ]
        title = "a quarter of the table that was left out" if place == REGION else place
        tables += [page.heading(f"Judged on {title}"), page.grid(["factor", *names], rows)]
    words = "The same regressions, judged where they have learnt nothing. Below 0 a guess would have been better."
    return page.section("Where it has not been", words, *tables) if tables else ""


def _places(result: Mapping[str, Any]) -> str:
    factors = list(result["errors_cm"][ENCODER])
    rows = [[name, *(f"{row[factor]:.2f}" for factor in factors)] for name, row in result["errors_cm"].items()]
    return page.section(
        "Places, in cm",
        "Mean distance from the truth by ridge regression from all labels.",
        page.grid(["features", *factors], rows),
    )

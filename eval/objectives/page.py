"""A comparison of objectives as one page that needs nothing but itself."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from goalsight.base.provenance import now
from goalsight.eval.objectives.analysis import MEAN, UNLEARNT
from goalsight.eval.objectives.rows import SUCCESS, WORST, Row, score_of, scores
from goalsight.eval.objectives.wording import control_table, left_out, main_table, said_difference, span
from goalsight.eval.reports import page
from goalsight.eval.reports.plots import COLOURS, OTHERS, Series, line_plot, share_plot
from goalsight.eval.stats import Estimate

FLOPS = "FLOPs"


def render(result: Mapping[str, Any]) -> str:
    """The page as HTML text."""
    curves = result["curves"]
    best = max(curves, key=lambda name: curves[name][-1]["value"])
    cards = [(f"{curves[best][-1]['value']:.2f}", f"{MEAN}, {best}")]
    cards += [(f"{level['value']:.2f}", f"{MEAN}, {name}") for name, level in result["levels"].items()]
    parts = (_over_flops, _each_factor, _control, _halves, _scaling, _runs)
    return page.whole(
        title="Objectives at equal FLOPs",
        subtitle=f"{result['asked']['size']} encoders that watched {result['asked']['data']}, {now()}",
        cards=cards,
        sections=(part(result) for part in parts),
    )


def curves_plot(result: Mapping[str, Any]) -> str:
    """Scores above those of random weights over FLOPs, paired by seed, with intervals, in SVG text."""
    found = {name: curve for name, curve in result["above_unlearnt"].items() if name in result["curves"]}
    if not found:  # no random encoder has been asked
        series = _series(result["curves"])
        series += [_level(name, level, result["curves"]) for name, level in result["levels"].items()]
        return line_plot(series, x_label=FLOPS, y_label=MEAN, logarithmic=True, width=860, height=460)
    order = sorted(found, key=lambda name: -found[name][-1]["value"])
    series = _series({name: found[name] for name in order})
    others = {name: curve[0] for name, curve in result["above_unlearnt"].items() if name not in found}
    levels = {UNLEARNT: {"value": 0.0}} | {name: {"value": one["value"]} for name, one in others.items()}
    series += [_level(name, level, found) for name, level in levels.items()]
    label = f"{MEAN}, above random weights"
    return line_plot(series, x_label=FLOPS, y_label=label, logarithmic=True, width=860, height=460)


def control_plot(result: Mapping[str, Any]) -> str:
    """Success of those who imitate from each objective's encoders, over FLOPs where budgets differ, in SVG text."""
    curves, random = result["control"]["curves"], result["control"]["random"]
    if all(len(curve) == 1 for curve in curves.values()):
        return _bars({name: curve[0] for name, curve in curves.items()}, random)
    series = _series(curves)
    if random is not None:
        series.append(_level(UNLEARNT, random, curves))
    return line_plot(series, x_label=FLOPS, y_label=SUCCESS, logarithmic=True, width=860, height=460)


def _bars(points: Mapping[str, Mapping[str, float]], random: Mapping[str, float] | None) -> str:
    """Success after each objective, of one budget each, the highest first, and of random encoders."""
    order = sorted(points, key=lambda name: -points[name]["value"])
    rows = {name: points[name] for name in order} | ({} if random is None else {UNLEARNT: random})
    shares = {name: Estimate(row["value"], row["low"], row["high"]) for name, row in rows.items()}
    colours = [COLOURS[0] if name in points else OTHERS for name in shares]
    budgets = {point["flops"] for point in points.values()}
    label = f"{SUCCESS}, 95% interval" + (f", after {budgets.pop():.0e} {FLOPS}" if len(budgets) == 1 else "")
    return share_plot(shares, colours, label=label.replace("e+", "e"), title=SUCCESS, width=860)


def _level(name: str, level: Mapping[str, float], curves: Mapping[str, Any]) -> Series:
    """A level across the plot, with its interval where it has one."""
    flops = [point["flops"] for curve in curves.values() for point in curve]
    band = ([level["low"]] * 2, [level["high"]] * 2) if "low" in level else None
    return Series(name, [min(flops), max(flops)], [level["value"]] * 2, dashed=True, band=band)


def _series(curves: Mapping[str, Any]) -> list[Series]:
    return [
        Series(
            name,
            [point["flops"] for point in curve],
            [point["value"] for point in curve],
            band=([point["low"] for point in curve], [point["high"] for point in curve]),
        )
        for name, curve in curves.items()
    ]


def _over_flops(result: Mapping[str, Any]) -> str:
    return page.section(
        "What encoders know, over FLOPs",
        "The mean over all factors of R², the share of variance that ridge regression explains off the encoder on "
        "held-out episodes, and of Spearman's rank correlation for steps between frames; below 0 counts as 0. "
        f"{result['held_out']} All FLOPs of an objective count, its teacher's, generator's and tokeniser's too. Bands "
        "are Student's 95% intervals over seeds; since each seed asks about other episodes, the difference from the "
        "default, paired by seed, is known far more closely. Intervals of ratios are a bootstrap's, which over three "
        "seeds is no more than their range.",
        page.figure(curves_plot(result), MEAN),
        page.grid(*main_table(result)),
        *map(page.paragraph, left_out(result)),
    )


def _each_factor(result: Mapping[str, Any]) -> str:
    rows: Sequence[Row] = result["rows"]
    names = list(result["curves"])
    table = []
    for factor in dict.fromkeys(name for row in rows for name in row["scores"]):
        found = scores(rows, factor)
        means = [found[name].values[-1].mean() for name in names]
        means += [
            np.mean([score_of(row, factor) for row in result["references"] if row["features"] == name])
            for name in result["levels"]
        ]
        table.append([factor, *("" if np.isnan(mean) else f"{mean:.2f}" for mean in means)])
    worst = [
        Series(name, one.flops.tolist(), np.maximum(one.values, 0.0).mean(1).tolist())
        for name, one in scores(rows, WORST).items()
    ]
    return page.section(
        "Factor by factor",
        "R² of each factor at each objective's largest budget, the mean over seeds.",
        page.grid(["factor", *names, *result["levels"]], table),
        page.figure(
            line_plot(worst, x_label=FLOPS, y_label="R² of the worst factor", logarithmic=True, width=860),
            "The worst factor of each encoder, the mean over seeds; below 0 counts as 0.",
        ),
    )


def _control(result: Mapping[str, Any]) -> str:
    control = result["control"]
    if not control["curves"]:
        return ""
    judged = [row["control"] for row in result["rows"] if "control" in row]
    related = [[factor, span(found)] for factor, found in control["goes_with"].items()]
    asked = judged[0]["asked"]
    return page.section(
        "In control",
        f"{asked['play']} is imitated towards goal images from each encoder's frozen tokens or points, by "
        f"{asked['updates']:,} gradient steps, and judged in {asked['episodes']} episodes.",
        page.figure(control_plot(result), "Success; bands are Student's 95% intervals over seeds."),
        page.grid(*control_table(result)),
        page.grid([f"R² of {len(judged)} encoders", "rank correlation with success"], related),
    )


def _halves(result: Mapping[str, Any]) -> str:
    lines = []
    for name, halves in result["best_of_both"].items():
        for half, found in halves.items():
            if found:
                seeds = " ".join(map(str, found["seeds"]))
                lines.append([f"{name} - {half}", f"{found['flops']:.2g}", seeds, said_difference(found)])
    if not lines:
        return ""
    words = "The difference in score at equal FLOPs, paired by seed, with Student's 95% intervals."
    return page.section("The best of both?", words, page.grid(["pair", FLOPS, "seeds", "difference"], lines))


def _scaling(result: Mapping[str, Any]) -> str:
    lines = []
    for name, fit in result["scaling"].items():
        if fit is not None:
            trend = "" if fit["trend"] else "no trend measured"
            numbers = f"{fit['predicted']:.3f}", f"{fit['held_out']:.3f}", f"{fit['error']:+.3f}"
            lines.append([name, span(fit["exponent"]), trend, *numbers])
    if not lines:
        return ""
    words = (
        "What is missing of a score of 1, fitted as a power of the FLOPs. The same fit without the largest budget "
        "predicts the score there."
    )
    head = ["objective", "exponent", "", "predicted at the largest", "measured", "error"]
    return page.section("Scaling", words, page.grid(head, lines))


def _runs(result: Mapping[str, Any]) -> str:
    head = ["objective", FLOPS, "seed", "learning rate", "steps", "seconds", MEAN, WORST, "alarms"]
    lines = [
        [
            *(row["objective"], f"{row['flops']:.3g}", str(row["seed"]), f"{row['rate']:g}", str(row["steps"])),
            *(f"{row['seconds']:.0f}", f"{row['mean_score']:.3f}", row["worst"], ", ".join(row["alarms"])),
        ]
        for row in result["rows"]
    ]
    return page.section("Every run", "Learning rates were chosen on another seed.", page.grid(head, lines))

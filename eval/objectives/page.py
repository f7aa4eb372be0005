"""A comparison of objectives as one page that needs nothing but itself."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from goalsight.base.provenance import now
from goalsight.eval.objectives.analysis import DEFAULT, SCORE, SUCCESS, said_ratio, scores, span
from goalsight.eval.reports import page
from goalsight.eval.reports.plots import Series, line_plot

ACROSS, UNLEARNT = "floating-point operations", "random encoder"


def render(result: Mapping[str, Any]) -> str:
    """The page as HTML text."""
    curves = result["curves"]
    best = max(curves, key=lambda name: curves[name][-1]["value"])
    cards = [(f"{curves[best][-1]['value']:.2f}", f"of 1 is told after {best}, {SCORE}")]
    cards += [(f"{row['mean_told']:.2f}", name) for name, row in result["references"].items()]
    parts = (_over_operations, _each_factor, _control, _halves, _scaling, _runs)
    return page.whole(
        title="Objectives at equal operations",
        subtitle=f"{result['asked']['size']} encoders that watched {result['asked']['data']}, {now()}",
        cards=cards,
        sections=(part(result) for part in parts),
    )


def curves_plot(result: Mapping[str, Any]) -> str:
    """What is told over operations, after each objective, with intervals over seeds, in SVG text."""
    curves = result["curves"]
    series = _series(curves)
    for name, row in result["references"].items():
        series.append(Series(name, _ends(curves), [row["mean_told"]] * 2, dashed=True))
    return line_plot(series, x_label=ACROSS, y_label="told", logarithmic=True, width=860, height=460)


def control_plot(result: Mapping[str, Any]) -> str:
    """Success of those who imitate from each objective's encoders, over floating-point operations, in SVG text."""
    curves, random = result["control"]["curves"], result["control"]["random"]
    series = _series(curves)
    if random is not None:
        series.append(Series(UNLEARNT, _ends(curves), [random["value"]] * 2, dashed=True))
    return line_plot(series, x_label=ACROSS, y_label=SUCCESS, logarithmic=True, width=860, height=460)


def _ends(curves: Mapping[str, Any]) -> list[float]:
    flops = [point["flops"] for curve in curves.values() for point in curve]
    return [min(flops), max(flops)]


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


def _over_operations(result: Mapping[str, Any]) -> str:
    curves = result["curves"]
    rows = [
        [name, f"{curve[-1]['flops']:.2g}", span(curve[-1]), said_ratio(result["compute_ratios"].get(name))]
        for name, curve in sorted(curves.items(), key=lambda item: -item[1][-1]["value"])
    ]
    head = ["objective", "operations", "told", f"times the operations that {DEFAULT} takes to the same score"]
    return page.section(
        "What encoders know, over operations",
        "The mean over all factors of the share of variance that ridge regression reads off the encoder on held-out "
        "episodes, and of the rank correlation for steps between frames; below 0 counts as 0. All operations of an "
        "objective count, its teacher's, generator's and tokeniser's too. Bands are 95% intervals over seeds.",
        page.figure(curves_plot(result), SCORE),
        page.grid(head, rows),
    )


def _each_factor(result: Mapping[str, Any]) -> str:
    rows: Sequence[Mapping[str, Any]] = result["rows"]
    factors = list(rows[0]["told"])
    names = list(result["curves"])
    table = []
    for factor in factors:
        found = scores(rows, factor)
        cells = [f"{found[name][1][-1].mean():.2f}" if name in found else "" for name in names]
        cells += [
            f"{row['told'][factor]:.2f}" if factor in row["told"] else "" for row in result["references"].values()
        ]
        table.append([factor, *cells])
    worst = [
        Series(name, list(flops), [float(line) for line in _worst(rows, name, flops)])
        for name, (flops, _) in scores(rows).items()
    ]
    return page.section(
        "Factor by factor",
        "What is told of each factor at each objective's largest budget, the mean over seeds.",
        page.grid(["factor", *names, *result["references"]], table),
        page.figure(
            line_plot(
                worst,
                x_label=ACROSS,
                y_label="told of the worst factor",
                logarithmic=True,
                width=860,
            ),
            "The worst factor of each encoder, the mean over seeds; below 0 counts as 0.",
        ),
    )


def _worst(rows: Sequence[Mapping[str, Any]], name: str, flops: Any) -> list[float]:
    found = []
    for budget in flops:
        of = [row for row in rows if row["objective"] == name and row["asked_flops"] == budget]
        found.append(float(np.mean([max(min(row["told"].values()), 0.0) for row in of])))
    return found


def _control(result: Mapping[str, Any]) -> str:
    control = result["control"]
    if not control["curves"]:
        return ""
    judged = [row["control"] for row in result["rows"] if "control" in row]
    lines = [
        [name, f"{curve[-1]['flops']:.2g}", span(curve[-1])]
        for name, curve in sorted(control["curves"].items(), key=lambda item: -item[1][-1]["value"])
    ]
    if control["random"] is not None:
        lines.append([UNLEARNT, "0", span(control["random"])])
    related = [[factor, span(found)] for factor, found in control["goes_with"].items()]
    asked = judged[0]["asked"]
    return page.section(
        "In control",
        f"{asked['play']} is imitated towards goal images from each encoder's frozen tokens or points, by "
        f"{asked['updates']:,} gradient steps, and judged in {asked['episodes']} episodes.",
        page.figure(control_plot(result), "Success; bands are 95% intervals over seeds."),
        page.grid(["objective", "operations", SUCCESS], lines),
        page.grid([f"what {len(judged)} encoders know", "rank correlation with success"], related),
    )


def _halves(result: Mapping[str, Any]) -> str:
    lines = []
    for name, halves in result["best_of_both"].items():
        for half, found in halves.items():
            if found:
                words = f"{found['value']:+.3f} [{found['low']:+.3f}, {found['high']:+.3f}]"
                lines.append([f"{name} - {half}", f"{found['flops']:.2g}", words])
    if not lines:
        return ""
    words = "The difference in score at equal operations, seeds paired, with 95% intervals."
    return page.section("The best of both?", words, page.grid(["pair", "operations", "difference"], lines))


def _scaling(result: Mapping[str, Any]) -> str:
    lines = []
    for name, fit in result["scaling"].items():
        if fit is not None:
            found = fit["exponent"]
            words = f"{found['value']:.3f} [{found['low']:.3f}, {found['high']:.3f}]"
            trend = "" if fit["trend"] else "no trend measured"
            lines.append(
                [name, words, trend, f"{fit['foretold']:.3f}", f"{fit['held_out']:.3f}", f"{fit['error']:+.3f}"]
            )
    if not lines:
        return ""
    words = (
        "What is not told yet, 1 minus the score, fitted as a power of the operations. The same fit without the "
        "largest budget foretells the score there."
    )
    head = ["objective", "exponent", "", "foretold at the largest", "measured", "error"]
    return page.section("Scaling", words, page.grid(head, lines))


def _runs(result: Mapping[str, Any]) -> str:
    head = ["objective", "operations", "seed", "learning rate", "steps", "seconds", "told", "worst factor", "alarms"]
    lines = [
        [
            *(row["objective"], f"{row['flops']:.3g}", str(row["seed"]), f"{row['rate']:g}", str(row["steps"])),
            *(f"{row['seconds']:.0f}", f"{row['mean_told']:.3f}", row["worst"], ", ".join(row["alarms"])),
        ]
        for row in result["rows"]
    ]
    return page.section("Every run", "Learning rates were chosen on another seed.", page.grid(head, lines))

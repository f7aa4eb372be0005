"""A comparison as one page that needs nothing but itself."""

from collections.abc import Iterable, Sequence

from goalsight.base.provenance import now
from goalsight.eval.comparing import wording
from goalsight.eval.comparing.comparison import Comparison
from goalsight.eval.comparing.curves import Curve
from goalsight.eval.reports import page
from goalsight.eval.reports.plots import COLOURS, Series, line_plot, share_plot

MOST_CARDS = 4
LONG = 180  # from here on time is shown in minutes [s]
LONGEST_NAME = 44  # of a group beside a bar [characters]


def render(found: Comparison) -> str:
    """The page as HTML text."""
    count = sum(len(group.members) for group in found.groups)
    runs = f"{count} runs in {len(found.groups)} group{'s' if len(found.groups) > 1 else ''}"
    say = wording.Wording(found.asked)
    shown = found.groups[:MOST_CARDS]
    cards = [(say.value(found.final[group.name].mean.value), f"final, {group.name}") for group in shown]
    if len(found.pairs) == 1:
        (pair,) = found.pairs
        value, _, span = say.gain(pair.difference.estimate).partition(" [")
        cards.append((value, f"difference, {pair.one} - {pair.other}, 95% interval [{span}"))
    sections = [alike(found), learnt(found), timed(found), ended(found), between(found), spread(found), each(found)]
    return page.whole(
        title=f"Comparison: {found.env}",
        subtitle=f"{found.asked.metric} of {runs}, 95% intervals, {now()}",
        cards=cards,
        sections=sections,
    )


def alike(found: Comparison) -> str:
    """What the groups differ in, and what a reader must know."""
    notes = _said("What limits it", found.notes)
    if len(found.groups) == 1:
        return page.section("What differs", "Nothing but the seed.", notes)
    words = "Runs of a group were asked for the same but for the seed. All else was equal in all runs."
    if found.asked.by:
        words = f"Groups were made by {', '.join(found.asked.by)}."
    seeds = [[group.name, " ".join(map(str, group.seeds))] for group in found.groups]
    return page.section(
        "What differs",
        words,
        page.grid(*wording.difference_table(found)),
        page.heading("Seeds"),
        page.grid(["group", "seeds"], seeds),
        notes,
    )


def learnt(found: Comparison) -> str:
    """Learning curves over every axis that there is."""
    longest = max((curve.x[-1] for curve in found.curves.get("seconds", {}).values()), default=0.0)
    clock = ("wall-clock time [min]", 60) if longest > LONG else ("wall-clock time [s]", 1)
    drawn = {  # the label of an axis, what a unit of it is, and words for below it
        "steps": (found.step_unit, 1, f"over {found.step_unit}"),
        "seconds": (*clock, "over wall-clock time"),
        "operations": ("FLOPs", 1, "over FLOPs, pretraining included"),
    }
    plots = []
    for name, curves in found.curves.items():
        label, unit, words = drawn[name]
        plots.append(page.figure(_curves(found, curves, label, unit), f"{found.asked.metric} {words}."))
    return page.section(
        "Learning curves",
        "The mean over a group's runs, as far as all of them got, and its 95% interval over seeds (bootstrap). "
        "Between evaluations lines are straight.",
        page.pair(*plots) if plots else "",
        _said("Left out", wording.left_out(found)),
    )


def _said(heading: str, sentences: Sequence[str]) -> str:
    lines = [f"{words[:1].upper()}{words[1:]}." for words in sentences]
    return page.join(page.heading(heading), page.lacking(lines)) if sentences else ""


def _curves(found: Comparison, curves: dict[str, Curve], label: str, unit: int) -> str:
    lines = [
        Series(group.name, list(curve.x / unit), list(curve.mean), band=(list(curve.low), list(curve.high)))
        for group in found.groups
        if (curve := curves.get(group.name))
    ]
    if not lines:
        return page.paragraph("No group has a place that all of its runs got to.")
    return line_plot(lines, x_label=label, y_label=found.asked.metric, percent=found.asked.share)


def timed(found: Comparison) -> str:
    """How long groups took to the level."""
    reach = wording.Wording(found.asked).value(found.asked.reach)
    rows = [
        [
            group.name,
            f"{sum(not run.censored for run in found.reached[group.name])} of {len(group.members)}",
            wording.reached(found.median[group.name]),
            ", ".join(wording.reached(run) for run in found.reached[group.name]),
        ]
        for group in found.groups
    ]
    return page.section(
        f"{found.step_unit.capitalize()} to {reach}",
        f"{_first(found.asked.in_a_row)}, so to the spacing of evaluations. A run that never did is censored: it "
        "would take more than it was given (>), and so does a median that hangs on such a run.",
        page.grid(["group", "reached", "median", "of each seed"], rows),
    )


def _first(in_a_row: int) -> str:
    if in_a_row == 1:
        return "The first evaluation that reaches it"
    return f"The first of {in_a_row} evaluations in a row that reach it"


def ended(found: Comparison) -> str:
    """Final success of each group."""
    say = wording.Wording(found.asked)
    means = {group.name: found.final[group.name].mean for group in found.groups}
    plot = ""
    if found.asked.share:
        shown = dict(zip(_short(means), means.values(), strict=True))
        plot = share_plot(shown, _colours(found), label=found.asked.metric, title="final success", width=800)
    rows = [
        [name, say.estimate(found.final[name].mean), say.estimate(found.final[name].interquartile_mean)]
        for name in means
    ]
    counted = "seeds and the luck of their episodes both count" if found.asked.share else "seeds are drawn again"
    return page.section(
        "How they end",
        f"The last evaluation of each run, not its best. In the interval of the mean {counted}; in that of the "
        "interquartile mean (IQM), the mean of the middle half of the runs, seeds are drawn again.",
        plot,
        page.heading("In numbers"),
        page.grid(["group", "mean", "IQM"], rows),
    )


def between(found: Comparison) -> str:
    """What lies between groups."""
    if not found.pairs:
        return ""
    return page.section(
        "Between groups",
        "Differences of the final mean and ratios of steps are taken seed by seed where two groups share at least two "
        "seeds. P(improvement) is how probably a run of the first group ends above one of the second; ties count half.",
        page.grid(*wording.pair_table(found)),
    )


def spread(found: Comparison) -> str:
    """Performance profiles."""
    lines = [
        Series(group.name, list(found.at), list(one.share), band=(list(one.low), list(one.high)))
        for group in found.groups
        for one in [found.profiles[group.name]]
    ]
    return page.section(
        "Performance profiles",
        f"The share of a group's runs that end above each {found.asked.metric}; higher is better.",
        line_plot(lines, x_label=f"final {found.asked.metric}", y_label="runs above it", percent=True),
    )


def each(found: Comparison) -> str:
    """Every run."""
    return page.section("Runs", "All that were compared.", page.grid(*wording.run_table(found)))


def _colours(found: Comparison) -> Sequence[str]:
    return [COLOURS[place % len(COLOURS)] for place in range(len(found.groups))]


def _short(names: Iterable[str]) -> list[str]:
    """Names without the middle of long ones, whose ends tell them apart; numbered where that is not enough."""
    end = (LONGEST_NAME - 3) // 2
    found: list[str] = []
    for name in names:
        cut = name if len(name) <= LONGEST_NAME else f"{name[:end]}...{name[-end:]}"
        found.append(cut if cut not in found else f"{cut} ({found.count(cut) + 1})")
    return found

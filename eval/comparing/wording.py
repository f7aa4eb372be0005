"""Numbers of a comparison as people read them, in tables and on pages alike."""

from dataclasses import dataclass

from goalsight.base.tables import text_table
from goalsight.eval.comparing.comparison import Asked, Comparison
from goalsight.eval.comparing.reaching import Ratio, Reached
from goalsight.eval.stats import Estimate


@dataclass(frozen=True)
class Wording:
    """How a metric and its estimates are written: shares in percent, all else with three digits."""

    asked: Asked

    def value(self, value: float) -> str:
        """A value of the metric."""
        return f"{100 * value:.0f}%" if self.asked.share else f"{value:.3g}"

    def estimate(self, found: Estimate) -> str:
        """A value with its interval."""
        if self.asked.share:
            return f"{100 * found.value:.0f}% [{100 * found.low:.0f}, {100 * found.high:.0f}]"
        return f"{found.value:.3g} [{found.low:.3g}, {found.high:.3g}]"

    def gain(self, found: Estimate) -> str:
        """A difference with its interval."""
        if self.asked.share:
            return f"{100 * found.value:+.0f} points [{100 * found.low:+.0f}, {100 * found.high:+.0f}]"
        return f"{found.value:+.3g} [{found.low:+.3g}, {found.high:+.3g}]"


def probability(found: Estimate) -> str:
    """A probability with its interval."""
    return f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}]"


def reached(run: Reached) -> str:
    """Steps to the level; of a run that never got there more than it took."""
    return f"{'> ' if run.censored else ''}{run.at:,.0f}"


def ratio(found: Ratio | None) -> str:
    """A ratio with its interval, or the bound that is known of it."""
    if found is None or found.value is None:
        return "unknown"
    if found.bound != "exact":
        return f"{found.bound} {found.value:.2f} (a bound)"
    return f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}]"


def pairing(pairs: int) -> str:
    """How two groups were set against each other."""
    return f"{pairs} seeds" if pairs else "not paired"


def difference_table(found: Comparison) -> tuple[list[str], list[list[str]]]:
    """Head and rows of what the configurations differ in; a row a setting, a column a group."""
    names = list(dict.fromkeys(name for group in found.groups for name in group.settings))
    return (
        ["setting", *(group.name for group in found.groups)],
        [[name, *(group.settings[name] for group in found.groups)] for name in names],
    )


def group_table(found: Comparison) -> tuple[list[str], list[list[str]]]:
    """Head and rows of how each group ends and how long it took."""
    say, reach = Wording(found.asked), Wording(found.asked).value(found.asked.reach)
    head = ["group", "seeds", "final", "IQM", "of each seed", f"reached {reach}", f"{found.step_unit} to {reach}"]
    rows = []
    for group in found.groups:
        final, runs = found.final[group.name], found.reached[group.name]
        rows.append(
            [
                group.name,
                " ".join(map(str, group.seeds)),
                say.estimate(final.mean),
                say.estimate(final.interquartile_mean),
                " ".join(map(say.value, final.each)),
                f"{sum(not run.censored for run in runs)} of {len(runs)}",
                reached(found.median[group.name]),
            ]
        )
    return head, rows


def pair_table(found: Comparison) -> tuple[list[str], list[list[str]]]:
    """Head and rows of what lies between every two groups."""
    say = Wording(found.asked)
    head = ["pair", "paired by", "difference", "P(improvement)", f"ratio of {found.step_unit}"]
    rows = [
        [
            f"{pair.one} - {pair.other}",
            pairing(pair.difference.pairs),
            say.gain(pair.difference.estimate),
            probability(pair.improvement),
            ratio(pair.ratio),
        ]
        for pair in found.pairs
    ]
    return head, rows


def run_table(found: Comparison) -> tuple[list[str], list[list[str]]]:
    """Head and rows of every run."""
    say = Wording(found.asked)
    to = f"{found.step_unit} to {say.value(found.asked.reach)}"
    head = ["run", "group", "seed", "status", "last step", "final", to]
    rows = []
    for group in found.groups:
        for member, when in zip(group.members, found.reached[group.name], strict=True):
            last, final = f"{member.steps[-1]:,.0f}", say.value(member.final)
            rows.append([str(member.path), group.name, str(member.seed), member.status, last, final, reached(when)])
    return head, rows


def left_out(found: Comparison) -> list[str]:
    """Why there is no curve over an axis, a sentence each."""
    return [f"no curve over {name}: {why}" for name, why in found.left_out.items()]


def text(found: Comparison) -> str:
    """The whole comparison for a terminal."""
    count = sum(len(group.members) for group in found.groups)
    lines = [f"{found.asked.metric} of {count} runs in {found.env}, 95% intervals"]
    if len(found.groups) > 1:
        lines += ["", text_table(*difference_table(found))]
    lines += ["", text_table(*group_table(found))]
    if found.pairs:
        lines += ["", text_table(*pair_table(found))]
    notes = [*found.notes, *left_out(found)]
    return "\n".join([*lines, "", *(f"note: {note}" for note in notes)]).rstrip()

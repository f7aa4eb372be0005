"""Numbers of a comparison of objectives as people read them, in the terminal and on the page alike."""

from collections.abc import Mapping
from typing import Any

from goalsight.base.tables import text_table
from goalsight.eval.objectives.analysis import DEFAULT, MEAN, RATIO


def table(result: Mapping[str, Any]) -> str:
    """A comparison as text for people: the largest budget of each objective, the best first."""
    if not result.get("curves"):
        return "nothing has been measured yet"
    return "\n".join([text_table(*main_table(result)), *left_out(result)])


def main_table(result: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Head and rows of what each objective comes to at its largest budget, the best first, above the references."""
    rows = [
        [
            *(name, f"{curve[-1]['flops']:.2g}", span(curve[-1])),
            *(said_difference(result["ahead_of_default"].get(name)), said_ratio(result["compute_ratios"].get(name))),
        ]
        for name, curve in sorted(result["curves"].items(), key=lambda item: -item[1][-1]["value"])
    ]
    rows += [[name, "0", span(level), "", ""] for name, level in result["levels"].items()]
    return ["objective", "FLOPs", MEAN, f"ahead of {DEFAULT}", RATIO], rows


def left_out(result: Mapping[str, Any]) -> list[str]:
    """Which factors the means leave out, in a sentence; nothing where they leave out none."""
    names = ", ".join(result["left_out_of_mean"])
    return [f"Means leave out {names}, which some splits of the episodes do not know."] if names else []


def span(found: Mapping[str, float]) -> str:
    """A number, with its interval where it has one."""
    value = f"{found['value']:.3f}"
    return f"{value} [{found['low']:.3f}, {found['high']:.3f}]" if "low" in found else value


def said_difference(found: Mapping[str, float] | None) -> str:
    """A difference with its interval; nothing where there is none."""
    return f"{found['value']:+.3f} [{found['low']:+.3f}, {found['high']:+.3f}]" if found else ""


def said_ratio(ratio: Mapping[str, Any] | None) -> str:
    """A ratio of FLOPs in words; nothing where there is none."""
    if ratio is None:
        return ""
    words = f"{ratio['value']:.2f} [{ratio['low']:.2f}, {ratio['high']:.2f}]"
    return f"{words}, by the smallest budget already" if ratio["bounded"] else words

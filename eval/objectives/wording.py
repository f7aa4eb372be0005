"""Numbers of a comparison of objectives as people read them, in the terminal and on the page alike."""

from collections.abc import Mapping
from typing import Any

from goalsight.base.tables import text_table
from goalsight.eval.objectives.analysis import DEFAULT, MEAN, RATIO, UNLEARNT


def table(result: Mapping[str, Any]) -> str:
    """A comparison as text for people: the largest budget of each objective, the best first."""
    if not result.get("curves"):
        return "nothing has been measured yet"
    control = [text_table(*control_table(result))] if result["control"]["curves"] else []
    return "\n".join([text_table(*main_table(result)), *left_out(result), *control])


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


def control_table(result: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Head and rows of how often those succeed who imitate from each objective's largest budget, the best first."""
    control = result["control"]
    rows = [
        [name, f"{curve[-1]['flops']:.2g}", span(curve[-1])]
        for name, curve in sorted(control["curves"].items(), key=lambda item: -item[1][-1]["value"])
    ]
    rows += [[UNLEARNT, "0", span(control["random"])]] if control["random"] is not None else []
    return ["objective", "FLOPs", "success in control"], rows


def left_out(result: Mapping[str, Any]) -> list[str]:
    """Which factors the means leave out, in a sentence; nothing where they leave out none."""
    names = ", ".join(result["left_out_of_mean"])
    return [f"Means leave out {names}, which some splits of the episodes do not know."] if names else []


def span(found: Mapping[str, float]) -> str:
    """A number, with its interval where it has one; a single seed has none."""
    value = f"{found['value']:.3f}"
    known = "low" in found and found["low"] < found["high"]
    return f"{value} [{found['low']:.3f}, {found['high']:.3f}]" if known else value


def said_difference(found: Mapping[str, float] | None) -> str:
    """A difference with its interval, which a single seed does not have; nothing where there is none."""
    if not found:
        return ""
    value = f"{found['value']:+.3f}"
    return f"{value} [{found['low']:+.3f}, {found['high']:+.3f}]" if found["low"] < found["high"] else value


def said_ratio(ratio: Mapping[str, Any] | None) -> str:
    """A ratio of FLOPs in words; nothing where there is none."""
    if ratio is None:
        return ""
    words = f"{ratio['value']:.2f} [{ratio['low']:.2f}, {ratio['high']:.2f}]"
    return f"{words}, by the smallest budget already" if ratio["bounded"] else words

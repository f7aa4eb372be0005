"""A comparison as compare.json keeps it: every number that is shown, and what it was made from."""

from typing import Any

from goalsight.base.provenance import provenance
from goalsight.eval.comparing.comparison import Comparison


def record(found: Comparison) -> dict[str, Any]:
    """The comparison in JSON's own types; `base.files.to_json` writes what is left of arrays and dataclasses."""
    return {
        "env": found.env,
        "metric": found.asked.metric,
        "reach": found.asked.reach,
        "in_a_row": found.asked.in_a_row,
        "by": found.asked.by,
        "confidence": 0.95,
        "step_unit": found.step_unit,
        "notes": found.notes,
        "groups": [_group(found, place) for place in range(len(found.groups))],
        "pairs": found.pairs,
        "curves": found.curves,
        "left_out": found.left_out,
        "profiles": {"thresholds": found.at, "groups": found.profiles},
        **provenance(),
    }


def _group(found: Comparison, place: int) -> dict[str, Any]:
    group = found.groups[place]
    final, median = found.final[group.name], found.median[group.name]
    runs = [
        {
            "run": member.path,
            "seed": member.seed,
            "status": member.status,
            "steps": member.steps[-1],
            "seconds": member.seconds[-1],
            "final": member.final,
            "reached": when,
        }
        for member, when in zip(group.members, found.reached[group.name], strict=True)
    ]
    return {
        "name": group.name,
        "settings": group.settings,
        "seeds": group.seeds,
        "final": final,
        "median_reached": median,
        "runs": runs,
    }

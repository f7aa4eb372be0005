"""Learning curves of groups over steps, seconds and FLOPs, at shared places and never beyond what was measured."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from goalsight.eval.comparing.groups import Group
from goalsight.eval.comparing.members import Member
from goalsight.eval.stats import interval, resampled

MOST_PLACES = 200  # on an axis
CURVE_DRAWS = 2_000  # of the bootstrap, at every place
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Curve:
    """The mean of a group's runs, with the 95% interval over its seeds.

    Attributes:
        x: shared places, (P,).
        mean: (P,).
        low: (P,); that of a single seed is its mean.
        high: likewise.
    """

    x: Floats
    mean: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True)
class Across:
    """What a learning curve can be drawn over."""

    name: str
    of: Callable[[Member], Floats | None]
    lacking: Callable[[Sequence[Member]], str | None]  # why it cannot be drawn over it; None where it can


def _steps_differ(members: Sequence[Member]) -> str | None:
    units = sorted({member.step_unit for member in members})
    return f"some runs count {units[0]} and others {units[1]}" if len(units) > 1 else None


def _clocks_differ(members: Sequence[Member]) -> str | None:
    machines = sorted({member.machine for member in members})
    return f"the runs were made on different machines ({'; '.join(machines)})" if len(machines) > 1 else None


def _uncounted(members: Sequence[Member]) -> str | None:
    silent = [member for member in members if member.flops is None]
    if silent:
        return (
            f"{len(silent)} of {len(members)} runs did not count their FLOPs (no flops in metrics.jsonl), and steps "
            "alone do not say them: evaluations and images count too"
        )
    unknown = [str(member.path) for member in members if member.pretraining is None]
    return f"what the encoder of {unknown[0]} cost is not known any more" if unknown else None


def _operations(member: Member) -> Floats | None:
    """Pretraining included."""
    return member.flops + member.pretraining["flops"] if member.flops is not None and member.pretraining else None


ACROSS = {
    "steps": Across("steps", lambda member: member.steps, _steps_differ),
    "seconds": Across("wall-clock time [s]", lambda member: member.seconds, _clocks_differ),
    "operations": Across("FLOPs, pretraining included", _operations, _uncounted),
}


def curves_over(across: Across, groups: Sequence[Group], seed: int) -> dict[str, Curve]:
    """Return each group's curve over an axis that is not lacking; a group without a shared place is left out."""
    points = {group.name: [(_on(across, member), member.values) for member in group.members] for group in groups}
    places = shared_places([x for lines in points.values() for x, _ in lines])
    found = {}
    for name, lines in points.items():
        curve = mean_curve(lines, places, np.random.default_rng(seed))
        if len(curve.x):
            found[name] = curve
    return found


def _on(across: Across, member: Member) -> Floats:
    x = across.of(member)
    assert x is not None, f"{member.path} has no {across.name}"
    return x


def shared_places(lines: Sequence[Floats], most: int = MOST_PLACES) -> Floats:
    """Every place where any run was evaluated; where they are too many, evenly spaced ones over the same range."""
    places = np.unique(np.concatenate(list(lines)))
    return places if len(places) <= most else np.linspace(places[0], places[-1], most)


def aligned(lines: Sequence[tuple[Floats, Floats]], places: Floats) -> tuple[Floats, Floats]:
    """Look at runs where all of them have been: from where the last of them begins to where the first of them ends.

    Args:
        lines: x and y of each run, (T,) each, x rising; between evaluations y is interpolated.
        places: where to look, (P,), rising.

    Returns:
        the places that are left, (Q,), and the runs' values there, (n, Q).
    """
    begin, end = max(x[0] for x, _ in lines), min(x[-1] for x, _ in lines)
    inside = places[(places >= begin) & (places <= end)]
    return inside, np.stack([np.interp(inside, x, y) for x, y in lines])


def mean_curve(lines: Sequence[tuple[Floats, Floats]], places: Floats, rng: np.random.Generator) -> Curve:
    """Average runs where all of them have been; see `aligned`, `rng` is the bootstrap's."""
    inside, values = aligned(lines, places)
    mean = values.mean(axis=0)
    if not len(inside):
        return Curve(inside, mean, mean, mean)
    draws = resampled(values, rng, draws=CURVE_DRAWS).mean(axis=1)  # (D, Q)
    bounds = np.array([interval(column) for column in draws.T])
    return Curve(inside, mean, np.minimum(bounds[:, 0], mean), np.maximum(bounds[:, 1], mean))

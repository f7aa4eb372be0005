"""All that several training runs say together, worked out once: pages and tables only show it."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from goalsight.base.errors import UserError
from goalsight.eval.comparing.curves import ACROSS, Curve, curves_over
from goalsight.eval.comparing.groups import Group, grouped, paired_seeds
from goalsight.eval.comparing.members import Member, read_members
from goalsight.eval.comparing.notes import notes_on
from goalsight.eval.comparing.reaching import Ratio, Reached, first_reaching, median_reached, ratio
from goalsight.eval.comparing.scores import (
    Difference,
    Final,
    Profile,
    difference,
    final_of,
    improvement,
    profile_of,
    thresholds,
)
from goalsight.eval.stats import Estimate

SEED = 0  # of every bootstrap


@dataclass(frozen=True)
class Asked:
    """What is compared, and how.

    Attributes:
        metric: as metrics.jsonl names it; more is better.
        reach: the level whose first reaching is timed.
        in_a_row: evaluations that must reach it one after the other.
        by: settings that make groups; all in which runs differ where empty.
    """

    metric: str = "eval/success"
    reach: float = 0.8
    in_a_row: int = 1
    by: tuple[str, ...] = ()

    @property
    def share(self) -> bool:
        """Whether the metric is a share, in [0, 1]."""
        return self.metric.endswith("success")


@dataclass(frozen=True)
class Pair:
    """What lies between two groups.

    Attributes:
        one: name of the group that is judged.
        other: name of the group that it is judged beside.
        seeds: those that both have one run of.
        difference: what `one` is ahead in its final metric.
        improvement: how probably a run of `one` ends above a run of `other`.
        ratio: how many times as many steps `one` takes to the level as `other`.
    """

    one: str
    other: str
    seeds: list[int]
    difference: Difference
    improvement: Estimate
    ratio: Ratio | None


@dataclass(frozen=True)
class Comparison:
    """Everything that is shown; dictionaries are by the group's name.

    Attributes:
        asked: what was asked for.
        env: the environment's id.
        step_unit: what steps are; "steps" where the runs count different things.
        groups: the runs, group by group.
        reached: of each run, when it reached the level, by seed.
        median: of each group's runs.
        final: how each group ends.
        pairs: every two groups.
        curves: of each axis that can be drawn over.
        left_out: of each other axis, why it cannot.
        at: thresholds of the profiles, (T,).
        profiles: performance profiles.
        notes: what a reader must know, in sentences.
    """

    asked: Asked
    env: str
    step_unit: str
    groups: list[Group]
    reached: dict[str, list[Reached]]
    median: dict[str, Reached]
    final: dict[str, Final]
    pairs: list[Pair]
    curves: dict[str, dict[str, Curve]]
    left_out: dict[str, str]
    at: np.ndarray
    profiles: dict[str, Profile]
    notes: list[str]


def compared(paths: Sequence[Path], asked: Asked) -> Comparison:
    """Read the runs and work out everything; the same runs in any order give the same bits.

    Raises:
        UserError: the runs cannot be compared; says why.
    """
    if asked.share and not 0 < asked.reach <= 1:
        raise UserError(f"reach must lie in (0, 1], got {asked.reach}")
    if asked.in_a_row < 1:
        raise UserError(f"in_a_row must be at least 1, got {asked.in_a_row}")
    return comparison_of(read_members(paths, asked.metric), asked)


def comparison_of(members: Sequence[Member], asked: Asked) -> Comparison:
    """Work out everything from what the runs measured."""
    groups = grouped(members, asked.by)
    left_out = {name: why for name, across in ACROSS.items() if (why := across.lacking(members))}
    reached = {
        group.name: [first_reaching(one.steps, one.values, asked.reach, asked.in_a_row) for one in group.members]
        for group in groups
    }
    at = thresholds(groups, share=asked.share)
    return Comparison(
        asked=asked,
        env=members[0].env,
        step_unit="steps" if "steps" in left_out else members[0].step_unit,
        groups=groups,
        reached=reached,
        median={name: median_reached(runs) for name, runs in reached.items()},
        final={group.name: final_of(group, _rng()) for group in groups},
        pairs=[_pair(one, other, reached, "steps" not in left_out) for one, other in combinations(groups, 2)],
        curves={name: curves_over(across, groups, SEED) for name, across in ACROSS.items() if name not in left_out},
        left_out=left_out,
        at=at,
        profiles={group.name: profile_of(group, at, _rng()) for group in groups},
        notes=notes_on(members, groups),
    )


def _rng() -> np.random.Generator:
    """Numbers of its own for every quantity: what one group shows does not depend on which others stand beside it."""
    return np.random.default_rng(SEED)


def _pair(one: Group, other: Group, reached: dict[str, list[Reached]], timed: bool) -> Pair:
    seeds = paired_seeds(one, other)
    places = [(one.by_seed[seed], other.by_seed[seed]) for seed in seeds]
    return Pair(
        one=one.name,
        other=other.name,
        seeds=seeds,
        difference=difference(one, other, _rng()),
        improvement=improvement(one, other, _rng()),
        ratio=ratio(reached[one.name], reached[other.name], places, _rng()) if timed else None,
    )

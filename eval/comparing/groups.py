"""Runs that are alike but for their seed, and what tells the groups of them apart."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from goalsight.base.errors import UserError, choose
from goalsight.eval.comparing.members import Member

MOST_NAMED = 3  # differences that a group's name is made of; of more, the fewest that tell all groups apart
ABSENT = "-"


@dataclass(frozen=True)
class Group:
    """Runs that are compared as one.

    Attributes:
        name: what tells it apart, as `encoder=random`.
        members: sorted by seed.
        settings: its values of all names in which the groups differ, as text.
    """

    name: str
    members: tuple[Member, ...]
    settings: dict[str, str]

    @property
    def seeds(self) -> list[int]:
        """The seeds, ascending."""
        return [member.seed for member in self.members]

    @property
    def by_seed(self) -> dict[int, int]:
        """Where each seed's run is, of the seeds that one run alone has."""
        return {seed: place for place, seed in enumerate(self.seeds) if self.seeds.count(seed) == 1}


def grouped(members: Sequence[Member], by: Sequence[str] = ()) -> list[Group]:
    """Put runs into groups, in an order that does not depend on that of the runs.

    Args:
        members: the runs.
        by: names of settings of which runs in a group share the values, whatever else differs; all unless given.

    Raises:
        UserError: no run has such a setting, or two runs of a group are the same training twice.
    """
    known = sorted({name for member in members for name in member.settings})
    by = [choose("setting", name.replace("-", "_"), known) for name in by]
    differing = by or [name for name in _in_order(members) if len({_text(one, name) for one in members}) > 1]
    found: dict[tuple[str, ...], list[Member]] = {}
    for member in members:
        found.setdefault(tuple(_text(member, name) for name in differing), []).append(member)
    if not by:
        _check_seeds(found.values())
    named = _telling(differing, list(found))
    groups = []
    for values in sorted(found, key=lambda values: [_rank(value) for value in values]):
        settings = dict(zip(differing, values, strict=True))
        name = ", ".join(f"{key}={settings[key]}" for key in named) or "all runs"
        groups.append(Group(name, tuple(sorted(found[values], key=lambda one: (one.seed, str(one.path)))), settings))
    return groups


def differing_within(groups: Sequence[Group]) -> list[str]:
    """Settings in which runs of one and the same group differ, as `--by` allows."""
    return sorted(
        {
            name
            for group in groups
            for name in _in_order(group.members)
            if len({_text(one, name) for one in group.members}) > 1
        }
    )


def paired_seeds(one: Group, other: Group) -> list[int]:
    """Seeds that both groups have exactly one run of."""
    return sorted(set(one.by_seed) & set(other.by_seed))


def _in_order(members: Sequence[Member]) -> list[str]:
    """Names of settings as the command line has them; those that only some runs have come last."""
    longest = max(members, key=lambda member: (len(member.settings), str(member.path)))
    rest = sorted({name for member in members for name in member.settings} - set(longest.settings))
    return [*longest.settings, *rest]


def _text(member: Member, name: str) -> str:
    value: Any = member.settings.get(name)
    if value is None:
        return ABSENT
    if isinstance(value, tuple):
        return " ".join(map(str, value)) or ABSENT
    return f"{value:g}" if isinstance(value, float) else str(value)


def _rank(text: str) -> tuple[bool, float, str]:
    """Numbers by their size, then words."""
    try:
        return False, float(text), ""
    except ValueError:
        return True, 0.0, text


def _telling(names: Sequence[str], values: Sequence[tuple[str, ...]]) -> list[str]:
    """The names that a group is called by."""
    if len(names) <= MOST_NAMED:
        return list(names)
    for count in range(1, MOST_NAMED + 1):
        for chosen in combinations(range(len(names)), count):
            if len({tuple(one[place] for place in chosen) for one in values}) == len(values):
                return [names[place] for place in chosen]
    return list(names)


def _check_seeds(groups: Any) -> None:
    for members in groups:
        seen: dict[int, Member] = {}
        for member in members:
            if member.seed in seen:
                other = seen[member.seed].path
                raise UserError(
                    f"{other} and {member.path} are the same training, of seed {member.seed}; name one of them"
                )
            seen[member.seed] = member

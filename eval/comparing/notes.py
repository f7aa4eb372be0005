"""What a reader of a comparison must know, in sentences."""

from collections.abc import Iterator, Sequence

from goalsight.eval.comparing.groups import Group, differing_within
from goalsight.eval.comparing.members import Member

FEW_SEEDS = 5  # below which bootstrap intervals over seeds are clearly too narrow
FEW_FOR_QUARTERS = 4  # below which no quarter is left out of an interquartile mean
APART = 1.05  # how far last steps may lie apart, as a ratio


def notes_on(members: Sequence[Member], groups: Sequence[Group]) -> list[str]:
    """Say what limits a comparison, a sentence each."""
    return [*_unfinished(members), *_unlike(members, groups), *_uneven(members), *_few(groups), *_unpaid(members)]


def _unfinished(members: Sequence[Member]) -> Iterator[str]:
    for member in members:
        if member.status != "finished":
            last = f"{member.steps[-1]:,.0f}"
            yield f"{member.path} is {member.status}: it counts up to its last evaluation, at step {last}"


def _unlike(members: Sequence[Member], groups: Sequence[Group]) -> Iterator[str]:
    if len(groups) == 1:
        yield "there is one group of runs, and nothing to compare it with"
    within = differing_within(groups)
    if within:
        yield f"runs of one group differ in {', '.join(within)}"
    for group in groups:
        encoders = {member.encoder for member in group.members} - {None}
        if len(encoders) > 1:
            yield f"runs of {group.name} see by {len(encoders)} different pretrained encoders"
    packages = sorted({name for member in members for name in member.versions})
    for name in packages:
        found = sorted({member.versions.get(name, "none") for member in members})
        if len(found) > 1:
            yield f"the runs were made with different versions of {name}: {', '.join(found)}"


def _uneven(members: Sequence[Member]) -> Iterator[str]:
    ends = sorted(member.steps[-1] for member in members)
    if ends[-1] > APART * ends[0]:
        yield (
            f"final evaluations lie at different steps, from {ends[0]:,.0f} to {ends[-1]:,.0f}; the curves compare at "
            "equal ones"
        )


def _few(groups: Sequence[Group]) -> Iterator[str]:
    fewest = min(len(group.members) for group in groups)
    if fewest < FEW_SEEDS:
        seeds = f"{fewest} seed" + ("s" if fewest > 1 else "")
        mean = ", and the interquartile mean is the mean" if fewest < FEW_FOR_QUARTERS else ""
        yield f"with {seeds} in a group an interval over seeds knows only those and is too narrow{mean}"


def _unpaid(members: Sequence[Member]) -> Iterator[str]:
    costs = [member.pretraining for member in members]
    seconds = [cost["seconds"] for cost in costs if cost]
    if None in costs or any(seconds):
        spent = f", up to {max(seconds):,.0f} s" if any(seconds) else ""
        yield f"steps and wall-clock time leave out what encoders were pretrained for{spent}"

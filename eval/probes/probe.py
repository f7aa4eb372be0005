"""How complete is what an encoder has learnt: what can be read off its features, factor by factor.

Where things are, how they move, whether one is held, what was done, how far one frame is from another: whatever a
recording knows is asked of the features, by ridge regression and, for all there is to know, by small networks, of
every layer. Beside the encoder stand the same architecture with random weights, the pixels averaged down, what the arm
feels, and labels dealt out anew. All get the same frames; episodes are held out whole. The headline is the factor that
is read worst.
"""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from goalsight.base.errors import UserError
from goalsight.base.progress import progress
from goalsight.eval.probes import asking
from goalsight.eval.probes.answers import (
    ENCODER,
    FELT,
    HELD_OUT,
    LABELLED,
    RANDOM,
    REGION,
    SHUFFLED,
    Answer,
)
from goalsight.eval.probes.asking import Look
from goalsight.eval.probes.factors import Seen
from goalsight.eval.probes.parts import (
    BUDGETS,
    FEW,
    LEAST,
    SHARES,
    Part,
    Parts,
    beyond_region,
    budgets,
    confused,
    enough,
    parted_by_seen,
)
from goalsight.eval.probes.result import keep, result_of, table
from goalsight.eval.probes.subjects import Subject, check_sides

if TYPE_CHECKING:
    from tqdm import tqdm

    from goalsight.pretrain.data.store import FrameStore

LEARNERS = (ENCODER, RANDOM)  # that small networks read, too
FEWEST = round(LEAST["test"] / SHARES["test"])  # frames, so that enough of them are judged


@dataclass(frozen=True)
class Probe:
    """Measure what an encoder knows: every factor of a recording, the worst one first."""

    encoder: Annotated[Path, tyro.conf.Positional]
    """A pretraining run, or, with --trust, a module that torch.export.save wrote (NAME.pt2)."""
    data: Path
    """Recorded play: a collect run, or a frame store with positions."""
    frames: int = 5_000
    """Maximum number of frames to use."""
    complete: bool = False
    """Ask small networks and every layer too, and train a network with labels beside them; takes many minutes."""
    unseen: tuple[Path, ...] = ()
    """Recordings of other looks, in which what was learnt on `--data` is judged too."""
    trust: bool = False
    """Load a module of torch.export, whose file may run code of its own; a run never does."""
    seed: int = 0
    """Seed of the split into episodes and of the random encoder."""
    json: bool = False
    """Print the result as JSON."""

    def __post_init__(self) -> None:
        if self.frames < FEWEST:
            raise UserError(f"frames must be at least {FEWEST}, got {self.frames}")
        names = [HELD_OUT, REGION, *(path.name for path in self.unseen)]
        if twice := [name for name in names if names.count(name) > 1]:
            raise UserError(f'--unseen names "{twice[0]}" twice, and answers go by the folder\'s name; rename one')


def probe(config: Probe) -> dict[str, Any]:
    """Ask for all factors.

    Args:
        config: which encoder, on which frames.

    Returns:
        the result, also kept as `probe.json`, with a page, in the encoder's run or beside the module; `answers` are all
        that was read, `errors_cm` mean Euclidean distances by ridge regression from all labels.

    Raises:
        UserError: if there is no encoder, no store, no positions in it, or too few episodes.
    """
    store = open_labelled(config.data)
    check_sides(store.image_size)
    subject = Subject(config.encoder, seed=config.seed, trusted=config.trust)
    parts = parted_by_seen(store, config.frames, config.seed)
    others = {path.name: _asked_alike(path, parts, config) for path in config.unseen}
    answers: list[Answer] = []
    asked = len(subject.sees) + (FELT in store.columns) + config.complete
    with progress(desc="probe", unit="asked", total=len(parts) * asked) as bar:
        for seen, some in parts.items():
            elsewhere = {name: other[seen] for name, other in others.items()}
            for known in _ask(config, subject, some, elsewhere, seen, bar):
                answers += known
                bar.set_postfix(answers=len(answers))
    result = result_of(answers, subject.facts, parts["frame"], config.seed)
    print(json.dumps(result, default=str) if config.json else table(result))
    keep(result, config.encoder)
    return result


def open_labelled(path: Path) -> "FrameStore":
    """Open a recording whose positions are known: a run of `goalsight collect`, or a frame store.

    Raises:
        UserError: there is no store, or it knows no positions.
    """
    from goalsight.pretrain.data.store import FrameStore, find_store

    if (folder := find_store(path)) is None:
        raise UserError(f"no recorded play at {path}; give a run of `goalsight collect`, which knows where things are")
    store = FrameStore.open(folder)
    if not store.labels:
        raise UserError(f"{path} holds frames without positions; record play with `goalsight collect`")
    return store


def _ask(
    config: Probe, subject: Subject, parts: Parts, elsewhere: dict[str, Part], seen: Seen, bar: "tqdm[Any]"
) -> Iterator[list[Answer]]:
    """Ask whatever is asked for, and yield what was answered; the bar counts those who have been asked."""
    looks: dict[str, Look] = {name: asking.seen_by(see) for name, see in subject.sees.items()}
    if FELT in parts["train"].store.columns:
        looks[FELT] = lambda part: part.column(FELT)
    for name, look in looks.items():
        known = asking.remembered(look, parts)
        yield from _by_ridge(known, name, parts, {} if name == FELT else elsewhere, config, seen)
        if config.complete and name in LEARNERS:
            yield from _completely(known, name, parts, config, seen)
        bar.update()
    if config.complete:
        yield from _of_layers_and_labels(subject, parts, config, seen)
        bar.update()


def _by_ridge(
    look: Look, name: str, parts: Parts, elsewhere: dict[str, Part], config: Probe, seen: Seen
) -> Iterator[list[Answer]]:
    """Ask by ridge regression, from few labels and from all; a region that was left out; labels that say nothing."""
    whole = len(parts["train"].at)
    for size, some in budgets(parts, BUDGETS):
        yield asking.by_ridge(look, some, elsewhere if size == whole else {}, name=name, seen=seen)
    if seen == "frame" and enough(region := beyond_region(parts)):
        beyond = asking.by_ridge(look, region, {}, name=name, seen=seen)
        yield [replace(answer, judged_on=REGION) for answer in beyond]
    if name == ENCODER:
        few = confused(dict(budgets(parts, BUDGETS))[min(FEW, whole)], config.seed)
        yield asking.by_ridge(look, few, {}, name=SHUFFLED, seen=seen)


def _completely(look: Look, name: str, parts: Parts, config: Probe, seen: Seen) -> Iterator[list[Answer]]:
    """Ask by small networks."""
    from goalsight.eval.probes.heads import Attentive, Mlp

    how: dict[str, Any] = {"name": name, "seen": seen, "seed": config.seed}
    tokens = look(parts["test"].few(2)).ndim == 3
    for _, some in budgets(parts, BUDGETS):
        yield asking.by_head(lambda shape, part: Mlp(shape, sum(part.sizes)), look, some, head="mlp", **how)
        if tokens:
            yield asking.by_head(lambda shape, part: Attentive(shape, part.sizes), look, some, head="attentive", **how)


def _of_layers_and_labels(subject: Subject, parts: Parts, config: Probe, seen: Seen) -> Iterator[list[Answer]]:
    """Ask every layer of the encoder, and train a network with labels from its first layer on."""
    from goalsight.eval.probes.heads import Labelled

    if seen == "frame":
        few = dict(budgets(parts, BUDGETS))[min(FEW, len(parts["train"].at))]
        for layer, see in subject.layers():
            yield asking.by_ridge(asking.seen_by(see), few, {}, name=f"{ENCODER}, {layer}", seen=seen)
    size = parts["train"].store.image_size
    for _, some in budgets(parts, BUDGETS):
        yield asking.by_head(
            lambda shape, part: Labelled(size, shape[0], sum(part.sizes), config.seed),
            Part.frames,
            some,
            name=LABELLED,
            head="labelled",
            seen=seen,
            seed=config.seed,
        )


def _asked_alike(path: Path, asked: dict[Seen, Parts], config: Probe) -> dict[Seen, Part]:
    """The moments of another recording that are judged, with those of the factors that it knows.

    Raises:
        UserError: if it knows none of them, or is too short.
    """
    found, unknown = {}, []
    for seen, parts in parted_by_seen(open_labelled(path), config.frames, config.seed).items():
        wanted, known = ([factor.name for factor in of.factors] for of in (asked[seen]["train"], parts["test"]))
        unknown += [factor for factor in wanted if factor not in known]
        if not (shared := [factor for factor in wanted if factor in known]):
            raise UserError(f"{path} knows nothing of what is asked for; it knows {', '.join(known)}")
        found[seen] = parts["test"].named(shared)
    if unknown:
        print(f"goalsight: {path} does not know {', '.join(unknown)}: not judged there", file=sys.stderr)
    return found

"""How complete is what an encoder has learnt: what can be read off its features, factor by factor.

Where things are, how they move, whether one is held, what was done, how far one frame is from another: whatever a
recording knows is asked of the features, by ridge regression and, for all there is to know, by small networks, of
every layer. Beside the encoder stand the same architecture with random weights, the pixels averaged down, what the arm
feels, and labels dealt out anew. All get the same frames; episodes are held out whole. The headline is the factor that
is read worst.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypedDict

import numpy as np
import tyro

from goalsight.base.errors import UserError
from goalsight.eval.probes import asking
from goalsight.eval.probes.answers import (
    ENCODER,
    FELT,
    HELD_OUT,
    LABELLED,
    NETWORKS,
    RANDOM,
    REGION,
    SHUFFLED,
    Answer,
    Head,
    main_answers,
    mean_told,
    worst,
)
from goalsight.eval.probes.asking import BUDGETS, Look, Part, Parts
from goalsight.eval.probes.factors import SEEN, Seen, out_of_sight
from goalsight.eval.probes.ridge import distances
from goalsight.eval.probes.subjects import Subject

if TYPE_CHECKING:
    from tqdm import tqdm

    from goalsight.pretrain.data.store import FrameStore

RESULT, PAGE = "probe.json", "probe.html"  # in the encoder's run
MEAN = "mean position"
LEARNERS = (ENCODER, RANDOM)  # that small networks read, too


class Probed(TypedDict, total=False):
    """What a `probe.json` holds that is read again."""

    errors_cm: dict[str, dict[str, float]]
    worst: dict[str, Any]
    answers: list[dict[str, Any]]


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
    """Ask small networks and every layer too, and train a network with labels beside them; takes ten times as long."""
    unseen: tuple[Path, ...] = ()
    """Recordings of other looks, in which what was learnt on `--data` is judged too."""
    trust: bool = False
    """Load a module of torch.export, whose file may run code of its own; a run never does."""
    seed: int = 0
    """Seed of the split into episodes and of the random encoder."""
    json: bool = False
    """Print the result as JSON."""

    def __post_init__(self) -> None:
        if self.frames < 100:
            raise UserError(f"frames must be at least 100, got {self.frames}")


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
    from tqdm import tqdm

    from goalsight.base.files import atomic_write_json, atomic_write_text
    from goalsight.eval.probes.page import render

    store, others = open_labelled(config.data), {path.name: open_labelled(path) for path in config.unseen}
    subject = Subject(config.encoder, seed=config.seed, trusted=config.trust)
    answers: list[Answer] = []
    asked = len(subject.sees) + (FELT in store.columns) + config.complete
    with tqdm(desc="probe", unit="asked", total=len(SEEN) * asked, disable=None) as bar:
        for known in _ask(config, subject, store, others, bar):
            answers += known
            bar.set_postfix(answers=len(answers))
    parts = asking.parted(store, config.frames, config.seed, "frame")
    result = _result(config, subject, store, answers, parts)
    print(json.dumps(result, default=str) if config.json else table(result))
    for name, text in ((RESULT, None), (PAGE, render(result))):
        if (path := _beside(config.encoder, name)) is not None:
            atomic_write_json(path, result) if text is None else atomic_write_text(path, text)
    return result


def _beside(encoder: Path, name: str) -> Path | None:
    """Where a result is kept: in a run, or beside a module; None in what is neither."""
    if encoder.is_file():
        return encoder.with_suffix(f".{name}")
    return encoder / name if (encoder / "manifest.json").exists() else None


def open_labelled(path: Path) -> "FrameStore":
    """Open a recording whose positions are known.

    Raises:
        UserError: there is no store, or it knows no positions.
    """
    from goalsight.pretrain.data.store import FrameStore, is_store

    nested = path / "frames"
    store = FrameStore.open(nested if is_store(nested) else path)
    if not store.labels:
        raise UserError(f"{path} holds frames without positions; record play with `goalsight collect`")
    return store


def _ask(
    config: Probe, subject: Subject, store: "FrameStore", others: dict[str, "FrameStore"], bar: "tqdm[Any]"
) -> Iterator[list[Answer]]:
    """Ask whatever is asked for, and yield what was answered; the bar counts those who have been asked."""
    for seen in SEEN:
        parts = asking.parted(store, config.frames, config.seed, seen)
        elsewhere = {
            name: _asked_alike(name, asking.parted(other, config.frames, config.seed, seen)["test"], parts)
            for name, other in others.items()
        }
        looks: dict[str, Look] = {name: asking.seen_by(see) for name, see in subject.sees.items()}
        if FELT in store.columns:
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
    for size, some in asking.budgets(parts, BUDGETS):
        yield asking.by_ridge(look, some, elsewhere if size == whole else {}, name=name, seen=seen)
    if seen == "frame":
        beyond = asking.by_ridge(look, asking.beyond_region(parts), {}, name=name, seen=seen)
        yield [replace(answer, judged_on=REGION) for answer in beyond]
    if name == ENCODER:
        few = asking.confused(dict(asking.budgets(parts, BUDGETS))[min(BUDGETS[-1], whole)], config.seed)
        yield asking.by_ridge(look, few, {}, name=SHUFFLED, seen=seen)


def _completely(look: Look, name: str, parts: Parts, config: Probe, seen: Seen) -> Iterator[list[Answer]]:
    """Ask by small networks."""
    from goalsight.eval.probes.heads import Attentive, Mlp

    how: dict[str, Any] = {"name": name, "seen": seen, "seed": config.seed}
    tokens = look(parts["test"].few(2)).ndim == 3
    for _, some in asking.budgets(parts, BUDGETS):
        yield asking.by_head(lambda shape, part: Mlp(shape, sum(part.sizes)), look, some, head="mlp", **how)
        if tokens:
            yield asking.by_head(lambda shape, part: Attentive(shape, part.sizes), look, some, head="attentive", **how)


def _of_layers_and_labels(subject: Subject, parts: Parts, config: Probe, seen: Seen) -> Iterator[list[Answer]]:
    """Ask every layer of the encoder, and train a network with labels from its first layer on."""
    from goalsight.eval.probes.heads import Labelled

    if seen == "frame":
        few = dict(asking.budgets(parts, BUDGETS))[min(BUDGETS[-1], len(parts["train"].at))]
        for layer, see in subject.layers():
            yield asking.by_ridge(asking.seen_by(see), few, {}, name=f"{ENCODER}, {layer}", seen=seen)
    size = parts["train"].store.image_size
    for _, some in asking.budgets(parts, BUDGETS):
        yield asking.by_head(
            lambda shape, part: Labelled(size, shape[0], sum(part.sizes), config.seed),
            Part.frames,
            some,
            name=LABELLED,
            head="labelled",
            seen=seen,
            seed=config.seed,
        )


def _asked_alike(name: str, part: Part, parts: Parts) -> Part:
    """The same factors of another recording.

    Raises:
        UserError: if it does not know them all.
    """
    wanted = [factor.name for factor in parts["train"].factors]
    known = [factor.name for factor in part.factors]
    if missing := [factor for factor in wanted if factor not in known]:
        raise UserError(f"{name} does not know {', '.join(missing)}, of what is asked for; it knows {', '.join(known)}")
    return part.named(wanted)


def _result(
    config: Probe, subject: Subject, store: "FrameStore", answers: list[Answer], parts: Parts
) -> dict[str, Any]:
    counts = {name: len(part.at) for name, part in parts.items()} | {"left out": int(out_of_sight(store).sum())}
    return {
        "worst": worst(answers),
        "errors_cm": _errors_cm(answers, store, parts),
        "answers": [asdict(answer) for answer in answers],
        "frames": counts,
        "encoder": subject.facts,
        "data": {"path": store.path, "hash": store.content_hash},
        "seed": config.seed,
    }


def _errors_cm(answers: list[Answer], store: "FrameStore", parts: Parts) -> dict[str, dict[str, float]]:
    """Errors of places by ridge regression from all labels, beside that of saying the mean place each time."""
    names = (ENCODER, RANDOM, "pixels 16x16", "pixels 8x8")
    found = {name: main_answers(answers, name) for name in names}
    table = {
        name: {factor: rows[factor].error_cm for factor in store.labels if factor in rows}
        for name, rows in found.items()
    }
    table[MEAN] = {}
    train, test = (parts[name].values for name in ("train", "test"))
    sizes = parts["test"].sizes
    errors = distances(np.broadcast_to(train.mean(0), test.shape), test, sizes)
    for factor, error in zip(parts["test"].factors, errors, strict=True):
        if factor.name in store.labels:
            table[MEAN][factor.name] = round(100 * float(error), 3)
    return table  # type: ignore[return-value]


def table(result: dict[str, Any]) -> str:
    """The result as text for people."""
    answers = [Answer(**row) for row in result["answers"]]
    worst, rows = result["worst"], result["errors_cm"]
    counts = result["frames"]
    columns = [ENCODER, RANDOM, *(name for name in ("pixels 16x16", FELT, SHUFFLED) if name in worst["told"])]
    heads: list[Head] = [head for head in NETWORKS if main_answers(answers, ENCODER, head)]
    told = {name: main_answers(answers, name) for name in columns}
    told |= {f"by {head}": main_answers(answers, ENCODER, head) for head in heads}
    if heads:
        told[LABELLED] = main_answers(answers, LABELLED, "labelled")
    lines = [
        f"worst factor: {worst['factor']}, {worst['told'][ENCODER]:.2f} of 1 is told "
        f"(random encoder {worst['told'][RANDOM]:.2f})",
        f"share of the variance that is told (of steps: rank correlation), held-out episodes, {counts['test']} frames; "
        f"ridge on {counts['train']}",
        f"  {'factor':22}" + "".join(f"{name:>20}" for name in told),
    ]
    for factor in main_answers(answers, ENCODER):
        cells = (f"{row[factor].told:>20.2f}" if factor in row else f"{'':20}" for row in told.values())
        lines.append(f"  {factor:22}" + "".join(cells))
    for place in dict.fromkeys(one.judged_on for one in answers if one.judged_on != HELD_OUT):
        means = (f"{name} {mean_told(answers, name, place):.2f}" for name in (ENCODER, RANDOM))
        lines.append(f"judged on {place}, mean of its factors: {', '.join(means)}; {PAGE} has them all")
    factors = list(rows[ENCODER])
    lines += ["mean error of places", f"  {'features':15}" + "".join(f"{factor:>12}" for factor in factors)]
    for name, row in rows.items():
        lines.append(f"  {name:15}" + "".join(f"{row[factor]:>9.2f} cm" for factor in factors))
    return "\n".join(lines)

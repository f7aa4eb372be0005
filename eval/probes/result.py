"""What a probe found, as `probe.json` keeps it and as a terminal shows it."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from goalsight.eval.probes.answers import (
    ENCODER,
    FELT,
    HELD_OUT,
    LABELLED,
    NETWORKS,
    NORMALISED,
    RANDOM,
    SHUFFLED,
    Answer,
    Head,
    answers_of,
    main_answers,
    mean_score,
    normalised,
    worst,
)
from goalsight.eval.probes.factors import out_of_sight
from goalsight.eval.probes.parts import Parts
from goalsight.eval.probes.ridge import distances

RESULT, PAGE = "probe.json", "probe.html"  # in the encoder's run
MEAN = "mean position"


class Answered(TypedDict, total=False):
    """An `Answer` as results keep it."""

    factor: str
    seen: str
    features: str
    head: str
    labels: int
    judged_on: str
    score: float
    error_cm: float | None


class Probed(TypedDict, total=False):
    """What a `probe.json` holds that is read again."""

    errors_cm: dict[str, dict[str, float]]
    worst: dict[str, Any]
    normalised: dict[str, float]
    answers: list[Answered]


def result_of(answers: Sequence[Answer], encoder: dict[str, Any], parts: Parts, seed: int) -> dict[str, Any]:
    """What `probe.json` keeps.

    Args:
        answers: all that was read.
        encoder: what is known of it.
        parts: the single frames that it was asked about.
        seed: of the split.
    """
    store, shares = parts["test"].store, normalised(answers)
    counts = {name: len(part.at) for name, part in parts.items()} | {"left out": int(out_of_sight(store).sum())}
    return {
        "worst": worst(answers),
        "errors_cm": _errors_cm(answers, parts),
        "answers": [asdict(answer) for answer in answers],
        **({NORMALISED: {factor: round(share, 4) for factor, share in shares.items()}} if shares else {}),
        "frames": counts,
        "encoder": encoder,
        "data": {"path": store.path, "hash": store.content_hash},
        "seed": seed,
    }


def _errors_cm(answers: Sequence[Answer], parts: Parts) -> dict[str, dict[str, float | None]]:
    """Errors of places by ridge regression from all labels, beside that of saying the mean place each time."""
    names, places = (ENCODER, RANDOM, "pixels 16x16", "pixels 8x8"), parts["test"].store.labels
    found = {name: main_answers(answers, name) for name in names}
    table = {
        name: {factor: rows[factor].error_cm for factor in places if factor in rows} for name, rows in found.items()
    }
    table[MEAN] = {}
    train, test = (parts[name].values for name in ("train", "test"))
    errors = distances(np.broadcast_to(train.mean(0), test.shape), test, parts["test"].sizes)
    for factor, error in zip(parts["test"].factors, errors, strict=True):
        if factor.name in places:
            table[MEAN][factor.name] = round(100 * float(error), 3)
    return table


def keep(result: dict[str, Any], encoder: Path) -> None:
    """Write the result and its page into the encoder's run, or beside the module; nowhere where it is neither."""
    from goalsight.base.files import atomic_write_json, atomic_write_text
    from goalsight.eval.probes.page import render

    if (path := _beside(encoder, RESULT)) is not None:
        atomic_write_json(path, result)
    if (path := _beside(encoder, PAGE)) is not None:
        atomic_write_text(path, render(result))


def _beside(encoder: Path, name: str) -> Path | None:
    """Where a result is kept: in a run, or beside a module; None in what is neither."""
    if encoder.is_file():
        return encoder.with_suffix(f".{name}")
    return encoder / name if (encoder / "manifest.json").exists() else None


def table(result: dict[str, Any]) -> str:
    """The result as text for people."""
    answers = answers_of(result["answers"])
    worst, rows, counts = result["worst"], result["errors_cm"], result["frames"]
    names = [ENCODER, RANDOM, *(name for name in ("pixels 16x16", FELT, SHUFFLED) if name in worst["scores"])]
    columns = {name: main_answers(answers, name) for name in names}
    heads: list[Head] = [head for head in NETWORKS if main_answers(answers, ENCODER, head)]
    columns |= {f"by {head}": main_answers(answers, ENCODER, head) for head in heads}
    if heads:
        columns[LABELLED] = main_answers(answers, LABELLED, "labelled")
    shares = normalised(answers)
    lines = [
        f"worst factor: {worst['factor']}, R² {worst['scores'][ENCODER]:.2f} "
        f"(random encoder {worst['scores'][RANDOM]:.2f})",
        f"R² (of steps: rank correlation), held-out episodes, {counts['test']} frames; ridge on {counts['train']}",
        f"  {'factor':22}" + "".join(f"{name:>20}" for name in columns),
    ]
    for factor in main_answers(answers, ENCODER):
        cells = (f"{row[factor].score:>20.2f}" if factor in row else f"{'':20}" for row in columns.values())
        share = f"{shares[factor]:>20.2f}" if factor in shares else ""
        lines.append(f"  {factor:22}" + "".join(cells) + share)
    if shares:
        lines.append(f"{NORMALISED}: 0 is the random encoder, 1 what was trained with labels, where that knows more")
    for place in dict.fromkeys(one.judged_on for one in answers if one.judged_on != HELD_OUT):
        means = (f"{name} {mean_score(answers, name, place):.2f}" for name in (ENCODER, RANDOM))
        lines.append(f"judged on {place}, mean of its factors: {', '.join(means)}; {PAGE} has them all")
    factors = list(rows[ENCODER])
    lines += ["mean error of places", f"  {'features':15}" + "".join(f"{factor:>12}" for factor in factors)]
    for name, row in rows.items():
        lines.append(f"  {name:15}" + "".join(f"{row[factor]:>9.2f} cm" for factor in factors))
    return "\n".join(lines)

"""One piece of a comparison of objectives: an encoder is pretrained, and asked what it knows."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from goalsight.base.files import atomic_write_json, read_json
from goalsight.base.run_folders import MANIFEST
from goalsight.eval.objectives.held_out import ASKED, episodes_of

if TYPE_CHECKING:
    from goalsight.eval.probes.subjects import See

KEPT = ("steps", "seconds", "flops", "flops_per_pair", "alarms")


def piece(config: dict[str, Any], data: str, frames: int, out: str, share: str | None = None) -> dict[str, Any]:
    """Pretrain an encoder, or go on with it, ask it, and keep what was measured beside its folder.

    Args:
        config: of the pretraining, in JSON's own types; its seed also splits the episodes.
        data: recorded play that the encoder is asked about.
        frames: of it, at most.
        out: the run's folder; `<out>.json` keeps the row.
        share: of the episodes, as of `episodes_of`, that are asked about; all unless given.
    """
    from goalsight.base.options import options_from
    from goalsight.base.runs import Run
    from goalsight.pretrain.train import Pretrain, pretrain, resume

    path, asked = Path(out), options_from(Pretrain, config)
    if not (path / MANIFEST).exists():
        pretrain(replace(asked, out=path))
    elif Run.open(path).status != "finished":
        with Run.resume(path) as run:
            resume(run)
    run = Run.open(path)
    if run.status != "finished":
        return {"status": run.status}
    row = {name: getattr(asked, name) for name in ("objective", "tokeniser", "seed")}
    row |= {"asked_flops": asked.flops, "rate": asked.lr} | {name: run.summary[name] for name in KEPT}
    row |= known(Path(data), path, frames, asked.seed, share)
    atomic_write_json(path.with_name(f"{path.name}.json"), row)
    return row


def known(
    data: Path, encoder: Path, frames: int, seed: int, share: str | None = None, *, pooled: bool = False
) -> dict[str, Any]:
    """What ridge regression reads off an encoder from all labels: "scores" by factor, and errors of places [cm].

    Args:
        data: recorded play that is asked about.
        encoder: a run.
        frames: as of `piece`.
        seed: of the split.
        share: as of `piece`.
        pooled: whether no more than the mean over a frame's tokens is read.
    """
    from goalsight.eval.probes.subjects import Subject

    see = Subject(encoder, seed=seed).sees["encoder"]
    sees: dict[str, See] = {"encoder": (lambda frames: see(frames).mean(1, keepdims=True)) if pooled else see}
    return _asked(data, sees, frames, seed, share)["encoder"]


def references(data: Path, size: str, frames: int, seed: int, folder: Path) -> list[dict[str, Any]]:
    """What is read off a random encoder and off pixels averaged down, by the split of a seed.

    Args:
        data: recorded play, of which the same episodes are asked about as of encoders that have learnt.
        size: of the random encoder.
        frames: as of `piece`.
        seed: of the random encoder and of the split.
        folder: of the comparison, which keeps the rows.
    """
    from goalsight.eval.probes.probe import open_labelled
    from goalsight.eval.probes.subjects import averaged, learnt, pixels
    from goalsight.pretrain.encoders.vit import random_encoder

    path = folder / "references" / f"{seed}.json"
    if not path.exists():
        encoder = random_encoder(size, open_labelled(data).image_size, seed)
        sees: dict[str, See] = {"random encoder": learnt(encoder), pixels(16): partial(averaged, side=16)}
        path.parent.mkdir(exist_ok=True)
        atomic_write_json(path, _asked(data, sees, frames, seed, ASKED))
    return [{"features": name, "seed": seed, **row} for name, row in read_json(path).items()]


def _asked(
    data: Path, sees: "Mapping[str, See]", frames: int, seed: int, share: str | None
) -> dict[str, dict[str, Any]]:
    """What is read off each of the features, by name."""
    from goalsight.eval.probes import asking
    from goalsight.eval.probes.answers import Answer, main_answers, mean_score
    from goalsight.eval.probes.parts import parted_by_seen
    from goalsight.eval.probes.probe import open_labelled

    store, answers = open_labelled(data), list[Answer]()
    episodes = None if share is None else episodes_of(store, share)
    for seen, parts in parted_by_seen(store, frames, seed, episodes=episodes).items():
        for name, see in sees.items():
            answers += asking.by_ridge(asking.seen_by(see), parts, {}, name=name, seen=seen)
    found = {}
    for name in sees:
        known = main_answers(answers, name)
        found[name] = {
            "scores": {factor: one.score for factor, one in known.items()},
            "errors_cm": {factor: known[factor].error_cm for factor in store.labels if factor in known},
            "mean_score": mean_score(answers, name),
            "worst": min(known, key=lambda factor: known[factor].score),
        }
    return found

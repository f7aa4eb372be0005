"""One piece of a comparison of objectives: an encoder is pretrained, and asked what it knows."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from goalsight.base.files import atomic_write_json, read_json
from goalsight.base.run_folders import MANIFEST

KEPT = ("steps", "seconds", "flops", "flops_per_pair", "alarms")
REFERENCES = "references.json"


def piece(config: dict[str, Any], data: str, frames: int, out: str) -> dict[str, Any]:
    """Pretrain an encoder, or go on with it, ask it, and keep what was measured beside its folder.

    Args:
        config: of the pretraining, in JSON's own types; its seed also splits the episodes.
        data: recorded play that the encoder is asked about.
        frames: of it, at most.
        out: the run's folder; `<out>.json` keeps the row.
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
    row |= known(Path(data), path, frames, asked.seed)
    atomic_write_json(path.with_name(f"{path.name}.json"), row)
    return row


def known(data: Path, encoder: Path, frames: int, seed: int) -> dict[str, Any]:
    """What ridge regression reads off an encoder, from all labels, of each factor: told, and errors of places [cm]."""
    from goalsight.eval.probes.subjects import Subject

    return _told(data, {"encoder": Subject(encoder, seed=seed).sees["encoder"]}, frames, seed)["encoder"]


def references(data: Path, size: str, frames: int, folder: Path) -> dict[str, Any]:
    """What is read off random encoders and pixels averaged down, kept in the comparison's folder."""
    from goalsight.eval.probes.subjects import averaged, learnt
    from goalsight.pretrain.encoders.vit import random_encoder

    if (folder / REFERENCES).exists():
        kept: dict[str, Any] = read_json(folder / REFERENCES)
        return kept
    sees = {"random encoder": learnt(random_encoder(size)), "pixels 16x16": lambda images: averaged(images, 16)}
    found = _told(data, sees, frames, 0)
    atomic_write_json(folder / REFERENCES, found)
    return found


def _told(data: Path, sees: dict[str, Any], frames: int, seed: int) -> dict[str, dict[str, Any]]:
    from goalsight.eval.probes import asking
    from goalsight.eval.probes.answers import HELD_OUT, Answer, main_answers, mean_told
    from goalsight.eval.probes.factors import SEEN
    from goalsight.eval.probes.probe import open_labelled

    store, answers = open_labelled(data), list[Answer]()
    for seen in SEEN:
        parts = asking.parted(store, frames, seed, seen)
        for name, see in sees.items():
            answers += asking.by_ridge(asking.seen_by(see), parts, {}, name=name, seen=seen)
    found = {}
    for name in sees:
        known = main_answers(answers, name)
        found[name] = {
            "told": {factor: one.told for factor, one in known.items()},
            "errors_cm": {factor: known[factor].error_cm for factor in store.labels if factor in known},
            "mean_told": mean_told(answers, name, HELD_OUT),
            "worst": min(known, key=lambda factor: known[factor].told),
        }
    return found

"""One piece of a comparison of objectives: an encoder is pretrained, and asked what it knows."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np

from goalsight.base.files import atomic_write_json, read_json
from goalsight.base.run_folders import MANIFEST

KEPT = ("steps", "seconds", "flops", "flops_per_pair", "alarms")
REFERENCES = "references.json"


def piece(
    data: str,
    objective: str,
    tokeniser: str,
    size: str,
    batch: int,
    flops: float,
    rate: float,
    seed: int,
    frames: int,
    out: str,
) -> dict[str, Any]:
    """Pretrain an encoder, or go on with it, ask it, and keep what was measured beside its folder.

    Args:
        data: a recording.
        objective: what the encoder learns from.
        tokeniser: that it needs.
        size: of the encoder.
        batch: clips per step.
        flops: budget of operations.
        rate: largest learning rate.
        seed: of the training, and of the split into episodes.
        frames: that it is asked about, at most.
        out: the run's folder; `<out>.json` keeps the row.
    """
    from goalsight.base.runs import Run
    from goalsight.pretrain.train import Pretrain, pretrain, resume

    path = Path(out)
    if not (path / MANIFEST).exists():
        if path.exists():
            shutil.rmtree(path)
        asked = Pretrain(
            data=(Path(data),),
            objective=objective,
            tokeniser=tokeniser,
            size=size,
            batch=batch,
            flops=flops,
            lr=rate,
            seed=seed,
            threads=1,
            picture_every=1e9,
            out=path,
        )
        pretrain(asked)
    elif Run.open(path).status != "finished":
        with Run.resume(path) as run:
            resume(run)
    run = Run.open(path)
    if run.status != "finished":
        return {"status": run.status}
    row = {"objective": objective, "tokeniser": tokeniser, "asked_flops": flops, "rate": rate, "seed": seed}
    row |= {name: run.summary[name] for name in KEPT} | known(Path(data), path, frames, seed)
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


def check_data(data: Path) -> None:
    """Refuse data that encoders cannot be asked about.

    Raises:
        UserError: there is no store, or it knows no positions.
    """
    from goalsight.eval.probes.probe import open_labelled

    open_labelled(data)


def _told(data: Path, sees: dict[str, Any], frames: int, seed: int) -> dict[str, dict[str, Any]]:
    from goalsight.eval.probes import asking
    from goalsight.eval.probes.factors import SEEN
    from goalsight.eval.probes.probe import open_labelled

    store = open_labelled(data)
    found: dict[str, dict[str, Any]] = {name: {"told": {}, "errors_cm": {}} for name in sees}
    for seen in SEEN:
        parts = asking.parted(store, frames, seed, seen)
        for name, see in sees.items():
            for one in asking.by_ridge(asking.seen_by(see), parts, {}, name=name, seen=seen):
                found[name]["told"][one.factor] = one.told
                if one.factor in store.labels:
                    found[name]["errors_cm"][one.factor] = one.error_cm
    for row in found.values():
        told = np.array(list(row["told"].values()))
        row["mean_told"] = float(np.maximum(told, 0).mean())
        row["worst"] = min(row["told"], key=lambda factor: row["told"][factor])
    return found

"""Checkpoints: folders of safetensors and JSON that appear whole under their name, or not at all."""

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from goalsight.base.errors import UserError
from goalsight.base.files import flush_to_disk, read_json, to_json, write_flushed, writing

if TYPE_CHECKING:
    import torch

WEIGHTS, META = "weights.safetensors", "meta.json"


def step_name(step: int) -> str:
    """Return the name of a step's folder."""
    return f"{step:06d}"


def published_steps(folder: Path) -> list[int]:
    """Return the steps that have a checkpoint in `folder`, oldest first."""
    return sorted(int(entry.name) for entry in folder.glob("*") if entry.name.isdigit())


def publish(folder: Path, step: int, tensors: "dict[str, torch.Tensor]", meta: dict[str, Any]) -> Path:
    """Write a checkpoint beside its place, flush it to the disk, and rename it into `folder`.

    Args:
        folder: of all the run's checkpoints; made if absent.
        step: names the checkpoint; the same step again replaces it.
        tensors: weights by name, on any device.
        meta: what is needed to rebuild the model; "step" is added.

    Returns:
        the checkpoint's folder.

    Raises:
        UserError: if the disk refuses; nothing that was published before has then changed.
    """
    from safetensors.torch import save

    # Copies: safetensors refuses tensors that share memory, as tied weights do.
    plain = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}
    target = folder / step_name(step)
    with writing(target):
        folder.mkdir(exist_ok=True)
        _remove_leftovers(folder)
        sibling = folder / f".{target.name}.{os.getpid()}.tmp"
        try:
            sibling.mkdir()
            write_flushed(sibling / WEIGHTS, save(plain))
            write_flushed(sibling / META, json.dumps(to_json({"step": step, **meta}), indent=2).encode())
            flush_to_disk(sibling)
            _move_into_place(sibling, target)
        except BaseException:
            shutil.rmtree(sibling, ignore_errors=True)
            raise
        flush_to_disk(folder)
    return target


def read_checkpoint(folder: Path) -> "tuple[dict[str, torch.Tensor], dict[str, Any]]":
    """Return the tensors (on the CPU) and the meta of a checkpoint folder.

    Raises:
        UserError: if a file is missing or damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    meta = read_json(folder / META)
    try:
        return load((folder / WEIGHTS).read_bytes()), meta
    except (OSError, SafetensorError) as error:
        raise UserError(f"cannot read {folder / WEIGHTS}: {error}") from error


def _move_into_place(sibling: Path, target: Path) -> None:
    """Rename `sibling` to `target`, replacing a folder that is there."""
    if not target.exists():
        os.rename(sibling, target)
        return
    # A folder cannot be renamed over a full one; the old one leaves first and goes once the new one is in.
    old = target.with_name(f".{target.name}.{os.getpid()}.old")
    os.rename(target, old)
    try:
        os.rename(sibling, target)
    except BaseException:
        os.rename(old, target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _remove_leftovers(folder: Path) -> None:
    """Clear up after a killed process: bring back what it had moved away, remove what it had not finished."""
    for old in folder.glob(".*.old"):
        target = folder / old.name.split(".")[1]
        if target.exists():
            shutil.rmtree(old, ignore_errors=True)
        else:
            os.rename(old, target)
    for leftover in folder.glob(".*.tmp"):
        shutil.rmtree(leftover, ignore_errors=True)

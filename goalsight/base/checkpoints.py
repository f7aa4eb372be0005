"""Checkpoints: folders of safetensors and JSON that appear whole under their name, or not at all."""

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from goalsight.base.errors import UserError
from goalsight.base.files import flush_to_disk, read_json, to_json, write_flushed, writing
from goalsight.base.training_state import State, cut, join

if TYPE_CHECKING:
    import torch

WEIGHTS, META = "weights.safetensors", "meta.json"
STATE, STATE_TREE = "state.safetensors", "state.json"  # what training goes on from; see `training_state`


def step_name(step: int) -> str:
    """Return the name of a step's folder."""
    return f"{step:06d}"


def published_steps(folder: Path) -> list[int]:
    """Return the steps that have a checkpoint in `folder`, oldest first."""
    moved_away = {entry.name.split(".")[1] for entry in folder.glob(".*.old")}
    names = {entry.name for entry in folder.glob("*")} | moved_away
    return sorted(int(name) for name in names if name.isdigit())


def find(folder: Path, step: int) -> Path:
    """Return a step's checkpoint; for a moment, while the step is published anew, the one from before."""
    target = folder / step_name(step)
    return target if target.is_dir() else next(folder.glob(f".{target.name}.*.old"), target)


def publish(
    folder: Path, step: int, tensors: "dict[str, torch.Tensor]", meta: dict[str, Any], state: State | None = None
) -> Path:
    """Write a checkpoint beside its place, flush it to the disk, and rename it into `folder`.

    Args:
        folder: of all the run's checkpoints; made if absent.
        step: names the checkpoint; the same step again replaces it.
        tensors: weights by name, on any device.
        meta: what is needed to rebuild the model; "step" is added.
        state: what training goes on from; once it is published, older checkpoints lose theirs.

    Returns:
        the checkpoint's folder.

    Raises:
        UserError: if the disk refuses; nothing that was published before has then changed.
    """
    # Copies: safetensors refuses tensors that share memory, as tied weights do.
    plain = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}
    target = folder / step_name(step)
    with writing(target):
        folder.mkdir(exist_ok=True)
        remove_leftovers(folder)
        sibling = folder / f".{target.name}.{os.getpid()}.tmp"
        try:
            sibling.mkdir()
            _write_files(sibling, plain, {"step": step, **meta}, state)
            flush_to_disk(sibling)
            _move_into_place(sibling, target)
        except BaseException:
            shutil.rmtree(sibling, ignore_errors=True)
            raise
        flush_to_disk(folder)
        if state is not None:
            _drop_states_but(folder, target)
    return target


def _write_files(folder: Path, tensors: "dict[str, torch.Tensor]", meta: dict[str, Any], state: State | None) -> None:
    from safetensors.torch import save

    write_flushed(folder / WEIGHTS, save(tensors))
    write_flushed(folder / META, json.dumps(to_json(meta), indent=2).encode())
    if state is not None:
        kept, tree = cut(state)
        write_flushed(folder / STATE, save(kept))
        # Unlike what people read, this knows numbers that are not finite.
        write_flushed(folder / STATE_TREE, json.dumps(tree).encode())


def _drop_states_but(folder: Path, newest: Path) -> None:
    """Remove the training states of other checkpoints; their weights stay."""
    for path in folder.glob("[0-9]*/state.*"):
        if path.parent != newest:
            path.unlink(missing_ok=True)


def read_state(folder: Path) -> State | None:
    """Return the training state in a checkpoint's folder, or None where it holds none.

    Raises:
        UserError: if it is damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    if not (folder / STATE_TREE).exists():
        return None
    try:
        return join(load((folder / STATE).read_bytes()), read_json(folder / STATE_TREE))
    except (OSError, SafetensorError, KeyError) as error:
        raise UserError(f"cannot read {folder / STATE}: {error}") from error


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


def remove_leftovers(folder: Path) -> None:
    """Clear up after a killed process: bring back what it had moved away, remove what it had not finished."""
    for old in folder.glob(".*.old"):
        target = folder / old.name.split(".")[1]
        if target.exists():
            shutil.rmtree(old, ignore_errors=True)
        else:
            os.rename(old, target)
    for leftover in folder.glob(".*.tmp"):
        shutil.rmtree(leftover, ignore_errors=True)

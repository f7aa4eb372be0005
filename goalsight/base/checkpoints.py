"""Checkpoints: folders of safetensors and JSON that appear whole under their name, or not at all."""

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from goalsight.base.errors import UserError, in_one_line
from goalsight.base.files import (
    atomic_write_text,
    flush_to_disk,
    plain_bytes,
    read_json,
    to_json,
    write_flushed,
    writing,
)
from goalsight.base.records import json_object
from goalsight.base.training_state import State, cut, join

if TYPE_CHECKING:
    import torch

WEIGHTS, META = "model.safetensors", "meta.json"
OLDER_WEIGHTS = "weights.safetensors"  # what they were called before 2026-11-30
LAST, BEST = "last", "best"  # files beside the checkpoints that name one
PASSING = "passing"  # marks a checkpoint that goes once a newer one is there
STATE, STATE_TREE = "state.safetensors", "state.json"  # what training goes on from; see `training_state`
SUMS = "sums.json"  # sha256 of each of these as it was written; older checkpoints have none


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


def look_up(folder: Path, which: str | int) -> Path | None:
    """Return the checkpoint that a pointer or a step names; None where there is none.

    Args:
        folder: of all the run's checkpoints.
        which: "last", "best" (the last one where none was marked), or a step.
    """
    steps = published_steps(folder)
    if which in (LAST, BEST):
        return find(folder, _pointed_at(folder, str(which), steps)) if steps else None
    return find(folder, int(which)) if str(which).isdigit() and int(which) in steps else None


def _pointed_at(folder: Path, pointer: str, steps: list[int]) -> int:
    """Return the step that a pointer names; the newest one where the file is absent or wrong.

    A crash between a checkpoint's rename and the pointer's leaves the pointer one behind, or absent.
    """
    for name in (pointer, LAST):
        file = folder / name
        named = file.read_text(errors="replace").strip() if file.exists() else ""
        if named.isdigit() and int(named) in steps:
            return int(named)
    return steps[-1]


def newest_state(folder: Path) -> tuple[int, State] | None:
    """Return the newest training state and its step; None where no checkpoint holds one."""
    for step in reversed(published_steps(folder)):
        if (state := read_state(find(folder, step))) is not None:
            return step, state
    return None


def publish(
    folder: Path,
    step: int,
    tensors: "dict[str, torch.Tensor]",
    meta: dict[str, Any],
    state: State | None = None,
    *,
    best: bool = False,
    keep: bool = True,
) -> Path:
    """Write a checkpoint beside its place, flush it to the disk, rename it into `folder`, and point to it.

    Args:
        folder: of all the run's checkpoints; made if absent.
        step: names the checkpoint; the same step again replaces it.
        tensors: weights by name, on any device.
        meta: what is needed to rebuild the model; "step" is added.
        state: what training goes on from; once it is published, older checkpoints lose theirs.
        best: point `best` to it too. `last` always is.
        keep: otherwise it goes once a newer one is there, unless it is the best.

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
            if not keep:
                (sibling / PASSING).touch()
            flush_to_disk(sibling)
            _move_into_place(sibling, target)
        except BaseException:
            shutil.rmtree(sibling, ignore_errors=True)
            raise
        flush_to_disk(folder)
        for pointer in (LAST, BEST) if best else (LAST,):
            atomic_write_text(folder / pointer, target.name + "\n")
        if state is not None:
            _drop_states_but(folder, target)
        _drop_passing_but(folder, target)
    return target


def _write_files(folder: Path, tensors: "dict[str, torch.Tensor]", meta: dict[str, Any], state: State | None) -> None:
    from safetensors.torch import save

    files = {WEIGHTS: save(tensors), META: json.dumps(to_json(meta), indent=2).encode()}
    if state is not None:
        kept, tree = cut(state)
        # Unlike what people read, this knows numbers that are not finite.
        files |= {STATE: save(kept), STATE_TREE: json.dumps(tree).encode()}
    files[SUMS] = json.dumps({name: hashlib.sha256(data).hexdigest() for name, data in files.items()}).encode()
    for name, data in files.items():
        write_flushed(folder / name, data)


def _read_files(folder: Path, *names: str) -> list[bytes]:
    """What files of a checkpoint hold.

    Raises:
        UserError: one is missing, or is not what was written.
    """
    sums = read_json(folder / SUMS, form=dict[str, str]) if (folder / SUMS).exists() else None
    found = []
    for name in names:
        data = plain_bytes(folder / name)
        if sums is not None and sums.get(name) != hashlib.sha256(data).hexdigest():
            raise UserError(f"cannot read {folder / name}: it is not what was written; {SUMS} beside it tells")
        found.append(data)
    return found


def _drop_states_but(folder: Path, newest: Path) -> None:
    """Remove the training states of other checkpoints; their weights stay."""
    for path in folder.glob("[0-9]*/state.*"):
        if path.parent != newest:
            path.unlink(missing_ok=True)


def _drop_passing_but(folder: Path, newest: Path) -> None:
    """Remove older checkpoints that nothing points to and that were to go; one that is half gone is a leftover.

    One that still holds a training state stays: the newest has none, and whoever is killed now goes on from there.
    """
    best = folder / BEST
    pointed = best.read_text(errors="replace").strip() if best.exists() else ""
    for mark in folder.glob(f"[0-9]*/{PASSING}"):
        passing = mark.parent
        if passing.name not in (newest.name, pointed) and not (passing / STATE_TREE).exists():
            gone = folder / f".{passing.name}.{os.getpid()}.tmp"
            os.rename(passing, gone)
            shutil.rmtree(gone, ignore_errors=True)


def read_state(folder: Path) -> State | None:
    """Return the training state in a checkpoint's folder, or None where it holds none.

    Raises:
        UserError: if it is damaged.
    """
    if not (folder / STATE_TREE).exists():
        return None
    tensors, tree = _read_files(folder, STATE, STATE_TREE)
    try:
        return join(_tensors(folder / STATE, tensors), json_object(folder / STATE_TREE, tree, finite=False))
    except (KeyError, TypeError, RecursionError) as error:
        raise UserError(f"cannot read {folder / STATE}: {in_one_line(error)}") from error


def read_checkpoint(folder: Path) -> "tuple[dict[str, torch.Tensor], dict[str, Any]]":
    """Return the tensors (on the CPU) and the meta of a checkpoint folder.

    Raises:
        UserError: if a file is missing or damaged.
    """
    name = OLDER_WEIGHTS if (folder / OLDER_WEIGHTS).exists() else WEIGHTS
    meta, weights = _read_files(folder, META, name)
    return _tensors(folder / name, weights), json_object(folder / META, meta)


def _tensors(path: Path, data: bytes) -> "dict[str, torch.Tensor]":
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        return load(data)
    except (SafetensorError, KeyError, ValueError, RuntimeError) as error:  # what a damaged head comes to
        raise UserError(f"cannot read {path}: {in_one_line(error)}") from error


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

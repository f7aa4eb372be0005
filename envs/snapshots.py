"""Snapshots of environments as training state: nothing but arrays, generators' numbers and JSON, so never pickled."""

from dataclasses import fields, is_dataclass
from typing import Any, get_type_hints

import numpy as np

from goalsight.base.training_state import State, load_rng, rng_state
from goalsight.envs.vector import Snapshot

RNG = "@generator"  # key of the dictionary that stands for a generator


def snapshot_state(snapshot: Snapshot) -> State:
    """A snapshot as a training state."""
    state: State = _plain(snapshot)
    return state


def snapshot_of(state: State) -> Snapshot:
    """Undo `snapshot_state`, also after the state was kept in a file.

    Raises:
        KeyError: a part of it is missing.
    """
    snapshot: Snapshot = _made(Snapshot, state)
    return snapshot


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {each.name: _plain(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, np.random.Generator):
        return {RNG: rng_state(value)}
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, list | tuple) else value


def _made(kind: Any, value: Any) -> Any:
    """A value of a type that `_plain` took apart."""
    if is_dataclass(kind):
        hints = get_type_hints(kind)
        parts = {each.name: _made(hints[each.name], value[each.name]) for each in fields(kind)}
        return kind(**parts)  # type: ignore[operator]
    if isinstance(value, dict) and RNG in value:
        generator = np.random.default_rng(0)
        load_rng(generator, value[RNG])
        return generator
    if isinstance(value, dict):
        return {key: _made(None, part) for key, part in value.items()}
    if isinstance(value, list):
        made = [_made(None, part) for part in value]
        return tuple(made) if getattr(kind, "__origin__", None) is tuple else made
    return value

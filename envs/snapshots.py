"""Snapshots of environments: all from which they go on, also as training state, which is never pickled."""

from dataclasses import dataclass, fields, is_dataclass
from typing import Any, get_type_hints

import numpy as np
from numpy.typing import NDArray

from goalsight.base.training_state import State, load_rng, rng_state
from goalsight.envs.simulation.simulator import SimulatorSnapshot

RNG = "@generator"  # key of the dictionary that stands for a generator


@dataclass(frozen=True)
class Snapshot:
    """All from which a batch of environments goes on; a copy, made by `GoalVectorEnv.snapshot`."""

    kind: dict[str, str]  # of environments: what decides how they go on, by name
    simulator: SimulatorSnapshot
    elapsed: NDArray[np.int64]  # steps of the episodes, (N,)
    achieved_for: NDArray[np.int64]  # steps in a row, (N,)
    over: NDArray[np.bool_]  # episodes that have ended and are still to be reset, (N,)
    obs: dict[str, NDArray[Any]]
    goals: dict[str, NDArray[Any]]  # by the keys of the observation that show them


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

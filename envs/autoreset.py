"""What vector environments are asked and say, in the shapes that Gymnasium gives them, and how they begin anew."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from goalsight.base.errors import UserError, choose


def seed_each(seed: int | Sequence[int | None] | None, num_envs: int) -> list[int | None]:
    """A seed for each of N environments: s + i for an int s, those of a sequence, or None for all.

    Raises:
        UserError: a sequence of another length.
    """
    if seed is None:
        return [None] * num_envs
    if isinstance(seed, int | np.integer):
        return [int(seed) + i for i in range(num_envs)]
    if len(seed) != num_envs:
        raise UserError(f"reset needs {num_envs} seeds, one for each environment, got {len(seed)}")
    return [None if own is None else int(own) for own in seed]


def mode_of(mode: str | AutoresetMode) -> AutoresetMode:
    """The autoreset mode that is meant: Gymnasium's enumeration, its values ("SameStep") or names ("same_step").

    Raises:
        UserError: there is no such mode.
    """
    if isinstance(mode, AutoresetMode):
        return mode
    names = {one.name.lower(): one for one in AutoresetMode}
    values = {one.value: one for one in AutoresetMode}
    word = str(mode)  # whatever it is
    return values[word] if word in values else names[choose("autoreset mode", word, names)]


def check_mask(mask: Any, num_envs: int, *, first: bool) -> NDArray[np.bool_]:
    """The option `reset_mask` of a reset, bool (N,), as an array of its own; None means all.

    Raises:
        UserError: it is no such mask or marks none, or not all where this is the first reset.
    """
    mask = np.ones(num_envs, bool) if mask is None else np.array(mask)
    if mask.shape != (num_envs,) or mask.dtype != bool or not mask.any():
        raise UserError(f"reset_mask must be bool of shape ({num_envs},) and mark an environment")
    if first and not mask.all():
        raise UserError("the first reset must be of all environments")
    return mask


def check_begun(over: NDArray[np.bool_], mode: AutoresetMode) -> None:
    """Make sure that no environment is stepped beyond its episode's end, (N,), where none resets itself.

    Raises:
        UserError: one would be.
    """
    if mode == AutoresetMode.DISABLED and over.any():
        ended = np.flatnonzero(over)[:5].tolist()
        raise UserError(f'episodes have ended in environments {ended}; reset them, with options {{"reset_mask": ...}}')


def info_of(success: NDArray[np.bool_], diverged: NDArray[np.bool_], mask: NDArray[np.bool_]) -> dict[str, Any]:
    """The `info` of a step or a reset, all bool (N,); `mask` marks the environments that it speaks of."""
    return {"is_success": success & mask, "_is_success": mask.copy(), "diverged": diverged, "_diverged": mask.copy()}


def final_of(obs: dict[str, NDArray[Any]], info: dict[str, Any], ended: NDArray[np.bool_]) -> dict[str, Any]:
    """What `info` holds besides where episodes have ended: `final_obs` and `final_info`.

    Args:
        obs: after the last step, (N, ...) per key; rows are copied.
        info: of the last step.
        ended: which episodes have, bool (N,).
    """
    final = np.full(len(ended), None, dtype=object)
    for i in np.flatnonzero(ended):
        final[i] = {key: value[i].copy() for key, value in obs.items()}
    outcome = {key: info[key] & ended for key in ("is_success", "diverged")}
    outcome |= {f"_{key}": ended.copy() for key in outcome}
    return {"final_obs": final, "_final_obs": ended.copy(), "final_info": outcome, "_final_info": ended.copy()}


def copied(obs: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Observations to hand out: whatever is done to them changes nothing that is kept."""
    return {key: value.copy() for key, value in obs.items()}

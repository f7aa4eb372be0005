"""What vector environments with same-step autoreset are asked and say, in the shapes that Gymnasium gives them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from goalsight.base.errors import UserError


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


def info_of(success: NDArray[np.bool_], diverged: NDArray[np.bool_]) -> dict[str, Any]:
    """The `info` of a step or a reset, both bool (N,)."""
    everyone = np.ones(len(success), bool)
    return {"is_success": success, "_is_success": everyone, "diverged": diverged, "_diverged": everyone}


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
    outcome = {key: info[key] for key in ("is_success", "diverged")}
    outcome |= {f"_{key}": ended for key in outcome}
    return {"final_obs": final, "_final_obs": ended, "final_info": outcome, "_final_info": ended}

"""Parameters for tests of every environment."""

from collections.abc import Iterable
from typing import Any

import pytest

LONG = (pytest.mark.long,)
ELSEWHERE = ("Push-", "PickPlace-", "Drawer-")  # tasks that every arm does before a change lands; the Panda does all


def parameters(env_ids: Iterable[str]) -> list[Any]:
    """Ids; those of other arms in further tasks are marked `long`: arm and task are tested there apart."""
    return [
        pytest.param(env_id, marks=() if "/Panda" in env_id or any(task in env_id for task in ELSEWHERE) else LONG)
        for env_id in env_ids
    ]

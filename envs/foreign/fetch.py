"""Gymnasium-Robotics with MuJoCo 4, with which its version 1.4.2 does not start.

It asks whether the number of a joint's type is one of the members of an enumeration, which in MuJoCo 4 no longer say
that they equal integers of NumPy. `let_start` has the module that asks see the numbers behind the members.
"""

from types import SimpleNamespace
from typing import Any

ENTRY_POINT = "gymnasium_robotics."  # of all of them


class _Numbers:
    """The module `mujoco`, whose enumerations of constants hold plain integers."""

    def __init__(self, module: Any) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._module, name)
        members = getattr(value, "__members__", None)
        return value if members is None else SimpleNamespace(**{key: int(member) for key, member in members.items()})


def let_start() -> None:
    """Mend the library in this process, if it is installed and not mended yet; its other releases are not harmed."""
    try:
        from gymnasium_robotics.utils import mujoco_utils  # type: ignore[import-untyped]
    except ImportError:
        return
    if not isinstance(mujoco_utils.mujoco, _Numbers):
        mujoco_utils.mujoco = _Numbers(mujoco_utils.mujoco)

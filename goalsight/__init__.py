"""goalsight: a robot arm first watches video, then learns to reach goals it is shown."""

import itertools
import os
import sys

# `python -m goalsight` puts the current folder first, of which nothing is to run unasked, not even in place of a module
# of Python's own: it goes before anything else is imported.
if sys.argv[:1] == ["-m"] and sys.path[:1] == [os.getcwd()]:  # as it is while Python looks for what -m names
    _words = [word[-1] if word.startswith("-") else word for word in sys.orig_argv[1:]]
    if ("m", "goalsight") in itertools.pairwise(_words):
        del sys.path[0]
    del _words

import importlib
import importlib.machinery
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

__version__ = "0.1.0"
__all__ = ["load_agent", "load_encoder", "register_task"]

# In a checkout the rooms lie beside this folder; Python that is started there finds this file before an installed one.
if not (Path(__file__).parent / "envs").is_dir():
    __path__.append(str(Path(__file__).resolve().parents[1]))


class _WhenGymnasiumComes:
    """Registers the ids when Gymnasium is imported, so that whoever needs no environments loads none of it."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Find Gymnasium as everybody else does, and let the ids follow what its module does on import."""
        if fullname != "gymnasium":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_and_register(module: ModuleType) -> None:
                execute(module)
                _register_ids()

            spec.loader.exec_module = execute_and_register  # type: ignore[method-assign]
        return spec


def _register_ids() -> None:
    importlib.import_module("goalsight.envs.ids")  # registers them at its end


_LIES_IN = {
    "load_agent": "goalsight.agents.agent",
    "load_encoder": "goalsight.pretrain.encoders.vit",
    "register_task": "goalsight.envs.registration",
}


def __getattr__(name: str) -> Any:
    """Load what needs more than this module when it is first asked for."""
    if name not in _LIES_IN:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_LIES_IN[name]), name)


# `gym.make("goalsight:goalsight/PandaPush-v1")` imports this module and expects its ids to exist then.
if "gymnasium" in sys.modules:
    _register_ids()
else:
    sys.meta_path.insert(0, _WhenGymnasiumComes())

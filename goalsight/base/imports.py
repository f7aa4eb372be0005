"""Modules that a user names: found in the current folder too, which nothing else is ever imported from."""

import os
import sys
from importlib import import_module
from importlib.machinery import PathFinder
from types import ModuleType


def import_named(module: str) -> ModuleType:
    """Import a module that the user has named, here or on the command line; what is installed comes first.

    The current folder joins the path only if it is what holds the module: a file there that happens to be called
    like an optional package is otherwise never run.
    """
    package = module.partition(".")[0]
    here = os.getcwd()
    if package not in sys.modules and PathFinder.find_spec(package) is None and PathFinder.find_spec(package, [here]):
        sys.path.append(here)
    return import_module(module)

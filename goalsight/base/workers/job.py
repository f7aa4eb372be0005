"""One job: a function named by where it lies, and what it is called with, in JSON's own types."""

import json
import os
import sys
from dataclasses import dataclass, field
from functools import reduce
from importlib import import_module
from typing import Any

from goalsight.base.files import to_json

_prepared: list[tuple[str, dict[str, Any]]] = []  # "module:qualname", and its arguments


@dataclass(frozen=True)
class Job:
    """A call that some process makes: here, or on another machine.

    Raises:
        ValueError: the function is not named "module:qualname", or the arguments are not JSON.
    """

    name: str  # for messages; tells it from the others
    function: str  # "module:qualname"
    arguments: dict[str, Any] = field(default_factory=dict)  # by name
    log: str | None = None  # file that what it prints is added to; standard error unless given
    gpus: int = 0  # it needs, of those that Ray hands out

    def __post_init__(self) -> None:
        module, _, name = self.function.partition(":")
        if not all(part.isidentifier() for part in (*module.split("."), *name.split("."))):
            raise ValueError(f'a function is named "module:qualname", got "{self.function}"')
        try:
            same = json.loads(json.dumps(self.arguments)) == self.arguments
        except (TypeError, ValueError):
            same = False
        if not same:
            raise ValueError(f"the arguments of {self.name} are not in JSON's own types: {self.arguments!r:.200}")


@dataclass(frozen=True)
class Outcome:
    """What came of a job: its result in JSON's own types, or why there is none, in one line."""

    job: Job
    result: Any = None
    error: str = ""


def call(function: str, arguments: dict[str, Any]) -> Any:
    """Call the function that lies at "module:qualname", and return its result in JSON's own types."""
    module, _, name = function.partition(":")
    return to_json(reduce(getattr, name.split("."), import_module(module))(**arguments))  # type: ignore[operator]


def prepare(function: str, **arguments: Any) -> None:
    """Make a call here, and first of all in the process of every later job, such as one that registers a task."""
    call(function, arguments)
    _prepared.append((function, arguments))


def surroundings() -> dict[str, Any]:
    """What a job's process takes over from this one, whatever machine it is on, in JSON's own types.

    Returns:
        "folder", the current one; "path", where modules are found; "argv", the command that results are put down to;
        "first", the calls that were prepared.
    """
    path = [entry for entry in sys.path if entry]
    return {"folder": os.getcwd(), "path": path, "argv": sys.argv, "first": [list(one) for one in _prepared]}

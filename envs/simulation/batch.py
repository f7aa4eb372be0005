"""A batch of simulations that says so when it cannot be used: closed, or left without its threads by a fork."""

import ctypes
import os
from collections.abc import Callable
from functools import wraps
from typing import Any
from weakref import WeakSet

import mujoco
from mujoco.batch import Batch

from goalsight.base.errors import UserError

CALLS = ("step", "forward", "reset", "rollout", "jac", "ray", "set_const")  # that run simulations

_batches: "WeakSet[GuardedBatch]" = WeakSet()


class GuardedBatch(Batch):
    """`mujoco.batch.Batch` whose calls are refused where they would hang, or after it was closed."""

    def __init__(self, model: mujoco.MjModel, nsim: int, nthread: int = 0) -> None:
        """Arguments as those of `Batch`."""
        super().__init__(model, nsim, nthread)
        self._process, self._closed = os.getpid(), False
        _batches.add(self)

    def check(self) -> None:
        """Make sure that it can be used.

        Raises:
            UserError: it was closed, or made with threads in another process: a fork leaves threads behind.
        """
        if self._closed:
            raise UserError("these environments are closed; make new ones")
        if self._process != os.getpid() and self.nthread > 1:
            raise UserError(
                "these environments were made in another process, and their threads are not in this one: make them "
                "here, or with num_threads=1"
            )

    def close(self) -> None:
        """Refuse all further calls."""
        self._closed = True


def _checked(name: str) -> Callable[..., Any]:
    call = getattr(Batch, name)

    @wraps(call)
    def checked(self: GuardedBatch, *args: Any, **kwargs: Any) -> Any:
        self.check()
        return call(self, *args, **kwargs)

    return checked


for _name in CALLS:
    setattr(GuardedBatch, _name, _checked(_name))


def _keep_batches() -> None:
    """In a process that was forked: never free batches whose threads are missing; it would wait for these for ever."""
    for batch in _batches:
        if batch.nthread > 1:
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(batch))


os.register_at_fork(after_in_child=_keep_batches)

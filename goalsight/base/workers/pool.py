"""Processes on this machine."""

from collections.abc import Iterator
from contextlib import contextmanager

from goalsight.base.errors import UserError
from goalsight.base.workers.contract import Task, Workers
from goalsight.base.workers.job import Job
from goalsight.base.workers.process import JobProcess


class Pool(Workers):
    """Several processes at once, a fresh one for each job; see `Workers`."""

    def __init__(self, where: str) -> None:
        if not where.isdecimal() or int(where) < 1:
            raise UserError(f'a pool has a number of processes, at least 1, got "{where}"')
        self._count = int(where)

    @contextmanager
    def open(self) -> Iterator[int]:
        """See `Workers.open`."""
        yield self._count

    def start(self, job: Job) -> Task:
        """See `Workers.start`."""
        return JobProcess(job)

"""What workers are: they do jobs, several at once, and hand out what comes of each as soon as it has ended."""

import contextlib
import time
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable
from typing import Protocol

from goalsight.base.interruption import interrupted
from goalsight.base.workers.job import Job, Outcome

PAUSE = 0.05  # between two looks at what runs [s]


class Task(Protocol):
    """A job that has begun."""

    def ended(self) -> bool:
        """Whether it has ended, however."""

    def outcome(self) -> Outcome:
        """What came of it, once it has ended."""

    def stop(self) -> None:
        """Ask it to save and end."""

    def kill(self) -> None:
        """End it at once."""


class Workers(ABC):
    """Do jobs somewhere. A new kind is one file with a subclass, and one line in `WORKERS`.

    Args:
        where: what the user wrote behind the kind's name and a colon; empty if nothing.

    Raises:
        UserError: what was written does not fit, or what is needed is not installed.
    """

    @abstractmethod
    def __init__(self, where: str) -> None:
        """Check what was asked for; nothing is started yet."""

    @abstractmethod
    def open(self) -> contextlib.AbstractContextManager[int]:
        """Reach what does the work, for the length of a `with` block, which is told how many jobs fit at once.

        Raises:
            UserError: it cannot be reached.
        """

    @abstractmethod
    def start(self, job: Job) -> Task:
        """Begin a job."""

    def run(self, jobs: Iterable[Job]) -> Generator[Outcome, None, None]:
        """Do jobs, and yield what comes of each as soon as it has ended.

        Ctrl-C, SIGTERM or SIGHUP ask running jobs to save and end, and begin no others; a second one ends them at once.
        `stopped_by()` then names the signal. Jobs that fail because they were stopped are not yielded. Leaving early
        stops what runs.

        Args:
            jobs: the next one is taken when there is room for it, so what it is may depend on what has been yielded.

        Raises:
            UserError: the workers cannot be reached.
        """
        waiting, running = iter(jobs), list[Task]()
        with self.open() as room, interrupted() as stop:
            try:
                while True:
                    while not stop.requested and len(running) < room and (job := next(waiting, None)) is not None:
                        running.append(self.start(job))
                    if stop.requested:
                        break
                    if not running:
                        return
                    yield from _ended(running)
                    time.sleep(PAUSE)
                yield from (outcome for outcome in _stopped(running) if not outcome.error)
            except KeyboardInterrupt:
                for task in running:
                    task.kill()
                running.clear()
                raise
            finally:
                list(_stopped(running))  # where whoever listened has left


def _ended(running: list[Task]) -> Generator[Outcome, None, None]:
    """Take out those that have ended, and yield what came of them."""
    for task in [task for task in running if task.ended()]:
        running.remove(task)
        yield task.outcome()


def _stopped(running: list[Task]) -> Generator[Outcome, None, None]:
    """Ask all to end, and yield what comes of them until they have."""
    for task in running:
        task.stop()
    while running:
        yield from _ended(running)
        time.sleep(PAUSE)

"""Tasks of a Ray cluster, on as many machines as it has; each looks after a process of its own, like a pool's."""

import contextlib
import importlib.util
import logging
import os
import platform
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from goalsight.base.errors import UserError, in_one_line
from goalsight.base.workers.contract import PAUSE, Task, Workers
from goalsight.base.workers.job import Job, Outcome, surroundings
from goalsight.base.workers.process import JobProcess


class Ray(Workers):
    """A Ray cluster: the one at an address, else the one that runs here, else one that is started for the while.

    A job takes one CPU, and the GPUs that it says. Every machine needs the same goalsight, and the current folder at
    the same place, on a disk that all share.
    """

    def __init__(self, where: str) -> None:
        if importlib.util.find_spec("ray") is None:
            raise UserError("workers ray needs the package ray: pip install 'goalsight[ray]'")
        self._address = where or None

    @contextlib.contextmanager
    def open(self) -> Iterator[int]:
        """See `Workers.open`."""
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is told to anyone
        import ray

        own = not ray.is_initialized()
        on_term = signal.getsignal(signal.SIGTERM)  # Ray sets one of its own
        try:
            if own:
                self._join()
            yield max(1, int(ray.cluster_resources().get("CPU", 1)))
        finally:
            if own:
                ray.shutdown()
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, on_term)

    def _join(self) -> None:
        import ray

        try:
            ray.init(address=self._address, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
        except (OSError, RuntimeError, ValueError) as error:
            raise UserError(f"no Ray cluster at {self._address or 'this machine'}: {in_one_line(error)}") from error

    def start(self, job: Job) -> Task:
        """See `Workers.start`."""
        return RayTask(job)


class RayTask:
    """A job that a Ray cluster has been given."""

    def __init__(self, job: Job) -> None:
        import ray

        self.job = job
        task = ray.remote(look_after).options(name=job.name, num_cpus=1, num_gpus=job.gpus, max_retries=0)
        self._answer = task.remote(asdict(job), surroundings())

    def ended(self) -> bool:
        """Whether it has ended, however."""
        import ray

        return bool(ray.wait([self._answer], timeout=0)[0])

    def outcome(self) -> Outcome:
        """What came of it, once it has ended."""
        import ray

        try:
            return Outcome(self.job, **ray.get(self._answer))
        except Exception as error:  # the task was cancelled, its machine is gone, or whatever Ray says
            return Outcome(self.job, error=in_one_line(error))

    def stop(self) -> None:
        """Ask it to save and end."""
        import ray

        ray.cancel(self._answer)

    def kill(self) -> None:
        """End it at once."""
        import ray

        ray.cancel(self._answer, force=True)


def look_after(job: dict[str, Any], where: dict[str, Any]) -> dict[str, Any]:
    """Do a job in a process of its own, from within a Ray worker, and return what came of it; runs on any machine.

    Args:
        job: a `Job` as a dictionary.
        where: the `surroundings` of whoever gave it.
    """
    try:
        process = JobProcess(Job(**job), where)
    except FileNotFoundError:
        lacks = f"{platform.node()} has no folder {where['folder']}"
        return {"error": f"{lacks}; every machine needs it at the same place, on a disk that all share"}
    try:
        _wait_for(process)
    except BaseException:  # Ray cancels by a KeyboardInterrupt
        process.stop()
        _wait_for(process)
        raise
    outcome = process.outcome()
    return {"result": outcome.result, "error": outcome.error}


def _wait_for(process: JobProcess) -> None:
    while not process.ended():
        time.sleep(PAUSE)

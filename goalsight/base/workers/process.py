"""A process of its own for one job: a fresh Python, with one thread for each library that would take more.

It is told its job through a pipe, which stays open as long as this process lives: should this one be killed, the
job's sees the pipe end, saves as it would on SIGTERM, and leaves no orphan.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import asdict
from typing import Any

from goalsight.base.leaving import kill
from goalsight.base.workers.job import Job, Outcome, surroundings

# Libraries read these when they are loaded; what the user has set stays.
ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"), "1"
)


class JobProcess:
    """Runs a job in a process of its own, which begins at once.

    Args:
        job: what to do.
        where: what its process takes over, as `surroundings` says it; this process's unless given.

    Raises:
        FileNotFoundError: the folder is not there.
    """

    def __init__(self, job: Job, where: dict[str, Any] | None = None) -> None:
        where = where or surroundings()
        path = os.pathsep.join(dict.fromkeys([*where["path"], *filter(None, sys.path)]))
        self.job = job
        self._answer = tempfile.TemporaryFile()  # noqa: SIM115  # read when the process has ended
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "goalsight.base.workers.child"],
            stdin=subprocess.PIPE,
            stdout=self._answer,
            env={**ONE_THREAD, **os.environ, "PYTHONPATH": path},
            cwd=where["folder"],
            start_new_session=True,  # Ctrl-C in the terminal reaches it only through `stop`, and once
        )
        assert self._process.stdin is not None
        self._pipe = self._process.stdin
        with contextlib.suppress(BrokenPipeError):
            self._pipe.write(json.dumps({"job": asdict(job), **where}).encode() + b"\n")
            self._pipe.flush()

    def ended(self) -> bool:
        """Whether the process has ended."""
        return self._process.poll() is not None

    def stop(self) -> None:
        """Ask the job to save and end, as SIGTERM does."""
        self._process.terminate()

    def kill(self) -> None:
        """End the process and its children at once, and wait for that."""
        kill(self._process)
        self._process.wait()
        self._close()

    def outcome(self) -> Outcome:
        """What came of the job, once it has ended."""
        code = self._process.wait()
        self._answer.seek(0)
        answer = self._answer.read()
        self._close()
        if answer:
            return Outcome(self.job, **json.loads(answer))
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
        return Outcome(self.job, error=f"its process {how}")

    def _close(self) -> None:
        self._answer.close()
        with contextlib.suppress(BrokenPipeError):
            self._pipe.close()

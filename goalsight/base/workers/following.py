"""Jobs while someone watches: a bar of how many are done, or in a log a line for each, and why one failed."""

import contextlib
import sys
from collections.abc import Generator, Iterable

from goalsight.base.workers.contract import Workers
from goalsight.base.workers.job import Job, Outcome


def follow(workers: Workers, jobs: Iterable[Job], *, total: int, what: str) -> Generator[Outcome, None, None]:
    """Do jobs as `Workers.run` does; show how far it is, and say of each job that failed why, in one line.

    Where stderr is no terminal, and so no bar is seen, each job that has ended is a line.

    Args:
        workers: do them.
        jobs: what to do.
        total: how many there will be.
        what: the word that stands before the bar.
    """
    from tqdm import tqdm

    with tqdm(total=total, desc=what, unit="job", disable=None) as bar, contextlib.closing(workers.run(jobs)) as ended:
        for number, outcome in enumerate(ended, start=1):
            bar.update()
            if bar.disable:
                print(f"{what} {number}/{total}: {outcome.job.name}", file=sys.stderr)
            if outcome.error:
                more = f"; see {outcome.job.log}" if outcome.job.log else ""
                bar.write(f"goalsight: {outcome.job.name} failed: {outcome.error}{more}", file=sys.stderr)
            yield outcome

"""Workers: independent jobs, several at once, on this machine or many. A new kind is a file and a line here."""

from goalsight.base.registry import Registry
from goalsight.base.workers.contract import Workers

WORKERS = Registry(
    "kind of workers",
    {
        "pool": "goalsight.base.workers.pool:Pool",
        "ray": "goalsight.base.workers.ray:Ray",
    },
)


def workers_of(text: str) -> Workers:
    """The workers that a user means by a number of processes, a kind, or a kind and where: `4`, `ray`, `ray:ADDRESS`.

    Raises:
        UserError: there is no such kind, what is behind the colon does not fit, or what is needed is not installed.
    """
    kind, _, where = f"pool:{text}".partition(":") if text.isdecimal() else text.partition(":")
    workers: Workers = WORKERS.load(kind)(where)
    return workers

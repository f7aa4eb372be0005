"""How much memory there is, asked before a lot of it is taken."""

from pathlib import Path

from goalsight.base.errors import UserError

MB = 1_000_000


def free_memory() -> int:
    """Return how many bytes this process can still take without swapping.

    That is what the machine has available, or what the control group (version 2) leaves where that is less.
    """
    import psutil

    machine, group = psutil.virtual_memory().available, _available_to_group()
    return machine if group is None else min(machine, group)


def check_memory(what: str, needed: int, advice: str) -> None:
    """Raise unless `needed` bytes are free.

    Args:
        what: what needs them, as the start of a sentence.
        needed: [bytes].
        advice: what to change.

    Raises:
        UserError: in one line, with both sizes.
    """
    free = free_memory()
    if needed > free:
        raise UserError(f"{what} needs {needed / MB:,.0f} MB, of which {free / MB:,.0f} MB are free; {advice}")


def _available_to_group(group: Path = Path("/sys/fs/cgroup")) -> int | None:
    """What a control group leaves [bytes]; files that are merely cached give way. None without a limit."""
    try:
        limit = (group / "memory.max").read_text().strip()
        most = None if limit == "max" else int(limit)
        used = int((group / "memory.current").read_text())
        counts = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        cached = int(counts.get("inactive_file", 0))
    except (OSError, ValueError):
        return None
    return None if most is None else most - used + cached

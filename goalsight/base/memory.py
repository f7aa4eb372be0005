"""How much memory there is, asked before a lot of it is taken."""

import os
from pathlib import Path

from goalsight.base.errors import UserError

MB = 1_000_000


def free_memory() -> int:
    """Return how many bytes this process can still take without swapping.

    On Linux that is MemAvailable, or what the control group (version 2) leaves where that is less; elsewhere the free
    pages, or, where the system does not count them, half of the machine's memory.
    """
    free = [bytes_ for bytes_ in (_available_to_machine(), _available_to_group()) if bytes_ is not None]
    return min(free) if free else _pages()


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


def _available_to_machine() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)


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


def _pages() -> int:
    size = os.sysconf("SC_PAGE_SIZE")
    if "SC_AVPHYS_PAGES" in os.sysconf_names:
        return size * os.sysconf("SC_AVPHYS_PAGES")
    return size * os.sysconf("SC_PHYS_PAGES") // 2

"""Tables and numbers in text, as people read them."""

from collections.abc import Iterable, Sequence


def text_table(head: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Sequence[int] = ()) -> str:
    """Return a table with aligned columns.

    Args:
        head: names of the columns.
        rows: as many cells each.
        numbers: columns that are set to the right.
    """
    lines = [list(head), *map(list, rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]

    def cell(column: int, text: str) -> str:
        return text.rjust(widths[column]) if column in numbers else text.ljust(widths[column])

    return "\n".join("  ".join(cell(column, text) for column, text in enumerate(line)).rstrip() for line in lines)


def duration(seconds: float) -> str:
    """Return a time as `45 s`, `12.5 min` or `3.2 h`."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def counted(count: int, what: str) -> str:
    """Say how many there are of something: "1 episode", "2 episodes"."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"

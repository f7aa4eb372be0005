"""A file of measurements, one JSON object a line, that survives crashes in the middle of a line."""

import json
from pathlib import Path

from goalsight.base.files import atomic_write_bytes, plain_bytes, to_json, writing
from goalsight.base.records import Record, check_form


def read_rows(path: Path) -> list[dict[str, float]]:
    """The measurements, oldest first; a line cut off by a crash is left out, null is NaN.

    Raises:
        UserError: a line holds something else than numbers.
    """
    rows: list[dict[str, float]] = []
    for number, line in enumerate(_lines(path), 1):
        row = _row(line)
        if row is not None:
            where = f"{path}: line {number}"
            check_form(row, dict[str, float | None], where)
            row = {key: float("nan") if value is None else value for key, value in row.items()}
            rows.append(Record(where, row))
    return rows


def append_row(path: Path, row: dict[str, float]) -> None:
    """Add one measurement.

    Raises:
        UserError: the disk refuses.
    """
    with writing(path), path.open("a") as file:
        file.write(json.dumps(to_json(row)) + "\n")


def end_torn_line(path: Path) -> None:
    """End a line that a crash cut off, so that the next one begins on its own."""
    if path.exists() and path.read_bytes()[-1:] not in (b"", b"\n"):
        with writing(path), path.open("a") as file:
            file.write("\n")


def _lines(path: Path) -> list[str]:
    return plain_bytes(path).decode(errors="replace").splitlines() if path.exists() else []


def drop_after(path: Path, step: int) -> None:
    """Drop the measurements of later steps, and what a crash cut off; a run goes on from `step`."""
    if not path.exists():
        return
    lines = _lines(path)
    read_rows(path)  # a step that is no number says nothing of where it belongs
    kept = [line for line in lines if (row := _row(line)) is not None and (row.get("step") or 0) <= step]
    if kept != lines:
        atomic_write_bytes(path, "".join(f"{line}\n" for line in kept).encode())


def _row(line: str) -> dict[str, float] | None:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None

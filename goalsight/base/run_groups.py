"""Folders of many runs: each remembers what its runs were asked for, so that the same command goes on with it."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from goalsight.base.errors import UserError
from goalsight.base.files import atomic_write_json, read_json, to_json, writing
from goalsight.base.life import FolderLock


@contextlib.contextmanager
def run_group(path: Path, kind: str, asked: dict[str, Any]) -> Iterator[None]:
    """Hold a folder of runs for this process alone, for the length of a `with` block.

    Args:
        path: the folder; made if it is not there.
        kind: what the group is; `<kind>.json` in the folder keeps what was asked for.
        asked: what makes the runs what they are, by name.

    Raises:
        UserError: the folder's runs were asked for something else, it holds other things, or another process has it.
    """
    with writing(path):
        path.mkdir(parents=True, exist_ok=True)
        lock = FolderLock(path)
    try:
        file, asked = path / f"{kind}.json", to_json(asked)
        if file.exists():
            _check_same(path, read_json(file).get("asked", {}), asked)
        elif any(entry for entry in path.iterdir() if not entry.name.startswith(f".{file.name}")):
            raise UserError(f"{path} is not empty and holds no {kind}; choose another folder")
        else:
            atomic_write_json(file, {"asked": asked})
        yield
    finally:
        lock.release()


def _check_same(path: Path, before: dict[str, Any], now: dict[str, Any]) -> None:
    """Refuse to go on with runs that differ in what both say."""
    was, is_now = _flat(before), _flat(now)
    for name in was:
        if name in is_now and was[name] != is_now[name]:
            raise UserError(
                f"the runs in {path} have {name} {was[name]}, now it is {is_now[name]}; choose another --out"
            )


def _flat(values: Mapping[str, Any], within: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= _flat(value, f"{within}{name}.") if isinstance(value, Mapping) else {f"{within}{name}": value}
    return flat

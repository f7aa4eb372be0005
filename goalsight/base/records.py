"""JSON that was read from a file: what is missing in it, or of another kind than it must be, is one line with its name.

The form of an object is a `TypedDict`, of whose entries all may be absent: a `Record` names the entry that is missed.
"""

import json
import math
import types
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, NoReturn, Union, get_args, get_origin, get_type_hints, is_typeddict

from goalsight.base.errors import UserError

MOST_DIGITS = 100  # of an integer; the state of a generator has 39
LARGEST = 2**63  # in which what is asked to be an integer fits
# What moves a terminal's cursor, changes its colours or rings its bell is shown as a sign for what cannot be shown.
HARMLESS = {code: "\ufffd" for code in (*range(32), *range(127, 160)) if chr(code) not in "\t\n"}


class Record(dict[str, Any]):
    """An object of a JSON file; asking for an entry that is not there names the file and the entry.

    Args:
        path: of the file.
        entries: of the object.
    """

    def __init__(self, path: Path | str, entries: dict[str, Any]) -> None:
        super().__init__(entries)
        self._path = path

    def __missing__(self, name: str) -> NoReturn:
        raise UserError(f"{self._path} has no {name}")


def json_object(path: Path, data: bytes, *, finite: bool = True, form: Any = None) -> dict[str, Any]:
    """Return the JSON object that the file at `path` holds; objects in it are `Record`s too.

    Args:
        path: of the file, for errors.
        data: what it holds.
        finite: refuse numbers that are not; JSON has none, Python's has.
        form: a `TypedDict` that it must fit.

    Raises:
        UserError: it holds anything else.
    """
    strict: dict[str, Any] = {"parse_constant": _refuse, "parse_float": _finite} if finite else {}
    # Nothing of `HARMLESS` is in most files, and then it is not looked for string by string.
    suspect = any(sign in data for sign in (b"\\u00", b"\\b", b"\\f", b"\\r", b"\xc2", b"\x7f"))

    def made(entries: dict[str, Any]) -> Record:
        return Record(path, _harmless(entries) if suspect else entries)

    try:
        value = json.loads(data.decode(), object_hook=made, parse_int=_integer, **strict)
    except (ValueError, RecursionError) as error:  # the latter of lists in lists in lists
        raise UserError(f"cannot read {path}: {error}") from error
    if not isinstance(value, dict):
        raise UserError(f"cannot read {path}: it holds no JSON object")
    if form is not None:
        check_form(value, form, str(path))
    return value


def check_form(value: Any, form: Any, where: str) -> None:
    """Refuse a value of JSON that is not of a form.

    Args:
        value: of JSON's own types.
        form: a `TypedDict` (entries that it does not name may be anything), `list[...]`, `dict[str, ...]`, a union, a
            `Literal`, or one of JSON's own types; `float` takes integers too, and is finite.
        where: the file and the place in it, for errors.

    Raises:
        UserError: naming the place, and what is there.
    """
    if is_typeddict(form):
        _check_entries(value, get_type_hints(form), where)
        return
    origin, inner = get_origin(form), get_args(form)
    if origin is list and isinstance(value, list):
        for number, part in enumerate(value):
            check_form(part, inner[0], f"{where}: {number}")
    elif origin is dict and isinstance(value, dict):
        for name, part in value.items():
            check_form(part, inner[1], f"{where}: {name}")
    elif origin in (Union, types.UnionType):
        if not any(_fits(value, one) for one in inner):
            _wrong(value, where)
    elif not (value in inner if origin is Literal else _is(value, form)):
        _wrong(value, where)


def _check_entries(value: Any, hints: dict[str, Any], where: str) -> None:
    if not isinstance(value, dict):
        _wrong(value, where)
    for name in hints.keys() & value.keys():
        check_form(value[name], hints[name], f"{where}: {name}")


def _fits(value: Any, form: Any) -> bool:
    try:
        check_form(value, form, "")
    except UserError:
        return False
    return True


def _is(value: Any, form: Any) -> bool:
    if form is Any:
        return True
    if form in (None, type(None)):
        return value is None
    if form is float:
        return is_number(value)
    if form is int:
        return isinstance(value, int) and not isinstance(value, bool) and abs(value) < LARGEST
    return isinstance(form, type) and isinstance(value, form) and (form is bool or not isinstance(value, bool))


def is_number(value: Any) -> bool:
    """Whether a value is a number that is finite as a float."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer of hundreds of digits
        return False


def _wrong(value: Any, where: str) -> NoReturn:
    raise UserError(f"{where} cannot be {value!r:.80}")


def _harmless(value: Any) -> Any:
    """A value of JSON whose text a terminal can show; objects within it have been looked at before."""
    if isinstance(value, str):
        return value.translate(HARMLESS)
    if isinstance(value, list):
        return [_harmless(part) for part in value]
    if type(value) is dict:
        return {_harmless(name): _harmless(part) for name, part in value.items()}
    return value


def _integer(word: str) -> int:
    if len(word) > MOST_DIGITS:
        raise ValueError(f"an integer of {len(word):,} digits")
    return int(word)


def _refuse(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number of JSON")


def _finite(word: str) -> float:
    number = float(word)
    return number if math.isfinite(number) else _refuse(word)


def check_has(record: dict[str, Any], names: Iterable[str]) -> None:
    """Refuse an object of a file that lacks an entry.

    Raises:
        UserError: naming the first that it lacks.
    """
    for name in names:
        record[name]

"""Options of a command back from a run's config.json."""

import types
import typing
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from goalsight.base.errors import UserError

Options = TypeVar("Options")


def options_from(kind: type[Options], config: dict[str, Any], *, where: str = "config.json") -> Options:
    """Fill a dataclass of options with what a run recorded of it.

    Args:
        kind: a dataclass whose fields are JSON's own types, paths, choices, tuples, and dataclasses of such.
        config: the run's; entries that are no options are passed over, absent ones take their defaults.
        where: what the config was read from, for errors.

    Raises:
        UserError: an entry does not fit its option, or one without a default is missing.
    """
    hints = get_type_hints(kind)
    values: dict[str, Any] = {}
    for option in fields(kind):  # type: ignore[arg-type]
        name = option.name
        if name in config:
            try:
                values[name] = _fitting(hints[name], config[name])
            except (TypeError, ValueError) as error:
                if isinstance(error, UserError):
                    raise
                raise UserError(f"{where}: {name} cannot be {config[name]!r:.80}") from None
        elif option.default is MISSING and option.default_factory is MISSING:
            raise UserError(f"{where}: {name} is missing")
    return kind(**values)


def _fitting(hint: Any, value: Any) -> Any:
    """Return `value` as what `hint` says.

    Raises:
        TypeError: it is something else.
    """
    origin, inner = get_origin(hint), get_args(hint)
    if origin is typing.Annotated:
        return _fitting(inner[0], value)
    if origin in (Union, types.UnionType):
        return _first_fitting(inner, value)
    if origin is Literal:
        if value in inner:
            return value
        raise TypeError
    if origin is tuple and isinstance(value, list):
        kinds = [inner[0]] * len(value) if inner[1:] == (...,) else inner
        return tuple(_fitting(kind, part) for kind, part in zip(kinds, value, strict=True))
    if origin is dict and isinstance(value, dict):
        return {name: _fitting(inner[1], part) for name, part in value.items()}
    if is_dataclass(hint) and isinstance(hint, type) and isinstance(value, dict):
        return options_from(hint, value)
    return _plain(hint, value)


def _first_fitting(hints: tuple[Any, ...], value: Any) -> Any:
    for hint in hints:
        try:
            return _fitting(hint, value)
        except (TypeError, ValueError):
            continue
    raise TypeError


def _plain(hint: Any, value: Any) -> Any:
    if hint is Any:
        return value
    if hint is type(None) and value is None:
        return None
    if hint is Path and isinstance(value, str):
        return Path(value)
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if hint in (bool, int, str) and type(value) is hint:
        return value
    raise TypeError


def check_positive(options: Any, *names: str) -> None:
    """Refuse options that are not positive.

    Raises:
        UserError: naming the option.
    """
    for name in names:
        value = getattr(options, name)
        if value == ():
            raise UserError(f"{name} must hold at least one number, got none")
        for number in value if isinstance(value, tuple) else (value,):
            if number <= 0:
                raise UserError(f"{name} must be positive, got {number}")


def check_share(options: Any, *names: str) -> None:
    """Refuse options that do not lie in [0, 1].

    Raises:
        UserError: naming the option.
    """
    for name in names:
        if not 0 <= getattr(options, name) <= 1:
            raise UserError(f"{name} must lie in [0, 1], got {getattr(options, name)}")


def check_not_negative(options: Any, *names: str) -> None:
    """Refuse options that are negative.

    Raises:
        UserError: naming the option.
    """
    for name in names:
        if getattr(options, name) < 0:
            raise UserError(f"{name} must not be negative, got {getattr(options, name)}")

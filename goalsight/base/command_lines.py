"""Options back into the words of a command line."""

from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any, get_args, get_type_hints


def words_of(config: Any, usual: Any = None, within: str = "") -> list[str]:
    """The words that ask for what a config says, where that is not as it usually is.

    Args:
        config: a dataclass that is a command's, or a part of one.
        usual: the same kind as it is without any word; its own defaults unless given.
        within: what the options' names begin with.
    """
    import tyro

    words: list[str] = []
    hints = get_type_hints(type(config), include_extras=True)
    for option in fields(config):
        value = getattr(config, option.name)
        default = _default(option) if usual is None else getattr(usual, option.name)
        marks = get_args(hints[option.name])[1:]
        if is_dataclass(value) and not isinstance(value, type):
            # Suppressed are those whose kind is known only once something is chosen; they are shown without a prefix.
            flat = any(mark in (tyro.conf.OmitArgPrefixes, tyro.conf.Suppress) for mark in marks)
            words += words_of(value, default, within if flat else f"{within}{option.name}.")
        elif value != default:
            name = next((mark.name for mark in marks if getattr(mark, "name", None)), option.name)
            words += words_for(f"{within}{name}", value)
    return words


def _default(option: "Field[Any]") -> Any:
    if option.default is not MISSING:
        return option.default
    return option.default_factory() if option.default_factory is not MISSING else None


def words_for(option: str, value: Any) -> list[str]:
    """Return the words that give an option a value; `option` may be a part of another, as in `mix.push`."""
    name = option.replace("_", "-")
    if isinstance(value, bool):
        *within, last = name.split(".")
        return [f"--{name}" if value else f"--{'.'.join([*within, f'no-{last}'])}"]
    return [f"--{name}", *map(str, value if isinstance(value, tuple | list) else (value,))]

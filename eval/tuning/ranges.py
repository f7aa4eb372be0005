"""What a sweep varies: a named option over a range of numbers, or over a list of values."""

import math
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, get_args, get_origin, get_type_hints

from goalsight.agents.train import Train
from goalsight.base.errors import UserError, choose

OF_TRAINING = ("critic", "encoder", "num_envs", "steps", "tune_blocks")  # that are not the algorithm's
Value = bool | int | float | str


@dataclass(frozen=True)
class Range:
    """An option and what it may be: any number from `low` to `high`, or one of `choices`."""

    name: str
    choices: tuple[Value, ...] = ()
    low: float = 0.0
    high: float = 0.0
    log: bool = False  # draw the logarithm evenly
    whole: bool = False  # integers only

    @property
    def ends(self) -> tuple[Value, ...]:
        """The values by which a range is tried before anything is built."""
        if self.choices:
            return self.choices
        return (int(self.low), int(self.high)) if self.whole else (self.low, self.high)


def ranges_of(texts: tuple[str, ...], config: Train) -> list[Range]:
    """What `--over` says, each as NAME=LOW..HIGH, NAME=LOW..HIGH:log, or NAME=VALUE,VALUE.

    Args:
        texts: one for each option.
        config: the training, with the options of its algorithm.

    Raises:
        UserError: there is nothing to vary, no such option, a range that is none, or a value that the option refuses.
    """
    kinds = tunable(config)
    if not texts:
        raise UserError(f"name what to vary, as --over {next(iter(kinds))}=LOW..HIGH; options: {', '.join(kinds)}")
    ranges = [_range(text, kinds) for text in texts]
    names = [one.name for one in ranges]
    if len(set(names)) < len(names):
        raise UserError(f"vary each option once, got {', '.join(names)}")
    for one in ranges:
        for value in one.ends:
            with_values(config, {one.name: value})
    return ranges


def tunable(config: Train) -> dict[str, Any]:
    """The options of a training that can be varied, and their types."""
    own, training = get_type_hints(type(config.options)), get_type_hints(Train)
    kinds = {option.name: _plain(own[option.name]) for option in fields(config.options)}
    kinds |= {name: _plain(training[name]) for name in OF_TRAINING}
    return {
        name: kind for name, kind in kinds.items() if kind in (bool, int, float, str) or get_origin(kind) is Literal
    }


def with_values(config: Train, values: dict[str, Value]) -> Train:
    """The training with other values of its options, or its algorithm's.

    Raises:
        UserError: an option refuses its value.
    """
    training: dict[str, Any] = {name: value for name, value in values.items() if name in OF_TRAINING}
    others = {name: value for name, value in values.items() if name not in training}
    return replace(config, **training, options=replace(config.options, **others))


def _plain(hint: Any) -> Any:
    """A type without the None that stands for a default."""
    kinds = [kind for kind in get_args(hint) if kind is not type(None)]
    return kinds[0] if type(None) in get_args(hint) and len(kinds) == 1 else hint


def _range(text: str, kinds: dict[str, Any]) -> Range:
    name, equals, values = text.partition("=")
    name = choose("option to vary", name.replace("-", "_"), kinds)
    if not equals:
        raise UserError(f"--over {text} says no values; write {name}=LOW..HIGH or {name}=VALUE,VALUE")
    kind = kinds[name]
    if ".." in values and kind in (int, float):
        return _numbers(text, name, values, kind)
    choices = tuple(_value(text, word, kind) for word in values.split(","))
    if len(set(choices)) < len(choices) or len(choices) < 2:
        raise UserError(f"--over {text} needs two different values or more")
    return Range(name, choices)


def _numbers(text: str, name: str, values: str, kind: Any) -> Range:
    span, _, scale = values.partition(":")
    first, _, last = span.partition("..")
    if scale not in ("", "log"):
        raise UserError(f"--over {text}: a scale is log, or left out")
    low, high = _value(text, first, kind), _value(text, last, kind)
    if not low < high:
        raise UserError(f"--over {text}: {first} is not below {last}")
    if scale and low <= 0:
        raise UserError(f"--over {text}: a scale of logarithms begins above 0")
    return Range(name, low=low, high=high, log=bool(scale), whole=kind is int)


def _value(text: str, word: str, kind: Any) -> Any:
    """A value of an option from its word.

    Raises:
        UserError: it is none.
    """
    if get_origin(kind) is Literal:
        return choose(text.partition("=")[0], word, get_args(kind))
    if kind is bool:
        return {"true": True, "false": False}[choose(text.partition("=")[0], word, ("true", "false"))]
    try:
        value = kind(word)
    except ValueError:
        raise UserError(f'--over {text}: "{word}" is no {kind.__name__}') from None
    if kind is float and not math.isfinite(value):
        raise UserError(f"--over {text}: {word} is not finite")
    return value

"""Options of parts that a command lets its user choose by name: shown together, kept for the part that is chosen.

A command has a field `KIND` for the name of the part, and a field `KIND_options` for its options. On the command line
each part's options stand in a group of the part's name: `--objective latent --latent.momentum 0.99`.
"""

from collections.abc import Mapping
from dataclasses import asdict, field, fields, make_dataclass
from typing import Annotated, Any, TypeVar

from goalsight.base.errors import UserError
from goalsight.base.options import options_from
from goalsight.base.registry import Registry

Config = TypeVar("Config")


def options_of(registry: Registry, name: str, given: Any = None) -> Any:
    """Return the options of a part.

    Args:
        registry: where the part is; its class names its options' dataclass as `Options`.
        name: of the part.
        given: its options, as the dataclass, or as read back from JSON; None for its defaults.

    Raises:
        UserError: there is no such part, or these are not its options.
    """
    kind = registry.load(name).Options
    if given is None:
        return kind()
    if isinstance(given, kind):
        return given
    if isinstance(given, Mapping):
        unknown = sorted(set(given) - {option.name for option in fields(kind)})
        if not unknown:
            return options_from(kind, dict(given), where=f'{registry.kind} "{name}"')
        raise UserError(f'the {registry.kind} "{name}" has no option {", ".join(unknown)}')
    raise UserError(f'the {registry.kind} "{name}" takes {kind.__name__}, got {type(given).__name__}')


def with_every_option(command: type[Config], *registries: Registry) -> type[Config]:
    """Return the command's dataclass with a group of options for each part of the registries, for its command line."""
    import tyro

    choices = [
        (kind, Annotated[str, tyro.conf.arg(metavar="{" + ",".join(registry) + "}")], field(default=default))
        for registry in registries
        for kind, default in [(registry.kind, getattr(command, registry.kind))]
    ]
    groups = [
        (name, kind, field(default=kind()))
        for registry in registries
        for name in registry
        for kind in [registry.load(name).Options]
    ]
    made = make_dataclass(command.__name__, [*choices, *groups], bases=(command,), frozen=True)
    made.__doc__ = command.__doc__
    return made


def settled(config: Config, command: type[Config], *registries: Registry) -> Config:
    """Return a config as the command's own dataclass, with the options of the parts that were chosen.

    Args:
        config: as given in Python, or an instance of what `with_every_option` made.
        command: the command's own dataclass.
        registries: of the parts that are chosen by name.

    Raises:
        UserError: there is no such part, or options of one that was not chosen are given.
    """
    values = {option.name: getattr(config, option.name) for option in fields(command)}  # type: ignore[arg-type]
    for registry in registries:
        chosen = registry.choose(values[registry.kind])
        for name in registry if type(config) is not command else ():
            given = getattr(config, name)
            if name == chosen:
                values[f"{registry.kind}_options"] = given
            elif given != type(given)():
                raise UserError(
                    f'--{name}.{changed(given)} is an option of the {registry.kind} "{name}", '
                    f'but "{chosen}" is chosen; add --{registry.kind} {name}'
                )
        key = f"{registry.kind}_options"
        values[key] = options_of(registry, chosen, values[key])
    return command(**values)


def changed(options: Any) -> str:
    """Name the first option that is not as it is by default, as the command line spells it; empty where all are."""
    plain = asdict(type(options)())
    return next((name for name, value in asdict(options).items() if value != plain[name]), "").replace("_", "-")

"""`goalsight completion`: a script by which a shell completes commands and their options."""

import contextlib
import importlib
import io
from dataclasses import dataclass
from typing import Annotated, Literal

import tyro


@dataclass(frozen=True)
class Completion:
    """Print a script by which a shell completes commands and options."""

    shell: Annotated[Literal["bash", "zsh", "tcsh"], tyro.conf.Positional] = "bash"
    """The shell that reads it: `source <(goalsight completion bash)`."""


def completion(config: Completion) -> None:
    """Print the script; tyro writes it, from the options that each command has when nothing is chosen yet."""
    print(script(config.shell))


def script(shell: str) -> str:
    """Return the script for a shell.

    Args:
        shell: bash, zsh or tcsh.
    """
    from goalsight.commands.cli import COMMANDS

    kinds = {}
    for name, command in COMMANDS.items():
        kind = getattr(importlib.import_module(command.module), command.config)
        if " " not in name:
            kinds[name] = kind.for_command_line([]) if hasattr(kind, "for_command_line") else kind
    printed = io.StringIO()
    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(printed):
        tyro.extras.subcommand_cli_from_dict(kinds, prog="goalsight", args=["--tyro-print-completion", shell])
    return printed.getvalue()

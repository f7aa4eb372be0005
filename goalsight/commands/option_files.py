"""Options of a command from a TOML file, as the words that would ask for them.

    env = "goalsight/PandaPush-v1"
    film = 0

    [mix]
    random = 1.0

means `--env goalsight/PandaPush-v1 --film 0 --mix.random 1.0`.
"""

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from goalsight.base.command_lines import words_for
from goalsight.base.errors import UserError
from goalsight.base.files import plain_bytes


def words_from(file: Path) -> list[str]:
    """Return the words of a command line that a file of options stands for.

    Args:
        file: TOML; a table holds options whose names begin with its own.

    Raises:
        UserError: the file cannot be read, is no TOML, or holds what no option can be.
    """
    try:
        options = tomllib.loads(plain_bytes(file).decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UserError(f"{file} is no TOML file of options: {error}") from error
    return list(_words(options, "", file))


def _words(options: dict[str, Any], within: str, file: Path) -> Iterator[str]:
    for name, value in options.items():
        if isinstance(value, dict):
            yield from _words(value, f"{within}{name}.", file)
        elif all(isinstance(one, str | int | float) for one in (value if isinstance(value, list) else [value])):
            yield from words_for(f"{within}{name}", value)
        else:
            raise UserError(f"{file}: {within}{name} must be text, a number, true, false or a list of such")

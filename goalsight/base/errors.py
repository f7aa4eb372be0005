"""Errors that a user can act on: one line that says what is wrong, where, and the choices.

Every room may import this module; it imports nothing of the project.
"""

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

MOST_LISTED = 24  # choices; of more, those like the user's word are named, and how many there are


class UserError(ValueError):
    """A mistake in what was asked for. The command line prints it as one line and exits with code 2."""


def in_one_line(error: BaseException) -> str:
    """What a stranger's code raised, as its kind and what it says, at most 200 characters."""
    try:
        said = str(error)
    except Exception:  # it cannot even say it
        said = ""
    return " ".join(f"{type(error).__name__}: {said}".split())[:200].removesuffix(":")


@contextmanager
def blaming(what: str) -> Iterator[None]:
    """Say in one line, beginning with `what`, that a stranger's code failed, whatever it raises; it may try to exit.

    Raises:
        UserError: instead of anything raised inside but a `KeyboardInterrupt`.
    """
    try:
        yield
    except KeyboardInterrupt:
        raise
    except UserError as error:
        raise UserError(f"{what}: {error}") from error
    except BaseException as error:
        raise UserError(f"{what}: {in_one_line(error)}") from error


def choose(kind: str, name: str, choices: Iterable[str]) -> str:
    """Return `name` if it is one of `choices`.

    Args:
        kind: what is being chosen, in the singular, such as "task".
        name: the user's word.
        choices: the names that exist.

    Raises:
        UserError: naming the nearest choice, and all of them, or of very many the nearest ones.
    """
    known = sorted(choices)
    if name in known:
        return name
    if not known:
        raise UserError(f'no {kind} "{name}"; there is none')
    near = difflib.get_close_matches(name, known, n=1)
    hint = f' did you mean "{near[0]}"?' if near else ""
    listed = ", ".join(known)
    if len(known) > MOST_LISTED:
        like = difflib.get_close_matches(name, known, n=5, cutoff=0.0)
        listed = f"{', '.join(like)} and {len(known) - len(like)} more"
    raise UserError(f'no {kind} "{name}";{hint} choices: {listed}')

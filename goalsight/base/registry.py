"""One registry for every kind of part: a name stands for "module:attribute", which is imported when it is chosen."""

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

from goalsight.base.errors import UserError, choose


class Registry(Mapping[str, str]):
    """The parts of one kind by name. A new part is one new file and one line here.

    Args:
        kind: what the parts are, in the singular, such as "objective".
        parts: name -> "module:attribute".
    """

    def __init__(self, kind: str, parts: dict[str, str]) -> None:
        self.kind = kind
        self._parts = dict(parts)

    def __getitem__(self, name: str) -> str:
        """Where the part lies, as "module:attribute"."""
        return self._parts[name]

    def __iter__(self) -> Iterator[str]:
        """Go through the names, in the order of the registry."""
        return iter(self._parts)

    def __len__(self) -> int:
        """How many parts there are."""
        return len(self._parts)

    def choose(self, name: str) -> str:
        """Return `name` if there is such a part; nothing is imported.

        Raises:
            UserError: naming the nearest part, and all of them, and how one of one's own comes among them.
        """
        try:
            return choose(self.kind, name, self._parts)
        except UserError as error:
            own = "" if "did you mean" in str(error) else "; one of your own is added by a module: --import MODULE"
            raise UserError(f"{error}{own}") from None

    def load(self, name: str) -> Any:
        """Import the part of that name and return it.

        Raises:
            UserError: naming the nearest part, and all of them.
        """
        module, _, attribute = self._parts[self.choose(name)].partition(":")
        return getattr(import_module(module), attribute)

    def add(self, name: str, place: str) -> None:
        """Add a part of someone else's.

        Raises:
            ValueError: if the name is taken, or the place is not "module:attribute".
        """
        if name in self._parts:
            raise ValueError(f'there is a {self.kind} "{name}" already, {self._parts[name]}')
        if place.count(":") != 1:
            raise ValueError(f'a part is named "module:attribute", got "{place}"')
        self._parts[name] = place

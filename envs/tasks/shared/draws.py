"""Named draws: the uniform numbers from which a task lays out its episodes, each known by what it decides."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NoReturn

from goalsight.base.errors import UserError, choose
from goalsight.envs.geometry.region import Array


class Drawn:
    """Uniform numbers in [0, 1) by name, as attributes: `u.tool`, shape (n, 3), where a task declared `tool=3`."""

    def __init__(self, parts: Mapping[str, Array]) -> None:
        """Take the numbers of each name, (..., K) each."""
        self._parts = dict(parts)

    def __getattr__(self, name: str) -> Array:
        if name.startswith("_"):
            raise AttributeError(name)
        return self._parts[choose("draw", name, self._parts)]

    def __getitem__(self, position: object) -> NoReturn:
        raise self._known_by_name()

    def __array_namespace__(self, *, api_version: str | None = None) -> NoReturn:
        raise self._known_by_name()

    def _known_by_name(self) -> UserError:
        names = ", ".join(self._parts)
        return UserError(
            f"these numbers are known by name, such as u.{next(iter(self._parts))}, of {names}; a task that takes an "
            "array apart by position says so with draws = 16"
        )


@dataclass(frozen=True, init=False, repr=False)
class Draws:
    """How many uniform numbers an episode takes for what, such as `Draws(tool=3, goal=3, yaw=1)`.

    They are dealt out in the order of the declaration. So that published tasks keep their episodes, names that begin
    with an underscore are dealt numbers that nothing uses; any change of an order or of a size makes other episodes.
    """

    sizes: tuple[tuple[str, int], ...]

    def __init__(self, **sizes: int) -> None:
        """Declare names and how many numbers each gets.

        Raises:
            ValueError: a size is below 1.
        """
        for name, size in sizes.items():
            if size < 1:
                raise ValueError(f'a draw takes at least 1 number, got {size} for "{name}"')
        object.__setattr__(self, "sizes", tuple(sizes.items()))

    @property
    def total(self) -> int:
        """Numbers that an episode takes."""
        return sum(size for _, size in self.sizes)

    def named(self, u: Array) -> Drawn:
        """Deal out uniform numbers, shape (..., total)."""
        parts, start = {}, 0
        for name, size in self.sizes:
            parts[name] = u[..., start : start + size]
            start += size
        return Drawn({name: numbers for name, numbers in parts.items() if not name.startswith("_")})

    def __repr__(self) -> str:
        return f"Draws({', '.join(f'{name}={size}' for name, size in self.sizes)})"

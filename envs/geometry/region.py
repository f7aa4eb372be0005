"""Axis-aligned regions of space, from which starts and goals are drawn."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from array_api_compat import array_namespace

# Any array of the Python array API standard: the pure functions of this room run on NumPy and torch alike.
Array = Any

Vector3 = tuple[float, float, float]


@dataclass(frozen=True)
class Region:
    """The box between two corners, in world coordinates [m]."""

    low: Vector3
    high: Vector3

    def __post_init__(self) -> None:
        if any(a > b for a, b in zip(self.low, self.high, strict=True)):
            raise ValueError(f"a region's low corner {self.low} must not exceed its high corner {self.high}")

    def at(self, u: Array) -> Array:
        """Map numbers in [0, 1) to points, evenly. `u` and the points [m] have shape (..., 3)."""
        low, high = self._corners(u)
        return low + u * (high - low)

    def clip(self, points: Array) -> Array:
        """Move points [m], shape (..., 3), to the nearest point of the region."""
        xp = array_namespace(points)
        low, high = self._corners(points)
        return xp.minimum(xp.maximum(points, low), high)

    def nearest(self, point: Sequence[float]) -> Vector3:
        """The point of the region that is nearest to another one [m]."""
        x, y, z = (min(max(p, a), b) for p, a, b in zip(point, self.low, self.high, strict=True))
        return x, y, z

    def within(self, other: "Region", margin: float = 0.0) -> "Region":
        """What of this region lies in another one, and `margin` inside its sides [m].

        Raises:
            ValueError: nothing does.
        """
        inset = (margin, margin, 0.0)
        low = [max(a, b + gap) for a, b, gap in zip(self.low, other.low, inset, strict=True)]
        high = [min(a, b - gap) for a, b, gap in zip(self.high, other.high, inset, strict=True)]
        return Region((low[0], low[1], low[2]), (high[0], high[1], high[2]))

    def _corners(self, like: Array) -> tuple[Array, Array]:
        xp = array_namespace(like)
        return xp.asarray(self.low, dtype=like.dtype), xp.asarray(self.high, dtype=like.dtype)

"""Factors of how things and the robot feel: size, mass, friction, latency and noise."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from goalsight.base.errors import UserError
from goalsight.envs.goals import MOST
from goalsight.envs.variation.base import TABLE, Cast, Factor, Floats, Ids, Span, between

if TYPE_CHECKING:
    from goalsight.envs.variation.engine import Variation


@dataclass(frozen=True)
class Size(Factor):
    """Of free things, as a share of what it is; never larger, so that all that fits goes on fitting."""

    name: ClassVar[str] = "size"
    draws: ClassVar[int] = 1
    fields: ClassVar[tuple[str, ...]] = ("geom_size", "geom_pos", "body_inertia", "body_invweight0", "dof_invweight0")
    span: Span = (0.85, 1.0)

    def concerns(self, cast: Cast) -> bool:
        """Whether there are free things."""
        return len(cast.free_bodies) > 0

    def apply(self, variation: "Variation", ids: Ids, u: Floats) -> None:
        """See `Factor.apply`."""
        cast, values, share = variation.cast, variation.values, between(self.span, u)  # (n, 1)
        variation.share[ids] = share[:, 0]
        geoms, bodies = np.ix_(ids, cast.free_geoms), np.ix_(ids, cast.free_bodies)
        values["geom_size"][geoms] *= share[..., None]
        values["geom_pos"][geoms] *= share[..., None]
        values["body_inertia"][bodies] *= share[..., None] ** 2
        values["body_invweight0"][bodies] /= np.stack([np.ones_like(share), share**2], axis=-1)  # to move, to turn
        turning = cast.free_dofs.reshape(-1, 6)[:, 3:].ravel()
        values["dof_invweight0"][np.ix_(ids, turning)] /= share**2


@dataclass(frozen=True)
class Mass(Factor):
    """Of free things, as a multiple of what it is."""

    name: ClassVar[str] = "mass"
    draws: ClassVar[int] = 1
    fields: ClassVar[tuple[str, ...]] = (
        "body_mass",
        "body_inertia",
        "body_subtreemass",
        "body_invweight0",
        "dof_invweight0",
    )
    span: Span = (0.5, 2.0)

    def concerns(self, cast: Cast) -> bool:
        """Whether there are free things."""
        return len(cast.free_bodies) > 0

    def apply(self, variation: "Variation", ids: Ids, u: Floats) -> None:
        """See `Factor.apply`. Halving is as likely as doubling."""
        cast, values = variation.cast, variation.values
        times = np.exp(between((np.log(self.span[0]), np.log(self.span[1])), u))  # (n, 1)
        bodies = np.ix_(ids, cast.free_bodies)
        values["body_mass"][bodies] *= times
        values["body_subtreemass"][bodies] *= times
        values["body_inertia"][bodies] *= times[..., None]
        values["body_invweight0"][bodies] /= times[..., None]
        values["dof_invweight0"][np.ix_(ids, cast.free_dofs)] /= times


@dataclass(frozen=True)
class Friction(Factor):
    """Between free things and the table, and in the joints of parts that move, as a multiple of what it is."""

    name: ClassVar[str] = "friction"
    draws: ClassVar[int] = 1
    fields: ClassVar[tuple[str, ...]] = ("geom_friction", "pair_friction", "dof_frictionloss", "dof_damping")
    span: Span = (0.6, 1.2)

    def concerns(self, cast: Cast) -> bool:
        """Whether the task has things."""
        return len(cast.geoms) > 0

    def apply(self, variation: "Variation", ids: Ids, u: Floats) -> None:
        """See `Factor.apply`."""
        cast, values, times = variation.cast, variation.values, between(self.span, u)
        table = variation.model.geom(TABLE).id
        # The larger of the two that touch counts, so both sides of the contact change.
        values["geom_friction"][np.ix_(ids, np.append(cast.free_geoms, table))] *= times[..., None]
        values["pair_friction"][np.ix_(ids, cast.free_pairs)] *= times[..., None]
        for name in ("dof_frictionloss", "dof_damping"):
            values[name][np.ix_(ids, cast.part_dofs)] *= times


@dataclass(frozen=True)
class Latency(Factor):
    """By how many control steps actions come late."""

    name: ClassVar[str] = "latency"
    draws: ClassVar[int] = 1
    most: int = 2  # control steps (40 ms)

    def apply(self, variation: "Variation", ids: Ids, u: Floats) -> None:
        """See `Factor.apply`."""
        variation.delay[ids] = ((self.most + 1) * u[:, 0]).astype(np.int64)


@dataclass(frozen=True)
class Noise(Factor):
    """Of sensors, uniform: on `observation` and on `pixels`; not on goals, nor on what has been achieved."""

    name: ClassVar[str] = "noise"
    draws: ClassVar[int] = 1
    place: float = 0.003  # largest error of places [m], angles [rad] and rotations
    speed: float = 0.02  # likewise of velocities [m/s, rad/s]
    levels: int = 12  # of pixels, of 255

    def __post_init__(self) -> None:
        super().__post_init__()
        if max(self.place, self.speed) > MOST:
            raise UserError(f"noise: place and speed must be at most {MOST:g}, got {self.place} and {self.speed}")
        if self.levels > 255:
            raise UserError(f"noise: levels must lie in [0, 255], got {self.levels}")

    def apply(self, variation: "Variation", ids: Ids, u: Floats) -> None:
        """See `Factor.apply`."""
        variation.noise_key[ids] = (u[:, 0] * 2.0**53).astype(np.uint64)

"""Factors of variation: what may differ from one episode to the next beside the task's own starts and goals.

All are off unless named. Each simulation draws from a stream of its own, apart from that of starts and goals, so an
episode has the same start and goal with and without them.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar
from zlib import crc32

import mujoco
import numpy as np
from numpy.typing import NDArray

from goalsight.envs.scene import ThingIndex, arm_geoms
from goalsight.errors import UserError, choose

if TYPE_CHECKING:
    from goalsight.envs.arms import Arm
    from goalsight.envs.tasks import Task

Floats = NDArray[np.floating[Any]]
Ids = NDArray[np.int64]
Span = tuple[float, float]

ALL = "all"  # in place of names: every factor that has something to change
TABLE = "table"  # the scene's geom and material
HELD = 0.02  # what is nearer to the tool than this lies between the fingers [m]
DISTRACTORS = ("distractor_box", "distractor_ball", "distractor_can")
TEXTURES = ("checker", "grain")
SEEN_BY_CAMERAS = ("geom_rgba", "geom_size", "mat_rgba", "mat_texid", "light_diffuse")  # beside kinematics


@dataclass(frozen=True)
class Cast:
    """Where in a model's arrays lies what the factors change."""

    geoms: Ids  # of all that the task brings
    free_bodies: Ids  # of things that can lie anywhere, (B,)
    free_geoms: Ids
    free_dofs: Ids  # (6 B,)
    part_dofs: Ids  # of drawers, doors, switches
    distractors: Ids  # geoms
    cameras: Ids
    lights: Ids

    @classmethod
    def of(cls, arm: "Arm", task: "Task", model: mujoco.MjModel) -> "Cast":
        """Resolve names once."""
        things = [ThingIndex.of(thing.name, model) for thing in task.objects]
        free, parts = [thing for thing in things if thing.free], [thing for thing in things if not thing.free]
        bodies = np.array([thing.body for thing in free], np.int64)
        names = [model.geom(i).name for i in range(model.ngeom)]
        on_bodies = np.flatnonzero(model.geom_bodyid > 0)  # the table and what is only seen are the world's own
        return cls(
            geoms=np.setdiff1d(on_bodies, arm_geoms(arm, model)),
            free_bodies=bodies,
            free_geoms=np.flatnonzero(np.isin(model.geom_bodyid, bodies)),
            free_dofs=np.array([dof for thing in free for dof in range(thing.qvel.start, thing.qvel.stop)], np.int64),
            part_dofs=np.array([thing.qvel.start for thing in parts], np.int64),
            distractors=np.array([i for i, name in enumerate(names) if name in DISTRACTORS], np.int64),
            cameras=np.arange(model.ncam),
            lights=np.arange(model.nlight),
        )


@dataclass(frozen=True)
class Factor(ABC):
    """One thing that varies; its ranges are data."""

    name: ClassVar[str]
    draws: ClassVar[int]  # uniform numbers that `apply` uses
    fields: ClassVar[tuple[str, ...]] = ()  # of the model, which it gives each simulation values of its own

    def concerns(self, cast: Cast) -> bool:
        """Whether there is something for it to change."""
        return True

    def furnish(self, spec: mujoco.MjSpec) -> None:  # noqa: B027 (most factors add nothing)
        """Add to a scene what it needs there."""

    @abstractmethod
    def apply(self, variation: "Variation", ids: Ids, u: Floats) -> None:
        """Change simulations `ids`, which are as the model says, by uniform numbers in [0, 1), (n, draws)."""


def between(span: Span, u: Floats) -> Floats:
    """Numbers in [0, 1) spread evenly over a span."""
    return span[0] + (span[1] - span[0]) * u


@dataclass(frozen=True)
class Colour(Factor):
    """The hue of all things of the task, turned by the same angle, so that they stay told apart; greys stay."""

    name: ClassVar[str] = "colour"
    draws: ClassVar[int] = 1
    fields: ClassVar[tuple[str, ...]] = ("geom_rgba",)

    def concerns(self, cast: Cast) -> bool:
        """Whether the task has things."""
        return len(cast.geoms) > 0

    def apply(self, variation: "Variation", ids: Ids, u: Floats) -> None:
        """See `Factor.apply`."""
        angle = 2 * np.pi * u[:, 0]
        third, swing = (1 - np.cos(angle)) / 3, np.sin(angle) / np.sqrt(3)
        # A rotation of the colour cube about its grey diagonal.
        turn = np.stack([third + np.cos(angle), third - swing, third + swing], axis=-1)
        turns = np.stack([np.roll(turn, shift, axis=-1) for shift in range(3)], axis=-2)  # (n, 3, 3)
        rows = np.ix_(ids, variation.cast.geoms)
        rgba = variation.values["geom_rgba"]
        colours = rgba[rows]
        colours[..., :3] = np.clip(np.einsum("nij,nkj->nki", turns, colours[..., :3]), 0, 1)
        rgba[rows] = colours


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
    fields: ClassVar[tuple[str, ...]] = ("geom_friction", "dof_frictionloss", "dof_damping")
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
        for name in ("dof_frictionloss", "dof_damping"):
            values[name][np.ix_(ids, cast.part_dofs)] *= times


@dataclass(frozen=True)
class Table(Factor):
    """Colour and texture of the table: plain, checkered or grained."""

    name: ClassVar[str] = "table"
    draws: ClassVar[int] = 4
    fields: ClassVar[tuple[str, ...]] = ("mat_rgba", "mat_texid")
    span: Span = (0.2, 0.9)  # of each of red, green and blue

    def furnish(self, spec: mujoco.MjSpec) -> None:
        """Add the textures."""
        edge = 256
        field = np.arange(edge) * 16 // edge
        checks = np.add.outer(field, field) % 2
        lines = np.convolve(np.random.default_rng(0).random(edge), np.ones(5) / 5, mode="same")
        grain = np.repeat(lines[:, None], edge, axis=1)
        for name, pattern in zip(TEXTURES, (checks, grain), strict=True):
            grey = np.repeat((255 * (0.6 + 0.4 * pattern))[..., None], 3, axis=-1).astype(np.uint8)
            texture = spec.add_texture(
                name=name, type=mujoco.mjtTexture.mjTEXTURE_2D, width=edge, height=edge, nchannel=3
            )
            texture.data = grey.tobytes()

    def apply(self, variation: "Variation", ids: Ids, u: Floats) -> None:
        """See `Factor.apply`."""
        model = variation.model
        table = model.material(TABLE).id
        variation.values["mat_rgba"][ids, table, :3] = between(self.span, u[:, :3])
        choices = np.array([-1, *(model.texture(name).id for name in TEXTURES)])
        texture = choices[(len(choices) * u[:, 3]).astype(int)]
        variation.values["mat_texid"][ids, table, int(mujoco.mjtTextureRole.mjTEXROLE_RGB)] = texture


@dataclass(frozen=True)
class Light(Factor):
    """How bright each light is, and where it comes from."""

    name: ClassVar[str] = "light"
    draws: ClassVar[int] = 8
    fields: ClassVar[tuple[str, ...]] = ("light_diffuse", "light_dir")
    span: Span = (0.5, 1.4)  # of the brightness, as a multiple
    turn: float = 0.5  # of each component of the direction, which has length one

    def apply(self, variation: "Variation", ids: Ids, u: Floats) -> None:
        """See `Factor.apply`. Lights beyond the second repeat the numbers of the first two."""
        lights = variation.cast.lights
        u = u.reshape(len(u), 2, 4)[:, lights % 2]  # (n, L, 4)
        rows = np.ix_(ids, lights)
        variation.values["light_diffuse"][rows] *= between(self.span, u[..., :1])
        direction = variation.values["light_dir"][rows] + self.turn * (2 * u[..., 1:] - 1)
        variation.values["light_dir"][rows] = direction / np.linalg.norm(direction, axis=-1, keepdims=True)


@dataclass(frozen=True)
class CameraPose(Factor):
    """Where cameras stand and look."""

    name: ClassVar[str] = "camera"
    draws: ClassVar[int] = 6
    fields: ClassVar[tuple[str, ...]] = ("cam_pos", "cam_quat")
    shift: float = 0.03  # largest, along each axis [m]
    turn: float = 0.03  # largest, about each axis of the camera [rad]

    def apply(self, variation: "Variation", ids: Ids, u: Floats) -> None:
        """See `Factor.apply`. All cameras of a simulation are moved alike."""
        rows = np.ix_(ids, variation.cast.cameras)
        variation.values["cam_pos"][rows] += self.shift * (2 * u[:, None, :3] - 1)
        half = 0.5 * self.turn * (2 * u[:, 3:] - 1)
        x, y, z = half.T
        w = np.sqrt(1 - np.sum(half**2, axis=-1))
        by_turn = np.stack([w, -x, -y, -z, x, w, z, -y, y, -z, w, x, z, y, -x, w], axis=-1).reshape(-1, 1, 4, 4)
        turned = np.matmul(by_turn, variation.values["cam_quat"][rows][..., None])[..., 0]
        variation.values["cam_quat"][rows] = turned


@dataclass(frozen=True)
class Distractors(Factor):
    """Coloured shapes at the rim of the workspace, which are seen but cannot be touched."""

    name: ClassVar[str] = "distractors"
    draws: ClassVar[int] = 5 * len(DISTRACTORS)
    fields: ClassVar[tuple[str, ...]] = ("geom_rgba", "geom_pos")
    size: float = 0.02  # half of the edge, or the radius [m]
    rims: tuple[tuple[Span, Span], ...] = (((0.30, 0.55), (-0.27, -0.21)), ((0.30, 0.55), (0.21, 0.27)))  # x, y [m]

    def furnish(self, spec: mujoco.MjSpec) -> None:
        """Add the shapes."""
        kinds = (mujoco.mjtGeom.mjGEOM_BOX, mujoco.mjtGeom.mjGEOM_SPHERE, mujoco.mjtGeom.mjGEOM_CYLINDER)
        for name, kind in zip(DISTRACTORS, kinds, strict=True):
            spec.worldbody.add_geom(
                name=name, type=kind, size=[self.size] * 3, pos=[0.4, 0.25, self.size], contype=0, conaffinity=0
            )

    def apply(self, variation: "Variation", ids: Ids, u: Floats) -> None:
        """See `Factor.apply`."""
        u = u.reshape(len(u), len(DISTRACTORS), 5)
        rows = np.ix_(ids, variation.cast.distractors)
        x, y = (np.array([rim[axis] for rim in self.rims]) for axis in range(2))  # (rims, 2) each
        # One rim after the other; several on one rim may overlap, as things that stand behind each other do.
        rim = np.arange(len(DISTRACTORS)) % len(self.rims)
        places = np.stack(
            [
                x[rim, 0] + (x[rim, 1] - x[rim, 0]) * u[..., 0],
                y[rim, 0] + (y[rim, 1] - y[rim, 0]) * u[..., 1],
                np.full(u.shape[:2], self.size),
            ],
            axis=-1,
        )
        variation.values["geom_pos"][rows] = places
        colours = variation.values["geom_rgba"][rows]
        colours[..., :3] = u[..., 2:5]
        variation.values["geom_rgba"][rows] = colours


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

    def apply(self, variation: "Variation", ids: Ids, u: Floats) -> None:
        """See `Factor.apply`."""
        variation.noise_key[ids] = (u[:, 0] * 2.0**53).astype(np.uint64)


FACTORS: dict[str, Factor] = {
    factor.name: factor
    for factor in (
        Colour(),
        Size(),
        Mass(),
        Friction(),
        Table(),
        Light(),
        CameraPose(),
        Distractors(),
        Latency(),
        Noise(),
    )
}


def factors_of(names: str | Factor | Sequence[str | Factor]) -> tuple[Factor, ...]:
    """Factors by name, or as they are, for other ranges; "all" means every one.

    Raises:
        UserError: there is no such factor, or one comes twice.
    """
    names = (names,) if isinstance(names, str | Factor) else tuple(names)
    wanted = FACTORS.values() if ALL in names else names
    factors = tuple(
        one if isinstance(one, Factor) else FACTORS[choose("factor of variation", one, (*FACTORS, ALL))]
        for one in wanted
    )
    twice = {one.name for one in factors if [other.name for other in factors].count(one.name) > 1}
    if twice:
        raise UserError(f'factor of variation "{min(twice)}" is named twice')
    return factors


class Variation:
    """The factors at work in N simulations."""

    def __init__(
        self,
        factors: Sequence[Factor],
        batch: "mujoco.batch.Batch",
        cast: Cast,
        neutral: Floats,
        speeds: NDArray[np.bool_],
    ) -> None:
        """Give simulations values of their own.

        Args:
            factors: what varies; those of "all" that have nothing to change here are left out.
            batch: the simulations.
            cast: where things are in their model.
            neutral: the action (A,) taken while the first one is late.
            speeds: which entries of the state are velocities, (S,).

        Raises:
            UserError: a factor that was named has nothing to change.
        """
        idle = [factor.name for factor in factors if not factor.concerns(cast)]
        if idle and len(factors) < len(FACTORS):
            raise UserError(f'factor of variation "{idle[0]}" has nothing to change in this task')
        factors = [factor for factor in factors if factor.concerns(cast)]
        self.factors, self.cast, self.model = {one.name: one for one in factors}, cast, batch.model
        names = sorted({name for factor in factors for name in factor.fields})
        expand: Callable[[str], NDArray[Any]] = batch.expand
        self.values = {name: expand(name) for name in names}  # live, (N, ...) each
        self.delay = np.zeros(batch.nsim, np.int64)  # control steps, (N,)
        self.noise_key = np.zeros(batch.nsim, np.uint64)
        self.share = np.ones(batch.nsim)  # of their size that free things have, (N,)
        latency = self.factors.get(Latency.name)
        steps = 1 + (latency.most if isinstance(latency, Latency) else 0)
        self._neutral = neutral
        self._told = np.tile(neutral, (batch.nsim, steps, 1))  # actions, the latest first, (N, steps, A)
        noise = self.factors.get(Noise.name)
        self._noise = noise if isinstance(noise, Noise) else None
        place, speed = (noise.place, noise.speed) if isinstance(noise, Noise) else (0.0, 0.0)
        self._amplitude = np.where(speeds, speed, place).astype(np.float32)

    @property
    def drawn(self) -> tuple[str, ...]:
        """The model's fields that cameras must read for each simulation."""
        return tuple(name for name in SEEN_BY_CAMERAS if name in self.values)

    def lowered(self, ids: Ids, places: Floats, tool: Floats) -> Floats:
        """Where smaller things stand that a task lays out at places (n, 3) [m], on the table or on each other.

        What is at the tool, (n, 3), is held and stays where it is.
        """
        held = np.linalg.norm(places - tool, axis=1) < HELD
        share = np.where(held, 1.0, self.share[ids])
        return places * np.stack([np.ones_like(share), np.ones_like(share), share], axis=1)

    @property
    def settles(self) -> bool:
        """Whether starts must come to rest, since held things may not be as the task lays them out."""
        return Size.name in self.factors

    def draw(self, ids: Ids, rngs: Sequence[np.random.Generator]) -> None:
        """Draw all factors anew for simulations `ids`, each from its own generator."""
        keys = np.array([rng.integers(2**63) for rng in rngs], np.uint64)
        for name, values in self.values.items():
            values[ids] = getattr(self.model, name)
        self._told[ids] = self._neutral
        for name, factor in self.factors.items():
            # Each has numbers of its own, whichever others are named.
            words = hashed(keys ^ np.uint64(crc32(name.encode())), np.zeros(len(ids), np.int64), factor.draws)
            factor.apply(self, ids, (words >> np.uint64(11)) * 2.0**-53)

    def late(self, actions: Floats) -> Floats:
        """The actions (N, A) that arrive now."""
        self._told[:, 1:] = self._told[:, :-1]
        self._told[:, 0] = actions
        arrived: Floats = self._told[np.arange(len(actions)), self.delay]
        return arrived

    def sensed(self, observation: NDArray[np.float32], step: NDArray[np.int64]) -> NDArray[np.float32]:
        """Observations (N, K), the first K entries of the state, as sensors give them at steps (N,) of episodes."""
        if self._noise is None:
            return observation
        size = observation.shape[1]
        noise = hashed(self.noise_key, 2 * step, size).astype(np.float64) * 2.0**-63 - 1.0  # [-1, 1)
        noisy: NDArray[np.float32] = (observation + self._amplitude[:size] * noise).astype(np.float32)
        return noisy

    def filmed(self, frames: NDArray[np.uint8], ids: Ids, step: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Frames (n, H, W, 3) of simulations `ids` as cameras give them at steps (n,) of episodes."""
        if self._noise is None:
            return frames
        words = -(-frames[0].size // 8)
        noise = hashed(self.noise_key[ids], 2 * step + 1, words).view(np.uint8)[:, : frames[0].size]
        levels = (noise.reshape(frames.shape).astype(np.int16) * (2 * self._noise.levels + 1) >> 8) - self._noise.levels
        noisy: NDArray[np.uint8] = np.clip(frames + levels, 0, 255).astype(np.uint8)
        return noisy

    def snapshot(self) -> dict[str, NDArray[Any]]:
        """A copy of what was drawn, and of actions under way."""
        return {name: array.copy() for name, array in self._state().items()}

    def restore(self, snapshot: dict[str, NDArray[Any]]) -> None:
        """Go back to a snapshot."""
        for name, array in self._state().items():
            array[:] = snapshot[name]

    def _state(self) -> dict[str, NDArray[Any]]:
        drawn = {"delay": self.delay, "noise_key": self.noise_key, "share": self.share}
        return {**self.values, **drawn, "told": self._told}


def hashed(keys: NDArray[np.uint64], step: NDArray[np.int64], size: int) -> NDArray[np.uint64]:
    """Random words (n, size) that depend on keys (n,) and steps (n,) alone, whatever the batch around them.

    SplitMix64: Steele, Lea and Flood, Fast splittable pseudorandom number generators (2014).
    """
    golden = np.uint64(0x9E3779B97F4A7C15)

    def mix(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
        words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return words ^ (words >> np.uint64(31))

    start = mix(keys + golden * (step.astype(np.uint64) + np.uint64(1)))
    return mix(start[:, None] + golden * np.arange(1, size + 1, dtype=np.uint64))

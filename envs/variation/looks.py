"""Factors of how a scene looks: colour, table, light, camera and distractors."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import mujoco
import numpy as np

from goalsight.envs.variation.base import DISTRACTORS, TABLE, Cast, Factor, Floats, Ids, Span, between

if TYPE_CHECKING:
    from goalsight.envs.variation.engine import Variation

TEXTURES = ("checker", "grain")


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

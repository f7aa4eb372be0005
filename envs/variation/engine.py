"""The factors at work: what is drawn for each episode, and what actions and sensors make of it."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from goalsight.envs.variation.base import Cast, Factor, Floats, Ids
from goalsight.envs.variation.feel import Latency, Noise, Size

if TYPE_CHECKING:
    import mujoco

HELD = 0.02  # what is nearer to the tool than this lies between the fingers [m]
SEEN_BY_CAMERAS = ("geom_rgba", "geom_size", "mat_rgba", "mat_texid", "light_diffuse")  # beside kinematics


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
            factors: what varies.
            batch: the simulations.
            cast: where things are in their model.
            neutral: the action (A,) taken while the first one is late.
            speeds: which entries of the state are velocities, (S,).
        """
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
        levels = (noise.reshape(frames.shape).astype(np.int32) * (2 * self._noise.levels + 1) >> 8) - self._noise.levels
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

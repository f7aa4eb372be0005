"""Statistics of episodes as LeRobot keeps them, with which policies normalise what they read."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

QUANTILES = (0.01, 0.10, 0.50, 0.90, 0.99)
PICTURES, COARSE = 20, 4  # pictures of an episode that count, and of them every so manieth pixel each way

Stats = dict[str, Any]  # min, max, mean, std, count, q01 to q99


def stats_of(values: NDArray[Any]) -> Stats:
    """Statistics of a feature over an episode (T, k); what is not known (NaN) does not count."""
    numbers = np.asarray(values, np.float64)
    known = np.isfinite(numbers).any(axis=0)
    numbers = np.where(known, numbers, 0.0)
    levels = np.nanquantile(numbers, QUANTILES, axis=0)
    return {
        "min": np.nanmin(numbers, axis=0),
        "max": np.nanmax(numbers, axis=0),
        "mean": np.nanmean(numbers, axis=0),
        "std": np.nanstd(numbers, axis=0),
        "count": np.array([len(numbers)]),
        **{f"q{round(100 * share):02d}": level for share, level in zip(QUANTILES, levels, strict=True)},
    }


def picture_stats(frames: NDArray[np.uint8]) -> Stats:
    """Statistics of some pictures (T, H, W, 3) by colour, in [0, 1], each (3, 1, 1)."""
    some = frames[:: -(-len(frames) // PICTURES), ::COARSE, ::COARSE]
    stats = stats_of(some.reshape(-1, 3) / 255.0)
    shaped = {name: value.reshape(3, 1, 1) for name, value in stats.items() if name != "count"}
    return {**shaped, "count": np.array([len(some)])}


def merged(parts: Sequence[Stats]) -> Stats:
    """Statistics over several episodes; quantiles are the means of theirs, weighted by their lengths, as in LeRobot."""
    counts = np.array([part["count"][0] for part in parts], np.float64)

    def mean(name: str) -> NDArray[np.float64]:
        return np.asarray(np.average([part[name] for part in parts], axis=0, weights=counts))

    whole = mean("mean")
    spread = [part["std"] ** 2 + (part["mean"] - whole) ** 2 for part in parts]
    return {
        "min": np.min([part["min"] for part in parts], axis=0),
        "max": np.max([part["max"] for part in parts], axis=0),
        "mean": whole,
        "std": np.sqrt(np.average(spread, axis=0, weights=counts)),
        "count": np.array([int(counts.sum())]),
        **{name: mean(name) for name in parts[0] if name.startswith("q")},
    }


def listed(stats: Stats) -> dict[str, Any]:
    """The same as lists of numbers."""
    return {name: value.tolist() for name, value in stats.items()}

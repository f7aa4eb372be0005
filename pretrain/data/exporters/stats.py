"""Statistics of episodes as LeRobot keeps them, with which policies normalise what they read."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

QUANTILES = (0.01, 0.10, 0.50, 0.90, 0.99)
PICTURES, COARSE = 20, 4  # pictures of an episode that count, and of them every so manieth pixel each way

KNOWN = "known"  # frames in which each number is known, kept for `merged`; LeRobot's `count` is that of all frames

Stats = dict[str, Any]  # min, max, mean, std, count, q01 to q99, known


def stats_of(values: NDArray[Any]) -> Stats:
    """Statistics of a feature over those frames of an episode (T, k) in which it is known, not NaN; else zeros."""
    numbers = np.asarray(values, np.float64)
    known = np.isfinite(numbers)
    numbers = np.where(known, numbers, np.where(known.any(axis=0), np.nan, 0.0))
    levels = np.nanquantile(numbers, QUANTILES, axis=0)
    return {
        "min": np.nanmin(numbers, axis=0),
        "max": np.nanmax(numbers, axis=0),
        "mean": np.nanmean(numbers, axis=0),
        "std": np.nanstd(numbers, axis=0),
        "count": np.array([len(numbers)]),
        KNOWN: known.sum(axis=0),
        **{f"q{round(100 * share):02d}": level for share, level in zip(QUANTILES, levels, strict=True)},
    }


def picture_stats(frames: NDArray[np.uint8]) -> Stats:
    """Statistics of some pictures (T, H, W, 3) by colour, in [0, 1], each (3, 1, 1)."""
    some = frames[:: -(-len(frames) // PICTURES), ::COARSE, ::COARSE]
    stats = stats_of(some.reshape(-1, 3) / 255.0)
    shaped = {name: value.reshape(3, 1, 1) for name, value in stats.items() if name != "count"}
    return {**shaped, "count": np.array([len(some)])}


def merged(parts: Sequence[Stats]) -> Stats:
    """Statistics over several episodes, by the frames in which each number is known; 0 where it never is.

    Quantiles are the means of the episodes', so weighted, as in LeRobot.
    """
    every = {name: np.stack([part[name] for part in parts]) for name in parts[0]}
    known = every[KNOWN].sum(axis=0)
    weights = np.where(known > 0, every[KNOWN], 1)

    def mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(np.average(values, axis=0, weights=weights))

    whole = mean(every["mean"])
    return {
        "min": np.where(weights > 0, every["min"], np.inf).min(axis=0),
        "max": np.where(weights > 0, every["max"], -np.inf).max(axis=0),
        "mean": whole,
        "std": np.sqrt(mean(every["std"] ** 2 + (every["mean"] - whole) ** 2)),
        "count": every["count"].sum(axis=0),
        KNOWN: known,
        **{name: mean(values) for name, values in every.items() if name.startswith("q")},
    }


def listed(stats: Stats) -> dict[str, Any]:
    """What LeRobot keeps of them, as lists of numbers."""
    return {name: value.tolist() for name, value in stats.items() if name != KNOWN}

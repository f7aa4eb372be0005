"""Ridge regression with its strength chosen on a validation split, in whichever form is the smaller."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

SLICE = 1024  # columns multiplied at once
STRENGTHS = tuple(10.0**k for k in range(-6, 2))  # relative to the mean variance of a direction


@dataclass(frozen=True)
class Split:
    """Inputs (n, D) and targets (n, K) of one part of the data."""

    x: Floats
    y: Floats


def read_out(train: Split, validation: Split, sizes: Sequence[int]) -> Callable[[Floats], NDArray[np.float64]]:
    """Fit factors by ridge regression, and return what reads them off new inputs, (m, D) -> (m, K).

    The regressions are scikit-learn's, in double precision: small penalties would drown in the rounding of single.

    Args:
        train: fitted; targets are factors side by side.
        validation: chooses the strength, for each factor by itself: that of the smallest mean distance.
        sizes: how many of the targets each factor takes.

    Source:
        Hoerl and Kennard, Ridge regression (1970); the dual form after Saunders et al. (1998).
    """
    from sklearn.kernel_ridge import KernelRidge
    from sklearn.linear_model import Ridge

    x_mean, y_mean = train.x.mean(axis=0), train.y.mean(axis=0, dtype=np.float64)
    # One scale for all features: dividing each by its own would blow up the constant ones.
    scale = float(np.std(train.x - x_mean)) or 1.0
    known = (train.x - x_mean) / scale
    dual = known.shape[1] > known.shape[0]
    unit = max(float(np.square(known, dtype=np.float64).sum()) / min(known.shape), 1e-12)

    def design(x: Floats) -> NDArray[np.float64]:
        scaled = (x - x_mean) / scale
        return _product(scaled, known.T) if dual else scaled.astype(np.float64)

    def fit(strength: float) -> "Ridge | KernelRidge":
        if dual:  # products of inputs are made once for all strengths, as Ridge by itself would not
            return KernelRidge(alpha=strength * unit, kernel="precomputed").fit(inputs, train.y - y_mean)
        return Ridge(alpha=strength * unit, fit_intercept=False, solver="cholesky").fit(inputs, train.y - y_mean)

    def read(fitted: "Ridge | KernelRidge", inputs: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(fitted.predict(inputs)).reshape(len(inputs), -1) + y_mean

    inputs, on_validation = design(train.x), design(validation.x)
    tried = [fit(strength) for strength in STRENGTHS]
    best = np.argmin([distances(read(fitted, on_validation), validation.y, sizes) for fitted in tried], axis=0)
    parts = [slice(end - size, end) for end, size in zip(np.cumsum(sizes), sizes, strict=True)]

    def of_new(x: Floats) -> NDArray[np.float64]:
        asked = design(x)
        said = {choice: read(tried[choice], asked) for choice in set(best.tolist())}
        return np.concatenate([said[choice][:, part] for choice, part in zip(best, parts, strict=True)], axis=1)

    return of_new


def _product(a: Floats, b: Floats) -> NDArray[np.float64]:
    """The product in double precision, a slice of the inner axis at a time: no double copy of a factor is held."""
    total = np.zeros((a.shape[0], b.shape[1]))
    for start in range(0, a.shape[1], SLICE):
        part = slice(start, start + SLICE)
        total += a[:, part].astype(np.float64) @ b[part].astype(np.float64)
    return total


def distances(predicted: NDArray[np.float64], truth: Floats, sizes: Sequence[int]) -> NDArray[np.float64]:
    """Mean Euclidean distance of (n, K) predictions from the truth, of each factor: shape (len(sizes),).

    Args:
        predicted: of each sample.
        truth: likewise.
        sizes: how many of the K numbers each factor takes.
    """
    apart = np.square(np.asarray(predicted, np.float64) - truth)
    parts = np.split(apart, np.cumsum(sizes)[:-1], axis=1)
    return np.array([np.sqrt(part.sum(1)).mean() for part in parts])

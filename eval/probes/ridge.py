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


class Ridge:
    """Solutions for any strength from one Gram matrix: (D, D) with few features, (n, n) with few samples.

    Source: Hoerl and Kennard, Ridge regression (1970); the dual form after Saunders et al. (1998).
    """

    def __init__(self, train: Split) -> None:
        """Prepare to fit `train`; inputs are centred and divided by one common scale."""
        self._x_mean, self._y_mean = train.x.mean(axis=0), train.y.mean(axis=0)
        centred = train.x - self._x_mean
        # One scale for all features: dividing each by its own would blow up the constant ones.
        self._scale = float(np.sqrt(np.mean(np.square(centred)))) or 1.0
        self._x = centred / self._scale
        self._y = train.y - self._y_mean
        self.dual = self._x.shape[1] > self._x.shape[0]
        # In double precision: small penalties would drown in the rounding of single precision.
        self._gram = _product(self._x, self._x.T) if self.dual else _product(self._x.T, self._x)
        self._unit = max(float(np.trace(self._gram)) / len(self._gram), 1e-12)

    def solve(self, strength: float) -> NDArray[np.float64]:
        """Weights of the dual form (n, K) or of the primal form (D, K)."""
        import torch

        right = self._y if self.dual else self._x.T @ self._y
        penalised = torch.from_numpy(self._gram.copy())
        penalised.diagonal().add_(strength * self._unit)
        # NumPy has no Cholesky solver, and its general one takes twice as long.
        factor = torch.linalg.cholesky(penalised)
        return torch.cholesky_solve(torch.from_numpy(right.astype(np.float64)), factor).numpy()

    def design(self, x: Floats) -> NDArray[np.float64]:
        """What the weights are multiplied with to predict: (m, n) in the dual form, (m, D) in the primal one."""
        centred = (x - self._x_mean) / self._scale
        return _product(centred, self._x.T) if self.dual else centred.astype(np.float64)

    def predict(self, design: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Targets (m, K) for what `design` made of the inputs."""
        return design @ weights + self._y_mean


def _product(a: Floats, b: Floats) -> NDArray[np.float64]:
    """The product in double precision, a slice of the inner axis at a time: no double copy of a factor is held."""
    total = np.zeros((a.shape[0], b.shape[1]))
    for start in range(0, a.shape[1], SLICE):
        part = slice(start, start + SLICE)
        total += a[:, part].astype(np.float64) @ b[part].astype(np.float64)
    return total


def read_out(train: Split, validation: Split, sizes: Sequence[int]) -> Callable[[Floats], NDArray[np.float64]]:
    """Fit factors by ridge regression, and return what reads them off new inputs, (m, D) -> (m, K).

    Args:
        train: fitted; targets are factors side by side.
        validation: chooses the strength, for each factor by itself: that of the smallest mean distance.
        sizes: how many of the targets each factor takes.
    """
    ridge = Ridge(train)
    ends = np.cumsum(sizes)
    on_validation = ridge.design(validation.x)
    tried = [ridge.solve(strength) for strength in STRENGTHS]
    errors = [distances(ridge.predict(on_validation, weights), validation.y, sizes) for weights in tried]
    best = np.argmin(errors, axis=0)
    weights = np.concatenate(
        [tried[choice][:, end - size : end] for choice, size, end in zip(best, sizes, ends, strict=True)], 1
    )
    return lambda x: ridge.predict(ridge.design(x), weights)


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

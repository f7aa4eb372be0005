"""Gradients of a loss whose parts are worked out side by side, each by one thread.

A small network leaves too little in one operation for several threads to share: two threads inside the operations are
no faster than one. Two threads that take half of the batch each are.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch
from torch import Tensor

from goalsight.base.flops import for_threads

SHARD = 16  # of a batch, that one thread learns from at once; with 8 a clip takes half as long again

Found = TypeVar("Found")


class Shards:
    """Threads that work out parts of a batch. A context manager: inside an operation there is one thread meanwhile.

    How a batch is cut does not depend on the number of threads, so neither does a bit of the result.

    Args:
        weights: what gradients are taken of.
        threads: at most so many parts at once.
        inside: threads inside an operation, for a batch that is one part.
    """

    def __init__(self, weights: Sequence[Tensor], *, threads: int, inside: int = 1) -> None:
        self._weights, self._threads, self._inside = list(weights), threads, inside

    def __enter__(self) -> "Shards":
        """Start the threads."""
        self._before = torch.get_num_threads()
        torch.set_num_threads(self._inside)
        self._pool = ThreadPoolExecutor(self._threads)
        return self

    def __exit__(self, *exception: object) -> None:
        """End the threads, and give torch back those it had."""
        self._pool.shutdown()
        torch.set_num_threads(self._before)

    def backward(self, parts: Sequence[Callable[[], tuple[Tensor, Found]]]) -> list[Found]:
        """Set the weights' gradients to those of the sum of the parts' losses; weights that none uses have none.

        Args:
            parts: each returns its share of the loss, and what else it found.

        Returns:
            what each found.
        """
        gradients, found = zip(*self._pool.map(for_threads(self._of_part), parts), strict=True)
        for weight, *shares in zip(self._weights, *gradients, strict=True):
            known = [share for share in shares if share is not None]
            weight.grad = _laid_out_as(weight, sum(known[1:], start=known[0])) if known else None
        return list(found)

    def _of_part(self, part: Callable[[], tuple[Tensor, Found]]) -> tuple[tuple[Tensor | None, ...], Found]:
        loss, found = part()
        return torch.autograd.grad(loss, self._weights, allow_unused=True), found


def _laid_out_as(weight: Tensor, gradient: Tensor) -> Tensor:
    """A gradient in its weight's layout in memory: torch's fused optimisers pair numbers by where they lie."""
    if gradient.stride() == weight.stride():
        return gradient
    return torch.empty_like(weight).copy_(gradient)

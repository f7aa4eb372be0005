"""Counting floating-point operations, and what this machine can do of them."""

import time
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, TypeVar

import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

Result = TypeVar("Result")
_elsewhere: ContextVar[list[int] | None] = ContextVar("operations of other threads", default=None)


def _attention(query: torch.Size, key: torch.Size, value: torch.Size, *_: Any, **__: Any) -> int:
    return int(sdpa_flop_count(query, key, value))


def _attention_backward(_: torch.Size, *shapes: Any, **__: Any) -> int:
    return 2 * _attention(*shapes)  # as of the plain products; what a fused kernel works out again is not counted


# The counter knows the fused kernels of CUDA only.
FUSED = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
}


def count_flops(step: Callable[[], object]) -> int:
    """Return the operations of the matrix products and convolutions that a call runs, forward and backward.

    A multiplication and an addition are two operations. Elementwise work is not counted. What is computed is the same
    to the bit as without counting. Of other threads only what `for_threads` has prepared is counted.
    """
    elsewhere: list[int] = []
    before = _elsewhere.set(elsewhere)
    try:
        with FlopCounterMode(display=False, custom_mapping=FUSED) as counter:
            step()
    finally:
        _elsewhere.reset(before)
    return int(counter.get_total_flops()) + sum(elsewhere)


def for_threads(work: Callable[..., Result]) -> Callable[..., Result]:
    """Return `work` for other threads to do: its operations count where the calling thread counts."""
    elsewhere = _elsewhere.get()
    if elsewhere is None:
        return work

    def counted(*arguments: Any) -> Result:
        results: list[Result] = []
        elsewhere.append(count_flops(lambda: results.append(work(*arguments))))
        return results[0]

    return counted


def matmul_peak(
    dtype: torch.dtype = torch.float32, *, device: str = "cpu", size: int = 2048, seconds: float = 0.5
) -> float:
    """Measure the fastest square matrix product this machine shows, with torch's current threads.

    Args:
        dtype: of the matrices.
        device: where to multiply.
        size: of the matrices.
        seconds: how long to try [s].

    Returns:
        operations per second [1/s], of the best repetition, so that other work on the machine disturbs little.
    """
    left = torch.randn(size, size, device=device).to(dtype)
    right = torch.randn(size, size, device=device).to(dtype)
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end or best == float("inf"):
        start = time.perf_counter()
        (left @ right).sum().item()  # .item() waits for the device
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best

"""Counting floating-point operations, and what this machine can do of them."""

import time
from collections.abc import Callable

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode


def count_flops(step: Callable[[], object]) -> int:
    """Return the operations of the matrix products and convolutions that a call runs, forward and backward.

    A multiplication and an addition are two operations. Elementwise work is not counted. Attention is held to
    plain products meanwhile, because the counter sees none of the fused kernel's work on the CPU.
    """
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        step()
    return int(counter.get_total_flops())


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

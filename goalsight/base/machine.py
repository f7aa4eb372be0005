"""What a result was measured on: the machine and the versions, without importing anything heavy."""

import os
import platform
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from goalsight.base.errors import UserError

MOST_THREADS = 1024
PACKAGES = (
    "goalsight",
    "gymnasium",
    "imageio",
    "mujoco",
    "mujoco-warp",
    "numpy",
    "safetensors",
    "stable-baselines3",
    "torch",
    "warp-lang",
)

# The CPU features that decide how fast reduced-precision matrix products run.
MATRIX_FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_tile", "amx_bf16", "asimd", "bf16")


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that decide a result."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "absent"
    return found


def check_threads(threads: int) -> None:
    """Refuse a number of threads that cannot be meant.

    Raises:
        UserError: it is negative, or more than any machine has use for.
    """
    if not 0 <= threads <= MOST_THREADS:
        raise UserError(f"threads must be at least 1 and at most {MOST_THREADS:,}, or 0 for every CPU, got {threads}")


def usable_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def total_memory_bytes() -> int:
    """Return the machine's main memory [bytes]."""
    import psutil

    return psutil.virtual_memory().total


def _cpuinfo() -> dict[str, str]:
    """Return the first CPU's entries of /proc/cpuinfo; empty where there is none."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return {}
    pairs = (line.split(":", 1) for line in text.split("\n\n")[0].splitlines() if ":" in line)
    return {key.strip(): value.strip() for key, value in pairs}


def describe_machine() -> dict[str, Any]:
    """Return the CPU, cores, memory, system and matrix features, as JSON's own types."""
    info = _cpuinfo()
    flags = set(info.get("flags", info.get("Features", "")).split())
    machine: dict[str, Any] = {
        "cpu": info.get("model name") or platform.processor() or platform.machine(),
        "architecture": platform.machine(),
        "cores": usable_cores(),
        "memory_gib": round(total_memory_bytes() / 2**30, 1),
        "system": platform.platform(),
        "matrix_flags": [flag for flag in MATRIX_FLAGS if flag in flags],
    }
    torch = sys.modules.get("torch")  # asked only if it is loaded: importing it takes a second
    if torch is not None and torch.cuda.is_available():
        machine["gpu"] = torch.cuda.get_device_name()
    return machine

"""Start warp without its banner, without its complaint that a machine has no GPU, and where HOME cannot be written."""

import atexit
import os
import shutil
import sys
import tempfile

import warp as wp

# What warp's native code prints on every machine without CUDA, past its own log level.
_EXPECTED = "Warp CUDA warning: Could not find or load the NVIDIA CUDA driver"


def start_warp() -> None:
    """Initialise warp; whatever else it has to say still reaches stderr."""
    wp.config.log_level = max(wp.config.log_level, wp.LOG_WARNING)
    with tempfile.TemporaryFile() as log:
        sys.stderr.flush()
        stderr = os.dup(2)
        os.dup2(log.fileno(), 2)
        try:
            _init()
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            log.seek(0)
            lines = log.read().decode(errors="replace").splitlines(keepends=True)
            sys.stderr.write("".join(line for line in lines if not line.startswith(_EXPECTED)))


def _init() -> None:
    """Initialise warp, with its compiled kernels in a folder for this process alone where they cannot be kept."""
    try:
        wp.init()
    except OSError as error:
        folder = tempfile.mkdtemp(prefix="goalsight-kernels-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        wp.config.kernel_cache_dir = os.environ["WARP_CACHE_PATH"] = folder  # the latter for whatever this one starts
        print(
            f"goalsight: kernels cannot be kept in {error.filename} ({error.strerror}); they are compiled anew each "
            "time; WARP_CACHE_PATH names another folder",
            file=sys.stderr,
        )
        wp.init()

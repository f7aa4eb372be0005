"""Start warp without its banner, and without its complaint that a machine has no GPU."""

import os
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
            wp.init()
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            log.seek(0)
            lines = log.read().decode(errors="replace").splitlines(keepends=True)
            sys.stderr.write("".join(line for line in lines if not line.startswith(_EXPECTED)))

"""Pixels by the ray tracer of mujoco_warp: batched, on the CPU's threads or on CUDA, without OpenGL."""

import copy
import math
import queue
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import mujoco
import mujoco.batch
import numpy as np
import warp as wp
from numpy.typing import NDArray

from goalsight.errors import UserError

wp.config.quiet = True
wp.config.log_level = wp.LOG_WARNING if hasattr(wp, "LOG_WARNING") else getattr(wp.config, "log_level", None)

import mujoco_warp  # noqa: E402  (after warp was told to be quiet)

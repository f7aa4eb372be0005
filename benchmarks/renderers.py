"""Frames per second of each renderer: the ray tracer with one and two threads, and OpenGL where it works.

What is drawn is the Panda's Push scene in as many states as there are frames in a call. Then the same episodes are
stepped with pictures, and without while the renderer draws each state, which tells what share stepping leaves to it.
"""

import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from reporting import RESULTS, markdown_table, provenance, significant, start

from goalsight.base.errors import UserError
from goalsight.base.files import atomic_write_json
from goalsight.envs.rendering.backends import make_camera
from goalsight.envs.rendering.camera import KINEMATICS
from goalsight.envs.rendering.moving import MovingTracer
from goalsight.envs.rendering.tracer import put_model
from goalsight.envs.vector import GoalVectorEnv

if TYPE_CHECKING:
    from goalsight.envs.rendering.camera import Camera

# Floating-point operations, counted by hand. A test takes a direction to the geom's frame (15) and solves for where it
# enters (30 for an ellipsoid, 35 for a box, 50 for a cylinder, 60 for a capsule); then three lights are summed.
OPERATIONS_PER_TEST = 65
OPERATIONS_PER_RAY = 50
STEPPED_SIZE = 64  # [pixels], as agents see
ACTED = 10  # random steps before, so that the states differ
BACKENDS = (("raytrace", 1), ("raytrace", 2), ("opengl", 1))  # with threads


@dataclass(frozen=True)
class Renderers:
    """Measure frames per second of each renderer."""

    sizes: tuple[int, ...] = (64, 128, 480)
    """Sides of the images [pixels]."""
    batches: tuple[int, ...] = (1, 32, 256)
    """Frames per call."""
    seconds: float = 1.0
    """Least length of a window [s]."""
    windows: int = 3
    """Windows per measurement; their median is the result."""
    longest: float = 10.0
    """Calls that would take longer than this are left out [s]."""
    out: Path = RESULTS / "renderers.json"
    """The result."""


def measure(camera: "Camera", env: GoalVectorEnv, config: Renderers) -> tuple[list[float], list[float]]:
    """Return the frames of each window, per second and per second of CPU time of all threads."""
    camera.render(env.batch)  # the first call compiles
    rates, cpu_rates = [], []
    for _ in range(config.windows):
        frames, began, cpu_began = 0, time.perf_counter(), time.process_time()
        while (passed := time.perf_counter() - began) < config.seconds:
            frames += len(camera.render(env.batch))
        rates.append(frames / passed)
        cpu_rates.append(frames / (time.process_time() - cpu_began))
    return rates, cpu_rates


def measure_batch(backend: str, threads: int, size: int, env: GoalVectorEnv, config: Renderers) -> dict[str, Any]:
    """Draw all environments again and again; return how fast, or why not."""
    row: dict[str, Any] = {"renderer": backend, "threads": threads, "size": size, "frames_per_call": env.num_envs}
    try:
        camera = make_camera(
            env.model, width=size, height=size, backend=backend, num_threads=threads, batch_size_hint=env.num_envs
        )
    except UserError as error:
        return row | {"failure": str(error)}
    try:
        rates, cpu_rates = measure(camera, env, config)
    finally:
        camera.close()
    return row | {
        "quality": camera.quality,
        "how": camera.detail,
        "frames_per_second": significant(statistics.median(rates), 4),
        "frames_per_cpu_second": significant(statistics.median(cpu_rates), 4),
        "windows": [significant(rate, 4) for rate in rates],
    }


def measure_all(config: Renderers) -> Iterator[dict[str, Any]]:
    """Yield one row per renderer, size and batch."""
    envs = {num_envs: _posed(num_envs) for num_envs in sorted(config.batches)}
    for (backend, threads), size in product(BACKENDS, config.sizes):
        rate = 0.0  # of the batch before, which tells how long the next will take
        for num_envs, env in envs.items():
            if num_envs > config.longest * rate > 0:
                row: dict[str, Any] = {"renderer": backend, "threads": threads, "size": size}
                failure = f"left out: a call would take about {num_envs / rate:.0f} s"
                yield row | {"frames_per_call": num_envs, "failure": failure}
                continue
            row = measure_batch(backend, threads, size, env, config)
            rate = row.get("frames_per_second", 0.0)
            yield row


def _posed(num_envs: int) -> GoalVectorEnv:
    """Return environments in different states."""
    env = GoalVectorEnv("push", num_envs=num_envs)
    env.reset(seed=0)
    rng = np.random.default_rng(0)
    for _ in range(ACTED):
        env.step(rng.uniform(-1, 1, env.action_space.shape).astype(np.float32))
    return env


def measure_stepping(num_envs: int, config: Renderers) -> dict[str, Any]:
    """Step the same episodes with pictures and without, and draw the latter's states; return how fast each goes."""
    seeing = GoalVectorEnv("push", num_envs=num_envs, obs="pixels", image_size=STEPPED_SIZE)
    blind = GoalVectorEnv("push", num_envs=num_envs)
    for env in (seeing, blind):
        env.reset(seed=0)
    camera = make_camera(blind.model, width=STEPPED_SIZE, height=STEPPED_SIZE, batch_size_hint=num_envs)
    camera.render(blind.batch)  # the first call compiles
    rng = np.random.default_rng(0)
    windows = [step_in_turn(seeing, blind, camera, rng, config.seconds) for _ in range(config.windows)]
    camera.close()
    for env in (seeing, blind):
        env.close()
    rates = {f"{name}_per_second": statistics.median(window[name] for window in windows) for name in windows[0]}
    share = statistics.median(window["with_pictures"] / window["drawing"] for window in windows)
    return {
        "num_envs": num_envs,
        "size": STEPPED_SIZE,
        **{name: significant(rate, 4) for name, rate in rates.items()},
        "share_of_drawing": significant(share),
        "windows": [{name: significant(rate, 4) for name, rate in window.items()} for window in windows],
    }


def step_in_turn(
    seeing: GoalVectorEnv, blind: GoalVectorEnv, camera: "Camera", rng: np.random.Generator, least: float
) -> dict[str, float]:
    """Take a step with pictures, the same without, and draw its state, for `least` seconds [s] of each; return rates.

    Whole episodes, so that resets are part of stepping, and the goals' pictures part of stepping with pictures.
    """
    seconds = {"with_pictures": 0.0, "without": 0.0, "drawing": 0.0}
    steps = 0
    while steps % seeing.horizon or min(seconds.values()) < least:
        actions = rng.uniform(-1, 1, blind.action_space.shape).astype(np.float32)
        steps += 1
        moments = [time.perf_counter()]
        seeing.step(actions)
        moments.append(time.perf_counter())
        blind.step(actions)
        moments.append(time.perf_counter())
        camera.render(blind.batch)
        moments.append(time.perf_counter())
        for name, spent in zip(seconds, np.diff(moments), strict=True):
            seconds[name] += float(spent)
    return {name: steps * blind.num_envs / spent for name, spent in seconds.items()}


def work(env: GoalVectorEnv, size: int) -> dict[str, Any]:
    """Count what the ray tracer does for a frame."""
    camera = {"name": "front", "width": size, "height": size, "pretty": False}
    tracer = MovingTracer(*put_model(env.model), capacity=env.num_envs, **camera)
    fields = [getattr(env.batch, name) for name in KINEMATICS]
    tracer.draw(fields, slice(None), np.empty((env.num_envs, size, size, 3), np.uint8))
    rays, tests = tracer.work(env.num_envs)
    operations = OPERATIONS_PER_RAY * rays + OPERATIONS_PER_TEST * tests
    return {
        "size": size,
        "pixels": size**2,
        "rays": significant(rays),
        "tests_of_a_geom": significant(tests),
        "operations": significant(operations),
    }


def report(rows: list[dict[str, Any]]) -> str:
    """Return the rows of renderers as Markdown."""
    lines = [
        [
            *(row["renderer"], str(row["threads"]), str(row["size"]), row.get("quality", "")),
            *(str(row["frames_per_call"]), row.get("failure") or f"{row['frames_per_second']:,.0f}"),
            f"{row.get('frames_per_cpu_second', 0):,.0f}",
        ]
        for row in rows
    ]
    head = ["renderer", "threads", "size", "quality", "frames a call", "frames/s", "per CPU second"]
    return markdown_table(head, lines)


def report_stepping(rows: list[dict[str, Any]]) -> str:
    """Return the rows of stepping as Markdown."""
    head = ["envs", "steps/s with pictures", "without", "drawing alone, frames/s", "share of drawing"]
    rates = ("with_pictures_per_second", "without_per_second", "drawing_per_second")
    lines = [
        [str(row["num_envs"]), *(f"{row[rate]:,.0f}" for rate in rates), f"{row['share_of_drawing']:.0%}"]
        for row in rows
    ]
    return markdown_table(head, lines)


def main(config: Renderers) -> None:
    """Measure, write and print."""
    result, rows = provenance(), []
    for row in measure_all(config):
        print(row, file=sys.stderr)
        rows.append(row)
    stepping = [measure_stepping(num_envs, config) for num_envs in config.batches]
    config.out.parent.mkdir(parents=True, exist_ok=True)
    counted = work(_posed(32), min(config.sizes))
    scene = {"scene": "PandaPush, camera front", "a_frame_takes": counted}
    atomic_write_json(config.out, result | scene | {"rows": rows, "stepping": stepping})
    print(f"{report(rows)}\n\n{report_stepping(stepping)}\n\na frame takes: {counted}")


if __name__ == "__main__":
    start(Renderers, main)

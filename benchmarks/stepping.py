"""The worker of peers.py: one environment, stepped with random actions and timed, in whatever Python runs it.

It runs inside the virtual environments of the peers too, so it imports nothing but the standard library and NumPy
before the library it measures.

Protocol, the same for all: actions drawn uniformly beforehand by a seeded generator; a warm-up; then windows of
wall-clock time. A window ends with an episode, so that it holds as many resets as a long run would. Only for peers
so slow that an episode outlasts `longest` it is cut there, which leaves their reset out, in their favour.
"""

import json
import os
import sys
import time
import warnings
from collections.abc import Callable
from importlib import metadata
from types import SimpleNamespace
from typing import Any

import numpy as np

POOL = 64  # batches of actions drawn beforehand, so that drawing them is not timed
Step = Callable[[np.ndarray], bool]  # steps with a batch of actions; True when episodes ended and have begun anew


def measure(
    step: Step, pool: np.ndarray, *, seconds: float, windows: int, longest: float | None
) -> tuple[list[float], list[float]]:
    """Return the batch steps of each window, per second and per second of CPU time of all threads.

    Args:
        step: one step.
        pool: actions, (POOL, ...).
        seconds: least length of a window [s].
        windows: how many.
        longest: where a window is cut even though the episode goes on [s]; None never cuts.
    """
    rates, cpu_rates = [], []
    for _ in range(windows):
        steps, began, cpu_began = 0, time.perf_counter(), time.process_time()
        while True:
            ended = step(pool[steps % POOL])
            steps += 1
            passed = time.perf_counter() - began
            if (ended and passed >= seconds) or (longest is not None and passed >= longest):
                break
        rates.append(steps / passed)
        cpu_rates.append(steps / (time.process_time() - cpu_began))
    return rates, cpu_rates


def warm_up(step: Step, pool: np.ndarray, *, seconds: float) -> None:
    """Step for a while: the first steps compile kernels and fill caches."""
    steps, end = 0, time.perf_counter() + seconds
    while steps == 0 or time.perf_counter() < end:
        step(pool[steps % POOL])
        steps += 1


def single_env(make: Callable[[], Any], *, seed: int, also_render: bool = False) -> tuple[Any, Step]:
    """Return a peer's environment, reset, and its step, which begins a new episode where one has ended."""
    env = make()
    env.reset(seed=seed)

    def step(actions: np.ndarray) -> bool:
        _, _, terminated, truncated, _ = env.step(actions[0])
        if also_render:
            env.render()
        ended = bool(terminated or truncated)
        if ended:
            env.reset()
            if also_render:
                env.render()
        return ended

    return env, step


def fetch_push(spec: dict[str, Any]) -> tuple[Any, Step]:
    """Gymnasium-Robotics' FetchPush, from state, or with a rendered image at every step."""
    import gymnasium as gym
    import gymnasium_robotics  # type: ignore[import-untyped]

    gym.register_envs(gymnasium_robotics)
    pixels = spec["obs"] == "pixels"
    size = spec["image_size"]
    drawing = {"render_mode": "rgb_array", "width": size, "height": size} if pixels else {}
    return single_env(lambda: gym.make("FetchPush-v4", **drawing), seed=spec["seed"], also_render=pixels)


def ogbench_cube(spec: dict[str, Any]) -> tuple[Any, Step]:
    """OGBench's single cube, from state, or from pixels (64x64 as registered)."""
    import gymnasium as gym
    import ogbench.manipspace  # type: ignore[import-not-found]  # noqa: F401  (registers the ids)

    name = "visual-cube-single-v0" if spec["obs"] == "pixels" else "cube-single-v0"
    return single_env(lambda: gym.make(name), seed=spec["seed"])


def meta_world_push(spec: dict[str, Any]) -> tuple[Any, Step]:
    """Meta-World's push, from state, or with a rendered image at every step."""
    import gymnasium as gym
    import metaworld  # type: ignore[import-not-found]  # noqa: F401  (registers the ids)

    pixels, size = spec["obs"] == "pixels", spec["image_size"]
    drawing = {"render_mode": "rgb_array", "camera_name": "corner", "width": size, "height": size} if pixels else {}
    return single_env(
        lambda: gym.make("Meta-World/MT1", env_name="push-v3", **drawing), seed=spec["seed"], also_render=pixels
    )


def panda_gym_push(spec: dict[str, Any]) -> tuple[Any, Step]:
    """panda-gym's Push, from state, or with an image by its software renderer at every step."""
    import gymnasium as gym
    import panda_gym  # type: ignore[import-not-found]  # noqa: F401  (registers the ids)

    pixels, size = spec["obs"] == "pixels", spec["image_size"]
    drawing = {"render_mode": "rgb_array", "renderer": "Tiny", "render_width": size, "render_height": size}
    return single_env(
        lambda: gym.make("PandaPush-v3", **(drawing if pixels else {})), seed=spec["seed"], also_render=pixels
    )


def robosuite_lift(spec: dict[str, Any]) -> tuple[Any, Step]:
    """Robosuite's Lift with the Panda, from state, or with one camera among its observations."""
    import robosuite  # type: ignore[import-not-found]

    pixels, size = spec["obs"] == "pixels", spec["image_size"]
    env = robosuite.make(
        "Lift",
        robots="Panda",
        has_renderer=False,
        has_offscreen_renderer=pixels,
        use_camera_obs=pixels,
        camera_names="agentview",
        camera_heights=size,
        camera_widths=size,
        horizon=200,
        seed=spec["seed"],
    )
    env.reset()
    low, high = env.action_spec
    env.action_space = SimpleNamespace(low=low, high=high, shape=low.shape, dtype=low.dtype)

    def step(actions: np.ndarray) -> bool:
        ended = bool(env.step(actions[0])[2])
        if ended:
            env.reset()
        return ended

    return env, step


def goalsight_push(spec: dict[str, Any]) -> tuple[Any, Step]:
    """A batch of goalsight's Push; new episodes, and with pixels their goal images, are part of the step."""
    from goalsight.envs.registration import make_vector

    pixels = spec["obs"] == "pixels"
    drawing = {"image_size": spec["image_size"]} if pixels else {}
    env = make_vector("goalsight/PandaPush-v1", num_envs=spec["num_envs"], obs=spec["obs"], **drawing)
    env.reset(seed=spec["seed"])
    return env, lambda actions: bool(env.step(actions)[3].any())


ENVS: dict[str, Callable[[dict[str, Any]], tuple[Any, Step]]] = {
    "FetchPush": fetch_push,
    "OGBench cube-single": ogbench_cube,
    "Meta-World push": meta_world_push,
    "panda-gym Push": panda_gym_push,
    "robosuite Lift": robosuite_lift,
    "goalsight Push": goalsight_push,
}


def main() -> None:
    """Read what to measure as JSON from the first argument, and print the result as JSON on the last line."""
    spec = json.loads(sys.argv[1])
    warnings.filterwarnings("ignore")  # of the peers' own making; errors still end the process
    env, step = ENVS[spec["env"]](spec)
    single = getattr(env, "single_action_space", env.action_space)
    shape = (POOL, spec["num_envs"], *single.shape)
    pool = np.random.default_rng(spec["seed"]).uniform(single.low, single.high, shape).astype(single.dtype)
    warm_up(step, pool, seconds=spec["seconds"] / 2)
    env.reset()  # windows begin with an episode
    options = {name: spec[name] for name in ("seconds", "windows", "longest")}
    rates, cpu_rates = measure(step, pool, **options)
    found = {name: metadata.version(name) for name in spec["packages"]}
    result = {
        "rates": [rate * spec["num_envs"] for rate in rates],
        "cpu_rates": [rate * spec["num_envs"] for rate in cpu_rates],
        "versions": found,
    }
    print(json.dumps(result), flush=True)
    os._exit(0)  # tearing down a peer's OpenGL context can fail, long after all was measured


if __name__ == "__main__":
    main()

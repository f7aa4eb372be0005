"""`goalsight bench`: environment steps per second here, with all that is needed to compare the figure."""

import json
import statistics
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import tyro

from goalsight.base.errors import UserError
from goalsight.base.provenance import provenance
from goalsight.envs.config import EnvConfig

if TYPE_CHECKING:
    from goalsight.envs.vector import GoalVectorEnv

ACTION_POOL = 16  # batches of random actions drawn beforehand, so that drawing them is not timed


@dataclass(frozen=True)
class Bench:
    """Measure environment steps per second."""

    what: tyro.conf.Positional[Literal["env"]] = "env"
    """What to measure."""
    env: tyro.conf.OmitArgPrefixes[EnvConfig] = EnvConfig("goalsight/PandaPush-v1")
    """The environment to step."""
    num_envs: int = 32
    """Environments in the batch."""
    num_threads: int = 0
    """Threads that step the environments; 0 for one per CPU."""
    seconds: float = 2.0
    """Minimum length of a measured window [s]; it ends with an episode."""
    windows: int = 5
    """Number of windows measured; their median is the result."""
    seed: int = 0
    """Seed of the episodes and of the random actions."""
    json: bool = False
    """Print the result as JSON, with the machine and the command."""

    def __post_init__(self) -> None:
        for name in ("num_envs", "seconds", "windows"):
            if getattr(self, name) <= 0:
                raise UserError(f"{name} must be positive, got {getattr(self, name)}")


def bench(config: Bench) -> dict[str, Any]:
    """Measure, print, and return the result.

    Returns:
        "steps_per_second" (the median of the windows), "of_windows" (all of them), "config", "command",
        "machine" and "versions". A step of a batch counts once per environment; episodes that
        end are begun anew, so their resets are timed too.
    """
    from goalsight.envs.making import make_own

    env = make_own(config.env, config.num_envs, num_threads=config.num_threads)
    try:
        rates = _measure(env, config)
    finally:
        env.close()
    result = {
        "steps_per_second": round(statistics.median(rates), 1),
        "of_windows": [round(rate, 1) for rate in rates],
        "config": asdict(config),
        **provenance(),
    }
    if config.json:
        print(json.dumps(result, indent=2))
    else:
        print(
            f"{config.env.id}, {config.env.obs}, {config.num_envs} environments: "
            f"{result['steps_per_second']:,.0f} steps/s (windows from {min(rates):,.0f} to {max(rates):,.0f})"
        )
    return result


def _measure(env: "GoalVectorEnv", config: Bench) -> list[float]:
    """Return the environment steps per second of each window; all end with an episode, so resets are in each."""
    env.reset(seed=config.seed)
    env.action_space.seed(config.seed)
    pool = [env.action_space.sample() for _ in range(ACTION_POOL)]

    def window(seconds: float) -> float:
        steps, ended, passed, began = 0, False, 0.0, time.perf_counter()
        while not (ended and passed >= seconds):
            _, _, _, truncated, _ = env.step(pool[steps % ACTION_POOL])
            steps, ended, passed = steps + 1, bool(truncated.any()), time.perf_counter() - began
        return steps * config.num_envs / passed

    env.step(pool[0])  # the first step compiles what draws the images
    window(config.seconds / 2)
    return [window(config.seconds) for _ in range(config.windows)]

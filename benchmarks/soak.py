"""Soak: a million steps of every task, random and extreme actions; physics must not diverge nor memory grow.

Rows that the result already holds are skipped, and it is written after each, so a stopped soak goes on where it was.
"""

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from numpy.typing import NDArray
from reporting import RESULTS, Rows, markdown_table, provenance
from tqdm import tqdm

from goalsight.base.errors import UserError, choose
from goalsight.envs.tasks import TASKS
from goalsight.envs.vector import GoalVectorEnv

WARM_UP = 0.2  # share of the steps after which memory is measured first


@dataclass(frozen=True)
class Soak:
    """Soak tasks with one arm."""

    tasks: tuple[str, ...] = tuple(TASKS)
    """Which."""
    arm: str = "panda"
    """The arm."""
    steps: int = 1_000_000
    """Env steps of each task and kind of actions."""
    num_envs: int = 256
    """Environments at once."""
    seed: int = 0
    """Seed of environments and actions."""
    out: Path = RESULTS / "soak.json"
    """The result; a Markdown table is written beside it."""

    def __post_init__(self) -> None:
        for task in self.tasks:
            choose("task", task, TASKS)
        if min(self.steps, self.num_envs) < 1:
            raise UserError(f"steps and num_envs must be at least 1, got {self.steps} and {self.num_envs}")


def random(rng: np.random.Generator, before: NDArray[np.float64]) -> NDArray[np.float64]:
    """Every number drawn anew."""
    return rng.uniform(-1, 1, before.shape)


def extreme(rng: np.random.Generator, before: NDArray[np.float64]) -> NDArray[np.float64]:
    """Full scale one way or the other, each entry held for five steps on average."""
    return np.where(rng.random(before.shape) < 0.2, rng.choice([-1.0, 1.0], before.shape), before)


ACTIONS = {"random": random, "extreme": extreme}


def memory() -> float:
    """What this process holds in memory [MB], by Linux."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


def soak(task: str, kind: str, config: Soak) -> dict[str, Any]:
    """Step a task for as long as asked, and return what was seen."""
    env = GoalVectorEnv(task, config.arm, config.num_envs)
    env.reset(seed=config.seed)
    rng = np.random.default_rng(config.seed)
    rounds = -(-config.steps // config.num_envs)
    actions = np.ones((config.num_envs, env.sim.action_size))
    diverged, infinite, first = 0, 0, memory()
    began = time.perf_counter()
    for number in tqdm(range(rounds), desc=f"{task}, {kind}", disable=None, leave=False):
        actions = ACTIONS[kind](rng, actions)
        obs, _, _, _, info = env.step(actions)
        diverged += int(info["diverged"].sum())
        infinite += int((~np.isfinite(obs["observation"])).any(axis=1).sum())
        if number == int(WARM_UP * rounds):
            first = memory()
    seconds = time.perf_counter() - began
    env.close()
    return {
        "task": task,
        "arm": config.arm,
        "actions": kind,
        "steps": rounds * config.num_envs,
        "diverged": diverged,
        "not_finite": infinite,
        "memory_growth_mb": round(memory() - first, 2),
        "seconds": round(seconds, 1),
    }


def report(rows: list[dict[str, Any]]) -> str:
    """Return the rows as Markdown."""
    lines = [
        [row["task"], row["arm"], row["actions"], f"{row['steps']:,}", row["diverged"], row["memory_growth_mb"]]
        for row in rows
    ]
    header = ["task", "arm", "actions", "env steps", "diverged", "memory growth [MB]"]
    return markdown_table(header, [[str(cell) for cell in line] for line in lines])


def main(config: Soak) -> None:
    """Soak what the result lacks."""
    kept = Rows(config.out)
    kept.rows = [row for row in kept.rows if row["steps"] >= config.steps]
    for task in config.tasks:
        for kind in ACTIONS:
            if kept.lacks({"task": task, "arm": config.arm, "actions": kind}):
                about = provenance()
                kept.put(soak(task, kind, config) | about)
                config.out.with_suffix(".md").write_text(report(kept.rows) + "\n")
    print(report(kept.rows))


if __name__ == "__main__":
    try:
        main(tyro.cli(Soak, description=__doc__))
    except UserError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit("stopped; start again to go on")

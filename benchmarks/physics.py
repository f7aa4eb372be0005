"""What an env step's physics costs, and what it would cost if it were done otherwise; what that spoils.

Each variant steps the Panda's Push scene, all in turn with the same commands, without resets and without control.
Longer physics steps are then judged by what the scripted experts still achieve with them.
"""

import contextlib
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import mujoco
import numpy as np
from experts import succeeds
from numpy.typing import NDArray
from reporting import RESULTS, markdown_table, provenance, significant, start
from tqdm import tqdm

from goalsight.base.files import atomic_write_json
from goalsight.envs.simulation import scene, simulator
from goalsight.envs.vector import GoalVectorEnv

STEP = 0.04  # simulated time of an env step [s]
COMMANDS = 40  # env steps of a round; an episode has more


@dataclass(frozen=True)
class Physics:
    """Measure variants of the physics."""

    num_envs: int = 256
    """Environments at once."""
    rounds: int = 6
    """Of all variants in turn; the least is the result, the medians stand beside it."""
    tasks: tuple[str, ...] = ("push", "pick_place", "slide", "stack4", "sort4")
    """Whose experts judge longer physics steps."""
    episodes: int = 500
    """Of each expert."""
    out: Path = RESULTS / "physics.json"
    """The result; a Markdown table is written beside it."""


def _disable(*flags: mujoco.mjtDisableBit) -> Callable[[mujoco.MjModel], None]:
    def change(model: mujoco.MjModel) -> None:
        for flag in flags:
            model.opt.disableflags |= int(flag)

    return change


def _option(**options: Any) -> Callable[[mujoco.MjModel], None]:
    def change(model: mujoco.MjModel) -> None:
        for name, value in options.items():
            setattr(model.opt, name, value)

    return change


def _three_dimensions(model: mujoco.MjModel) -> None:
    model.geom_condim[:] = 3


AS_IT_IS = "as it is"
BITS = mujoco.mjtDisableBit
# Physics steps of an env step, and what is changed in the model.
VARIANTS: dict[str, tuple[int, Callable[[mujoco.MjModel], None]]] = {
    AS_IT_IS: (simulator.SUBSTEPS, _option()),
    "8 steps of 5 ms": (8, _option()),
    "5 steps of 8 ms": (5, _option()),
    "Euler's integrator": (simulator.SUBSTEPS, _option(integrator=mujoco.mjtIntegrator.mjINT_EULER)),
    "pyramids for friction cones": (simulator.SUBSTEPS, _option(cone=mujoco.mjtCone.mjCONE_PYRAMIDAL)),
    "at most 2 iterations of the solver": (simulator.SUBSTEPS, _option(iterations=2)),
    "a tolerance of 1e-6": (simulator.SUBSTEPS, _option(tolerance=1e-6)),
    "three dimensions of friction": (simulator.SUBSTEPS, _three_dimensions),
    "no coupling of the fingers, no joint limits": (
        simulator.SUBSTEPS,
        _disable(BITS.mjDSBL_EQUALITY, BITS.mjDSBL_LIMIT),
    ),
    "no contacts": (simulator.SUBSTEPS, _disable(BITS.mjDSBL_CONTACT)),
}


@contextlib.contextmanager
def in_force(variant: str) -> Iterator[None]:
    """A context in which environments are made, and step, as the variant says."""
    substeps, change = VARIANTS[variant]

    def compose(*args: Any) -> mujoco.MjModel:
        model = scene.compose(*args)
        model.opt.timestep = STEP / substeps
        change(model)
        return model

    with mock.patch.multiple(simulator, compose=compose, SUBSTEPS=substeps):
        yield


def make(variant: str, num_envs: int) -> GoalVectorEnv:
    """Return environments of Push with the variant's physics."""
    with in_force(variant):
        return GoalVectorEnv("push", num_envs=num_envs)


def costs(config: Physics) -> list[dict[str, Any]]:
    """Step all variants in turn; return the microseconds of an env step, one row each."""
    envs = {variant: make(variant, config.num_envs) for variant in VARIANTS}
    start, commands = random_play(envs[AS_IT_IS])
    spent: dict[str, list[float]] = {variant: [] for variant in VARIANTS}
    for _ in tqdm(range(config.rounds), unit="round", disable=None):
        for variant, env in envs.items():
            env.batch.state[:] = start
            spent[variant].append(step_through(env, VARIANTS[variant][0], commands) / config.num_envs)
    for env in envs.values():
        env.close()
    return [
        {
            "variant": variant,
            "least": significant(1e6 * min(seconds)),
            "median": significant(1e6 * statistics.median(seconds)),
        }
        for variant, seconds in spent.items()
    ]


def random_play(env: GoalVectorEnv) -> tuple[NDArray[np.float64], list[NDArray[np.float64]]]:
    """Return states to start from, (N, S), and what random actions then tell the servos, (N, U) for each env step."""
    rng = np.random.default_rng(0)
    env.reset(seed=0)
    start, commands = env.batch.state.copy(), []
    for _ in range(COMMANDS):
        env.step(rng.uniform(-1, 1, env.action_space.shape).astype(np.float32))
        commands.append(env.batch.ctrl.copy())
    return start, commands


def step_through(env: GoalVectorEnv, substeps: int, commands: list[NDArray[np.float64]]) -> float:
    """Take the env steps that the commands (N, U) ask for; return the seconds of one."""
    began = time.perf_counter()
    for command in commands:
        env.batch.ctrl[:] = command
        env.batch.step(nstep=substeps, stage=simulator.STAGE_POS)
    return (time.perf_counter() - began) / len(commands)


def judged(config: Physics) -> list[dict[str, Any]]:
    """What experts achieve where physics steps are longer, a row for each variant and task."""
    rows = []
    longer = [variant for variant, (substeps, _) in VARIANTS.items() if substeps < simulator.SUBSTEPS]
    for variant in (AS_IT_IS, *longer):
        with in_force(variant):
            for task in tqdm(config.tasks, unit="task", desc=variant, disable=None):
                env = GoalVectorEnv(task, num_envs=min(100, config.episodes))
                success = succeeds(env, config.episodes)
                rows.append({"variant": variant, "task": task, "count": success.count, "total": success.total})
                env.close()
    return rows


def report(result: dict[str, Any]) -> str:
    """Return both tables as Markdown."""
    cost = [[row["variant"], f"{row['least']:.0f}", f"{row['median']:.0f}"] for row in result["costs"]]
    rates = {(row["variant"], row["task"]): f"{row['count'] / row['total']:.1%}" for row in result["experts"]}
    variants = list(dict.fromkeys(variant for variant, _ in rates))
    tasks = list(dict.fromkeys(task for _, task in rates))
    experts = [[variant, *(rates[variant, task] for task in tasks)] for variant in variants]
    head = ["physics", "us per env step, least", "median"]
    return f"{markdown_table(head, cost)}\n\n{markdown_table(['expert succeeds with', *tasks], experts)}"


def main(config: Physics) -> None:
    """Measure, judge, write and print."""
    result = provenance() | {"num_envs": config.num_envs, "costs": costs(config), "experts": judged(config)}
    config.out.parent.mkdir(parents=True, exist_ok=True)
    atomic_write_json(config.out, result)
    config.out.with_suffix(".md").write_text(report(result) + "\n")
    print(report(result))


if __name__ == "__main__":
    start(Physics, main)

"""Gradient steps per second: this project's SAC beside that of stable-baselines3.

Both learn in the same environments from a replay of the same length, with hindsight, by networks of the same widths
and batches of the same size; sampling is a part of a gradient step. Windows are taken in turn, so that other work on
the machine meets all alike. That both learn as well is shown by learning curves, not here.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import stable_baselines3
import torch
from gymnasium import spaces
from reporting import RESULTS, markdown_table, provenance, significant, start
from tqdm import tqdm

from goalsight.agents.algorithms.sac import SAC, SACOptions
from goalsight.agents.calibration import calibrate
from goalsight.agents.making import make_algorithm, make_replay
from goalsight.agents.online import Online
from goalsight.agents.plan import Plan
from goalsight.agents.train import Train
from goalsight.agents.vec_env import GoalVecEnv
from goalsight.base.files import atomic_write_json
from goalsight.base.machine import usable_cores
from goalsight.envs.config import EnvConfig
from goalsight.envs.making import make

Steps = Callable[[int], None]  # makes so many gradient steps


@dataclass(frozen=True)
class Learner:
    """Measure gradient steps per second."""

    env: str = "goalsight/PandaPush-v1"
    """Environment to learn in, from state."""
    num_envs: int = 32
    """Environments at once."""
    transitions: int = 8_000
    """What lies in the replay."""
    hidden: tuple[int, ...] = (256, 256, 256)
    """Widths of the hidden layers."""
    batch: int = 256
    """Transitions per gradient step."""
    steps: int = 60
    """Gradient steps in a window."""
    windows: int = 9
    """Windows per measurement; their median is the result."""
    out: Path = RESULTS / "learner.json"
    """The result."""


def theirs(config: Learner) -> Steps:
    """stable-baselines3's, its replay filled by random play."""
    model = stable_baselines3.SAC(
        "MultiInputPolicy",
        GoalVecEnv(make(EnvConfig(config.env), config.num_envs)),
        replay_buffer_class=stable_baselines3.HerReplayBuffer,
        buffer_size=2 * config.transitions,
        learning_starts=2 * config.transitions,  # until then it plays at random
        batch_size=config.batch,
        policy_kwargs={"net_arch": list(config.hidden)},
        seed=0,
        device="cpu",
    )
    model.learn(config.transitions)
    return lambda steps: model.train(gradient_steps=steps, batch_size=config.batch)


def ours(config: Learner) -> Steps:
    """This project's, its replay filled in the same way."""
    asked = Train(EnvConfig(config.env))
    options = SACOptions(
        hidden=config.hidden, batch_size=config.batch, warmup=2 * config.transitions, gamma=0.97, target_entropy=0.0
    )
    plan = Plan(config.transitions, config.transitions, num_envs=config.num_envs)
    raw = make(asked.env, config.num_envs)
    scales = calibrate(raw, 0).scales
    env = GoalVecEnv(raw)
    space, actions = cast(spaces.Dict, env.observation_space), cast(spaces.Box, env.action_space)
    replay = make_replay(env, asked, plan, relabelled=options.relabelled, played=0)
    algorithm = make_algorithm(SAC, options, asked, None, space, actions, scales)
    Online(algorithm, env, replay, options, total=config.transitions, seed=0).run(lambda: True)

    def learn(steps: int) -> None:
        for _ in range(steps):
            algorithm.update(replay.sample(config.batch))

    return learn


def rate(learn: Steps, steps: int, threads: int) -> float:
    """Return gradient steps per second of a window."""
    torch.set_num_threads(threads)
    began = time.perf_counter()
    learn(steps)
    return steps / (time.perf_counter() - began)


def main(config: Learner) -> None:
    """Measure, and write the result."""
    about = provenance()
    threads = sorted({1, usable_cores()})
    learners = {name: make_it(config) for name, make_it in LEARNERS.items()}
    rows = [(name, learn, count) for name, learn in learners.items() for count in threads]
    found: list[list[float]] = [[] for _ in rows]
    for _ in tqdm(range(config.windows + 1), unit="round", disable=None):
        for windows, (_, learn, count) in zip(found, rows, strict=True):
            windows.append(rate(learn, config.steps, count))
    measured = [
        {
            "learner": name,
            "threads": count,
            "gradient_steps_per_second": significant(statistics.median(windows[1:])),  # the first one warms up
            "windows": [significant(one) for one in windows[1:]],
        }
        for (name, _, count), windows in zip(rows, found, strict=True)
    ]
    asked = {"env": config.env, "hidden": list(config.hidden), "batch": config.batch, "steps": config.steps}
    atomic_write_json(config.out, {**about, "asked": asked, "rows": measured})
    head = ["learner", "threads", "gradient steps/s"]
    print(markdown_table(head, [[str(row[key]) for key in list(row)[:3]] for row in measured]))


LEARNERS: dict[str, Callable[[Learner], Steps]] = {"stable-baselines3": theirs, "goalsight": ours}

if __name__ == "__main__":
    start(Learner, main)

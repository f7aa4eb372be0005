"""The evaluations on the way: the same episodes each time, which nothing is trained or chosen on otherwise."""

from typing import TYPE_CHECKING

from goalsight.agents.costs import EVALUATING, Costs
from goalsight.agents.rollout import Episodes, rollout
from goalsight.envs.making import make

if TYPE_CHECKING:
    from goalsight.agents.agent import Agent
    from goalsight.base.runs import Run
    from goalsight.envs.config import EnvConfig

CHECK_SEED = 5_000_000  # of the evaluations that choose the best checkpoint; apart from all other seeds
CHECK_ENVS = 50  # environments at once in an evaluation


class Check:
    """Environments in which agents are judged while they are trained; a context manager.

    Args:
        env: how they are made.
        episodes: of each evaluation.
        threads: of the environments.
        run: the training's; says whether someone asked to stop.
        costs: takes how long it took.
    """

    def __init__(self, env: "EnvConfig", episodes: int, threads: int, run: "Run", costs: Costs) -> None:
        self._episodes, self._run, self._costs = episodes, run, costs
        self._env = make(env, min(episodes, CHECK_ENVS), num_threads=threads)

    def __enter__(self) -> "Check":
        """Nothing more to open."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the environments."""
        self.close()

    def close(self) -> None:
        """Close the environments."""
        self._env.close()

    def __call__(self, agent: "Agent") -> Episodes | None:
        """Return the episodes of an evaluation; None where someone asked to stop before its end."""
        with self._costs.timed(EVALUATING):
            episodes = rollout(
                self._env, agent, episodes=self._episodes, seed=CHECK_SEED, stop=lambda: self._run.stopped
            )
        return episodes if len(episodes) == self._episodes else None

    def log(self, agent: "Agent", env_steps: int) -> float | None:
        """Judge an agent that has made no update by trial, and log it; return its success, or None where stopped."""
        if (episodes := self(agent)) is None:
            return None
        measured = judgement(episodes) | {"flops": self._costs.flops}
        self._run.log(env_steps, measured | {"train/env_steps": env_steps, "train/updates": 0})
        return measured["eval/success"]


def judgement(episodes: Episodes) -> dict[str, float]:
    """What an evaluation found, as a run logs it."""
    return {"eval/success": float(episodes.success.mean()), "eval/return": float(episodes.returns.mean())}

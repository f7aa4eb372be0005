"""What goes on around a training run: it is shown, evaluated, logged and saved."""

import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback
from tqdm import tqdm

from goalsight.agents.agent import agent_meta, agent_tensors
from goalsight.agents.rollout import rollout
from goalsight.base.runs import Run
from goalsight.envs.making import make

if TYPE_CHECKING:
    from goalsight.agents.learning import Learner

CHECK_SEED = 5_000_000  # of the evaluations that choose the best checkpoint; apart from all other seeds
CHECK_ENVS = 50  # environments at once in an evaluation
RECENT = 100  # training episodes over which success is averaged
SAVE_EVERY = 120.0  # between checkpoints that are not the best so far [s]


class Watch(BaseCallback):
    """Shows, evaluates, logs and saves a training run while it goes on."""

    def __init__(self, learner: "Learner", run: Run, stopped: Callable[[], bool]) -> None:
        super().__init__()
        self._learner, self._run, self._stopped = learner, run, stopped
        self._preset = learner.preset
        self._env = make(learner.env, min(self._preset.eval_episodes, CHECK_ENVS), num_threads=learner.threads)
        self._recent: deque[bool] = deque(maxlen=RECENT)
        self._next = self._preset.eval_every
        self._evaluations: list[float] = []
        self._best: float | None = None
        self._began = self._saved = time.monotonic()
        self._saved_step = -1
        self._diverged = 0
        self._reached = False
        self._bar = tqdm(total=self._preset.steps, desc=f"train {learner.task}", unit="step", unit_scale=True)

    def __enter__(self) -> "Watch":
        """Nothing more to open."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the bar and the evaluation's environments."""
        self._bar.close()
        self._env.close()

    def _on_step(self) -> bool:
        for info in self.locals["infos"]:
            if "terminal_observation" in info:
                self._diverged += info["diverged"]
                self._recent.append(info["is_success"])
        self._bar.update(self.num_timesteps - self._bar.n)
        if self.num_timesteps >= self._next:
            self._next += self._preset.eval_every
            self._evaluate()
        return not (self._reached or self._stopped())

    def _evaluate(self) -> None:
        episodes = rollout(
            self._env,
            self._learner.agent(),
            episodes=self._preset.eval_episodes,
            seed=CHECK_SEED,
            stop=self._stopped,
        )
        if len(episodes) < self._preset.eval_episodes:
            return
        success = float(episodes.success.mean())
        self._evaluations.append(success)
        recent = float(np.mean(self._recent)) if self._recent else float("nan")
        self._run.log(
            self.num_timesteps,
            {
                "eval/success": success,
                "eval/return": float(episodes.returns.mean()),
                "train/success": recent,
                "train/env_steps": self.num_timesteps,
                "train/updates": self._learner.sac.updates,
                **self._learner.sac.losses(),
            },
        )
        self._bar.set_postfix(train=f"{recent:.0%}", eval=f"{success:.0%}")
        best = self._best is None or success >= self._best
        if best:
            self._best = success
        if best or time.monotonic() - self._saved > SAVE_EVERY:
            self.save(best=best)
        self._reached = len(self._evaluations) > 1 and min(self._evaluations[-2:]) >= self._preset.target_success

    def save(self, *, best: bool) -> None:
        """Publish the agent as it is now, unless this step has been."""
        if self._saved_step == self.num_timesteps:
            return
        learner = self._learner
        meta = agent_meta(
            learner.sac.policy,
            learner.features,
            env_id=learner.env.id,
            env_kwargs=learner.env.arguments(),
            facts={**learner.facts, "env_steps": self.num_timesteps},
        )
        self._run.publish(self.num_timesteps, agent_tensors(learner.sac.policy, learner.features), meta, best=best)
        self._saved, self._saved_step = time.monotonic(), self.num_timesteps

    def summary(self) -> dict[str, Any]:
        """Return what came of it."""
        return {
            "env_steps": self.num_timesteps,
            "updates": self._learner.sac.updates,
            "seconds": round(time.monotonic() - self._began, 1),
            "best_success": self._best,
            "last_success": self._evaluations[-1] if self._evaluations else None,
            "train_success": float(np.mean(self._recent)) if self._recent else None,
            "diverged_episodes": self._diverged,
            "reached_target": self._reached,
        }

"""`goalsight train`: an agent learns to reach the goals it is shown."""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import tyro

from goalsight.agents.presets import TrainPreset, preset_for
from goalsight.base.errors import UserError, choose
from goalsight.envs.config import EnvConfig

CRITICS = ("state", "pixels")


@dataclass(frozen=True)
class Train:
    """Train an agent to reach goals it is shown."""

    env: tyro.conf.OmitArgPrefixes[EnvConfig] = EnvConfig("goalsight/PandaReach-v1", obs="pixels")
    """The environment to learn in, as the actor sees it."""
    encoder: str | None = None
    """A pretraining run, "random" (untrained and frozen) or "none" (state only); by default what fits obs."""
    critic: Literal["state", "pixels"] = "state"
    """What the critics see in training; the actor never sees more than obs."""
    tune_blocks: int = 0
    """Last blocks of the encoder that the agent trains; 0 leaves it frozen."""
    seed: int = 0
    """Of everything random; the same seed gives the same weights."""
    steps: int | None = None
    """Environment steps; the task's preset unless given."""
    num_envs: int | None = None
    """Environments at once; the preset's unless given."""
    warmup: int | None = None
    """Environment steps at random before learning; the preset's unless given."""
    updates_per_step: float | None = None
    """Gradient steps per environment step; the preset's unless given."""
    learning_rate: float | None = None
    """Of all networks; the preset's unless given."""
    eval_every: int | None = None
    """Environment steps between evaluations; the preset's unless given."""
    eval_episodes: int | None = None
    """Episodes per evaluation; the preset's unless given."""
    target_success: float | None = None
    """Stop when two evaluations in a row reach it; the preset's unless given, above 1 never."""
    threads: int = 0
    """Threads of the environments; 0 takes every CPU. Networks learn on one."""
    device: str = "cpu"
    """Where the networks are: cpu or cuda."""
    out: Path | None = None
    """Folder of the run; runs/train-<task>-<date> unless given."""
    json: bool = False
    """Print the summary as JSON."""

    def preset(self, task: str) -> TrainPreset:
        """Return the task's preset with what was asked for in its place.

        Raises:
            UserError: if a number is out of range.
        """
        preset = preset_for(task, self.env.obs)
        asked = {name: getattr(self, name) for name in _OVERRIDES if getattr(self, name) is not None}
        for name, value in asked.items():
            if value <= 0:
                raise UserError(f"{name} must be positive, got {value}")
        return replace(preset, **asked)

    @property
    def source(self) -> str:
        """The encoder that is meant: "none", "random", or a run's folder.

        Raises:
            UserError: if it does not go with the observations.
        """
        if self.env.obs == "state":
            if self.encoder not in (None, "none"):
                raise UserError(f"obs state needs no encoder, got {self.encoder}; choices: none, or obs pixels")
            return "none"
        if self.encoder == "none":
            raise UserError("obs pixels needs an encoder; choices: a pretraining run, random, or obs state")
        return self.encoder or "random"


_OVERRIDES = (
    "steps",
    "num_envs",
    "warmup",
    "updates_per_step",
    "learning_rate",
    "eval_every",
    "eval_episodes",
    "target_success",
)


def train(config: Train) -> Path:
    """Train, and return the run's folder.

    The run holds `last` and `best` checkpoints, metrics by environment step, and a summary. Ctrl-C and SIGTERM
    save and end it early.

    Raises:
        UserError: if something that was named does not exist or does not fit, or memory does not suffice.
    """
    from goalsight.agents.learning import Learner
    from goalsight.base.runs import Run

    choose("critic", config.critic, CRITICS)
    with (
        Learner(config) as learner,
        Run.start(
            "train",
            {**asdict(config), **learner.found, "preset": asdict(learner.preset)},
            out=config.out,
            seed=config.seed,
            sources=learner.sources,
            name=learner.task,
        ) as run,
    ):
        summary: dict[str, Any] = learner.learn(run, lambda: run.stopped)
        run.finish(summary)
    print(json.dumps({"run": str(run.path), **summary}) if config.json else f"{learner.verdict(summary)}\n{run.path}")
    return run.path

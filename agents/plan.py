"""How long and how watched a training is: the task's numbers, and what was asked for in their place."""

from dataclasses import dataclass

from goalsight.base.errors import UserError


@dataclass(frozen=True)
class Plan:
    """The frame of a training, whatever the algorithm."""

    steps: int  # environment steps of all environments together, or gradient steps where no arm plays
    eval_every: int  # steps between evaluations
    horizon: int | None = None  # steps of a training episode; the task's own when None
    num_envs: int = 32  # stepped at once
    eval_episodes: int = 50  # per evaluation
    target_success: float = 0.98  # training ends when two evaluations in a row reach it

    def __post_init__(self) -> None:
        for name in ("steps", "eval_every", "num_envs", "eval_episodes", "target_success"):
            if getattr(self, name) <= 0:
                raise UserError(f"{name} must be positive, got {getattr(self, name)}")

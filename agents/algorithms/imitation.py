"""Imitation with hindsight: a frame, what was done in it, and a goal that its episode came to."""

from typing import NamedTuple

import torch
from torch import Tensor

from goalsight.agents.networks.policy import GoalActor


class Imitation(NamedTuple):
    """A batch of recorded frames, each with a goal that its episode came to."""

    observations: dict[str, Tensor]  # (B, ...) per key
    actions: Tensor  # (B, A)
    achieved: Tensor | None = None  # what the frame achieves, (B, G), where it is known
    goal: Tensor | None = None  # what the goal's frame achieves, (B, G)

    def to(self, device: torch.device | str) -> "Imitation":
        """The same batch on a device."""
        observations = {key: part.to(device) for key, part in self.observations.items()}
        achieved, goal = (None if part is None else part.to(device) for part in (self.achieved, self.goal))
        return Imitation(observations, self.actions.to(device), achieved, goal)


class Rehearsal(NamedTuple):
    """What an actor repeats of a recording while it learns by trial."""

    batch: Imitation
    weight: float  # of the error in its loss
    only: bool = False  # it learns from nothing else


def cloning_error(actor: GoalActor, batch: Imitation, goal: Tensor | None = None) -> Tensor:
    """Mean squared error of the actions that an actor takes without noise, ().

    Args:
        actor: is asked.
        batch: what was done.
        goal: see `GoalActor.mean_action`.
    """
    return (actor.mean_action(batch.observations, goal) - batch.actions).square().mean()


def spread_error(actor: GoalActor, batch: Imitation, spread: float) -> Tensor:
    """Mean squared distance of the logarithm of an actor's spread from that of `spread`, ()."""
    _, log_std = actor.distribution(batch.observations)
    return (log_std - torch.tensor(spread).log()).square().mean()

"""What an algorithm is: it acts, it learns from batches, and it can be kept and gone on with.

Collecting, replay, evaluation, recording and resuming are shared code around it. A new algorithm is one file with a
subclass of `Algorithm` and a frozen dataclass of options, and one line in `ALGORITHMS`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor, nn

from goalsight.agents.algorithms.imitation import Rehearsal, cloning_error
from goalsight.agents.networks.inputs import Sight
from goalsight.agents.networks.policy import Critics, GoalActor
from goalsight.base.errors import UserError
from goalsight.base.options import check_positive, check_share
from goalsight.base.training_state import State, load_optimiser, optimiser_state
from goalsight.envs.tasks.shared.training import Training

Obs = dict[str, NDArray[Any]]
Scales = dict[str, tuple[Tensor, Tensor]]  # centre and scale of each vector, by key


@dataclass(frozen=True)
class Options:
    """What a user may choose of an algorithm; what is None is the task's."""

    def completed(self, training: Training) -> Self:
        """The same options with the task's in place of what was not given."""
        return self

    def length(self, training: Training, obs: str) -> tuple[int, int]:
        """Steps of a training, and between its evaluations, of a task by a kind of observation."""
        return training.length(obs)


@dataclass(frozen=True)
class OnlineOptions(Options):
    """What algorithms have in common that learn while the arm plays."""

    updates_per_step: float = 0.25
    """Gradient steps per environment step."""
    batch_size: int = 256
    """Transitions per gradient step."""
    warmup: int = 1600
    """Environment steps at random before the first gradient step."""
    learning_rate: float = 1e-3
    """Learning rate of all networks; it falls in the second half of the training."""
    gamma: float | None = None
    """Discount per step; the task's unless given."""
    tau: float = 0.02
    """Rate at which the target networks follow, per gradient step."""
    hidden: tuple[int, ...] = (256, 256, 256)
    """Widths of the hidden layers."""
    random_actions: float = 0.2
    """Share of the actions in training that are uniformly random."""
    relabelled: float = 0.8
    """Share of the goals in a batch that hindsight replaces by what a later step achieved, mostly where that was not
    achieved when the episode began."""
    averaged: int = 200
    """Gradient steps over which the weights of the actor that is evaluated and saved are averaged; 1 takes the
    latest."""

    def __post_init__(self) -> None:
        check_positive(self, "updates_per_step", "batch_size", "warmup", "learning_rate", "tau", "hidden", "averaged")
        check_share(self, "random_actions", "relabelled", "tau")
        if self.gamma is not None and not 0 <= self.gamma < 1:
            raise UserError(f"gamma must lie in [0, 1), got {self.gamma}")

    def completed(self, training: Training) -> Self:
        """See `Options`."""
        return self if self.gamma is not None else replace(self, gamma=training.discount)


@dataclass(frozen=True)
class Setting:
    """What an algorithm is made for; the same for all algorithms.

    Attributes:
        observation_space: of dictionaries, one vector or stored image per key.
        action_space: a box.
        actor_sees: the actor's part of an observation.
        critic_sees: the critics' part.
        scales: centre and scale of each vector.
        make_eye: makes the part that is trained on top of stored features; each network has its own.
        device: where the networks are.
        bfloat16: compute matrix products in bfloat16.
    """

    observation_space: spaces.Dict
    action_space: spaces.Box
    actor_sees: Sight
    critic_sees: Sight
    scales: Scales
    make_eye: Callable[[], nn.Module] | None = None
    device: str = "cpu"
    bfloat16: bool = False

    def actor(self, hidden: Sequence[int], *, spread: bool = True) -> GoalActor:
        """Make an actor."""
        actor = GoalActor(
            self.observation_space,
            self.action_space,
            sight=self.actor_sees,
            hidden=hidden,
            eye=None if self.make_eye is None else self.make_eye(),
            spread=spread,
        )
        actor.first.vectors.set_scales(self.scales)
        return actor.to(self.device)

    def critic(self, hidden: Sequence[int]) -> Critics:
        """Make twin critics."""
        critic = Critics(
            self.observation_space,
            self.action_space,
            sight=self.critic_sees,
            hidden=hidden,
            eye=None if self.make_eye is None else self.make_eye(),
        )
        critic.first.vectors.set_scales(self.scales)
        return critic.to(self.device)


class Algorithm(ABC):
    """One way to learn. `__init__` takes a `Setting` and the options, and draws its weights from torch's generator.

    Attributes:
        online: whether it learns while the arm plays, from a replay; otherwise from a recording.
        Options: its options; the command line shows it, the run and the checkpoint keep it.
        networks: all that a checkpoint keeps; the actor's names begin with "actor.".
        actor: acts; what a loaded agent is made of.
        updates: gradient steps so far.

    `losses`, `state` and `load` are of what it keeps in `_optimisers` and `_losses`, both by name; one that keeps more
    adds to them.
    """

    online: ClassVar[bool]
    Options: ClassVar[type[Options]]
    networks: nn.Module
    actor: GoalActor
    updates: int
    _optimisers: dict[str, torch.optim.Optimizer]
    _losses: dict[str, Tensor]

    @abstractmethod
    def __init__(self, setting: Setting, options: Any) -> None:
        """Make networks and optimisers; `options` is an instance of `Options` that is complete."""

    @abstractmethod
    def update(self, batch: Any, remaining: float = 1.0, rehearsal: Rehearsal | None = None) -> None:
        """Take one gradient step.

        Args:
            batch: what the replay or the recording draws.
            remaining: share of the training that lies ahead, for learning rates that fall.
            rehearsal: what the actor repeats of a recording beside it; only algorithms that learn by trial get one.
        """

    @property
    def judged(self) -> GoalActor:
        """The actor that is evaluated and kept."""
        return self.actor

    def losses(self) -> dict[str, float]:
        """The latest update's losses and whatever else should be watched, by name."""
        return {name: float(value) for name, value in self._losses.items()}

    def state(self) -> State:
        """All that it learns with: networks, optimisers, counters; later updates do not reach into it."""
        return {
            "networks": {name: tensor.detach().clone() for name, tensor in self.networks.state_dict().items()},
            "optimisers": {name: optimiser_state(optimiser) for name, optimiser in self._optimisers.items()},
            "updates": self.updates,
        }

    def load(self, state: State) -> None:
        """Go back to a state."""
        self.networks.load_state_dict(state["networks"])
        for name, optimiser in self._optimisers.items():
            load_optimiser(optimiser, state["optimisers"][name])
        self.updates = state["updates"]

    def act(self, obs: Obs, *, explore: bool = False) -> NDArray[np.float32]:
        """Return actions (N, A) in [-1, 1] for observations (N, ...) per key; with noise where it explores."""
        device = next(self.actor.parameters()).device
        with torch.no_grad():
            seen = {key: torch.as_tensor(obs[key], device=device) for key in obs}
            return self.actor(seen, deterministic=not explore).cpu().numpy()


def settling(rate: float, remaining: float) -> float:
    """A learning rate that is constant for half of the training and then falls linearly, to a twentieth at the end.

    Args:
        rate: at the start.
        remaining: share of the training that lies ahead, in [0, 1].
    """
    return rate * min(1.0, max(0.05, 2 * remaining))


def set_rate(optimisers: list[torch.optim.Optimizer], rate: float) -> None:
    """Give every weight of the optimisers this learning rate."""
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["lr"] = rate


def descend(optimiser: torch.optim.Optimizer, loss: Tensor) -> None:
    """Take one step down a loss."""
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    optimiser.step()


def rehearsed(loss: Tensor, actor: GoalActor, rehearsal: Rehearsal | None, losses: dict[str, Tensor]) -> Tensor:
    """An actor's loss with what it rehearses; the error is noted among the losses."""
    if rehearsal is None:
        return loss
    error = cloning_error(actor, rehearsal.batch)
    losses["cloning_error"] = error.detach()
    return rehearsal.weight * error + (0.0 if rehearsal.only else loss)


def come_apart(what: str, done: str, learning_rate: float) -> UserError:
    """Return what is to be raised where a learning brings forth no numbers any more.

    Args:
        what: is wrong.
        done: steps or updates until then.
        learning_rate: by which it learnt.
    """
    return UserError(
        f"{what} after {done}: the learning has come apart; checkpoints from before stay; a smaller --learning-rate "
        f"than {learning_rate:g} may help"
    )

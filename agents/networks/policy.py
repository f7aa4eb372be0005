"""Actor and critics on goals, as a policy of `stable_baselines3`."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.policies import BaseModel, BasePolicy
from stable_baselines3.common.type_aliases import Schedule
from stable_baselines3.sac.policies import SACPolicy
from torch import Tensor, nn
from torch.nn import functional as F

from goalsight.agents.networks.inputs import STATE, FirstLayer, Obs, Sight

LOG_STD = (-10.0, 2.0)  # bounds of the logarithm of the action's standard deviation, before squashing


class GoalActor(BasePolicy):
    """A squashed Gaussian policy (Haarnoja et al. 2018, appendix C), or its mean alone.

    Args:
        observation_space: of dicts.
        action_space: a box.
        sight: what it sees.
        hidden: widths of the layers.
        eye: see `Glance`.
        spread: whether it has a spread; without one it acts the same way each time.
    """

    def __init__(
        self,
        observation_space: spaces.Dict,
        action_space: spaces.Box,
        *,
        sight: Sight,
        hidden: Sequence[int],
        eye: nn.Module | None = None,
        spread: bool = True,
    ) -> None:
        super().__init__(observation_space, action_space, squash_output=True)
        size = int(np.prod(action_space.shape))
        self.hidden, self.spread = tuple(hidden), spread
        self.first = FirstLayer(observation_space, sight, hidden[0], eye=eye)
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(hidden))
        self.last = nn.Linear(hidden[-1], 2 * size if spread else size)

    def _outputs(self, obs: Obs, goal: Tensor | None = None) -> Tensor:
        x = F.relu(self.first(obs, goal=goal))
        for layer in self.layers:
            x = F.relu(layer(x))
        with torch.autocast(x.device.type, enabled=False):
            return self.last(x.float())

    def distribution(self, obs: Obs, goal: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return mean and log standard deviation before squashing, each (B, A)."""
        mean, log_std = self._outputs(obs, goal).chunk(2, 1)
        return mean, log_std.clamp(*LOG_STD)

    def mean_action(self, obs: Obs, goal: Tensor | None = None) -> Tensor:
        """Return the actions (B, A) in [-1, 1] that it takes without noise."""
        outputs = self._outputs(obs, goal)
        return torch.tanh(outputs.chunk(2, 1)[0] if self.spread else outputs)

    def action_log_prob(self, obs: Obs, goal: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Draw actions (B, A) in [-1, 1] and return them with their log density (B,)."""
        mean, log_std = self.distribution(obs, goal)
        noise = torch.randn_like(mean)
        raw = mean + log_std.exp() * noise
        # log(1 - tanh(x)^2) without cancellation
        squash = 2 * (math.log(2) - raw - F.softplus(-2 * raw))
        log_prob = (-0.5 * noise.square() - log_std - 0.5 * math.log(2 * math.pi) - squash).sum(1)
        return torch.tanh(raw), log_prob

    def forward(self, obs: Obs, deterministic: bool = False) -> Tensor:
        """Return actions (B, A) in [-1, 1]."""
        if deterministic or not self.spread:
            return self.mean_action(obs)
        return self.action_log_prob(obs)[0]

    def _predict(self, observation: Any, deterministic: bool = False) -> Tensor:
        return self(observation, deterministic)


class Stacked(nn.Module):
    """Linear layers of the same shape side by side: one batched product instead of several small ones."""

    def __init__(self, copies: int, inputs: int, outputs: int) -> None:
        super().__init__()
        bound = 1 / math.sqrt(inputs)
        self.weight = nn.Parameter(torch.empty(copies, inputs, outputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(copies, 1, outputs).uniform_(-bound, bound))

    def forward(self, x: Tensor) -> Tensor:
        """(copies, B, inputs) -> (copies, B, outputs)."""
        return torch.baddbmm(self.bias, x, self.weight)


class Critics(BaseModel):
    """Action values by several networks of the same shape, so that a low one can be believed (Fujimoto et al. 2018)."""

    def __init__(
        self,
        observation_space: spaces.Dict,
        action_space: spaces.Box,
        *,
        sight: Sight,
        hidden: Sequence[int],
        eye: nn.Module | None = None,
        copies: int = 2,
    ) -> None:
        super().__init__(observation_space, action_space)
        self.copies = copies
        size = int(np.prod(action_space.shape))
        self.first = FirstLayer(observation_space, sight, copies * hidden[0], extra=size, eye=eye)
        self.layers = nn.ModuleList(Stacked(copies, a, b) for a, b in pairwise(hidden))
        self.last = Stacked(copies, hidden[-1], 1)

    def values(self, obs: Obs, actions: Tensor) -> Tensor:
        """Return (copies, B)."""
        x = self.first(obs, actions)
        x = F.relu(x.unflatten(1, (self.copies, -1)).transpose(0, 1))
        for layer in self.layers:
            x = F.relu(layer(x))
        # A value of -16 in bfloat16 is rounded to a sixteenth, as much as one step is worth.
        with torch.autocast(x.device.type, enabled=False):
            return self.last(x.float()).squeeze(-1)

    def forward(self, obs: Obs, actions: Tensor) -> tuple[Tensor, ...]:
        """Return each value as (B, 1), as stable-baselines3's critics do."""
        return tuple(value[:, None] for value in self.values(obs, actions))


class GoalPolicy(SACPolicy):
    """Actor, critics and target for `stable_baselines3.SAC` and our own.

    Args:
        observation_space: of dicts.
        action_space: a box.
        lr_schedule: stable-baselines3's learning rate of remaining progress.
        actor_sees: the actor's sight.
        critic_sees: the critics' sight.
        hidden: widths of the layers.
        make_eye: makes the part that is trained on top of stored features; each network has its own.
        critics: how many.
        use_sde: must be false; stable-baselines3 passes it.
    """

    actor: GoalActor  # type: ignore[assignment]
    critic: Critics  # type: ignore[assignment]
    critic_target: Critics  # type: ignore[assignment]

    def __init__(
        self,
        observation_space: spaces.Dict,
        action_space: spaces.Box,
        lr_schedule: Schedule,
        *,
        actor_sees: Sight = STATE,
        critic_sees: Sight = STATE,
        hidden: Sequence[int] = (256, 256, 256),
        make_eye: Callable[[], nn.Module] | None = None,
        critics: int = 2,
        use_sde: bool = False,
    ) -> None:
        if use_sde:
            raise ValueError("state-dependent exploration is not supported")
        self._actor_sees, self._critic_sees = actor_sees, critic_sees
        self._hidden, self._make_eye, self._critics = tuple(hidden), make_eye, critics
        super().__init__(observation_space, action_space, lr_schedule, normalize_images=False)

    def _build(self, lr_schedule: Schedule) -> None:
        self.actor = self.make_actor()
        self.critic = self.make_critic()
        self.critic_target = self.make_critic()
        self.critic_target.load_state_dict(self.critic.state_dict())
        self.critic_target.requires_grad_(False)
        for network in (self.actor, self.critic):
            network.optimizer = torch.optim.Adam(network.parameters(), lr=lr_schedule(1), fused=True)

    def _eye(self) -> nn.Module | None:
        return None if self._make_eye is None else self._make_eye()

    def make_actor(self, features_extractor: Any = None) -> GoalActor:  # type: ignore[override]
        """Make the actor."""
        space, actions = self.observation_space, self.action_space
        return GoalActor(space, actions, sight=self._actor_sees, hidden=self._hidden, eye=self._eye()).to(self.device)  # type: ignore[arg-type]

    def make_critic(self, features_extractor: Any = None) -> Critics:  # type: ignore[override]
        """Make critics."""
        critic = Critics(
            self.observation_space,  # type: ignore[arg-type]
            self.action_space,  # type: ignore[arg-type]
            sight=self._critic_sees,
            hidden=self._hidden,
            eye=self._eye(),
            copies=self._critics,
        )
        return critic.to(self.device)

    def set_scales(self, scales: dict[str, tuple[Tensor, Tensor]]) -> None:
        """Centre and scale the vectors that the networks see."""
        for network in (self.actor, self.critic, self.critic_target):
            network.first.vectors.set_scales(scales)

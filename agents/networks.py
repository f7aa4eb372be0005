"""Actor and critics on goals: what each is shown is data, so a critic may see the simulator's state and an actor pixels.

An actor that sees pixels gets [proprioception, f, g, g - f], where f and g are the features of the view and of the goal
image. f, g and g - f enter one linear layer, so W1 f + W2 g + W3 (g - f) is computed as (W1 - W3) f + (W2 + W3) g: a
third of the products less, the same gradients, and g's part serves two neighbouring frames.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.policies import BaseModel, BasePolicy
from stable_baselines3.common.type_aliases import Schedule
from stable_baselines3.sac.policies import SACPolicy
from torch import Tensor, nn
from torch.nn import functional as F

LOG_STD = (-10.0, 2.0)  # bounds of the logarithm of the action's standard deviation, before squashing
Obs = dict[str, Tensor]


@dataclass(frozen=True)
class Sight:
    """What a network sees of an observation."""

    vectors: tuple[str, ...]  # keys of plain vectors
    tokens: bool  # the features of the view and of the goal image


PIXELS = Sight(("observation",), tokens=True)
STATE = Sight(("observation", "achieved_goal", "desired_goal"), tokens=False)
PRIVILEGED = Sight(("state", "achieved_goal", "desired_goal"), tokens=False)


class Vectors(nn.Module):
    """Named vectors side by side, centred and scaled, and the way to the goal where achieved and desired are seen."""

    def __init__(self, space: spaces.Dict, keys: Sequence[str]) -> None:
        super().__init__()
        self.keys = tuple(keys)
        self.sizes = [int(np.prod(space[key].shape or ())) for key in keys]
        self.way = "desired_goal" in keys and "achieved_goal" in keys
        self.width = sum(self.sizes) + (space["desired_goal"].shape[0] if self.way else 0)  # type: ignore[index]
        self.register_buffer("centre", torch.zeros(sum(self.sizes)))
        self.register_buffer("scale", torch.ones(sum(self.sizes)))
        self.centre: Tensor
        self.scale: Tensor

    def set_scales(self, scales: dict[str, tuple[Tensor, Tensor]]) -> None:
        """Take centre and scale of each key, each of the key's shape."""
        self.centre.copy_(torch.cat([scales[key][0].flatten() for key in self.keys]))
        self.scale.copy_(torch.cat([scales[key][1].flatten() for key in self.keys]))

    def forward(self, obs: Obs) -> Tensor:
        """Return (B, width)."""
        parts = ((torch.cat([obs[key] for key in self.keys], 1) - self.centre) * self.scale).clamp(-5, 5)
        if not self.way:
            return parts
        named = dict(zip(self.keys, parts.split(self.sizes, 1), strict=True))
        return torch.cat([parts, named["desired_goal"] - named["achieved_goal"]], 1)


class FirstLayer(nn.Module):
    """The linear layer that an observation enters.

    Args:
        space: of the observations.
        sight: what is seen.
        width: outputs.
        extra: further inputs, such as an action's.
        eye: turns stored features into those that are seen; flattened as they are when absent.
    """

    def __init__(
        self, space: spaces.Dict, sight: Sight, width: int, *, extra: int = 0, eye: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.sight = sight
        self.vectors = Vectors(space, sight.vectors)
        self.eye = eye if sight.tokens else None
        size = 0
        if sight.tokens:
            example = torch.zeros(1, *(space["features"].shape or ()))
            size = (example if eye is None else eye(example)).numel()
        inputs = self.vectors.width + extra + 3 * size
        self.plain = nn.Linear(self.vectors.width + extra, width)
        # Weights of f, g and g - f; not one tensor, whose slices would each have a gradient of the whole.
        self.tokens = nn.ParameterList(torch.empty(width, size) for _ in range(3 if size else 0))
        for weight in (self.plain.weight, self.plain.bias, *self.tokens):
            nn.init.uniform_(weight, -1 / math.sqrt(inputs), 1 / math.sqrt(inputs))

    def image(self, features: Tensor) -> Tensor:
        """Return what is seen of stored features (B, ...) as (B, D)."""
        # From float16 straight to bfloat16 has no fast kernel on the CPU; by way of float32 it is five times faster.
        seen = features.float()
        return (seen if self.eye is None else self.eye(seen)).flatten(1)

    def goal(self, obs: Obs) -> Tensor | None:
        """Return the goal image's share (B, width), for `forward` of any frame that has this goal."""
        if not self.tokens:
            return None
        return F.linear(self.image(obs["goal_features"]), self.tokens[1] + self.tokens[2])

    def forward(self, obs: Obs, extra: Tensor | None = None, goal: Tensor | None = None) -> Tensor:
        """Return (B, width); `goal` saves computing the goal's share again."""
        vectors = self.vectors(obs)
        hidden = self.plain(vectors if extra is None else torch.cat([vectors, extra], 1))
        if not self.tokens:
            return hidden
        view = F.linear(self.image(obs["features"]), self.tokens[0] - self.tokens[2])
        share = self.goal(obs) if goal is None else goal
        assert share is not None
        return hidden + view + share


class GoalActor(BasePolicy):
    """A squashed Gaussian policy (Haarnoja et al. 2018, appendix C)."""

    def __init__(
        self,
        observation_space: spaces.Dict,
        action_space: spaces.Box,
        *,
        sight: Sight,
        hidden: Sequence[int],
        eye: nn.Module | None = None,
    ) -> None:
        super().__init__(observation_space, action_space, squash_output=True)
        size = int(np.prod(action_space.shape))
        self.hidden = tuple(hidden)
        self.first = FirstLayer(observation_space, sight, hidden[0], eye=eye)
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in zip(hidden, hidden[1:], strict=False))
        self.last = nn.Linear(hidden[-1], 2 * size)

    def distribution(self, obs: Obs, goal: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return mean and log standard deviation before squashing, each (B, A)."""
        x = F.relu(self.first(obs, goal=goal))
        for layer in self.layers:
            x = F.relu(layer(x))
        mean, log_std = self.last(x).float().chunk(2, 1)
        return mean, log_std.clamp(*LOG_STD)

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
        if deterministic:
            return torch.tanh(self.distribution(obs)[0])
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


class TwinCritic(BaseModel):
    """Two action values, of which the lower is believed (Fujimoto et al. 2018)."""

    COPIES = 2

    def __init__(
        self,
        observation_space: spaces.Dict,
        action_space: spaces.Box,
        *,
        sight: Sight,
        hidden: Sequence[int],
        eye: nn.Module | None = None,
        layer_norm: bool = False,
    ) -> None:
        super().__init__(observation_space, action_space)
        size = int(np.prod(action_space.shape))
        self.first = FirstLayer(observation_space, sight, self.COPIES * hidden[0], extra=size, eye=eye)
        self.layers = nn.ModuleList(Stacked(self.COPIES, a, b) for a, b in zip(hidden, hidden[1:], strict=False))
        self.last = Stacked(self.COPIES, hidden[-1], 1)
        self.norms = layer_norm

    def values(self, obs: Obs, actions: Tensor) -> Tensor:
        """Return (2, B)."""
        x = self.first(obs, actions)
        x = F.relu(self._norm(x.unflatten(1, (self.COPIES, -1)).transpose(0, 1)))
        for layer in self.layers:
            x = F.relu(self._norm(layer(x)))
        return self.last(x).float().squeeze(-1)

    def _norm(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, x.shape[-1:]) if self.norms else x

    def forward(self, obs: Obs, actions: Tensor) -> tuple[Tensor, ...]:
        """Return each value as (B, 1), as stable-baselines3's critics do."""
        return tuple(value[:, None] for value in self.values(obs, actions))


class GoalPolicy(SACPolicy):
    """Actor, critics and target for `stable_baselines3.SAC` and `GoalSAC`.

    Args:
        observation_space: of dicts.
        action_space: a box.
        lr_schedule: stable-baselines3's learning rate of remaining progress.
        actor_sees: the actor's sight.
        critic_sees: the critics' sight.
        hidden: widths of the layers.
        layer_norm: in the critics.
        make_eye: makes the part that is trained on top of stored features; each network has its own.
        use_sde: must be false; stable-baselines3 passes it.
    """

    actor: GoalActor  # type: ignore[assignment]
    critic: TwinCritic  # type: ignore[assignment]
    critic_target: TwinCritic  # type: ignore[assignment]

    def __init__(
        self,
        observation_space: spaces.Dict,
        action_space: spaces.Box,
        lr_schedule: Schedule,
        *,
        actor_sees: Sight = STATE,
        critic_sees: Sight = STATE,
        hidden: Sequence[int] = (256, 256, 256),
        layer_norm: bool = False,
        make_eye: Callable[[], nn.Module] | None = None,
        use_sde: bool = False,
    ) -> None:
        if use_sde:
            raise ValueError("state-dependent exploration is not supported")
        self._actor_sees, self._critic_sees = actor_sees, critic_sees
        self._hidden, self._layer_norm, self._make_eye = tuple(hidden), layer_norm, make_eye
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

    def make_critic(self, features_extractor: Any = None) -> TwinCritic:  # type: ignore[override]
        """Make critics."""
        critic = TwinCritic(
            self.observation_space,  # type: ignore[arg-type]
            self.action_space,  # type: ignore[arg-type]
            sight=self._critic_sees,
            hidden=self._hidden,
            eye=self._eye(),
            layer_norm=self._layer_norm,
        )
        return critic.to(self.device)

    def set_scales(self, scales: dict[str, tuple[Tensor, Tensor]]) -> None:
        """Centre and scale the vectors that the networks see."""
        for network in (self.actor, self.critic, self.critic_target):
            network.first.vectors.set_scales(scales)

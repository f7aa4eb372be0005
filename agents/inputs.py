"""How an observation enters a network: what is seen of it is data, so a critic may see more than an actor.

A network that sees pixels gets [vectors, f, g, g - f], where f and g are the features of the view and of the goal
image. f, g and g - f enter one linear layer, so W1 f + W2 g + W3 (g - f) is computed as (W1 - W3) f + (W2 + W3) g:
a third of the products less, the same gradients, and g's part serves two neighbouring frames.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor, nn
from torch.nn import functional as F

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

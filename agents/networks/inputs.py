"""How an observation enters a network: what is seen of it is data, so a critic may see more than an actor.

A network that sees pixels gets [vectors, f, g, g - f], where f and g are its glances at the view and at the goal
image. One glance serves both, so what is learnt about views holds for goals, of which there are far fewer. Where the
stored features are numbers that were read off the images, they are taken as they are, and of a goal only what it wants.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor, nn

Obs = dict[str, Tensor]
GLANCE = 64  # numbers taken from an image


@dataclass(frozen=True)
class Sight:
    """What a network sees of an observation."""

    vectors: tuple[str, ...]  # keys of plain vectors
    tokens: bool  # the features of the view and of the goal image
    goal_size: int | None = None  # they are numbers as they are, of which a goal's first ones count; None for tokens


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
        if not self.keys:
            return
        self.centre.copy_(torch.cat([scales[key][0].flatten() for key in self.keys]))
        self.scale.copy_(torch.cat([scales[key][1].flatten() for key in self.keys]))

    def forward(self, obs: Obs) -> Tensor:
        """Return (B, width)."""
        parts = ((torch.cat([obs[key] for key in self.keys], 1) - self.centre) * self.scale).clamp(-5, 5)
        if not self.way:
            return parts
        named = dict(zip(self.keys, parts.split(self.sizes, 1), strict=True))
        return torch.cat([parts, named["desired_goal"] - named["achieved_goal"]], 1)


class Glance(nn.Module):
    """A few numbers from an image's stored features: a projection, normalised and bounded.

    The shape is that of Yarats et al. 2021 (DrQ, section 4.1, the encoder's last layer). Against features that
    enter the first layer as they are it lowers the error of positions on images not trained on by a third.

    Args:
        space: of the stored features.
        width: outputs.
        eye: turns stored features into those that are seen, where a part of the encoder is trained.
    """

    def __init__(self, space: spaces.Box, width: int, eye: nn.Module | None = None) -> None:
        super().__init__()
        self.eye = eye
        device = None if eye is None else next(eye.parameters()).device
        example = torch.zeros(1, *space.shape, device=device)
        size = (example if eye is None else eye(example)).numel()
        self.project = nn.Linear(size, width)
        self.norm = nn.LayerNorm(width)

    @property
    def widths(self) -> tuple[int, int]:
        """Numbers taken from a view, and from a goal image."""
        return self.project.out_features, self.project.out_features

    def goal(self, features: Tensor) -> Tensor:
        """Look at a goal image as at a view."""
        return self(features)

    def forward(self, features: Tensor) -> Tensor:
        """Stored features (B, ...) -> (B, width) in [-1, 1]."""
        # From float16 straight to bfloat16 has no fast kernel on the CPU; by way of float32 it is five times faster.
        seen = features.float()
        seen = seen if self.eye is None else self.eye(seen)
        return torch.tanh(self.norm(self.project(seen.flatten(1))))


class Numbers(nn.Module):
    """Stored features that are numbers already, centred and scaled, those that say what is achieved first.

    Args:
        space: of the stored features.
        goal_size: what counts of a goal image.
    """

    def __init__(self, space: spaces.Box, goal_size: int) -> None:
        super().__init__()
        self.widths = int(np.prod(space.shape)), goal_size

    def goal(self, features: Tensor) -> Tensor:
        """Stored features (B, D) -> what is achieved (B, goal_size)."""
        return features[:, : self.widths[1]]

    def forward(self, features: Tensor) -> Tensor:
        """Stored features (B, D) -> the same."""
        return features


class FirstLayer(nn.Module):
    """The linear layer that an observation enters.

    Args:
        space: of the observations.
        sight: what is seen.
        width: outputs.
        extra: further inputs, such as an action's.
        eye: see `Glance`.
    """

    def __init__(
        self, space: spaces.Dict, sight: Sight, width: int, *, extra: int = 0, eye: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.sight = sight
        self.vectors = Vectors(space, sight.vectors)
        self.glance: Glance | Numbers | None = None
        if sight.tokens:
            features: Any = space["features"]
            known = sight.goal_size
            self.glance = Glance(features, GLANCE, eye) if known is None else Numbers(features, known)
        view, goal = self.glance.widths if self.glance is not None else (0, 0)
        self.linear = nn.Linear(self.vectors.width + extra + view + 2 * goal, width)

    def goal(self, obs: Obs) -> Tensor | None:
        """Return what is seen of the goal image, for `forward` of any frame that has this goal."""
        return None if self.glance is None else self.glance.goal(obs["goal_features"])

    def forward(self, obs: Obs, extra: Tensor | None = None, goal: Tensor | None = None) -> Tensor:
        """Return (B, width); `goal` saves looking at the goal image again."""
        parts = [self.vectors(obs)] if self.vectors.keys else []
        if extra is not None:
            parts.append(extra)
        if self.glance is not None:
            view = self.glance(obs["features"])
            wanted = self.glance.goal(obs["goal_features"]) if goal is None else goal
            parts += [view, wanted, wanted - view[:, : wanted.shape[1]]]
        return self.linear(torch.cat(parts, 1))

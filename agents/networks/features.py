"""Frozen features: what is kept of every frame that an agent records.

The encoder is cut before its last n blocks. The frozen part runs once per frame. With n = 0 each of its tokens is
reduced to a few numbers by principal components and nothing of it is trained. With n > 0 the tokens are kept whole, and
an `Eye`, the last n blocks and a reduction that starts from the same components, is trained with the agent. Of an
encoder that has learnt to find points, the tokens are these: two numbers each, where a point lies.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor, nn

from goalsight.base.errors import UserError
from goalsight.base.training_state import State

if TYPE_CHECKING:
    from collections.abc import Iterator

    from goalsight.pretrain.encoders.vit import VideoEncoder

COMPONENTS = 16  # numbers kept of a token
ENCODER = "encoder."  # prefix of the encoder's weights in a checkpoint
MEAN, BASIS = "reduction.mean", "reduction.basis"


class Features(Protocol):
    """What is kept of a frame for an agent: computed once, when the frame is recorded.

    Attributes:
        tune_blocks: blocks of the encoder that the agent trains.
    """

    tune_blocks: int

    @property
    def goal_size(self) -> int | None:
        """Of a goal image only so many of the first numbers are seen; None for all."""

    @property
    def space(self) -> spaces.Box:
        """The space of what is stored of a moment."""

    def __call__(self, frames: NDArray[np.uint8]) -> NDArray[Any]:
        """(n, H, W, 3) uint8 -> (n, *space.shape)."""

    def to(self, device: torch.device | str) -> Self:
        """Compute on `device` from now on."""

    def tensors(self) -> dict[str, Tensor]:
        """The weights, by their names in a checkpoint."""

    def describe(self) -> dict[str, Any]:
        """What is needed beside the tensors to make them again, in JSON's own types."""

    def state(self) -> State:
        """What a training goes on from."""


@dataclass(frozen=True)
class Reduction:
    """Tokens to `COMPONENTS` numbers each: the mean of their position taken off, then one projection for all."""

    mean: Tensor  # (tokens, width)
    basis: Tensor  # (width, components), scaled so that all outputs together have unit variance

    @classmethod
    def fit(cls, tokens: Tensor, components: int = COMPONENTS) -> "Reduction":
        """Principal components of tokens (n, tokens, width), shared by all positions.

        One scale for all components: the small ones are mostly noise and must not be blown up.
        """
        mean = tokens.mean(0)
        rest = (tokens - mean).flatten(0, 1).double()
        variances, vectors = torch.linalg.eigh(rest.T @ rest / len(rest))  # ascending
        basis = vectors[:, -components:].flip(1)
        # The sign of a component is arbitrary; fix it, so that the same frames give the same features.
        largest = basis.gather(0, basis.abs().argmax(0, keepdim=True))
        basis = basis * largest.sign()
        scale = variances[-components:].mean().clamp_min(1e-12).rsqrt()
        return cls(mean, (basis * scale).float())

    def __call__(self, tokens: Tensor) -> Tensor:
        """(B, tokens, width) -> (B, tokens, components)."""
        return (tokens.float() - self.mean) @ self.basis


class Eye(nn.Module):
    """The part of the encoder that the agent trains, and its reduction."""

    def __init__(self, head: nn.Module, reduction: Reduction) -> None:
        super().__init__()
        self.head = head
        self.register_buffer("mean", reduction.mean.clone())
        self.basis = nn.Parameter(reduction.basis.clone())

    def forward(self, tokens: Tensor) -> Tensor:
        """Stored tokens (B, tokens, width) -> (B, tokens, components)."""
        return (self.head(tokens).float() - self.mean) @ self.basis


class FrozenFeatures:
    """Frames to what is stored of them.

    Args:
        encoder: stays as it is.
        tune_blocks: n, the blocks that are left to the agent.
        reduction: fitted before; `fit` finds it from frames.
        cameras: how many show each moment; their tokens are kept side by side, see `encode`.

    Raises:
        UserError: if blocks are to be tuned on what several cameras show, or of an encoder that finds points.
    """

    goal_size: int | None = None

    def __init__(
        self,
        encoder: "VideoEncoder",
        tune_blocks: int = 0,
        reduction: Reduction | None = None,
        *,
        cameras: int = 1,
    ) -> None:
        if tune_blocks and cameras > 1:
            raise UserError("blocks are tuned on one camera's images; choose tune_blocks 0, or one camera")
        self.cameras = cameras
        self.encoder = encoder.eval().requires_grad_(False)
        self.tune_blocks = tune_blocks
        self.trunk: Callable[[Tensor], Tensor]
        self.head: nn.Module
        if encoder.points is None:
            self.trunk, self.head = encoder.split(tune_blocks)
            self.tokens, kept = encoder.tokens, COMPONENTS
        elif tune_blocks:
            raise UserError("of an encoder that finds points no blocks are tuned; choose tune_blocks 0")
        else:
            self.trunk, self.head = _points_of(encoder), nn.Identity()
            self.tokens, kept = encoder.config.points, 2
        self.shape = cameras * self.tokens, encoder.config.width if tune_blocks else kept  # of what is stored
        self.reduction = reduction

    def to(self, device: torch.device | str) -> Self:
        """Compute on `device` from now on."""
        self.encoder.to(device)
        if self.reduction is not None:
            self.reduction = Reduction(self.reduction.mean.to(device), self.reduction.basis.to(device))
        return self

    @torch.inference_mode()
    def fit(self, frames: NDArray[np.uint8]) -> None:
        """Find the reduction from frames (n, H, W, 3) such as the agent will see."""
        tokens = torch.cat([self.head(part).float() for part in self._tokens(frames)])
        reduction = Reduction.fit(tokens)
        # Out of inference mode's tensors: an `Eye` trains a copy.
        self.reduction = Reduction(reduction.mean.clone(), reduction.basis.clone())

    @torch.inference_mode()
    def __call__(self, frames: NDArray[np.uint8]) -> NDArray[np.float16]:
        """(n, H, W, 3) uint8 -> float16 (n, tokens, numbers kept), or (n, tokens, width) with blocks to tune."""
        if self.reduction is None:
            raise ValueError("fit the features before they are used")
        out = np.empty((len(frames), self.tokens, self.shape[1]), np.float16)
        done = 0
        for tokens in self._tokens(frames):
            if not self.tune_blocks:
                tokens = self.reduction(self.head(tokens))
            out[done : done + len(tokens)] = tokens.half().cpu().numpy()
            done += len(tokens)
        return out

    def _tokens(self, frames: NDArray[np.uint8]) -> "Iterator[Tensor]":
        from goalsight.pretrain.encoders.features import in_batches

        return in_batches(self.trunk, frames, device=next(self.encoder.parameters()).device)

    @property
    def space(self) -> spaces.Box:
        """The space of what is stored of a moment."""
        return spaces.Box(-np.inf, np.inf, self.shape, np.float16)

    def tensors(self) -> dict[str, Tensor]:
        """See `Features`."""
        if self.reduction is None:
            return {}
        weights = {f"{ENCODER}{name}": weight for name, weight in self.encoder.state_dict().items()}
        return weights | {MEAN: self.reduction.mean, BASIS: self.reduction.basis}

    def describe(self) -> dict[str, Any]:
        """See `Features`."""
        return {"tune_blocks": self.tune_blocks, "encoder": asdict(self.encoder.config)}

    def state(self) -> State:
        """See `Features`."""
        if self.reduction is None:
            return {}
        return {"reduction": {"mean": self.reduction.mean, "basis": self.reduction.basis}}

    def make_eye(self) -> Eye:
        """Return a trainable copy of the last blocks, for one network."""
        if self.reduction is None:
            raise ValueError("fit the features before they are used")
        head = copy.deepcopy(self.head).requires_grad_(True)
        return Eye(head, self.reduction)


def encode(features: Callable[[NDArray[np.uint8]], NDArray[Any]], images: Sequence[NDArray[np.uint8]]) -> NDArray[Any]:
    """Features of what several cameras show, in one go.

    Args:
        features: (n, H, W, 3) -> (n, tokens, width).
        images: (n, H, W, 3) by each camera.

    Returns:
        (n, cameras * tokens, width): side by side.
    """
    if len(images) == 1:
        return features(images[0])
    return np.concatenate(np.split(features(np.concatenate(images)), len(images)), axis=1)


def _points_of(encoder: "VideoEncoder") -> Callable[[Tensor], Tensor]:
    """Frames (B, H, W, 3) -> where points lie in them, (B, points, 2)."""
    return lambda frames: encoder.places(frames).unflatten(1, (-1, 2))


def find_encoder(source: str, image_size: int, seed: int, *, tokeniser: str = "conv") -> "VideoEncoder":
    """Return the encoder that `source` means: "random", of a tokeniser, or a pretraining run.

    Raises:
        UserError: if it is no run, or does not take frames of `image_size` pixels.
    """
    from pathlib import Path

    from goalsight.pretrain.encoders.vit import load_named, random_encoder

    if source == "random":
        return random_encoder(image_size=image_size, seed=seed, tokeniser=tokeniser)
    encoder = load_named(Path(source))
    if encoder.config.image_size != image_size:
        raise UserError(
            f"encoder {source} takes frames of {encoder.config.image_size} px, "
            f"the environment gives {image_size} px; choose image_size {encoder.config.image_size}"
        )
    return encoder

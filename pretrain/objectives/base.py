"""What every objective is: a module that holds the encoder and whatever else learns with it."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from goalsight.pretrain.encoders.vit import VideoEncoder


class Objective(nn.Module, ABC):
    """The rule of the game that an encoder learns by; its operations are all counted."""

    def __init__(self, encoder: VideoEncoder) -> None:
        """Hold the encoder, which is trained in place; checkpoints find it under this name."""
        super().__init__()
        self.encoder = encoder

    @abstractmethod
    def forward(self, clip: Tensor, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        """Clips (B, 2, H, W, 3) uint8 -> the loss, and metrics named `pretrain/...` with the loss among them."""

    @abstractmethod
    def look(self, clip: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """Clips (B, 2, H, W, 3) uint8 -> named columns of (B, H, W, 3) uint8 frames, for people to look at."""

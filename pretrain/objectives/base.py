"""What every objective is: a module that holds the encoder and whatever else learns with it."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from goalsight.pretrain.data.clips import Batch, Clips
from goalsight.pretrain.data.format import PIXELS
from goalsight.pretrain.encoders.vit import VideoEncoder


@dataclass(frozen=True)
class Alarm:
    """A known failure of an objective that has come about."""

    name: str  # one word
    sentence: str  # what is wrong, in one line


class Objective(nn.Module, ABC):
    """The rule of the game that an encoder learns by; all operations of it count, and those of `monitor` do not.

    It is made as `Class(encoder, options, seed=seed)`; the seed draws the weights that are its own. Weights that need
    no gradients, such as an averaged teacher's, are left alone by the optimiser and kept with the training's state.

    Attributes:
        Options: the dataclass of its options; shown by the command line, recorded by the run.
        whole_batch: whether the loss compares the clips of a batch with each other, so that it must not be cut up.
    """

    Options: ClassVar[type]
    whole_batch: ClassVar[bool] = False

    def __init__(self, encoder: VideoEncoder) -> None:
        """Hold the encoder, which is trained in place; checkpoints find it under this name."""
        super().__init__()
        self.encoder = encoder

    @abstractmethod
    def reads(self, max_gap: int) -> Clips:
        """Return the columns, frames and gaps it learns from.

        Args:
            max_gap: the farthest that a frame t+k may lie after frame t, where k is drawn [frames].
        """

    def forward(self, batch: Batch, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        """Return `loss` with what the tokeniser learns by itself added to it, and the metrics of both."""
        loss, metrics = self.loss(batch, generator)
        own = self.encoder.tokeniser.loss(batch[PIXELS].flatten(0, 1))
        return (loss, metrics) if own is None else (loss + own[0], metrics | own[1])

    @abstractmethod
    def loss(self, batch: Batch, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        """Return the loss, and metrics named `pretrain/...` with the loss among them.

        Args:
            batch: what `reads` declares, (B, T, ...) each; pixels are (B, T, H, W, 3) uint8.
            generator: of all that is drawn.
        """

    def monitor(self, batch: Batch, generator: torch.Generator) -> dict[str, float]:
        """Return metrics named `pretrain/...` that nothing is learnt from and that take passes of their own.

        It is asked once in every ten steps, at the first of them, by all processes at once, before the weights move.
        It must change nothing that decides what is learnt. What the loss has made anyway is measured by `loss`.

        Args:
            batch: what the step learns from, as of `loss`.
            generator: of all that is drawn; another one than the loss draws from.
        """
        return {}

    def after_step(self, spent: float) -> None:
        """Do what is due after the optimiser's step, such as moving an averaged teacher.

        Args:
            spent: share of the budget that is spent, in [0, 1].
        """
        return

    @abstractmethod
    def visualise(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Return named columns of (B, H, W, 3) uint8 frames, for people to look at.

        A column may be enlarged already as frames are shown, by `pictures.enlarging`.
        """

    @abstractmethod
    def headline(self, metrics: Mapping[str, float]) -> str:
        """Say in part of a sentence what was learnt.

        Args:
            metrics: means over the last steps, without their prefix. Any may be missing; not all are.
        """

    def alarms(self, metrics: Mapping[str, float]) -> tuple[Alarm, ...]:
        """Return the known failures that have come about; asked now and then, and at the end.

        Args:
            metrics: as of `headline`.
        """
        return ()

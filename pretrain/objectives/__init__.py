"""The objectives by name; a new one is one new file and one line here."""

from typing import Protocol

from goalsight.pretrain.encoders.vit import VideoEncoder
from goalsight.pretrain.objectives.base import Objective
from goalsight.pretrain.objectives.masked import MaskedPrediction

__all__ = ["OBJECTIVES", "MakeObjective", "Objective"]


class MakeObjective(Protocol):
    """Wraps an encoder in an objective whose own weights come from the seed."""

    def __call__(self, encoder: VideoEncoder, *, seed: int) -> Objective:
        """Make it."""
        ...


OBJECTIVES: dict[str, MakeObjective] = {"masked": MaskedPrediction}

"""What an objective reads of recorded episodes: which columns, how many frames, how far apart; and who serves it."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from goalsight.base.training_state import State
from goalsight.pretrain.data.format import PIXELS

INSTRUCTION, UNHEARD, MEANING = "instruction", "instruction.unheard", "instruction.meaning"
TOLD = (INSTRUCTION, UNHEARD, MEANING)

ENDS = 0.1  # share of an episode that is its beginning, and its end
Batch = dict[str, Tensor]  # column -> (B, T, ...), row i of every column from the same frames


@dataclass(frozen=True)
class Clips:
    """What is read: clips of frames that follow each other in one episode, never across its border.

    A clip has one frame more than there are gaps. `Clips(gaps=((1, 8),))` reads pairs of frames (t, t+k) with k drawn
    uniformly from 1 to 8; `Clips(gaps=((1, 1),) * 7)` reads 8 frames in a row; `Clips(gaps=((1, 1), (1, 100)))` reads
    a frame, the next one, and one at some time after that.

    The first frame is drawn uniformly among all that leave room for the smallest gaps. Then one gap after the other
    is drawn uniformly between its bounds, or up to what is left of the episode where that is less. With `ends` a clip
    is a frame of an episode's first tenth and one of its last.

    Besides the store's columns an episode's instruction can be read, the same at all frames of a clip: `INSTRUCTION`,
    in words that are drawn anew each time, `UNHEARD`, in words that `INSTRUCTION` never has, both as bytes, and
    `MEANING`, a number that is the same for what means the same. Episodes without an instruction are then left out.

    Raises:
        ValueError: when no column is named, gaps have no order, clips of ends are no pairs, or more frames are to be
            seen than there are.
    """

    columns: tuple[str, ...] = (PIXELS,)  # names of the store's columns
    gaps: tuple[tuple[int, int], ...] = ((1, 8),)  # smallest and largest step to each next frame [frames]
    ends: bool = False  # of episodes, instead of frames so far apart
    also: str | tuple[str, ...] = ()  # columns whose names begin so are read too, where the store has them
    seen: int | None = None  # the first frames of a clip, whose pixels are read; all unless given
    less: str = ""  # the option by which less is read, where there is one

    def __post_init__(self) -> None:
        """Refuse what cannot be read."""
        if not self.columns or len(set(self.columns)) < len(self.columns):
            raise ValueError(f"name each column once, and at least one, got {self.columns}")
        if any(not 1 <= least <= most for least, most in self.gaps):
            raise ValueError(f"gaps must be pairs (smallest, largest) of at least 1, got {self.gaps}")
        if self.ends and len(self.gaps) != 1:
            raise ValueError(f"an episode has two ends, got gaps {self.gaps}")
        if self.seen is not None and not 1 <= self.seen <= self.frames:
            raise ValueError(f"of {self.frames} frames 1 to {self.frames} can be seen, got {self.seen}")

    @property
    def frames(self) -> int:
        """Frames in a clip."""
        return 1 + len(self.gaps)

    @property
    def shortest(self) -> int:
        """Frames that an episode must have for one clip to fit."""
        return 1 + sum(least for least, _ in self.gaps)


class Sampler(Protocol):
    """Draws clips; the same source and seed give the same clips, bit for bit.

    Attributes:
        drawn: which frames of its source the last clips were, (B, T).
    """

    drawn: NDArray[np.int64]

    def sample(self) -> Batch:
        """Return the declared columns: "pixels" (B, T, H, W, 3) uint8, and others (B, T, ...)."""
        ...

    def state(self) -> State:
        """Return what decides the clips that come next."""
        ...

    def load(self, state: State) -> None:
        """Go on from a state."""
        ...

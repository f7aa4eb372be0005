"""Silent video as an arm watches it: frames of episodes, and nothing of what was done in them."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from goalsight.agents.collecting.collect import FPS
from goalsight.agents.recordings import encoded
from goalsight.base.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable

    from goalsight.pretrain.data.store import FrameStore

AUDITED = 20  # episodes whose actions are known, by which labels are judged; they are never learnt from


@dataclass(frozen=True)
class SilentVideo:
    """Videos whose actions are not looked at.

    Attributes:
        store: their frames.
    """

    store: "FrameStore"

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Frames of each episode."""
        return np.asarray(self.store.episode_lengths)

    @property
    def content_hash(self) -> str:
        """Of the frames."""
        return self.store.content_hash

    @property
    def skill(self) -> float | None:
        """Share of the episodes that end in success, where the recording says so."""
        if "success" not in self.store.columns:
            return None
        ends = np.cumsum(self.lengths) - 1
        return float(np.asarray(self.store.columns["success"])[ends].mean())

    @property
    def facts(self) -> dict[str, Any]:
        """What results must name: frames and episodes, success in them if it is known, and use of their actions."""
        known = "action" in self.store.columns
        return {
            "watched_frames": self.store.num_frames,
            "watched_episodes": self.store.num_episodes,
            "watched_skill": self.skill,
            "watched_actions": "not learnt from" if known else "none",
        }

    def audit(self, size: int) -> NDArray[np.float32]:
        """True actions of the first episodes, (F, A), where the recording has such of this size; otherwise (0, A).

        They judge what is read off the video; those episodes are not imitated.
        """
        columns = self.store.columns
        if "action" not in columns or columns["action"].shape[1:] != (size,):
            return np.zeros((0, size), np.float32)
        audited = min(AUDITED, len(self.lengths) // 5)
        return np.asarray(columns["action"][: self.lengths[:audited].sum()], np.float32)

    def look(self, see: "Callable[[NDArray[np.uint8]], NDArray[np.float32]]") -> NDArray[np.float32]:
        """What is seen in every frame, (F, D)."""
        return np.asarray(encoded([self.store], see))


def open_video(paths: Sequence[Path], image_size: int) -> SilentVideo:
    """Open videos of any kind, at the rate at which an environment is controlled.

    Args:
        paths: videos, recordings or data sets; their actions are not learnt from.
        image_size: of the frames [px].

    Raises:
        UserError: if nothing can be read, or no episode is long enough.
    """
    from goalsight.pretrain.data import CACHE
    from goalsight.pretrain.data.ingest import cached_ingest

    store = cached_ingest(paths, CACHE, image_size, fps=FPS)
    lengths = np.asarray(store.episode_lengths)
    if lengths.max(initial=0) < 4:
        raise UserError(f"{', '.join(map(str, paths))}: no episode of four frames or more, so nothing happens in it")
    if "action" in store.columns:
        print(f"{store.num_frames:,} frames are watched in silence: their actions are not learnt from", file=sys.stderr)
    return SilentVideo(store)

"""A replay on disk: only what changed since the last save is written, in files that are never changed again.

A segment holds whole blocks (episodes) of the replay. The newest segment that holds a block is the one that counts; a
segment of which nothing counts any more is removed. Which segment counts for which block is part of the training
state, so a process that dies while it saves leaves the save before whole.
"""

import hashlib
from pathlib import Path

import numpy as np
import torch

from goalsight.agents.replay import GoalReplayBuffer
from goalsight.base.errors import UserError
from goalsight.base.files import atomic_write_bytes, writing
from goalsight.base.training_state import State

BLOCKS, ACTIONS, FRAMES = "blocks", "actions", "frames."  # names of tensors in a segment
SEGMENT_BYTES = 64_000_000  # about, at most; so much is copied at a time
NONE = -1


class ReplayFiles:
    """The folder of a replay's segments.

    Args:
        folder: made when first written to.
        replay: is read and filled.
    """

    def __init__(self, folder: Path, replay: GoalReplayBuffer) -> None:
        self._folder, self._replay = Path(folder), replay
        self._place = np.full(replay.blocks, NONE, np.int64)  # the segment that counts for each block
        self._next = 0
        self._sums: dict[str, str] = {}  # sha256 of each segment as it was written, by its file's name
        self.written = 0  # bytes, by this process

    def save(self) -> State:
        """Write the blocks that changed since the last save; return what `read` needs.

        Raises:
            UserError: if the disk refuses.
        """
        changed = self._replay.changed()
        most = max(1, SEGMENT_BYTES * self._replay.blocks // self._replay.nbytes)
        for start in range(0, len(changed), most):
            self._write(changed[start : start + most])
        self._replay.unchanged(changed)
        counting = self._counting()
        self._sums = {name: self._sums[name] for name in counting if name in self._sums}
        return {"segments": self._place.copy(), "next": self._next, "sums": dict(self._sums)}

    def _write(self, blocks: np.ndarray) -> None:
        from safetensors.torch import save

        rows = torch.from_numpy(blocks)
        tensors = {f"{FRAMES}{key}": store[rows] for key, store in self._replay.frames.items()}
        tensors |= {BLOCKS: rows, ACTIONS: self._replay.actions[rows]}
        content = save(tensors)
        with writing(self._folder):
            self._folder.mkdir(exist_ok=True)
        atomic_write_bytes(self._path(self._next), content)
        self._sums[self._path(self._next).name] = hashlib.sha256(content).hexdigest()
        self._place[blocks] = self._next
        self._next += 1
        self.written += len(content)

    def tidy(self) -> None:
        """Remove segments of which nothing counts; call it when the state of the latest save is safe."""
        counting = self._counting()
        for path in self._folder.glob("*.safetensors"):
            if path.name not in counting:
                path.unlink(missing_ok=True)

    def _counting(self) -> set[str]:
        """The files of which something counts."""
        return {self._path(int(segment)).name for segment in np.unique(self._place) if segment != NONE}

    def read(self, state: State) -> None:
        """Fill the replay from the segments of a save, through memory maps; remove what was written after it.

        Raises:
            UserError: if a segment is missing or damaged.
        """
        from safetensors import SafetensorError, safe_open

        self._place[:], self._next = state["segments"], state["next"]
        self._sums = dict(state.get("sums", {}))  # an earlier version kept none
        for segment in np.unique(self._place[self._place != NONE]):
            path = self._path(int(segment))
            try:
                self._check(path)
                with safe_open(path, framework="pt") as file:
                    blocks = file.get_tensor(BLOCKS)
                    counts = torch.from_numpy(self._place)[blocks] == int(segment)
                    for key, store in self._replay.frames.items():
                        store[blocks[counts]] = file.get_tensor(f"{FRAMES}{key}")[counts]
                    self._replay.actions[blocks[counts]] = file.get_tensor(ACTIONS)[counts]
            except (OSError, SafetensorError, IndexError, RuntimeError) as error:
                reason = (str(error).splitlines() or [type(error).__name__])[0]
                raise UserError(f"the replay in {path} cannot be read: {reason}; train anew") from error
        self._replay.unchanged(np.arange(self._replay.blocks))
        self.tidy()

    def _check(self, path: Path) -> None:
        """Compare a segment with what was written.

        Raises:
            OSError: it is missing, or another.
        """
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if self._sums.get(path.name, found) != found:
            raise OSError("it is not what was written")

    def _path(self, segment: int) -> Path:
        return self._folder / f"{segment:06d}.safetensors"

"""Recorded play for imitation: frames as the actor will see them, each with a goal that its episode came to."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor

from goalsight.agents.algorithms.imitation import Imitation
from goalsight.agents.minari import MinariPlay
from goalsight.base.errors import UserError
from goalsight.base.memory import check_memory
from goalsight.base.progress import progress
from goalsight.base.training_state import State, load_rng, rng_state

if TYPE_CHECKING:
    from goalsight.pretrain.data.store import FrameStore

    Play = FrameStore | MinariPlay

LEAST_SPREAD = 0.01  # of a number in the recording, for its scale [its own unit]
CHUNK = 4096  # frames read at a time
# Key of an observation -> the column that holds it, by what the actor sees.
STATE_COLUMNS = {"observation": "state", "achieved_goal": "achieved_goal"}
PIXEL_COLUMNS = {"observation": "proprioception", "achieved_goal": "achieved_goal"}


def open_stores(data: Sequence[Path], obs: str) -> list["Play"]:
    """Open recordings that can be imitated from a kind of observation.

    Args:
        data: runs of `goalsight collect`, frame stores, or, from state, data sets of Minari.
        obs: "state" or "pixels".

    Raises:
        UserError: if there is no recording, or it lacks a column.
    """
    from goalsight.pretrain.data.store import FrameStore, find_store

    if not data:
        raise UserError("imitation needs a recording: --data RUN, a run of goalsight collect")
    stores: list[Play] = []
    for path in data:
        store = MinariPlay.open(path) if MinariPlay.detect(path) else FrameStore.open(find_store(path) or path)
        if obs == "pixels" and isinstance(store, MinariPlay):
            raise UserError(f"{path} is a data set of Minari, which is read without images; choose --obs state")
        columns = STATE_COLUMNS if obs == "state" else PIXEL_COLUMNS
        for name in ("action", *columns.values()):
            if name not in store.columns:
                raise UserError(
                    f"{path} has no column {name}, so it cannot be imitated; record it by goalsight collect"
                )
        stores.append(store)
    return stores


def check_stores(stores: Sequence["Play"], obs: str, space: spaces.Dict, actions: spaces.Box, env_id: str) -> None:
    """Refuse recordings of an environment that shows or takes something else, before anything of them is read.

    Args:
        stores: as `open_stores` gives them.
        obs: "state" or "pixels".
        space: the environment's observations.
        actions: its actions.
        env_id: its name.

    Raises:
        UserError: naming what differs.
    """
    columns = STATE_COLUMNS if obs == "state" else PIXEL_COLUMNS
    for store in stores:
        for key, name in (*columns.items(), ("action", "action")):
            wanted, there = actions.shape if key == "action" else space[key].shape, store.columns[name].shape[1:]
            if tuple(there) != wanted:
                raise UserError(f"the recording has {key} of shape {tuple(there)}, {env_id} of shape {wanted}")


def read_recording(
    stores: Sequence["Play"],
    obs: str,
    features: Callable[[NDArray[np.uint8]], NDArray[Any]] | None,
    *,
    last_goals: float,
    seed: int,
) -> "Recording":
    """Read recordings whose actions are known.

    Args:
        stores: as `open_stores` gives them.
        obs: "state" or "pixels".
        features: encodes frames (n, H, W, 3), from pixels.
        last_goals: share of the goals that are the episode's last frame.
        seed: of the draws.

    Raises:
        UserError: if there is nothing to imitate, or the recordings do not go together.
    """
    columns = STATE_COLUMNS if obs == "state" else PIXEL_COLUMNS
    frames = {key: _column(stores, name) for key, name in columns.items()}
    goals = {"desired_goal": "achieved_goal"}
    if features is not None:
        frames["features"] = encoded(stores, features)
        goals = {"goal_features": "features"}
    lengths = np.concatenate([store.episode_lengths for store in stores])
    return Recording(frames, _column(stores, "action"), lengths, goals=goals, last_goals=last_goals, seed=seed)


class Recording:
    """All frames of some episodes in memory, and draws from them.

    Args:
        frames: what the actor sees, (F, ...) by key, without goals.
        actions: (F, A); an episode's last one is never used.
        lengths: of the episodes, one after another.
        goals: key of each goal -> key of the frames that can take its place.
        last_goals: share of the goals that are the episode's last frame.
        seed: of the draws.

    Attributes:
        frames: as given.
        actions: as given.
        lengths: as given.
    """

    def __init__(
        self,
        frames: dict[str, Tensor],
        actions: Tensor,
        lengths: NDArray[np.integer],
        *,
        goals: dict[str, str],
        last_goals: float,
        seed: int,
    ) -> None:
        self.frames, self.actions, self._goals, self.lengths = frames, actions, goals, np.asarray(lengths)
        first = np.cumsum(lengths) - lengths
        # The last frame of an episode has no goal after it.
        self._rows = np.concatenate([np.arange(a, a + n - 1) for a, n in zip(first, lengths, strict=True)])
        self._last = np.repeat(first + lengths - 1, lengths - 1)
        if not len(self._rows):
            raise UserError("the recordings hold no episode of two frames or more")
        self._last_goals = last_goals
        self._rng = np.random.default_rng(seed)

    def __len__(self) -> int:
        """How many frames there are."""
        return len(self.actions)

    def scales(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Centre and scale that bring each vector to zero mean and unit spread."""
        found = {}
        for key in ("observation", "achieved_goal"):
            values = self.frames[key].double()
            found[key] = (values.mean(0).float(), (1 / values.std(0).clamp_min(LEAST_SPREAD)).float())
        return found | {"desired_goal": found["achieved_goal"]}

    def draw(self, batch_size: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Draw frames uniformly, and for each a later one of its episode as its goal: rows (B,) and (B,)."""
        picked = self._rng.integers(len(self._rows), size=batch_size)
        row, last = self._rows[picked], self._last[picked]
        later = self._rng.integers(row + 1, last + 1)
        # The frames are drawn independently, so the first ones are as good as any.
        share = round(self._last_goals * batch_size)
        later[:share] = last[:share]
        return row, later

    def sample(self, batch_size: int) -> Imitation:
        """Draw a batch."""
        row, goal = (torch.from_numpy(rows) for rows in self.draw(batch_size))
        obs = {key: values[row] for key, values in self.frames.items()}
        obs |= {key: self.frames[source][goal] for key, source in self._goals.items()}
        achieved = self.frames.get("achieved_goal")
        known = (None, None) if achieved is None else (achieved[row], achieved[goal])
        return Imitation(obs, self.actions[row], *known)

    def whole(self) -> State:
        """All of it, for `restored`."""
        return {
            "frames": self.frames,
            "actions": self.actions,
            "lengths": self.lengths,
            "goals": self._goals,
            "last_goals": self._last_goals,
        }

    @classmethod
    def restored(cls, state: State) -> "Recording":
        """Make a recording from what `whole` gave; `load` puts its draws where they were."""
        lengths = np.asarray(state["lengths"])
        goals, last_goals = dict(state["goals"]), float(state["last_goals"])
        return cls(dict(state["frames"]), state["actions"], lengths, goals=goals, last_goals=last_goals, seed=0)

    def state(self) -> State:
        """The generator's state."""
        return rng_state(self._rng)

    def load(self, state: State) -> None:
        """Go back to a state."""
        load_rng(self._rng, state)


def some_frames(stores: Sequence["Play"], count: int) -> NDArray[np.uint8]:
    """Frames spread evenly over the recordings, about `count` of them, (n, H, W, 3)."""
    shown = _with_frames(stores)
    share = -(-count // len(shown))
    rows = (np.unique(np.linspace(0, store.num_frames - 1, share).astype(np.int64)) for store in shown)
    return np.concatenate([store.frames(chosen) for store, chosen in zip(shown, rows, strict=True)])


def _with_frames(stores: Sequence["Play"]) -> list["FrameStore"]:
    return [store for store in stores if not isinstance(store, MinariPlay)]


def _column(stores: Sequence["Play"], name: str) -> Tensor:
    parts: list[Any] = [np.asarray(store.columns[name], np.float32) for store in stores]
    if len({part.shape[1:] for part in parts}) > 1:
        raise UserError(f"the recordings differ in {name}: they are of different environments")
    return torch.from_numpy(np.concatenate(parts))


def encoded(stores: Sequence["Play"], features: Callable[[NDArray[np.uint8]], NDArray[Any]]) -> Tensor:
    """Features of every frame, (F, ...) of the features' type."""
    shown = _with_frames(stores)
    count = sum(store.num_frames for store in shown)
    out: Tensor | None = None
    done = 0
    chunks = [(store, start) for store in shown for start in range(0, store.num_frames, CHUNK)]
    with progress(total=count, desc="encode", unit="frame") as bar:
        for store, start in chunks:
            rows = np.arange(start, min(start + CHUNK, store.num_frames))
            part = torch.from_numpy(features(store.frames(rows)))
            if out is None:
                size = count * part[0].numel() * part.element_size()
                check_memory("the recording's features", size, "take fewer frames")
                out = torch.empty((count, *part.shape[1:]), dtype=part.dtype)
            out[done : done + len(part)] = part
            done += len(part)
            bar.update(len(part))
    assert out is not None
    return out

"""Moments of a recording, dealt out episode by episode: to learn from, to choose by, and to be judged on."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from goalsight.base.errors import UserError
from goalsight.eval.probes.factors import SEEN, TOOL, Factor, Floats, Rows, Seen, factors, moments, out_of_sight
from goalsight.eval.probes.subjects import See

if TYPE_CHECKING:
    from goalsight.pretrain.data.store import FrameStore

SHARES = {"train": 0.6, "validation": 0.15, "test": 0.25}  # of the episodes
LEAST = {"train": 50, "validation": 25, "test": 50}  # moments of each, for a score to mean something
LEAST_EPISODES = 8
BUDGETS = (100, 1_000, 10_000)  # labelled moments, and all that there are
FEW = 1_000  # labelled moments that layers are compared by, and labels dealt out anew
WORDS: dict[Seen, str] = {"frame": "one frame", "next": "a frame and the next", "later": "a frame and a later one"}


@dataclass(frozen=True)
class Part:
    """Moments of a recording and what is known of them."""

    store: "FrameStore"
    at: Rows  # (m, 1 or 2)
    factors: list[Factor]

    @classmethod
    def of(cls, store: "FrameStore", at: Rows, seen: Seen) -> "Part":
        """What a recording knows of these moments."""
        return cls(store, at, factors(store, at, seen))

    def only(self, which: Rows | NDArray[np.bool_]) -> "Part":
        """Some of the moments."""
        return replace(
            self, at=self.at[which], factors=[replace(one, values=one.values[which]) for one in self.factors]
        )

    def named(self, names: Sequence[str]) -> "Part":
        """Some of the factors, in this order."""
        known = {factor.name: factor for factor in self.factors}
        return replace(self, factors=[known[name] for name in names])

    @property
    def values(self) -> Floats:
        """All factors side by side, (m, K)."""
        return np.concatenate([factor.values for factor in self.factors], 1)

    @property
    def sizes(self) -> list[int]:
        """How many of the K numbers each factor takes."""
        return [factor.values.shape[1] for factor in self.factors]

    def seen_by(self, see: See) -> Floats:
        """What is seen at each moment: (m, T, D) or (m, D), of two frames side by side in D."""
        return np.concatenate([see(self.store.frames(column)) for column in self.at.T], -1)

    def frames(self) -> NDArray[np.uint8]:
        """The pictures of each moment, (m, 1 or 2, H, W, 3)."""
        return np.stack([self.store.frames(column) for column in self.at.T], 1)

    def column(self, name: str) -> Floats:
        """What a column says of each moment, of two frames side by side: (m, K); centred and scaled over the store."""
        values = np.asarray(self.store.columns[name], np.float32)
        scaled = (values - values.mean(0)) / np.maximum(values.std(0), 1e-6)
        return np.concatenate([scaled[column] for column in self.at.T], -1)

    def few(self, count: int) -> "Part":
        """As many of the moments, evenly spread."""
        if count >= len(self.at):
            return self
        return self.only(np.linspace(0, len(self.at) - 1, count).round().astype(np.int64))


Parts = dict[str, Part]  # by `SHARES`


def deal(episodes: Rows, seed: int) -> dict[str, Rows]:
    """Shuffle episodes (n,) and deal them out whole, to each of `SHARES` its share."""
    order = np.random.default_rng(seed).permutation(episodes)
    ends = np.round(np.cumsum(list(SHARES.values())) * len(episodes)).astype(int)
    return dict(zip(SHARES, np.split(order, ends[:-1]), strict=True))


def split_episodes(
    store: "FrameStore", frames: int, seed: int, *, leave_out: NDArray[np.bool_], episodes: Rows | None = None
) -> dict[str, Rows]:
    """Frames of the training, validation and test episodes.

    Args:
        store: its episodes are dealt out whole.
        frames: as many at most, evenly spread over each part's episodes.
        seed: of the shuffle.
        leave_out: frames not to use, (num_frames,).
        episodes: those that are dealt out, (n,); all unless given.

    Returns:
        indices into the store, ascending, for each of `SHARES`.

    Raises:
        UserError: if a part would have no episode.
    """
    dealt = np.arange(store.num_episodes) if episodes is None else episodes
    if len(dealt) < LEAST_EPISODES:
        enough = -(-LEAST_EPISODES * store.num_episodes // max(len(dealt), 1))
        raise UserError(
            f"a probe needs at least {LEAST_EPISODES} episodes to hold some out, got {len(dealt)} of the "
            f"{store.num_episodes} in {store.path}; record {enough} or more"
        )
    parts = {}
    for name, members in deal(dealt, seed).items():
        rows = np.flatnonzero(np.isin(store.episode_of_frame, members) & ~leave_out)
        wanted = min(len(rows), round(frames * SHARES[name]))
        parts[name] = rows[np.linspace(0, len(rows) - 1, wanted).round().astype(int)]
    return parts


def parted(store: "FrameStore", frames: int, seed: int, seen: Seen, *, episodes: Rows | None = None) -> Parts:
    """What is known of a recording's training, validation and test moments; each has the same factors.

    Args:
        store: the recording.
        frames: that moments begin with, at most.
        seed: of the split, and of how much later the later frames are.
        seen: in which frames.
        episodes: those that are split, (n,); all unless given.

    Raises:
        UserError: if there are too few episodes, or too few moments in a part, or nothing that is known changes.
    """
    hidden = out_of_sight(store)
    rows = split_episodes(store, frames, seed, leave_out=hidden, episodes=episodes)
    at = {name: moments(store, some, seen, leave_out=hidden, seed=seed) for name, some in rows.items()}
    for name, some in at.items():
        if len(some) < LEAST[name]:
            raise UserError(
                f"{store.path}: the {name} split has {len(some)} moments of {WORDS[seen]}, and a probe needs "
                f"{LEAST[name]}; record more episodes, or raise --frames"
            )
    parts = alike({name: Part.of(store, some, seen) for name, some in at.items()})
    if not parts["train"].factors:
        raise UserError(f"nothing that {store.path} knows of {WORDS[seen]} changes; record longer episodes")
    return parts


def parted_by_seen(store: "FrameStore", frames: int, seed: int, *, episodes: Rows | None = None) -> dict[Seen, Parts]:
    """`parted` for each kind of moment: all that a recording can be asked for, before anybody is asked.

    Raises:
        UserError: as of `parted`.
    """
    return {seen: parted(store, frames, seed, seen, episodes=episodes) for seen in SEEN}


def alike(parts: Parts) -> Parts:
    """Keep the factors that all parts have."""
    names = [one.name for one in parts["train"].factors]
    kept = [name for name in names if all(name in [one.name for one in part.factors] for part in parts.values())]
    return {name: part.named(kept) for name, part in parts.items()}


def enough(parts: Parts) -> bool:
    """Whether each part has as many moments as a score needs."""
    return all(len(part.at) >= LEAST[name] for name, part in parts.items())


def budgets(parts: Parts, sizes: Sequence[int]) -> Iterator[tuple[int, Parts]]:
    """Yield the same with fewer labels, and with all; what a strength is chosen by shrinks along.

    Args:
        parts: all that there is.
        sizes: moments to learn from.
    """
    whole, held = len(parts["train"].at), len(parts["validation"].at)
    for size in sorted({min(size, whole) for size in (*sizes, whole)}):
        chosen = max(LEAST["validation"], held * size // whole)
        yield size, parts | {"train": parts["train"].few(size), "validation": parts["validation"].few(chosen)}


def beyond_region(parts: Parts) -> Parts:
    """Learn where a thing is on one side of the table, and judge where it is in the quarter that was left out.

    The thing is the first one, or the tool where there is none; the quarter lies beyond the medians of both axes.
    """
    labels = parts["train"].store.labels
    where = next((name for name in labels if name != TOOL), TOOL)
    middle = np.median(labels[where][parts["train"].at[:, 0], :2], 0)

    def within(part: Part) -> NDArray[np.bool_]:
        return np.asarray((labels[where][part.at[:, 0], :2] > middle).all(1))

    return {name: part.only(within(part) == (name == "test")) for name, part in parts.items()}


def confused(parts: Parts, seed: int) -> Parts:
    """The same with the labels dealt out anew: what can be read then is chance."""
    train = parts["train"]
    order = np.random.default_rng(seed).permutation(len(train.at))
    dealt = replace(train, factors=[replace(one, values=one.values[order]) for one in train.factors])
    return parts | {"train": dealt}

"""Factors asked of features: by which head, from how many labels, where the answers are judged."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from goalsight.base.errors import UserError
from goalsight.eval.probes.answers import HELD_OUT, Answer, Head
from goalsight.eval.probes.factors import TOOL, Factor, Rows, Seen, factors, moments, out_of_sight, told
from goalsight.eval.probes.ridge import Split, distances, read_out
from goalsight.eval.probes.subjects import See

if TYPE_CHECKING:
    from goalsight.pretrain.data.store import FrameStore

Floats = NDArray[np.float32]
SHARES = {"train": 0.6, "validation": 0.15, "test": 0.25}  # of the episodes
BUDGETS = (100, 1_000)  # labelled moments, and all that there are
LEAST_VALIDATION = 25  # moments
LEAST_JUDGED = 50  # moments, for an answer to be told


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
Look = Callable[[Part], Floats]


def split_episodes(
    store: "FrameStore", frames: int, seed: int, *, leave_out: NDArray[np.bool_]
) -> dict[str, NDArray[np.int64]]:
    """Frames of the training, validation and test episodes.

    Args:
        store: episodes are shuffled and dealt out whole.
        frames: as many at most, evenly spread over each part's episodes.
        seed: of the shuffle.
        leave_out: frames not to use, (num_frames,).

    Returns:
        indices into the store, ascending, for each of `SHARES`.

    Raises:
        UserError: if a part would have no episode.
    """
    if store.num_episodes < 8:
        raise UserError(f"a probe needs at least 8 episodes to hold some out, {store.path} has {store.num_episodes}")
    order = np.random.default_rng(seed).permutation(store.num_episodes)
    ends = np.round(np.cumsum(list(SHARES.values())) * store.num_episodes).astype(int)
    parts = {}
    for name, members in zip(SHARES, np.split(order, ends[:-1]), strict=True):
        rows = np.flatnonzero(np.isin(store.episode_of_frame, members) & ~leave_out)
        wanted = min(len(rows), round(frames * SHARES[name]))
        parts[name] = rows[np.linspace(0, len(rows) - 1, wanted).round().astype(int)]
    return parts


def parted(store: "FrameStore", frames: int, seed: int, seen: Seen) -> Parts:
    """What is known of a recording's training, validation and test moments; each has the same factors."""
    hidden = out_of_sight(store)
    rows = split_episodes(store, frames, seed, leave_out=hidden)
    parts = {
        name: Part.of(store, moments(store, some, seen, leave_out=hidden, seed=seed), seen)
        for name, some in rows.items()
    }
    return alike(parts)


def alike(parts: Parts) -> Parts:
    """Keep the factors that all parts have."""
    names = [one.name for one in parts["train"].factors]
    kept = [name for name in names if all(name in [one.name for one in part.factors] for part in parts.values())]
    return {name: part.named(kept) for name, part in parts.items()}


def budgets(parts: Parts, sizes: Sequence[int]) -> Iterator[tuple[int, Parts]]:
    """Yield the same with fewer labels, and with all; what a strength is chosen by shrinks along.

    Args:
        parts: all that there is.
        sizes: moments to learn from.
    """
    whole, held = len(parts["train"].at), len(parts["validation"].at)
    for size in sorted({min(size, whole) for size in (*sizes, whole)}):
        chosen = max(LEAST_VALIDATION, held * size // whole)
        yield size, parts | {"train": parts["train"].few(size), "validation": parts["validation"].few(chosen)}


def seen_by(see: See) -> Look:
    """Return what looks at moments by seeing their frames."""
    return lambda part: part.seen_by(see)


def remembered(look: Look, parts: Parts) -> Look:
    """Return the same look, which has looked at all of these moments once and knows them again."""
    store = parts["train"].store
    at = np.concatenate([part.at for part in parts.values()])
    features = np.concatenate([look(part) for part in parts.values()])
    keys = at @ (store.num_frames ** np.arange(at.shape[1]))
    order = np.argsort(keys)

    def again(part: Part) -> Floats:
        if part.store is not store:
            return look(part)
        asked = part.at @ (store.num_frames ** np.arange(at.shape[1]))
        found: Floats = features[order[np.searchsorted(keys, asked, sorter=order)]]
        return found

    return again


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


def by_ridge(look: Look, parts: Parts, elsewhere: Mapping[str, Part], *, name: str, seen: Seen) -> list[Answer]:
    """Ask by ridge regression.

    Args:
        look: whose features.
        parts: learnt from; the test part is judged.
        elsewhere: judged besides, by what it is called.
        name: of the features.
        seen: in which frames.
    """
    train, validation = (Split(_flat(look(parts[name])), parts[name].values) for name in ("train", "validation"))
    fitted = read_out(train, validation, parts["train"].sizes)
    count = len(parts["train"].at)
    found = []
    for where, part in {HELD_OUT: parts["test"], **elsewhere}.items():
        if len(part.at) >= LEAST_JUDGED:
            found += judge(part, fitted(_flat(look(part))), (name, "ridge", count, where), seen)
    return found


def by_head(
    make: Callable[[Sequence[int], Part], Any],
    look: Callable[[Part], NDArray[Any]],
    parts: Parts,
    *,
    name: str,
    head: Head,
    seen: Seen,
    seed: int,
) -> list[Answer]:
    """Ask by a network.

    Args:
        make: makes it for features of a shape, and for what is asked.
        look: what it looks at.
        parts: learnt from, held out to choose the best by, and judged.
        name: of the features.
        head: of the network.
        seen: in which frames.
        seed: of its weights and batches.
    """
    import torch

    from goalsight.eval.probes import heads

    values = parts["train"].values
    mean, spread = values.mean(0), np.maximum(values.std(0), 1e-6)
    train, validation = (
        heads.Lesson(look(parts[part]), (parts[part].values - mean) / spread) for part in ("train", "validation")
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = make(train.x.shape[1:], parts["train"])
    heads.fit(network, train, validation, seed=seed, updates=heads.UPDATES)
    said = heads.read(network, look(parts["test"])) * spread + mean
    return judge(parts["test"], said, (name, head, len(values), HELD_OUT), seen)


def judge(
    part: Part,
    said: NDArray[np.floating[Any]],
    how: tuple[str, Head, int, str],
    seen: Seen,
) -> list[Answer]:
    """Say how much of each factor was read.

    Args:
        part: the truth.
        said: what was read of it, (m, K).
        how: whose features, the head, how many labels, and on what it is judged.
        seen: in which frames.
    """
    errors = distances(np.asarray(said, np.float64), part.values, part.sizes)
    answers = []
    for factor, read, error in zip(part.factors, np.split(said, np.cumsum(part.sizes)[:-1], 1), errors, strict=True):
        share = round(told(factor, factor.values, read), 4)
        answers.append(Answer(factor.name, seen, *how, share, round(100 * error, 3) if factor.metres else None))
    return answers


def confused(parts: Parts, seed: int) -> Parts:
    """The same with the labels dealt out anew: what can be read then is chance."""
    train = parts["train"]
    order = np.random.default_rng(seed).permutation(len(train.at))
    dealt = replace(train, factors=[replace(one, values=one.values[order]) for one in train.factors])
    return parts | {"train": dealt}


def _flat(features: Floats) -> Floats:
    return features.reshape(len(features), -1)

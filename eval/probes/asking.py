"""Factors asked of features: who looks at the moments, which head reads, and how well it reads."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from goalsight.eval.probes.answers import HELD_OUT, Answer, Head
from goalsight.eval.probes.factors import Floats, Seen, score
from goalsight.eval.probes.parts import Part, Parts
from goalsight.eval.probes.ridge import Split, distances, read_out
from goalsight.eval.probes.subjects import See

Look = Callable[[Part], Floats]


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


def by_ridge(look: Look, parts: Parts, elsewhere: Mapping[str, Part], *, name: str, seen: Seen) -> list[Answer]:
    """Ask by ridge regression.

    Args:
        look: whose features.
        parts: learnt from; the test part is judged.
        elsewhere: judged besides, by what it is called; it may know fewer factors.
        name: of the features.
        seen: in which frames.
    """
    train, validation = (Split(_flat(look(parts[name])), parts[name].values) for name in ("train", "validation"))
    fitted = read_out(train, validation, parts["train"].sizes)
    count = len(parts["train"].at)
    found = []
    for where, part in {HELD_OUT: parts["test"], **elsewhere}.items():
        said = _said_of(part, fitted(_flat(look(part))), parts["train"])
        found += judge(part, said, (name, "ridge", count, where), seen)
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
    """Say how much of each factor was read; nothing of one that never changes there, of which no share is explained.

    Args:
        part: the truth.
        said: what was read of it, (m, K).
        how: whose features, the head, how many labels, and on what it is judged.
        seen: in which frames.
    """
    errors = distances(np.asarray(said, np.float64), part.values, part.sizes)
    answers = []
    for factor, read, error in zip(part.factors, np.split(said, np.cumsum(part.sizes)[:-1], 1), errors, strict=True):
        if not np.ptp(factor.values, axis=0).any():
            continue
        found = round(score(factor, factor.values, read), 4)
        answers.append(Answer(factor.name, seen, *how, found, round(100 * error, 3) if factor.metres else None))
    return answers


def _said_of(part: Part, said: NDArray[np.floating[Any]], asked: Part) -> NDArray[np.floating[Any]]:
    """What is said of the factors that a part knows, in its order, out of all that were asked for, (m, K)."""
    names = [factor.name for factor in asked.factors]
    columns = dict(zip(names, np.split(said, np.cumsum(asked.sizes)[:-1], 1), strict=True))
    return np.concatenate([columns[factor.name] for factor in part.factors], 1)


def _flat(features: Floats) -> Floats:
    return features.reshape(len(features), -1)

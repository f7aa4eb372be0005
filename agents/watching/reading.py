"""What was done in a video: every number of its actions, and whether it is believed.

Most are read off the frames right before and after. What shows only later, such as that a hand closed because the
object then rose with it, is read off frames further away, where that is better. What neither tells is not believed.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from goalsight.agents.watching.inverse import OFFSETS, InverseModel, bounds, windows

LATER = (-4, -2, -1, 0, 1, 2, 4, 8)  # frames that are looked at where the nearest do not tell
Floats = NDArray[np.float32]
Fit = Callable[[Floats, Floats], InverseModel]


@dataclass(frozen=True)
class Reading:
    """Actions read off a video.

    Attributes:
        labels: the actions, (F, A).
        explained: share of the variance of each of an action's numbers that is explained in the middle one of the
            episodes of own play held out, (A,). A few in which the hand is out of view do not condemn a video.
        believed: whether that is enough, (A,).
        doubt: disagreement of the members about the video over that about own play held out, of numbers believed.
    """

    labels: Floats
    explained: Floats
    believed: NDArray[np.bool_]
    doubt: float

    @property
    def unread(self) -> tuple[int, ...]:
        """Which of an action's numbers are not believed."""
        return tuple(np.flatnonzero(~self.believed).tolist())


def read_actions(
    watched: Floats,
    lengths: NDArray[np.integer],
    own: Floats,
    actions: Floats,
    held: NDArray[np.bool_],
    *,
    least: float,
    fit: Fit,
) -> Reading:
    """Learn from own play which actions lead from frame to frame, and read a video by that.

    Args:
        watched: what is seen in the video's frames, (F, D).
        lengths: of its episodes.
        own: what is seen in own play, (E, T + 1, D).
        actions: taken in it, (E, T, A).
        held: which of its episodes are not learnt from, (E,); by them what is read is judged.
        least: share of the variance that must be explained for a number to be believed.
        fit: learns from windows (E, T, W) and actions (E, T, A).
    """

    def read(offsets: tuple[int, ...]) -> tuple[Floats, Floats, Floats, Floats]:
        """Labels, their doubt, doubt about own play, and what is explained of that."""
        episodes, moments = own.shape[:2]
        around = windows(own.reshape(episodes * moments, -1), *bounds(np.full(episodes, moments)), offsets)
        around = around.reshape(episodes, moments, -1)[:, :-1]
        model = fit(around[~held], actions[~held])
        mine, my_doubt = model.label(around[held].reshape(-1, around.shape[-1]))
        labels, doubt = model.label(windows(watched, *bounds(lengths), offsets))
        return (
            labels,
            doubt.mean(0),
            my_doubt.mean(0),
            typically_explained(actions[held], mine.reshape(actions[held].shape)),
        )

    labels, doubt, my_doubt, share = read(OFFSETS)
    if (share < least).any():
        later = read(LATER)
        better = (share < least) & (later[3] > np.maximum(share, 0))
        found = zip((labels, doubt, my_doubt, share), later, strict=True)
        labels, doubt, my_doubt, share = (np.where(better, theirs, ours) for ours, theirs in found)
    believed = share >= least
    counted = believed if believed.any() else np.ones_like(believed)
    return Reading(labels, share, believed, float(doubt[counted].mean() / max(float(my_doubt[counted].mean()), 1e-6)))


def typically_explained(truth: Floats, read: Floats) -> Floats:
    """Share of the variance over all episodes that is explained in the middle one of them, of each number: (A,).

    Args:
        truth: (E, T, A).
        read: likewise.
    """
    errors = np.square(truth - read).mean(1)
    return np.asarray(1 - np.median(errors, 0) / np.maximum(truth.var((0, 1)), 1e-12), np.float32)

"""What a recording knows of its frames, and pairs of frames, that features are asked for.

Some factors are seen in one frame, such as where a thing is; some in a frame and the next, such as how it moves; some
in a frame and any later one of its episode, such as how many steps lie between.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from goalsight.pretrain.data.format import TOUCHED

if TYPE_CHECKING:
    from goalsight.pretrain.data.store import FrameStore

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]
Seen = Literal["frame", "next", "later"]  # in one frame, in it and the next, in it and any later one of its episode

SEEN: tuple[Seen, ...] = get_args(Seen)
LAYOUT = "state"  # in a store's notes: which entries of the column `state` hold what
TOOL = "gripper"  # the name of the tool among positions
TABLE = -0.01  # what lies lower has fallen off the table, whose top is at 0 [m]
LIFTED, NEAR = 0.01, 0.04  # a thing so far above its lowest place and so near to the tool is held [m]
MOVING = 0.002  # a thing that moves so far in a step moves [m]
STILL = 5e-4  # lengths that change less do not change [m]
QUARTERS = 4  # turns of a cube that look alike


@dataclass(frozen=True)
class Factor:
    """Numbers that features are asked for.

    Attributes:
        name: of the factor.
        seen: in which frames.
        values: (n, K), one row for each moment asked about.
        metres: whether they are lengths in metres, whose errors can be given in cm.
        ranked: whether only their order counts, so that the score is a rank correlation.
    """

    name: str
    seen: Seen
    values: Floats
    metres: bool = False
    ranked: bool = False


def out_of_sight(store: "FrameStore") -> NDArray[np.bool_]:
    """Frames (num_frames,) in which something lies beyond the picture's edge (NaN) or has fallen off the table."""
    return ~np.all([label[:, 2] >= TABLE for label in store.labels.values()], axis=0)


def moments(store: "FrameStore", rows: Rows, seen: Seen, *, leave_out: NDArray[np.bool_], seed: int) -> Rows:
    """Return the frames that are looked at together.

    Args:
        store: the recording.
        rows: the frames to begin with, (n,).
        seen: which frames go with each.
        leave_out: frames not to use, (num_frames,).
        seed: of how much later the later ones are.

    Returns:
        (m, 1 or 2) rows of the store; a frame that has none after it, or only one that is left out, is left out.
    """
    if seen == "frame":
        return rows[:, None]
    ends = np.cumsum(store.episode_lengths)[store.episode_of_frame[rows]]
    rows, room = rows[rows + 1 < ends], (ends - rows)[rows + 1 < ends]
    ahead = np.ones_like(rows)
    if seen == "later":
        ahead = np.random.default_rng(seed).integers(1, room)
    pairs = np.stack([rows, rows + ahead], 1)
    return pairs[~leave_out[pairs].any(1)]


def factors(store: "FrameStore", at: Rows, seen: Seen) -> list[Factor]:
    """Return what the recording knows of these frames; what does not change in it is left out.

    Args:
        store: has positions at least.
        at: (m, 1 or 2), as of `moments`.
        seen: in which frames.
    """
    found = {"frame": _of_frames, "next": _of_steps, "later": _of_ways}[seen](store, at)
    return [one for one in found if (one.values.std(0) > (STILL if one.metres else 1e-6)).any()]


def _of_frames(store: "FrameStore", at: Rows) -> list[Factor]:
    now = at[:, 0]
    places = {name: label[now] for name, label in store.labels.items()}
    found = [Factor(name, "frame", place, metres=True) for name, place in places.items()]
    things = {name: place for name, place in places.items() if name != TOOL}
    if TOOL in places:
        found += [
            Factor(f"{name} - {TOOL}", "frame", place - places[TOOL], metres=True) for name, place in things.items()
        ]
        for name, place in things.items():
            lowest = np.nanmin(store.labels[name][:, 2])
            held = (place[:, 2] > lowest + LIFTED) & (np.linalg.norm(place - places[TOOL], axis=1) < NEAR)
            found.append(Factor(f"{name} held", "frame", held[:, None].astype(np.float32)))
    for column in store.columns:
        if column.startswith(TOUCHED):
            name = column.removeprefix(TOUCHED)
            found.append(Factor(f"{name} touched", "frame", np.asarray(store.columns[column][now], np.float32)))
    for name, part in _state(store).items():
        values = np.asarray(store.columns["state"][now, part], np.float32)
        if name == "opening":
            found.append(Factor("opening", "frame", values, metres=True))
        elif name.endswith("_joint"):
            found.append(Factor(name.replace("_", " "), "frame", values))
        elif name.endswith("_rotation") and name != "tool_rotation":
            turn = QUARTERS * np.arctan2(values[:, 1], values[:, 0])
            yaw = np.stack([np.cos(turn), np.sin(turn)], 1)
            found.append(Factor(name.replace("_rotation", " yaw"), "frame", yaw))
    return found


def _of_steps(store: "FrameStore", at: Rows) -> list[Factor]:
    moved = {name: label[at[:, 1]] - label[at[:, 0]] for name, label in store.labels.items()}
    found = [Factor(f"{name} motion", "next", way, metres=True) for name, way in moved.items()]
    for name, way in moved.items():
        if name != TOOL:
            moving = np.linalg.norm(way, axis=1) > MOVING
            found.append(Factor(f"{name} moving", "next", moving[:, None].astype(np.float32)))
    if "action" in store.columns:
        found.append(Factor("action", "next", np.asarray(store.columns["action"][at[:, 0]], np.float32)))
    return found


def _of_ways(store: "FrameStore", at: Rows) -> list[Factor]:
    found = [Factor("steps between", "later", (at[:, 1:] - at[:, :1]).astype(np.float32), ranked=True)]
    if "achieved_goal" in store.columns:
        achieved = store.columns["achieved_goal"]
        found.append(Factor("goal - achieved", "later", achieved[at[:, 1]] - achieved[at[:, 0]]))
    return found


def _state(store: "FrameStore") -> dict[str, slice]:
    """Which entries of the state hold what; nothing where the recorder did not say."""
    layout: dict[str, Any] = store.notes.get(LAYOUT, {})
    return {name: slice(*ends) for name, ends in layout.items()} if "state" in store.columns else {}


def score(factor: Factor, truth: Floats, read: NDArray[np.floating[Any]]) -> float:
    """Return R^2, the share of a factor's variance that is explained, or Spearman's rank correlation.

    Args:
        factor: which.
        truth: its values, (n, K).
        read: what was read, (n, K).

    Returns:
        1 where all was read, 0 where nothing was; below where a guess would have been better.
    """
    if factor.ranked:
        return rank_correlation(truth[:, 0], read[:, 0])
    rest = np.square(np.asarray(read, np.float64) - truth).sum()
    spread = np.square(truth - truth.mean(0, dtype=np.float64)).sum()
    return float(1 - rest / max(spread, 1e-12))


def rank_correlation(one: NDArray[Any], other: NDArray[Any]) -> float:
    """Return Spearman's correlation of two series (n,); 0 where one of them never changes."""
    from scipy.stats import rankdata

    first, second = rankdata(one), rankdata(other)
    if not (first.std() and second.std()):
        return 0.0
    return float(np.corrcoef(first, second)[0, 1])

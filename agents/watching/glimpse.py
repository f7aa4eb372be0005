"""A glimpse of what was watched: a few of the video's frames, and what was read off them, for people to look at."""

import io
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Self
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from goalsight.agents.networks.estimates import Estimates
from goalsight.agents.watching.estimating import Legibility
from goalsight.agents.watching.video import SilentVideo
from goalsight.base.files import atomic_write_bytes
from goalsight.envs.simulation.control import EndEffectorControl
from goalsight.envs.vector import GoalVectorEnv

if TYPE_CHECKING:
    from goalsight.envs.making import GoalEnvs

FILE = "watched.npz"  # in the run's folder
EPISODES, FRAMES = 3, 8  # that are kept, and of each of them
SHORTEST = 4  # frames of an episode in which something can be seen to happen
TOOL = "gripper"  # as recordings name where the tool is

Floats = NDArray[np.floating]


@dataclass(frozen=True)
class Glimpse:
    """E episodes by K frames, with P points in them: the tool, where it is read, and the task's things.

    Places are in the picture, from its left and from its top, in its sides; what is not known is not a number.

    Attributes:
        frames: (E, K, H, W, 3) uint8.
        times: of the frames in their episodes, (E, K).
        names: of the points, (P,).
        read: where they are read to be, (E, K, P, 2).
        true: where the recording says that they are, if it was audited, (E, K, P, 2).
        read_moves: where the action that was read sends the tool, (E, K, 2).
        true_moves: where the action that was taken sends it, (E, K, 2).
        own_errors: by how much each point is misread in own play held out [m], (P,).
        errors: by how much it is in the audited episodes [m], (P,).
    """

    frames: NDArray[np.uint8]
    times: NDArray[np.int64]
    names: NDArray[np.str_]
    read: Floats
    true: Floats
    read_moves: Floats
    true_moves: Floats
    own_errors: Floats
    errors: Floats

    @property
    def tool(self) -> int | None:
        """Which of the points is the tool; None where it is not read."""
        return list(self.names).index(TOOL) if TOOL in self.names else None

    def save(self, folder: Path) -> None:
        """Write it into a run's folder.

        Raises:
            UserError: if the disk refuses.
        """
        file = io.BytesIO()
        np.savez_compressed(file, **{field.name: getattr(self, field.name) for field in fields(self)})
        atomic_write_bytes(folder / FILE, file.getvalue())

    @classmethod
    def kept_in(cls, folder: Path) -> Self | None:
        """What a run's folder holds; None where it holds none that can be read."""
        try:
            with np.load(folder / FILE, allow_pickle=False) as kept:
                return cls(**{field.name: kept[field.name] for field in fields(cls)})
        except (OSError, EOFError, ValueError, KeyError, BadZipFile):
            return None


def glimpse_of(
    video: SilentVideo,
    env: "GoalEnvs",
    features: Estimates,
    legibility: Legibility,
    seen: NDArray[np.float32],
    labels: NDArray[np.float32],
) -> Glimpse:
    """Take a few frames out of a video that has been read.

    Args:
        video: what is watched.
        env: the environments that it shows.
        features: by which it was looked at.
        legibility: what they can read.
        seen: of every frame, the believed numbers first, (F, D).
        labels: actions that were read, (F, A).
    """
    points = _points(env, legibility)
    rows, times = _some_frames(video.lengths)
    names = np.array(list(points), dtype=np.str_)
    audit = video.audit(labels.shape[1])
    truth = _truth(video, names, len(audit))
    read = _places(features, seen, points)
    taken = np.full_like(labels, np.nan)
    taken[: len(audit)] = audit
    labels, taken = (np.where(_followed(video.lengths)[:, None], actions, np.nan) for actions in (labels, taken))
    spread = features.estimator.spread.cpu().numpy()
    own = np.where(np.isin(np.arange(len(spread)), features.kept), legibility.error, spread)

    shape, rows = times.shape, rows.reshape(-1)
    frames = video.store.frames(rows)
    return Glimpse(
        frames=frames.reshape(*shape, *frames.shape[1:]),
        times=times,
        names=names,
        read=_in_picture(env, read[rows]).reshape(*shape, -1, 2),
        true=_in_picture(env, truth[rows]).reshape(*shape, -1, 2),
        read_moves=_moves(env, names, read[rows], labels[rows]).reshape(*shape, 2),
        true_moves=_moves(env, names, np.where(np.isnan(truth), read, truth)[rows], taken[rows]).reshape(*shape, 2),
        own_errors=np.array([np.sqrt((own[part] ** 2).sum()) for part in points.values()]),
        errors=_root_mean_square(np.linalg.norm(read[: len(audit)] - truth[: len(audit)], axis=-1)),
    )


def _points(env: "GoalEnvs", legibility: Legibility) -> dict[str, slice]:
    """Which of the numbers that are read say where a point is; points of which none is believed are left out."""
    if not isinstance(env, GoalVectorEnv):
        return {}
    layout, things = env.state_layout(), ("tool", *(thing.name for thing in env.task.objects))
    found = {}
    for name, thing in zip(env.object_positions(), things, strict=True):
        part = slice(legibility.goal + layout[thing].start, legibility.goal + layout[thing].stop)
        if np.isin(legibility.readable, np.arange(part.start, part.stop)).any():
            found[name] = part
    return found


def _some_frames(lengths: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Frames of the first episodes, evenly spaced: where they are in the video, and in their episodes, (E, K) each."""
    chosen = np.flatnonzero(lengths >= SHORTEST)[:EPISODES]
    count = min(FRAMES, int(lengths[chosen].min()))
    times = np.linspace(0, lengths[chosen] - 1, count, axis=1).round().astype(np.int64)
    return (np.cumsum(lengths) - lengths)[chosen, None] + times, times


def _followed(lengths: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether another frame of the episode follows, so that an action can be seen, (F,)."""
    followed = np.ones(lengths.sum(), bool)
    followed[np.cumsum(lengths) - 1] = False
    return followed


def _places(features: Estimates, seen: NDArray[np.float32], points: dict[str, slice]) -> Floats:
    """Where points are read to be [m], (F, P, 3); a number that is not believed is taken for its mean in own play."""
    estimator, kept = features.estimator, list(features.kept)
    mean, spread = (numbers.cpu().numpy() for numbers in (estimator.mean, estimator.spread))
    read = np.tile(mean, (len(seen), 1))
    read[:, kept] += seen[:, : len(kept)] * spread[kept]
    return np.stack([read[:, part] for part in points.values()], 1) if points else np.zeros((len(seen), 0, 3))


def _truth(video: SilentVideo, names: NDArray[np.str_], audited: int) -> Floats:
    """Where points are [m], (F, P, 3), as the recording says of its audited frames, the first; otherwise not known."""
    truth = np.full((int(video.lengths.sum()), len(names), 3), np.nan)
    for number, name in enumerate(names):
        if name in video.store.labels:
            truth[:audited, number] = video.store.labels[name][:audited]
    return truth


def _in_picture(env: "GoalEnvs", points: Floats) -> Floats:
    """Where points [m], (..., 3), are in the picture, (..., 2); not known where the camera moves about."""
    if isinstance(env, GoalVectorEnv) and env.pictures.stands_still(camera := env.config.cameras[0]):
        return env.pictures.places(points[None], camera)[0]
    return np.full((*points.shape[:-1], 2), np.nan)


def _moves(env: "GoalEnvs", names: NDArray[np.str_], places: Floats, actions: Floats) -> Floats:
    """Where actions (n, A) send a tool that is at places (n, P, 3), in the picture, (n, 2); joints' are not drawn."""
    control = env.sim.control if isinstance(env, GoalVectorEnv) else None
    if not isinstance(control, EndEffectorControl) or TOOL not in names:
        return np.full((len(actions), 2), np.nan)
    tool = places[:, list(names).index(TOOL)]
    return _in_picture(env, tool + control.step * actions[:, :3])


def _root_mean_square(errors: Floats) -> Floats:
    """Over the frames (F, P) of which they are known, (P,)."""
    known = np.isfinite(errors)
    count = known.sum(0)
    mean = (np.where(known, errors, 0) ** 2).sum(0) / np.maximum(count, 1)
    return np.where(count, np.sqrt(mean), np.nan)

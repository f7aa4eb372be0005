"""Play as Minari keeps it: numbers without frames, to be imitated by agents that see the state.

Format of Minari 0.5 (https://minari.farama.org), read by h5py: Minari itself makes the environment that a data set
names, which runs code that the data set chooses.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from goalsight.base.errors import UserError
from goalsight.base.memory import check_memory

Floats = NDArray[np.float32]
METADATA, EPISODES = Path("data/metadata.json"), Path("data/main_data.hdf5")
HDF5, EPISODE = "hdf5", "episode_"
# Column of a recording -> where an episode keeps it.
KEPT = {"state": "observations/observation", "achieved_goal": "observations/achieved_goal", "action": "actions"}


class MinariPlay:
    """Episodes of a goal-conditioned environment, one after another.

    Attributes:
        columns: "state", "achieved_goal" and "action", float32, each (F, ...); an episode's last action is zero.
        episode_lengths: moments of each, (E,).
        content_hash: sha256 of what is read.
    """

    def __init__(self, columns: Mapping[str, Floats], lengths: NDArray[np.intp], content_hash: str) -> None:
        self.columns, self.episode_lengths, self.content_hash = dict(columns), lengths, content_hash

    @staticmethod
    def detect(path: Path) -> bool:
        """Say whether a folder looks like a data set of Minari (it may still turn out to be damaged)."""
        return (path / METADATA).is_file()

    @classmethod
    def open(cls, path: Path) -> Self:
        """Read a data set.

        Raises:
            UserError: if h5py is not installed, or the data set is damaged, has another format, or lacks a column.
        """
        try:
            import h5py
        except ImportError as error:
            raise UserError("data sets of Minari need h5py: pip install 'goalsight[minari]'") from error
        kind = _metadata(path).get("data_format", HDF5)
        if kind != HDF5:
            raise UserError(f"{path} keeps its episodes as {kind}; have Minari write {HDF5}")
        try:
            with h5py.File(path / EPISODES, "r") as file:
                names = sorted((name for name in file if name.startswith(EPISODE)), key=_number)
                found = [{column: _plain(file, f"{name}/{inner}") for column, inner in KEPT.items()} for name in names]
                size = sum(4 * values.size for one in found for values in one.values())
                check_memory("the data set of Minari", size, "take fewer episodes")
                episodes = [{column: np.asarray(values, np.float32) for column, values in one.items()} for one in found]
        except UserError as error:
            raise UserError(f"{path}: {error}") from error
        except (OSError, RuntimeError, TypeError, ValueError) as error:
            raise UserError(f"{path} holds no episodes that can be read ({str(error).splitlines()[0]})") from error
        if not episodes:
            raise UserError(f"{path} holds no episodes")
        return cls(*_joined(episodes, path), _hash(path / EPISODES))


def _metadata(path: Path) -> dict[str, Any]:
    try:
        found = json.loads((path / METADATA).read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path / METADATA} cannot be read ({error})") from error
    if not isinstance(found, dict):
        raise UserError(f"{path / METADATA} holds no object")
    return found


def _number(name: str) -> int:
    return int(name.removeprefix(EPISODE))


def _plain(file: Any, name: str) -> Any:
    """Return an array of the file itself: links to other files and data kept elsewhere are not followed.

    Raises:
        UserError: if there is none.
    """
    import h5py

    inner = file
    for part in name.split("/"):
        link = inner.get(part, getlink=True) if isinstance(inner, h5py.Group) else None
        if not isinstance(link, h5py.HardLink):
            raise UserError(f"no {name}; observations are to be those of a goal-conditioned environment")
        inner = inner[part]
    if not isinstance(inner, h5py.Dataset) or inner.is_virtual or inner.external or not inner.ndim:
        raise UserError(f"{name} is no array of this file")
    return inner


def _joined(episodes: list[dict[str, Floats]], path: Path) -> tuple[dict[str, Floats], NDArray[np.intp]]:
    """Columns of all episodes, and their lengths."""
    for number, episode in enumerate(episodes):
        actions = episode["action"]
        if not len(episode["state"]) == len(episode["achieved_goal"]) == len(actions) + 1:
            moments = len(episode["state"])
            raise UserError(f"{path}: episode {number} has {len(actions)} actions and {moments} observations")
        if not all(np.isfinite(values).all() for values in episode.values()):
            raise UserError(f"{path}: episode {number} holds numbers that are not finite")
        episode["action"] = np.concatenate([actions, np.zeros_like(actions[:1])])
    try:
        columns = {name: np.concatenate([episode[name] for episode in episodes]) for name in KEPT}
    except ValueError as error:
        raise UserError(f"{path}: episodes differ in their shapes") from error
    return columns, np.array([len(episode["state"]) for episode in episodes])


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

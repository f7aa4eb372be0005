"""LeRobot data sets, format v3.0: episodes are cut out of shared files, as the set's metadata say."""

import io
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from goalsight.base.errors import UserError, in_one_line
from goalsight.pretrain.data.format import DTYPES, Column
from goalsight.pretrain.data.lerobot import (
    BOOKKEEPING,
    CAMERA,
    DATA,
    EPISODES,
    INFO,
    VERSION,
    VIDEOS,
    column_of,
    file_in,
    parquet,
)
from goalsight.pretrain.data.pictures import Frame, UnreadableError, opened, square, warn
from goalsight.pretrain.data.readers.base import Reading, Recorded
from goalsight.pretrain.data.readers.video import Upright, stream_frames

CONVERTER = "python -m lerobot.scripts.convert_dataset_v21_to_v30"


class LeRobotReader:
    """Every episode with its actions, rewards and whatever else is a vector of numbers, at the set's own rate."""

    KIND: ClassVar = "a LeRobot data set"
    OWNS_FOLDERS: ClassVar = True

    def detect(self, path: Path) -> bool:
        """A folder with `meta/info.json`, or one that has lost it: its films are no episodes."""
        return (path / INFO).is_file() or any((path / DATA).glob("chunk-*/*.parquet"))

    def files(self, path: Path) -> tuple[Path, ...]:
        """All of the set's files."""
        folders = (path / "meta", path / DATA, path / VIDEOS)
        return tuple(sorted(file for folder in folders for file in folder.rglob("*") if file.is_file()))

    def rate(self, path: Path, how: Reading) -> float:
        """The set's own."""
        with _damage(path):
            return float(_info(path)["fps"])

    def size(self, path: Path) -> tuple[int, int] | None:
        """Of the first camera's pictures."""
        with _damage(path):
            info = _info(path)
            kind = info["features"][_camera(path, info)]
            sides = dict(zip(kind.get("names") or ("height", "width", "channels"), kind["shape"], strict=True))
            return int(sides["height"]), int(sides["width"])

    def columns(self, path: Path) -> dict[str, Column]:
        """The features that are vectors of numbers, by our names."""
        with _damage(path):
            return {
                column_of(name): Column(kind["dtype"], _shape(kind)) for name, kind in _vectors(_info(path)).items()
            }

    def episodes(self, path: Path, how: Reading) -> Iterator[Recorded]:
        """The episodes, each with the pictures of the first camera.

        Raises:
            UnreadableError: if a file is missing or damaged.
            UserError: if pyarrow is not installed.
        """
        with _damage(path):
            info = _info(path)
            camera = _camera(path, info)
            rows = _Rows(path, _vectors(info), camera if info["features"][camera]["dtype"] == "image" else None)
            pictures = None if rows.camera else _Pictures(path, camera, 1 / float(info["fps"]))
            for episode in _episodes(path):
                number, length = int(episode["episode_index"]), int(episode["length"])
                columns, images = rows.of(episode)
                if pictures is not None:
                    frames = pictures.of(episode, how.image_size)
                else:
                    frames = (_decoded(image, how.image_size) for image in images)
                pixels = _checked(path, number, length, frames)
                yield Recorded(pixels, f"{path} episode {number}", " ".join(episode["tasks"] or ()), columns)


@contextmanager
def _damage(path: Path) -> Iterator[None]:
    """Say in one line that a set is damaged, whatever its decoders raise."""
    try:
        yield
    except (UserError, GeneratorExit):
        raise
    except Exception as error:
        said = f"it lacks {error}" if isinstance(error, KeyError) else in_one_line(error)
        raise UnreadableError(f"the LeRobot data set {path} is damaged: {said}") from error


def _plain(file: Path) -> Path:
    """A set's file; reading a pipe or a device might never end."""
    if file.exists() and not file.is_file():
        raise OSError(f"{file} is no plain file")
    return file


def _info(path: Path) -> dict[str, Any]:
    """What `meta/info.json` says.

    Raises:
        UnreadableError: if the set is of another format.
    """
    info = json.loads(_plain(path / INFO).read_text())
    version = str(info["codebase_version"])
    if version != VERSION:
        advice = f"; convert it with `{CONVERTER}`, which comes with lerobot" if version.startswith("v2") else ""
        raise UnreadableError(f"the LeRobot data set {path} has the format {version}; {VERSION} is read{advice}")
    return dict(info)


def _vectors(info: Mapping[str, Any]) -> dict[str, Any]:
    """The features that are vectors of numbers and say what happens."""
    return {
        name: kind
        for name, kind in info["features"].items()
        if name not in BOOKKEEPING and kind["dtype"] in DTYPES and len(kind["shape"]) == 1
    }


def _shape(kind: Mapping[str, Any]) -> tuple[int, ...]:
    return tuple(int(side) for side in kind["shape"])


def _camera(path: Path, info: Mapping[str, Any]) -> str:
    """The camera whose pictures are read: the first one.

    Raises:
        UnreadableError: if there is none.
    """
    cameras = [name for name, kind in info["features"].items() if kind["dtype"] in ("video", "image")]
    if not cameras:
        raise UnreadableError(f"the LeRobot data set {path} has no pictures in it")
    if len(cameras) > 1:
        others = ", ".join(name.removeprefix(CAMERA) for name in cameras[1:])
        warn(f"{path}: of its cameras, {cameras[0].removeprefix(CAMERA)} is read; not {others}")
    return cameras[0]


def _episodes(path: Path) -> Iterator[dict[str, Any]]:
    """Where each episode lies, in order."""
    files = sorted((path / EPISODES).glob("*/*.parquet"))
    if not files:
        raise UnreadableError(f"the LeRobot data set {path} has no {EPISODES}/*/*.parquet")
    for file in files:
        open_file = parquet().ParquetFile(_plain(file))
        names = [name for name in open_file.schema_arrow.names if not name.startswith("stats/")]
        yield from open_file.read(columns=names).to_pylist()


class _Rows:
    """The rows of episodes, from files that hold many episodes each."""

    def __init__(self, path: Path, features: Mapping[str, Any], camera: str | None) -> None:
        self.camera = camera  # whose pictures lie among the rows
        self._path, self._features = path, features
        self._file: Path | None = None
        self._table: Any = None

    def of(self, episode: Mapping[str, Any]) -> tuple[dict[str, NDArray[Any]], list[Any]]:
        """The columns of an episode by our names, each (T, k), and its pictures as they are kept."""
        file = file_in(self._path, DATA, episode["data/chunk_index"], episode["data/file_index"], ".parquet")
        if file != self._file:
            wanted = ["episode_index", *self._features, *([self.camera] if self.camera else [])]
            self._file, self._table = file, parquet().read_table(_plain(file), columns=wanted)
        rows = np.flatnonzero(self._table["episode_index"].to_numpy() == episode["episode_index"])
        if len(rows) != episode["length"]:
            raise ValueError(f"{file.name} has {len(rows)} rows of episode {episode['episode_index']}")
        table = self._table.slice(rows[0], len(rows))
        columns = {}
        for name, kind in self._features.items():
            values = table[name].combine_chunks()
            flat = values.to_numpy(zero_copy_only=False) if _shape(kind) == (1,) else values.flatten().to_numpy(False)
            if flat.dtype == object and len(flat):  # lists of one
                flat = np.concatenate(flat)
            columns[column_of(name)] = flat.astype(kind["dtype"]).reshape(len(rows), *_shape(kind))
        return columns, table[self.camera].to_pylist() if self.camera else []


class _Pictures:
    """The pictures of episodes, from mp4 files that hold many episodes each and are decoded once."""

    def __init__(self, path: Path, camera: str, step: float) -> None:
        self._path, self._camera, self._step = path, camera, step
        self._file: Path | None = None
        self._upright = Upright()
        self._frames: Iterator[tuple[float, Any]] = iter(())
        self._next: tuple[float, Any] | None = None

    def of(self, episode: Mapping[str, Any], size: int) -> Iterator[Frame]:
        """Yield the pictures between an episode's two times, (size, size, 3)."""
        key = f"{VIDEOS}/{self._camera}"
        begin, end = episode[f"{key}/from_timestamp"], episode[f"{key}/to_timestamp"]
        file = file_in(self._path, key, episode[f"{key}/chunk_index"], episode[f"{key}/file_index"], ".mp4")
        if file != self._file or (self._next is not None and self._next[0] > begin + self._step / 2):
            self._file, self._frames = file, stream_frames(_plain(file))
            self._next = next(self._frames, None)
        while self._next is not None and self._next[0] < end - self._step / 2:
            time, frame = self._next
            self._next = next(self._frames, None)
            if time > begin - self._step / 2:
                yield square(self._upright(frame), size)


def _decoded(image: Mapping[str, Any], size: int) -> Frame:
    """A picture that lies among the rows as an encoded file, (size, size, 3)."""
    with opened(io.BytesIO(image["bytes"])) as picture:
        return square(picture, size)


def _checked(path: Path, number: int, length: int, frames: Iterator[Frame]) -> Iterator[Frame]:
    """Yield the pictures of an episode if there are as many as it has rows.

    Raises:
        UnreadableError: if not, or they cannot be decoded.
    """
    count = 0
    with _damage(path):
        for frame in frames:
            count += 1
            yield frame
        if count != length:
            raise ValueError(f"episode {number} has {length} rows, but {count} pictures")

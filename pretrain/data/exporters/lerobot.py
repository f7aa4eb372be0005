"""A recording as a LeRobot data set, format v3.0, which the `lerobot` package and its policies read."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from goalsight.base.claims import PARTIAL, Claim, hidden_neighbour, remove
from goalsight.base.errors import UserError
from goalsight.base.files import flush_to_disk, write_flushed, writing
from goalsight.base.video import VideoWriter
from goalsight.pretrain.data.exporters.base import Origin
from goalsight.pretrain.data.exporters.stats import listed, merged, picture_stats, stats_of
from goalsight.pretrain.data.format import PIXELS
from goalsight.pretrain.data.lerobot import (
    CAMERA,
    CHUNK,
    DATA,
    DATA_MB,
    EPISODES,
    FILE,
    INFO,
    STATS,
    TASKS,
    VERSION,
    VIDEO_MB,
    VIDEOS,
    feature_of,
    file_in,
    parquet,
)
from goalsight.pretrain.data.store import FrameStore

QUALITY, GROUP = 18, 2  # of the video: its CRF, and pictures between two that stand alone, few for random access
UNTOLD = "Play."  # the task of an episode of which nobody has said what happens
INDICES = ("frame_index", "episode_index", "index", "task_index")


class LeRobotExporter:
    """Writes pixels as one video a file, everything else as Parquet."""

    def check(self) -> None:
        """Refuse to begin without pyarrow.

        Raises:
            UserError: if it is not installed.
        """
        parquet()

    def export(self, store: FrameStore, out: Path, origin: Origin) -> None:
        """Write a store as a data set: the folder `out` appears when it is whole.

        Raises:
            UserError: if `out` exists, the disk refuses, pyarrow is not installed, or frames have no whole rate.
        """
        self.check()
        fps = store.fps or origin.fps
        if fps <= 0 or fps != round(fps):
            raise UserError(f"LeRobot wants a whole number of frames a second, {store.path} has {fps:g}; give --fps")
        if store.image_size % 2:
            raise UserError(f"video wants an even number of pixels each way, {store.path} has {store.image_size}")
        claim = Claim(out)
        claim.take()
        try:
            if out.exists():
                raise UserError(f"{out} exists already; choose another folder or remove it first")
            partial = hidden_neighbour(out, PARTIAL)
            with writing(out):
                _Set(store, partial, origin, round(fps), name=out).write()
                os.replace(partial, out)
                flush_to_disk(out.parent)
        finally:
            remove(hidden_neighbour(out, PARTIAL))
            claim.release()


class _Set:
    """The files of a data set."""

    def __init__(self, store: FrameStore, root: Path, origin: Origin, fps: int, *, name: Path) -> None:
        self._store, self._root, self._origin, self._fps, self._name = store, root, origin, fps, name
        self._camera = f"{CAMERA}{origin.camera}"
        self._tasks: dict[str, int] = {}
        self._video: VideoWriter | None = None
        self._data: Any = None  # pyarrow's writer
        self._video_file = self._data_file = -1
        self._stats: dict[str, list[dict[str, Any]]] = {}

    def write(self) -> None:
        """Write everything; the metadata come last."""
        try:
            rows = [self._episode(number) for number in range(self._store.num_episodes)]
        except BaseException:
            if self._video is not None:
                self._video.discard()
            raise
        finally:
            self._close_data()
        if self._video is not None:
            self._video.close()
        self._write_episodes(rows)
        self._write_tasks()
        self._write_json(STATS, {name: listed(merged(parts)) for name, parts in self._stats.items()})
        self._write_json(INFO, self._info())

    def _episode(self, number: int) -> dict[str, Any]:
        """Write the rows and pictures of an episode, and return its row of the metadata."""
        rows = self._store.rows_of(number)
        task = self._store.instructions[number] or UNTOLD
        columns = self._columns(number, self._tasks.setdefault(task, len(self._tasks)))
        frames = self._store.episode(number)
        begin = self._add_pictures(frames)
        self._add_rows(columns)
        stats = {name: stats_of(values) for name, values in columns.items()} | {self._camera: picture_stats(frames)}
        for name, part in stats.items():
            self._stats.setdefault(name, []).append(part)
        key = f"{VIDEOS}/{self._camera}"
        return {
            "episode_index": number,
            "tasks": [task],
            "length": len(frames),
            "data/chunk_index": self._data_file // CHUNK,
            "data/file_index": self._data_file % CHUNK,
            "dataset_from_index": rows.start,
            "dataset_to_index": rows.stop,
            f"{key}/chunk_index": self._video_file // CHUNK,
            f"{key}/file_index": self._video_file % CHUNK,
            f"{key}/from_timestamp": begin / self._fps,
            f"{key}/to_timestamp": (begin + len(frames)) / self._fps,
            **{f"stats/{name}/{kind}": value for name, part in stats.items() for kind, value in listed(part).items()},
            "meta/episodes/chunk_index": 0,
            "meta/episodes/file_index": 0,
        }

    def _columns(self, number: int, task: int) -> dict[str, NDArray[Any]]:
        """All that is known of an episode's frames by the names they have there, each (T, k)."""
        rows = self._store.rows_of(number)
        columns = {feature_of(name): np.asarray(values[rows]) for name, values in self._store.columns.items()}
        time = np.arange(rows.stop - rows.start)
        whole = (time, np.full_like(time, number), np.arange(rows.start, rows.stop), np.full_like(time, task))
        return {
            **columns,
            "next.done": (time == time[-1])[:, None],
            "timestamp": (time / self._fps).astype(np.float32)[:, None],
            **{name: values[:, None].astype(np.int64) for name, values in zip(INDICES, whole, strict=True)},
        }

    def _add_pictures(self, frames: NDArray[np.uint8]) -> int:
        """Append an episode to the video, or to a new one, and return where it begins there [frames]."""
        if self._video is not None and self._video.bytes_written > VIDEO_MB * 1e6:
            self._video.close()
            self._video = None
        if self._video is None:
            self._video_file += 1
            place = divmod(self._video_file, CHUNK)
            path = file_in(self._root, f"{VIDEOS}/{self._camera}", *place, ".mp4")
            self._video = VideoWriter(path, fps=self._fps, quality=QUALITY, group=GROUP, check=False)
        begin = self._video.frames
        for frame in frames:
            self._video.add(frame)
        return begin

    def _add_rows(self, columns: dict[str, NDArray[Any]]) -> None:
        """Append an episode's rows, as one group of rows, to the file of rows, or to a new one."""
        import pyarrow

        arrays = {
            name: pyarrow.array(values[:, 0])
            if values.shape[1] == 1
            else pyarrow.FixedSizeListArray.from_arrays(np.ascontiguousarray(values).ravel(), values.shape[1])
            for name, values in columns.items()
        }
        table = pyarrow.table(arrays)
        if self._data is not None and self._data_path().stat().st_size > DATA_MB * 1e6:
            self._close_data()
        if self._data is None:
            self._data_file += 1
            self._data_path().parent.mkdir(parents=True, exist_ok=True)
            self._data = parquet().ParquetWriter(self._data_path(), table.schema, compression="snappy")
        self._data.write_table(table)

    def _data_path(self) -> Path:
        return file_in(self._root, DATA, *divmod(self._data_file, CHUNK), ".parquet")

    def _close_data(self) -> None:
        if self._data is not None:
            self._data.close()
            self._data = None

    def _write_episodes(self, rows: list[dict[str, Any]]) -> None:
        import pyarrow

        path = file_in(self._root, EPISODES, 0, 0, ".parquet")
        path.parent.mkdir(parents=True, exist_ok=True)
        parquet().write_table(pyarrow.Table.from_pylist(rows), path, compression="snappy")

    def _write_tasks(self) -> None:
        """The tasks, with the mark by which pandas takes their text for the index of its table."""
        import pyarrow

        table = pyarrow.table({"task_index": list(self._tasks.values()), "task": list(self._tasks)})
        kinds = (("task_index", "int64", "int64"), ("task", "unicode", "object"))
        pandas = {
            "index_columns": ["task"],
            "column_indexes": [],
            "columns": [
                {"name": name, "field_name": name, "pandas_type": kind, "numpy_type": numpy, "metadata": None}
                for name, kind, numpy in kinds
            ],
        }
        parquet().write_table(table.replace_schema_metadata({"pandas": json.dumps(pandas)}), self._root / TASKS)

    def _write_json(self, name: str, value: Any) -> None:
        write_flushed(self._root / name, json.dumps(value, indent=4).encode())

    def _info(self) -> dict[str, Any]:
        store, numbered = self._store, FILE.replace("{chunk:", "{chunk_index:").replace("{file:", "{file_index:")
        columns = self._columns(0, 0)
        features = {
            name: {"dtype": values.dtype.name, "shape": [values.shape[1]], "names": None}
            for name, values in columns.items()
        }
        return {
            "codebase_version": VERSION,
            "robot_type": self._origin.robot or None,
            "total_episodes": store.num_episodes,
            "total_frames": store.num_frames,
            "total_tasks": len(self._tasks),
            "chunks_size": CHUNK,
            "data_files_size_in_mb": DATA_MB,
            "video_files_size_in_mb": VIDEO_MB,
            "fps": self._fps,
            "splits": {"train": f"0:{store.num_episodes}"},
            "data_path": f"{DATA}/{numbered}.parquet",
            "video_path": f"{VIDEOS}/{{video_key}}/{numbered}.mp4",
            "features": {self._camera: self._video_feature()} | features,
        }

    def _video_feature(self) -> dict[str, Any]:
        side = self._store.column(PIXELS).shape[0]
        return {
            "dtype": "video",
            "shape": [side, side, 3],
            "names": ["height", "width", "channels"],
            "info": {
                "video.height": side,
                "video.width": side,
                "video.codec": "h264",
                "video.pix_fmt": "yuv420p",
                "video.fps": self._fps,
                "video.channels": 3,
                "video.g": GROUP,
                "video.crf": QUALITY,
                "has_audio": False,
                "is_depth_map": False,
            },
        }

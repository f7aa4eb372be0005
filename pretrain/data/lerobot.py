"""The layout of a LeRobot data set, format v3.0: names of files, features and columns; shared by reader and exporter.

A set keeps one row a frame in Parquet files, many episodes in one mp4 a camera, and where each episode lies in
`meta/episodes` (https://github.com/huggingface/lerobot, `src/lerobot/datasets`).
"""

from pathlib import Path
from typing import Any

from goalsight.base.errors import UserError

VERSION = "v3.0"
INFO, STATS, TASKS = "meta/info.json", "meta/stats.json", "meta/tasks.parquet"
EPISODES, DATA, VIDEOS = "meta/episodes", "data", "videos"
FILE = "chunk-{chunk:03d}/file-{file:03d}"  # below each of them, with its ending
CHUNK = 1000  # files in a folder
DATA_MB, VIDEO_MB = 100, 200  # size after which a new file is begun
CAMERA = "observation.images."  # begins the names of cameras

# What a column is called there; positions are `observation.position.NAME`, and others keep their names.
NAMES = {
    "action": "action",
    "proprioception": "observation.state",
    "state": "observation.environment_state",
    "achieved_goal": "observation.achieved_goal",
    "desired_goal": "observation.goal",
    "reward": "next.reward",
    "success": "next.success",
}
# Columns that every set has, which say where a row belongs and nothing of what happens.
BOOKKEEPING = ("timestamp", "frame_index", "episode_index", "index", "task_index", "next.done")


def file_in(root: Path, folder: str, chunk: int, file: int, ending: str) -> Path:
    """A numbered file of a set."""
    return root / folder / f"{FILE.format(chunk=int(chunk), file=int(file))}{ending}"


def feature_of(column: str) -> str:
    """What a column of ours is called in a set."""
    return NAMES.get(column, f"observation.{column}" if column.startswith("position.") else column)


def column_of(feature: str) -> str:
    """What a feature of a set is called here; undoes `feature_of`."""
    if feature.startswith("observation.position."):
        return feature.removeprefix("observation.")
    return {there: here for here, there in NAMES.items()}.get(feature, feature)


def parquet() -> Any:
    """Pyarrow's module for Parquet files.

    Raises:
        UserError: if it is not installed.
    """
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise UserError("LeRobot data sets need pyarrow; install it with: pip install 'goalsight[data]'") from error
    return pyarrow.parquet

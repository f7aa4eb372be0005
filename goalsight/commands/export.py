"""Give a recording away in a format that others read."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from goalsight.base.errors import UserError
from goalsight.base.files import read_json
from goalsight.base.tables import counted


@dataclass(frozen=True)
class Export:
    """Write a recording as a LeRobot data set."""

    run: Annotated[Path, tyro.conf.Positional]
    """A collect run, or a frame store."""
    out: Path
    """Folder to make."""
    format: str = "lerobot"
    """lerobot: a LeRobot data set, format v3.0."""
    fps: int = 0
    """Frames per second, for old recordings that do not say."""


def export(config: Export) -> Path:
    """Export a recording.

    Args:
        config: which, and how.

    Returns:
        the folder that was made.

    Raises:
        UserError: if there is no recording, the folder is taken, or a package is missing.
    """
    from goalsight.agents.collecting.exporting import check_format, export_store
    from goalsight.base.run_folders import CONFIG
    from goalsight.envs.config import EnvConfig
    from goalsight.pretrain.data.store import FrameStore, find_store

    check_format(config.format)
    found = find_store(config.run)
    if found is None:
        raise UserError(f"{config.run} holds no recording; make one with `goalsight collect`")
    store = FrameStore.open(found)
    asked = config.run / CONFIG
    env = EnvConfig.recorded(read_json(asked)) if asked.exists() else None
    export_store(store, config.format, config.out, env, fps=config.fps)
    print(f"{counted(store.num_frames, 'frame')} in {counted(store.num_episodes, 'episode')}: {config.out}")
    return config.out

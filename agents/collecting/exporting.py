"""Recordings in formats that others read."""

from pathlib import Path

from goalsight.base.errors import UserError
from goalsight.envs.config import EnvConfig
from goalsight.pretrain.data.exporters import EXPORTERS
from goalsight.pretrain.data.exporters.base import Origin
from goalsight.pretrain.data.store import FrameStore


def check_format(name: str) -> None:
    """Refuse a format that cannot be written here, before anything is recorded.

    Raises:
        UserError: there is none of that name, or a package is not installed.
    """
    EXPORTERS.load(name)().check()


def export_store(store: FrameStore, name: str, out: Path, env: EnvConfig | None, *, fps: int = 0) -> None:
    """Write a store in the format of that name.

    Args:
        store: what was recorded.
        name: of the format.
        out: the folder to make.
        env: what it was recorded in, where that is known.
        fps: of the frames, where the store does not know [frames/s].

    Raises:
        UserError: there is no such format, or the exporter refuses.
    """
    origin = Origin(fps=fps) if env is None else Origin(env.cameras[0], _arm(env.id), fps)
    EXPORTERS.load(name)().export(store, out, origin)


def _arm(env_id: str) -> str:
    from goalsight.envs.ids import spec_of

    try:
        return spec_of(env_id).arm or ""
    except UserError:  # of a plug-in that is not here; the recording is good without it
        return ""

"""Where video comes from: what is known to be of another scene, camera or rate is refused before it is decoded."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from goalsight.agents.collecting.collect import FPS
from goalsight.base.errors import UserError
from goalsight.base.files import read_json
from goalsight.base.run_folders import CONFIG
from goalsight.envs.config import EnvConfig

RATES = (0.8 * FPS, 1.25 * FPS)  # frames a second that are taken for one a step: films have 24 or 30
LOOKS = ("camera", "renderer", "aids")  # options of an environment that decide how its frames look


def check_video(paths: Sequence[Path], env: EnvConfig) -> None:
    """Refuse video that says of itself that it shows something else than an environment does.

    Args:
        paths: videos, recordings or data sets; what says nothing of where it comes from is taken.
        env: with its full id.

    Raises:
        UserError: naming what differs, or a path that holds nothing to watch.
    """
    from goalsight.pretrain.data.ingest import find_sources
    from goalsight.pretrain.data.pictures import UnreadableError
    from goalsight.pretrain.data.readers.base import Reading

    for source in find_sources(paths, say=lambda line: None):  # said when it is decoded
        _check_scene(source.path, env)
        try:
            rate = source.reader.rate(source.path, Reading(env.image_size, FPS))
        except UnreadableError:  # said when it is decoded: one of many is left out
            continue
        if rate and not RATES[0] <= rate <= RATES[1]:
            raise UserError(
                f"{source.path} gives {rate:.3g} frames a second, and {env.id} makes {FPS:g} steps a second; give "
                f"video of {RATES[0]:g} to {RATES[1]:g} frames a second, or of a multiple of {FPS:g}"
            )


def check_recordings(paths: Sequence[Path], env: EnvConfig) -> None:
    """Refuse recordings of ours that are of another task or arm or, from pixels, that look otherwise.

    Args:
        paths: what is imitated; what says nothing of where it comes from is taken.
        env: with its full id.

    Raises:
        UserError: naming what differs.
    """
    for path in paths:
        if (recorded := recorded_in(path)) is not None:
            _check_recorded(path, recorded, env, LOOKS if env.obs == "pixels" else ())


def _check_scene(path: Path, env: EnvConfig) -> None:
    recorded = recorded_in(path)
    if recorded is not None:
        _check_recorded(path, recorded, env, LOOKS)
        return
    arm, camera = _lerobot_says(path)
    ours = _arm_of(env.id)
    if arm and ours and arm != ours:
        raise UserError(f"{path} shows the arm {arm}, and {env.id} has {ours}; give video of that")
    if arm and arm == ours and camera != env.cameras[0]:
        raise UserError(
            f"{path} was recorded with camera {camera}, and {env.id} is seen with camera {env.cameras[0]}; "
            "give one the other's --camera"
        )


def _check_recorded(path: Path, recorded: EnvConfig, env: EnvConfig, looks: Sequence[str]) -> None:
    if recorded.id != env.id:
        raise UserError(f"{path} shows {recorded.id}, and {env.id} is to be learnt; give a recording of that")
    for name in looks:
        theirs, ours = getattr(recorded, name), getattr(env, name)
        if theirs != ours:
            raise UserError(
                f"{path} was recorded with {name} {_words(theirs)}, and {env.id} is seen with {name} "
                f"{_words(ours)}; give one the other's --{name}"
            )


def recorded_in(path: Path) -> EnvConfig | None:
    """Return the environment that a recording was made in; None where the path is no recording of ours."""
    from goalsight.pretrain.data.store import find_store

    store = find_store(path)
    if store is None:
        return None
    config = next((folder / CONFIG for folder in (path, store.parent) if (folder / CONFIG).exists()), None)
    return None if config is None else EnvConfig.recorded(read_json(config))


def _lerobot_says(path: Path) -> tuple[str, str]:
    """The arm, if it is one that is known here, and the camera of a LeRobot data set; empty where it does not say."""
    from goalsight.envs.arms.catalogue import ARMS
    from goalsight.pretrain.data.lerobot import CAMERA, INFO

    try:
        info = json.loads((path / INFO).read_bytes())
        cameras = [name.removeprefix(CAMERA) for name in info["features"] if name.startswith(CAMERA)]
        arm = str(info.get("robot_type", ""))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # said when it is decoded
        return "", ""
    return arm if arm in ARMS and cameras else "", cameras[0] if cameras else ""


def _arm_of(env_id: str) -> str:
    from goalsight.envs.ids import spec_of

    return spec_of(env_id).arm or ""


def _words(value: Any) -> str:
    return ", ".join(value) or "none" if isinstance(value, tuple) else str(value)

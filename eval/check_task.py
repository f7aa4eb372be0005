"""`goalsight check-task`: whether an environment keeps the whole contract, check by check; see `eval/contract.py`."""

import contextlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import tyro

from goalsight.base.errors import UserError
from goalsight.base.files import writing
from goalsight.eval.contract import SEED, check, checks

if TYPE_CHECKING:
    from goalsight.envs.vector import GoalVectorEnv

__all__ = ["CheckTask", "check", "check_task", "draw"]  # packages written by earlier versions find `check` here

PICTURES = (".png", ".jpg", ".jpeg")


@dataclass(frozen=True)
class CheckTask:
    """Check an environment against the whole contract, and say what fails and why."""

    env: Annotated[str, tyro.conf.Positional]
    """The environment, such as mine/PandaTurn-v1 or my_module:mine/PandaTurn-v1."""
    episodes: int = 100
    """Episodes that the expert is evaluated on."""
    picture: Path | None = None
    """The picture of starts and goals to write; by default runs/check-task/<env>.png."""
    json: bool = False
    """Print the outcome as JSON."""

    def __post_init__(self) -> None:
        if self.episodes < 1:
            raise UserError(f"episodes must be at least 1, got {self.episodes}")


def check_task(config: CheckTask) -> int:
    """Check, draw the picture, print the outcomes; returns 1 when something fails.

    Raises:
        UserError: no such environment, or the picture cannot be written.
    """
    from goalsight.envs.ids import resolve
    from goalsight.envs.making import make_vector

    env_id = resolve(config.env)

    def make(**kwargs: Any) -> "GoalVectorEnv":
        return make_vector(env_id, **kwargs)

    picture = config.picture or Path("runs") / "check-task" / f"{env_id.replace('/', '_')}.png"
    _check_picture(picture)
    outcomes = []
    for outcome in checks(make, config.episodes):
        outcomes.append(outcome)
        if not config.json:
            print(f"{'ok    ' if outcome.passed else 'FAILED'} {outcome.check}: {outcome.said}", flush=True)
    drawn = draw(make, picture) if outcomes[0].passed else None
    failed = sum(not outcome.passed for outcome in outcomes)
    if config.json:
        result = {"env": env_id, "checks": [asdict(outcome) for outcome in outcomes], "picture": drawn and str(drawn)}
        print(json.dumps(result, indent=2))
    else:
        print(
            f"{len(outcomes) - failed} of {len(outcomes)} checks passed"
            + (f"; starts (above) and goals (below): {drawn}" * bool(drawn))
        )
    return int(failed > 0)


def draw(make: Callable[..., "GoalVectorEnv"], path: Path) -> Path:
    """Write a picture of four starts, above, and their goals, below; returns where it is."""
    import imageio.v3 as iio

    with contextlib.closing(make(num_envs=4)) as env:
        env.reset(seed=SEED)
        rows = [
            np.concatenate(list(frames), axis=1) for frames in (env.render_frames(size=320), env.goal_frames(size=320))
        ]
    partial = path.with_name(f".{path.stem}.partial{path.suffix}")
    with writing(path):
        try:
            iio.imwrite(partial, np.concatenate(rows, axis=0))
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    return path


def _check_picture(path: Path) -> None:
    """Make the folder of the picture, or say before the checks why it cannot be written.

    Raises:
        UserError: it is no kind of picture, or its place cannot be.
    """
    if path.suffix.lower() not in PICTURES:
        raise UserError(f"the picture's name must end with one of {', '.join(PICTURES)}, got {path}")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise UserError(f"{path} is a folder; choose another --picture")

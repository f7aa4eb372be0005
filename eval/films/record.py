"""Film a policy: view and goal side by side, success marked, as a video that plays everywhere."""

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import tyro
from numpy.typing import NDArray

from goalsight.agents.rollout import Episodes, Moment, Outcome, rollout
from goalsight.base.errors import UserError
from goalsight.base.progress import progress
from goalsight.base.video import VideoWriter, decode
from goalsight.envs.config import EnvChanges, Renderer
from goalsight.eval.evaluate import EVALUATION_SEED
from goalsight.eval.films.film import Caption, compose
from goalsight.eval.subject import Subject, resolve_subject

if TYPE_CHECKING:
    from tqdm import tqdm

    from goalsight.envs.making import GoalEnvs

AT_ONCE = 4  # episodes whose frames are held in memory together
HELD = 10  # moments for which a reached goal is filmed; then the camera waits until it is lost, or the episode ends
STILL = 0.8  # for which the last frame of an episode stands [s]


@dataclass(frozen=True)
class Record:
    """Record a video of an agent, with its goal beside it."""

    run: Annotated[Path | None, tyro.conf.Positional] = None
    """A training run, or nothing with --policy."""
    policy: str | None = None
    """Record a policy that does not learn instead: nothing, random or expert."""
    env: tyro.conf.OmitArgPrefixes[EnvChanges] = EnvChanges()
    """The environment for --policy, and other conditions than the run's own."""
    episodes: int = 6
    """Episodes to record."""
    seed: int = EVALUATION_SEED
    """Episode k is seeded with seed + k: the same episodes as `goalsight eval` plays."""
    checkpoint: str = "best"
    """Checkpoint of the run: best, last, or a step."""
    out: Path | None = None
    """The mp4 file; by default videos/ of the run, or under runs/videos/."""
    size: int = 480
    """Side of the view and of the goal [pixels]."""
    camera: str = "front"
    """Camera of the video: front, studio (the whole arm) or wrist; the agent still sees its own."""
    renderer: Renderer | None = None
    """Renderer of the video; the environment's own unless given."""
    fps: int = 15
    """Frames per second; the arm itself moves at 25."""
    gif: bool = False
    """Also write a smaller gif beside the video."""
    json: bool = False
    """Print the result as JSON."""

    def __post_init__(self) -> None:
        for name in ("episodes", "fps"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 64 <= self.size <= 2048:
            raise UserError(f"size must lie in [64, 2048] pixels, got {self.size}")
        if self.seed < 0:
            raise UserError(f"seed must not be negative, got {self.seed}")
        if self.out is not None and self.out.suffix != ".mp4":
            raise UserError(f"a video's name ends in .mp4, got {self.out}")


def record(config: Record) -> Path:
    """Film the episodes.

    Args:
        config: whom to film, and how.

    Returns:
        the mp4 file, which has been decoded again and compared with what was drawn.

    Raises:
        UserError: for an unknown run, policy or environment, or a file that cannot be written.
    """
    from goalsight.envs.ids import horizon_of

    subject = resolve_subject(
        run=config.run, policy=config.policy, changes=config.env, which=config.checkpoint, seed=config.seed
    )
    changes = {} if config.renderer is None else {"renderer": config.renderer}
    horizon = horizon_of(subject.env)
    # One step more, so that the state after the last action can be filmed before the environment resets.
    env = subject.make_env(min(AT_ONCE, config.episodes), max_episode_steps=horizon + 1, **changes)
    path = config.out or _default_path(config, subject)
    with (
        contextlib.closing(env),
        VideoWriter(path, fps=config.fps) as video,
        progress(total=config.episodes * (horizon + 1), unit="moment", desc="film") as bar,
    ):
        camera = _Crew(config, subject, env, horizon, video, bar)
        rollout(
            env,
            subject.policy,
            episodes=config.episodes,
            seed=config.seed,
            steps=horizon + 1,
            before_step=camera.take,
            on_step=camera.note,
            after_wave=camera.cut,
        )
    files = [path, *([write_gif(path, config.fps)] if config.gif else [])]
    result = {"video": path, "frames": video.frames, "success": camera.success, "files": files}
    solved = f"{sum(camera.success)} of {len(camera.success)} episodes reach their goal"
    print(json.dumps(result, default=str) if config.json else f"{solved}: {', '.join(map(str, files))}")
    return path


@dataclass(frozen=True)
class _Shot:
    """A moment of an episode."""

    step: int
    view: NDArray[np.uint8]  # (S, S, 3)
    reached: bool


class _Crew:
    """Holds the shots of a few episodes that run together, then writes them one episode after the other."""

    def __init__(
        self,
        config: Record,
        subject: Subject,
        env: "GoalEnvs",
        horizon: int,
        video: VideoWriter,
        bar: "tqdm[Any]",
    ) -> None:
        self._config, self._subject, self._env, self._horizon = config, subject, env, horizon
        self._video, self._bar = video, bar
        self._goals: list[NDArray[np.uint8] | None] = []  # none where an environment has no goal images
        self._shots: list[list[_Shot]] = []
        self._reached = np.zeros(env.num_envs, dtype=bool)  # whether the present state counts as success
        self._held = np.zeros(env.num_envs, dtype=np.intp)  # moments for which it has done so
        self.success: list[bool] = []

    def take(self, moment: Moment) -> None:
        """Film the moment's state, which the environments still show."""
        look: dict[str, Any] = {"size": self._config.size, "camera": self._config.camera}
        if moment.time == 0:
            frames = self._env.goal_frames(**look, ids=np.flatnonzero(moment.active))
            self._goals = [None] * int(moment.active.sum()) if frames is None else list(frames)
            self._shots = [[] for _ in self._goals]
            self._held[:] = self._reached[:] = 0  # no episode is solved at its start
        self._held = np.where(self._reached, self._held + 1, 0)
        resting = (self._held > HELD) & (moment.time < self._horizon)
        ids = np.flatnonzero(moment.active & ~resting)
        if len(ids):
            for env, view in zip(ids, self._env.render_frames(**look, ids=ids), strict=True):
                self._shots[env].append(_Shot(moment.time, view, bool(self._reached[env])))
        self._bar.update(int(moment.active.sum()))

    def note(self, moment: Moment, outcome: Outcome) -> None:
        """Remember what came of the moment, for the next one."""
        self._reached = outcome.success.copy()

    def cut(self, episodes: Episodes) -> None:
        """Write the wave's episodes; the last shot of each stands for a while."""
        still = round(STILL * self._config.fps)
        for index, goal, shots, diverged in zip(
            episodes.index, self._goals, self._shots, episodes.diverged, strict=True
        ):
            seed = self._config.seed + int(index)
            detail = f"{self._subject.name}, episode {index + 1} of {self._config.episodes}, seed {seed}"
            title = self._subject.env.id.rpartition(":")[2]
            for shot in [*shots, *[shots[-1]] * still]:
                caption = Caption(title, detail, shot.step, self._horizon, shot.reached)
                self._video.add(compose(shot.view, goal, caption))
            self.success.append(shots[-1].reached and not diverged)


def _default_path(config: Record, subject: Subject) -> Path:
    if subject.run is not None:
        return subject.run.videos / f"{subject.name}-{config.seed}.mp4"
    task = subject.env.id.rpartition(":")[2].removeprefix("goalsight/").replace("/", "-")
    return Path("runs") / "videos" / f"{task}-{subject.name}.mp4"


def write_gif(video: Path, fps: int, *, width: int = 480, every: int = 2) -> Path:
    """Write a smaller gif beside a video, streamed from it.

    Args:
        video: the mp4 file.
        fps: its frames per second.
        width: of the gif [pixels].
        every: keeps one frame in so many.

    Raises:
        UserError: if the file cannot be written.
    """
    from PIL import Image

    def small() -> Iterator["Image.Image"]:
        for number, frame in enumerate(decode(video)):
            if number % every == 0:
                height = round(width * frame.shape[0] / frame.shape[1])
                picture = Image.fromarray(frame).resize((width, height), Image.Resampling.LANCZOS)
                # One palette a frame, without dithering: flat colours compress, and do not crawl.
                yield picture.quantize(128, dither=Image.Dither.NONE)

    path = video.with_suffix(".gif")
    partial = path.with_name(f".{path.stem}.{os.getpid()}.partial.gif")
    frames = small()
    try:
        next(frames).save(
            partial, save_all=True, append_images=frames, duration=round(1000 * every / fps), loop=0, optimize=False
        )
        os.replace(partial, path)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        partial.unlink(missing_ok=True)
    return path

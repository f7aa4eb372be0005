"""Record play: what the robot does when nobody asks for anything, as a frame store and a film."""

import contextlib
import json
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tyro
from numpy.typing import NDArray

from goalsight.agents.collecting.play import BEHAVIOURS, Mix, Play
from goalsight.agents.rollout import Episodes, Moment, rollout
from goalsight.base.errors import UserError
from goalsight.base.video import VideoWriter, mosaic
from goalsight.envs.config import Control, EnvConfig, Obs

if TYPE_CHECKING:
    from tqdm import tqdm

    from goalsight.base.runs import Run
    from goalsight.envs.vector import GoalVectorEnv
    from goalsight.pretrain.data.store import FrameStoreWriter

MOVED = 0.01  # an object counts as moved when it is farther than this from where it began [m]
STORE = "frames"  # the frame store's folder inside the run
TILES, COLUMNS = 24, 6  # episodes shown side by side in the film


@dataclass(frozen=True)
class PlayEnv(EnvConfig):
    """How the environment is made: it is filmed, and played in by moving the tool."""

    obs: tyro.conf.Suppress[Obs] = "pixels"
    control: tyro.conf.Suppress[Control] = "ee"


@dataclass(frozen=True)
class Collect:
    """Record play as video and frames."""

    env: tyro.conf.OmitArgPrefixes[PlayEnv] = PlayEnv("goalsight/PandaPush-v1")
    """The environment to play in; its goals are ignored."""
    frames: int = 20_000
    """Frames to record, rounded up to whole episodes."""
    seed: int = 0
    """Episode k is seeded with seed + k."""
    out: Path | None = None
    """Folder to make; by default one under runs/."""
    mix: Mix = field(default_factory=Mix)
    """How much of each behaviour."""
    steps: int = 50
    """Frames of an episode."""
    num_envs: int = 64
    """Environments played at once; what is recorded does not depend on it."""
    film: int = 96
    """Episodes shown in the video; 0 for none."""
    json: bool = False
    """Print the summary as JSON."""

    def __post_init__(self) -> None:
        for name in ("frames", "steps", "num_envs"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.film < 0 or self.seed < 0:
            raise UserError(f"film and seed must not be negative, got {self.film} and {self.seed}")


def collect(config: Collect) -> Path:
    """Play, record, and publish what was recorded, also when interrupted.

    Args:
        config: what to record.

    Returns:
        the run's folder, with `frames/` (a frame store), `videos/play.mp4` and `summary.json`. Labels of the
        frames are positions [m], NaN where the picture does not reach.

    Raises:
        UserError: for an unknown environment, a folder that cannot be written, or no finished episode.
    """
    from goalsight.base.runs import Run
    from goalsight.envs.ids import resolved

    config = replace(config, env=resolved(config.env))
    episodes = -(-config.frames // config.steps)
    env = _make_env(config, min(config.num_envs, episodes))
    began = time.perf_counter()
    with (
        contextlib.closing(env),
        Run.start("collect", config, out=config.out, seed=config.seed, name=config.env.id.split("/")[-1]) as run,
    ):
        recorder = _record(config, env, run)
        _publish(config, run, recorder, time.perf_counter() - began)
    return run.path


def _record(config: Collect, env: "GoalVectorEnv", run: "Run") -> "Recorder":
    """Play into the run's frame store and film.

    Raises:
        UserError: no episode was finished.
    """
    from tqdm import tqdm

    from goalsight.pretrain.data.store import FrameStoreWriter

    episodes = -(-config.frames // config.steps)
    policy = Play(config.mix, seed=config.seed)
    film = VideoWriter(run.videos / "play.mp4", fps=20, quality=23) if config.film else contextlib.nullcontext()
    with (
        FrameStoreWriter(run.path / STORE, image_size=config.env.image_size) as writer,
        film as reel,
        tqdm(total=episodes * config.steps, unit="frame", desc="play", disable=None) as bar,
    ):
        recorder = Recorder(config, env, policy, writer, reel, bar)
        rollout(
            env,
            policy,
            episodes=episodes,
            seed=config.seed,
            steps=config.steps,
            before_step=recorder.take,
            after_wave=recorder.keep,
            stop=lambda: run.stopped,
        )
        if recorder.frames == 0:
            raise UserError(f"no episode was finished: nothing to keep in {run.path}")
    return recorder


def _make_env(config: Collect, num_envs: int) -> "GoalVectorEnv":
    from goalsight.envs.making import make_own

    # One step more, so that no wave ends with resets that the next one repeats.
    return make_own(config.env, num_envs, max_episode_steps=config.steps + 1)


class Recorder:
    """Takes the frames of a wave of episodes, then hands the finished ones to the frame store in one go."""

    def __init__(
        self,
        config: Collect,
        env: "GoalVectorEnv",
        policy: Play,
        writer: "FrameStoreWriter",
        film: VideoWriter | None,
        bar: "tqdm[Any]",
    ) -> None:
        size = config.env.image_size
        self._config, self._env, self._policy = config, env, policy
        self._writer, self._film, self._bar = writer, film, bar
        # Time is the second axis, so that an episode lies in one piece.
        self._pixels = np.zeros((env.num_envs, config.steps, size, size, 3), dtype=np.uint8)
        self._labels: dict[str, NDArray[np.float32]] = {}  # each (N, T, 3) [m]
        self._in_picture: dict[str, NDArray[np.bool_]] = {}  # each (N, T)
        self._left_to_film = config.film
        self.frames = self.episodes = self.dropped = self.moved = 0
        self.behaviours = dict.fromkeys(BEHAVIOURS, 0)

    def take(self, moment: Moment) -> None:
        """Keep what the cameras and the simulation show at this moment."""
        self._pixels[:, moment.time] = moment.obs["pixels"]
        for name, points in self._env.object_positions().items():
            kept = self._labels.setdefault(name, np.zeros((*self._pixels.shape[:2], 3), dtype=np.float32))
            kept[:, moment.time] = points
            shown = self._in_picture.setdefault(name, np.zeros(self._pixels.shape[:2], dtype=bool))
            shown[:, moment.time] = self._env.in_picture(points, camera=self._config.env.camera)
        self._bar.update(int(moment.active.sum()))

    def keep(self, finished: Episodes) -> None:
        """Write the finished episodes of the wave; episodes whose physics broke are left out."""
        sound = np.flatnonzero(~finished.diverged)
        for env in sound:
            source = f"{self._config.env.id} play seed {self._config.seed + int(finished.index[env])}"
            labels = {
                name: np.where(self._in_picture[name][env, :, None], points[env], np.float32(np.nan))
                for name, points in self._labels.items()
            }
            self._writer.add_episode(self._pixels[env], labels=labels, source=source)
            self.behaviours[BEHAVIOURS[self._policy.behaviour[env]]] += 1
        self.frames += len(sound) * self._config.steps
        self.episodes += len(sound)
        self.dropped += len(finished) - len(sound)
        self.moved += self._count_moved(sound)
        self._show(sound)

    @property
    def moved_share(self) -> float | None:
        """Share of the frames in which an object is away from where it began; None without objects."""
        return self.moved / self.frames if len(self._labels) > 1 else None

    def _count_moved(self, envs: NDArray[np.intp]) -> int:
        moved = np.zeros((len(envs), self._config.steps), dtype=bool)
        for name, label in self._labels.items():
            if name != "gripper":
                place = label[envs]  # (n, T, 3)
                moved |= np.linalg.norm(place - place[:, :1], axis=-1) > MOVED
        return int(moved.sum())

    def _show(self, envs: NDArray[np.intp]) -> None:
        if self._film is None:
            return
        filmed = envs[: self._left_to_film]
        self._left_to_film -= len(filmed)
        scale = max(1, round(128 / self._config.env.image_size))
        for first in range(0, len(filmed), TILES):
            shown = filmed[first : first + TILES]
            for time_step in range(self._config.steps):
                tiles = np.zeros((TILES, *self._pixels.shape[2:]), dtype=np.uint8)
                tiles[: len(shown)] = self._pixels[shown, time_step]
                self._film.add(mosaic(tiles, COLUMNS, scale))


def _publish(config: Collect, run: "Run", recorder: Recorder, seconds: float) -> None:
    """Write the summary with the recording's hash, and say what was recorded."""
    from goalsight.pretrain.data.store import FrameStore

    store = FrameStore.open(run.path / STORE)
    run.manifest["sources"] = {"env": config.env.id, "data": store.content_hash}
    summary = {
        "run": run.path,
        "frames": recorder.frames,
        "episodes": recorder.episodes,
        "dropped_as_diverged": recorder.dropped,
        "moved_share": recorder.moved_share,
        "episodes_by_behaviour": recorder.behaviours,
        "seconds": seconds,
        "frames_per_second": recorder.frames / seconds,
        "data": store.content_hash,
    }
    run.finish(summary)
    if config.json:
        print(json.dumps(summary, default=str))
    else:
        print(_sentence(summary))


def _sentence(summary: dict[str, Any]) -> str:
    moved = summary["moved_share"]
    about_object = "" if moved is None else f"; the object has been moved in {moved:.0%} of the frames"
    return (
        f"{summary['frames']} frames of play in {summary['episodes']} episodes, "
        f"{summary['frames_per_second']:.0f} frames/s{about_object}: {summary['run']}"
    )

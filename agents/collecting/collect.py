"""Record play: what the robot does when nobody asks for anything, as a frame store and a film."""

import contextlib
import json
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import tyro

from goalsight.agents.collecting.exporting import check_format, export_store
from goalsight.agents.collecting.film import film_store
from goalsight.agents.collecting.play import Mix, Play
from goalsight.agents.collecting.recorder import Player, Recorder
from goalsight.agents.collecting.seeking import ROUND, Seeker, seeker_of
from goalsight.agents.rollout import Episodes, rollout
from goalsight.base.errors import UserError
from goalsight.base.progress import progress
from goalsight.base.tables import counted
from goalsight.envs.config import Control, EnvConfig, Obs

if TYPE_CHECKING:
    from goalsight.base.runs import Run
    from goalsight.envs.vector import GoalVectorEnv
    from goalsight.pretrain.data.appender import StoreAppender

STORE = "frames"  # the frame store's folder inside the run
FPS = 25.0  # of an environment: a step takes 40 ms


@dataclass(frozen=True)
class PlayEnv(EnvConfig):
    """How the environment is made: it is filmed, and played in by moving the tool."""

    obs: tyro.conf.Suppress[Obs] = "pixels"
    control: tyro.conf.Suppress[Control] = "ee"
    camera: str = "front"
    """Which camera records: front, wrist or studio."""


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
    """How much of each behaviour; shares of the episodes, in proportion."""
    seek: Path | None = None
    """A train run from pixels, whose agent plays instead: toward goals near which little was achieved so far."""
    steps: int = 50
    """Length of an episode [frames]."""
    num_envs: int = 64
    """Environments played at once; what is recorded does not depend on it."""
    film: int = 96
    """Episodes shown in the video; 0 for none."""
    format: Literal["store", "lerobot"] = "store"
    """store: a frame store, which pretrain and train read. lerobot: a LeRobot data set too, in the run's lerobot/."""
    json: bool = False
    """Print the summary as JSON."""

    def __post_init__(self) -> None:
        for name in ("frames", "steps", "num_envs"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.film < 0 or self.seed < 0:
            raise UserError(f"film and seed must not be negative, got {self.film} and {self.seed}")

        if self.seek is not None and self.mix != Mix():
            raise UserError("shares of play go with the script, and --seek lets an agent play: one of the two")

    @property
    def episodes(self) -> int:
        """How many are recorded."""
        return -(-self.frames // self.steps)


def collect(config: Collect) -> Path:
    """Play, record, and publish episodes as they are finished.

    Args:
        config: what to record.

    Returns:
        the run's folder, with `frames/` (a frame store), `videos/play.mp4` and `summary.json`. What was finished is
        kept however the recording ends, and `resume` goes on with it.

    Raises:
        UserError: for an unknown environment, or a folder that cannot be written.
    """
    from goalsight.base.runs import Run
    from goalsight.envs.ids import resolved

    config = replace(config, env=resolved(config.env))
    if config.format != "store":
        check_format(config.format)
    if config.seek is not None:
        seeker_of(config.seek, config.env)
    with (
        contextlib.closing(_make_env(config, min(config.num_envs, config.episodes))) as env,
        Run.start("collect", config, out=config.out, seed=config.seed, name=config.env.id.split("/")[-1]) as run,
    ):
        _record(config, env, run)
    return run.path


def resume(run: "Run") -> Path:
    """Go on with a recording that was broken off; what comes out is what it would have been, to the bit.

    Args:
        run: held by `Run.resume`.

    Returns:
        the run's folder.

    Raises:
        UserError: if its options or its frame store cannot be read.
    """
    from goalsight.base.options import options_from

    config = options_from(Collect, run.config)
    with contextlib.closing(_make_env(config, min(config.num_envs, config.episodes))) as env:
        _record(config, env, run)
    return run.path


def _record(config: Collect, env: "GoalVectorEnv", run: "Run") -> None:
    """Play from where the run's frame store ends, then say what was recorded."""
    from goalsight.pretrain.data.appender import StoreAppender

    store = StoreAppender(run.path / STORE, image_size=config.env.image_size, fps=FPS)
    before, began = store.num_frames, time.perf_counter()
    with contextlib.closing(store):
        _play(config, env, run, store)
        books = {**store.notes, "episodes": len(store.episodes), "frames": store.num_frames}
        whole = store.publish(complete=not run.stopped) if store.num_frames else ""
    speed = (books["frames"] - before) / (time.perf_counter() - began)
    if books["episodes"]:
        _show(config, run, complete=not run.stopped)
    _publish(config, run, books, whole, speed)


def _play(config: Collect, env: "GoalVectorEnv", run: "Run", store: "StoreAppender") -> None:
    first = int(store.notes.get("next", 0))
    if first >= config.episodes:
        return
    policy = _player(config, env, first)
    frames = config.episodes * config.steps
    with progress(total=frames, initial=first * config.steps, unit="frame", desc="play") as bar:
        source = f"{config.env.id} play seed"
        recorder = Recorder(env, policy, store, bar, source=source, seed=config.seed, steps=config.steps)

        def publish(finished: Episodes) -> None:
            recorder.publish(finished)
            run.log(store.num_frames, {"collect/episodes": len(store.episodes)})  # from here a resumed clock goes on

        while first < config.episodes and not run.stopped:
            last, goals = policy.next_round(env, store, first, config.episodes)
            rollout(
                env,
                policy,
                episodes=last,
                seed=config.seed,
                first=first,
                steps=config.steps,
                goals=goals,
                before_step=recorder.take,
                on_step=recorder.answer,
                after_wave=publish,
                stop=lambda: run.stopped,
            )
            first = last


def _player(config: Collect, env: "GoalVectorEnv", first: int) -> Player:
    """Return who plays, from episode `first` on."""
    if config.seek is None:
        return Play(config.mix, seed=config.seed, first=first)
    actions = int(np.prod(env.single_action_space.shape or ()))
    return Seeker(seeker_of(config.seek, config.env), seed=config.seed, first=first, actions=actions)


def _show(config: Collect, run: "Run", *, complete: bool) -> None:
    """Film what was recorded, and export it when it is complete and that was asked for."""
    from goalsight.pretrain.data.store import FrameStore

    store = FrameStore.open(run.path / STORE)
    if config.film:
        film_store(store, run.videos / "play.mp4", config.film)
    if complete and config.format != "store" and not (run.path / config.format).exists():
        export_store(store, config.format, run.path / config.format, config.env)


def _make_env(config: Collect, num_envs: int) -> "GoalVectorEnv":
    from goalsight.envs.making import make_own

    # One step more, so that no wave ends with resets that the next one repeats.
    most = num_envs if config.seek is None else min(num_envs, ROUND)
    return make_own(config.env, most, max_episode_steps=config.steps + 1)


def _publish(config: Collect, run: "Run", books: dict[str, Any], content_hash: str, speed: float) -> None:
    """Write the summary with the recording's hash, and say what was recorded."""
    run.manifest["sources"] = {"env": config.env.id, "data": content_hash}
    frames = books["frames"]
    summary = {
        "run": run.path,
        "frames": frames,
        "episodes": books["episodes"],
        "dropped_as_diverged": books.get("dropped", 0),
        "moved_share": books["moved"] / frames if books.get("with_things") and frames else None,
        "episodes_by_behaviour": books.get("behaviours", {}),
        "seconds": run.seconds,
        "frames_per_second": speed,
        "data": content_hash,
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
        f"{counted(summary['frames'], 'frame')} of play in {counted(summary['episodes'], 'episode')}, "
        f"{summary['frames_per_second']:.0f} frames/s{about_object}: {summary['run']}"
    )

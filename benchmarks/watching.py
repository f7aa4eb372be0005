"""What watching is worth: agents that watched silent video beside agents that did not, seed by seed.

What is claimed, and against whom, was written down before the first run, in watching_registered.md. Runs that the
result already holds are skipped, and it is written after each, so a stopped benchmark goes on when it is started again.
"""

import contextlib
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal
from unittest.mock import patch

import numpy as np
import tyro
from learning import NEVER, evaluations_of
from numpy.typing import NDArray
from reporting import RESULTS, Rows, provenance
from watching_doses import DOSES
from watching_summary import with_earlier, write

from goalsight.agents.algorithms.sac import SACOptions
from goalsight.agents.collecting.collect import Collect, PlayEnv, collect
from goalsight.agents.collecting.play import SKILLED
from goalsight.agents.train import Train, train
from goalsight.agents.watching.experience import UNSKILLED
from goalsight.agents.watching.inverse import InverseModel
from goalsight.agents.watching.options import Watching
from goalsight.base.errors import UserError, choose
from goalsight.base.files import to_json
from goalsight.base.interruption import stopped_by
from goalsight.base.machine import usable_cores
from goalsight.base.options import options_from
from goalsight.base.runs import Run
from goalsight.base.workers import workers_of
from goalsight.base.workers.following import follow
from goalsight.base.workers.job import Job
from goalsight.commands.resume import Resume, resume
from goalsight.envs.config import EnvConfig
from goalsight.envs.ids import id_of, spec_of
from goalsight.envs.tasks import TASKS
from goalsight.eval.evaluate import Eval, evaluate
from goalsight.pretrain.data.store import FrameStore, FrameStoreWriter
from goalsight.pretrain.train import Pretrain, pretrain

VIDEO_SEED, VIDEO_SEEDS = 3_000_000, 10_000  # of the videos: one each for the agents' seeds


Length = Literal["watching", "with trial", "alone", "half alone", "few", "few with trial", "often"]
# What was registered first: since 2026-11-29 a third of the inverse model's updates is usual, since 2026-11-30 OFTEN.
USUAL = Watching(play=192, attempts=128, rounds=3, estimator_updates=4800, inverse_updates=3000)
# Few steps of its own: the estimator of a random encoder gets four times the updates, as many as pretraining takes.
FEW = Watching(play=48, attempts=48, rounds=2, estimator_updates=1200, inverse_updates=3000)
FEW_RANDOM = replace(FEW, estimator_updates=4800)
# Half as much play before the first labels, and attempts by halves: the labels are read anew twice as often.
OFTEN = Watching(play=96, attempts=64, rounds=5, estimator_updates=4800)
FEWER, FEWER_RANDOM = (replace(how, inverse_updates=1000) for how in (FEW, FEW_RANDOM))
PRETRAINING = 800  # steps
LOOKS = ("colour", "light", "camera", "distractors")


@dataclass(frozen=True)
class Arm:
    """Agents that are alike but for their seed."""

    shows: Literal["nothing", "expert", "aimless", "shuffled"] = "nothing"  # the video
    episodes: int = 0  # of it
    length: Length = "with trial"
    obs: Literal["state", "pixels"] = "pixels"
    labels: Literal["read", "true", "random"] = "read"  # the actions that the video is imitated by
    task: str = ""  # of the video, where it is another
    robot: str = "panda"  # in the video
    encoder: Literal["random", "points"] = "random"  # points: pretrained on the video, before it is imitated
    watching: Watching = USUAL
    vary: tuple[str, ...] = ()  # what looks otherwise in every episode: of the video, of training, and when judged
    frozen: bool = False  # sees the encoder's frozen tokens or points; the video is for the encoder alone
    critics: int = SACOptions.critics

    @property
    def recording(self) -> tuple[str, int, str, str, tuple[str, ...]]:
        """What is recorded for it: arms that are alike in this watch the same recording."""
        return ("expert" if self.shows == "shuffled" else self.shows, self.episodes, self.task, self.robot, self.vary)


ARMS = {
    "expert-2500": Arm("expert", 2500),
    "expert-500": Arm("expert", 500),
    "expert-2500-often": Arm("expert", 2500, "often", watching=OFTEN),
    "no-video": Arm(length="alone"),
    "no-video-ten": Arm(length="alone", critics=10),
    "state": Arm(length="alone", obs="state"),
    "shuffled-500": Arm("shuffled", 500, "watching"),
    "aimless-500": Arm("aimless", 500, "watching"),
    "true-2500": Arm("expert", 2500, "watching", labels="true"),
    "random-labels-500": Arm("expert", 500, "watching", labels="random"),
    "expert-100": Arm("expert", 100, "watching"),
    "expert-25": Arm("expert", 25, "watching"),
    "other-task-500": Arm("expert", 500, "watching", task="reach"),
    "other-arm-2500": Arm("expert", 2500, "watching", robot="ur5e"),
    "expert-10000": Arm("expert", 10_000, "watching"),
    "points-1000": Arm("expert", 1000, "few", encoder="points", watching=FEW),
    "random-1000": Arm("expert", 1000, "few", watching=FEW_RANDOM),
    "points-1000-varied": Arm("expert", 1000, "few", encoder="points", watching=FEWER, vary=LOOKS),
    "random-1000-varied": Arm("expert", 1000, "few", watching=FEWER_RANDOM, vary=LOOKS),
    "frozen-points-1000": Arm("expert", 1000, "half alone", encoder="points", frozen=True),
    "frozen-random": Arm(length="half alone", frozen=True),
    "points-1000-true": Arm("expert", 1000, "few", encoder="points", watching=FEW, labels="true"),
    "points-1000-random-labels": Arm("expert", 1000, "few", encoder="points", watching=FEW, labels="random"),
    "points-1000-shuffled": Arm("shuffled", 1000, "few", encoder="points", watching=FEW),
    "points-1000-aimless": Arm("aimless", 1000, "few", encoder="points", watching=FEW),
    "points-1000-other-task": Arm("expert", 1000, "few", encoder="points", watching=FEW, task="reach"),
    "points-1000-ur5e": Arm("expert", 1000, "few", encoder="points", watching=FEWER, robot="ur5e"),
    **{
        arm: Arm("expert", episodes, "few with trial", encoder="points", watching=FEWER)
        for arm, episodes in DOSES.items()
    },
    **{f"random-{episodes}": Arm("expert", episodes, "few", watching=FEWER_RANDOM) for episodes in (100, 500, 2_500)},
}
# Environment steps in all. Watching alone takes 192 + 3 x 128 episodes, of 40 steps each in Push, 50 in PickPlace and
# Drawer, 150 in Stack2; few are 3 x 48 episodes, often is 96 + 5 x 64.
LENGTHS: dict[str, dict[Length, int]] = {
    "push": {
        "watching": 23_200,
        "with trial": 40_000,
        "alone": 100_000,
        "half alone": 50_000,
        "few": 5_800,
        "few with trial": 20_000,
        "often": 17_000,
    },
    "pick_place": {
        "watching": 29_000,
        "with trial": 45_000,
        "alone": 150_000,
        "half alone": 75_000,
        "few": 7_300,
        "few with trial": 25_000,
        "often": 21_000,
    },
    "drawer": {
        "watching": 29_000,
        "with trial": 45_000,
        "alone": 60_000,
        "half alone": 30_000,
        "few": 7_300,
        "few with trial": 25_000,
        "often": 21_000,
    },
    "stack2": {
        "watching": 87_000,
        "with trial": 120_000,
        "alone": 120_000,
        "half alone": 60_000,
        "few": 22_000,
        "few with trial": 60_000,
        "often": 63_000,
    },
}


@dataclass(frozen=True)
class WatchingWorth:
    """Measure what watching is worth."""

    task: str = "push"
    """The task, with the Panda."""
    arms: tuple[str, ...] = tuple(ARMS)
    """Which agents."""
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """One agent of each arm for each."""
    eval_every: int = 5_000
    """Env steps between evaluations."""
    eval_episodes: int = 100
    """Episodes per evaluation on the way."""
    final_episodes: int = 200
    """Episodes by which the finished agent is judged, on seeds of their own."""
    jobs: int = 1
    """Agents that learn at once, each on its share of the CPUs."""
    runs: Path = Path("runs/watching")
    """Where videos and runs are kept."""
    out: Path = RESULTS / "watching.json"
    """The result."""

    def __post_init__(self) -> None:
        choose("task", self.task, LENGTHS)
        for name in self.arms:
            choose("arm", name, ARMS)
        if not 1 <= self.jobs <= usable_cores():
            raise UserError(f"jobs must be 1 to {usable_cores()}, one CPU each, got {self.jobs}")

    @property
    def env(self) -> str:
        """The id, with the Panda."""
        return id_of("panda", TASKS[self.task])


def video_of(arm: Arm, own: str, seed: int, folder: Path) -> Path:
    """Return the recording that an arm's agent of this seed watches, made if it is not there.

    Args:
        arm: says what it shows.
        own: the id of the environments that the agent learns in.
        seed: of the agent.
        folder: where videos are kept.
    """
    if arm.shows == "shuffled":
        return shuffled(video_of(replace(arm, shows="expert"), own, seed, folder), seed)
    env = id_of(arm.robot, TASKS[arm.task or spec_of(own).task or ""])
    if env != own:
        return bare(recorded(arm, env, seed, folder))
    return recorded(arm, env, seed, folder)


def recorded(arm: Arm, env: str, seed: int, folder: Path) -> Path:
    """Return a recording of these environments, made if it is not there."""
    looks = "-varied" if arm.vary else ""
    out = folder / f"{arm.robot}-{spec_of(env).name}-{arm.shows}-{arm.episodes}{looks}-{seed}"
    if not out.exists():
        training = TASKS[spec_of(env).task or ""].training
        collect(
            Collect(
                env=PlayEnv(env, vary=arm.vary),
                steps=training.horizon or 50,
                frames=arm.episodes * (training.horizon or 50),
                seed=VIDEO_SEED + VIDEO_SEEDS * seed,
                mix=UNSKILLED if arm.shows == "aimless" else SKILLED,
                film=0,
                out=out,
            )
        )
    finish(out)
    return out


def pretrained(video: Path, seed: int, out: Path) -> Path:
    """Return an encoder that has learnt from a video to find points, made if it is not there."""
    if not out.exists() and not stopped_by():
        pretrain(
            Pretrain(
                data=(video,),
                objective="points",
                tokeniser="local",
                steps=PRETRAINING,
                seed=seed,
                threads=1,
                device="cpu",
                out=out,
                cache=out.parent / "cache",
            )
        )
    finish(out)
    return out


def finish(folder: Path) -> None:
    """Go on with a run that is not finished, unless someone asked to stop."""
    if not stopped_by() and Run.open(folder).status != "finished":
        resume(Resume(folder))


def bare(video: Path) -> Path:
    """Return a copy of a recording that does not say which environments it is of: such as are others are refused."""
    out = video.with_name(f"{video.name}-bare")
    if not out.exists():
        shutil.copytree(video / "frames", out)
    return out


def shuffled(video: Path, seed: int) -> Path:
    """Return a copy of a recording whose frames have lost their order within each episode."""
    out = video.with_name(f"{video.name}-shuffled")
    if not out.exists():
        source, rng = FrameStore.open(video / "frames"), np.random.default_rng(seed)
        with FrameStoreWriter(out, image_size=source.image_size, fps=source.fps) as writer:
            for number in range(source.num_episodes):
                writer.add_episode(rng.permutation(source.episode(number)), source="shuffled")
    return out


@contextlib.contextmanager
def labelled(arm: Arm, video: Path | None, seed: int) -> Iterator[None]:
    """Put true or random actions in the place of those read off the video, for the arms that are to have them."""
    if arm.labels == "read" or video is None:
        yield
        return
    true = np.asarray(FrameStore.open(video / "frames").columns["action"], np.float32)
    given = true if arm.labels == "true" else np.random.default_rng(seed).uniform(-1, 1, true.shape).astype(np.float32)
    read = InverseModel.label

    def label(model: InverseModel, around: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        labels, doubt = read(model, around)
        return (given if len(labels) == len(given) else labels), doubt

    with patch.object(InverseModel, "label", label):
        yield


def learn(name: str, seed: int, asked: dict[str, Any]) -> dict[str, Any] | None:
    """Train one agent, judge it, and return what the result keeps of it; None when someone asked to stop.

    Args:
        name: of the arm.
        seed: of the agent.
        asked: the benchmark's options, in JSON's own types.
    """
    about, config = provenance(), options_from(WatchingWorth, asked)
    folder = trained(name, seed, config)
    if stopped_by():
        return None
    run = Run.open(folder)
    judged = evaluate(Eval(run=folder, checkpoint="last", episodes=config.final_episodes))
    kept = ("env_steps", "updates", "seconds", "best_success", "watched_frames", "watched_skill", "watching")
    return {
        "task": config.task,
        "arm": name,
        "seed": seed,
        "asked": asked_of(name, config),
        "evaluations": evaluations_of(run),
        "final": {"success": judged["success"], "seed": judged["seed"]},
        **{key: run.summary[key] for key in kept if key in run.summary},
        "sources": run.manifest["sources"],
        **about,
        "agents_at_once": config.jobs,
    }


def film(name: str, seed: int, asked: dict[str, Any]) -> None:
    """Make the video that an arm's agent watches; arguments as of `learn`."""
    config = options_from(WatchingWorth, asked)
    video_of(ARMS[name], config.env, seed, config.runs / "videos")


def trained(name: str, seed: int, config: WatchingWorth) -> Path:
    """Return the run of an arm's agent, made or gone on with, as far as nobody asks to stop."""
    arm = ARMS[name]
    video = None if arm.shows == "nothing" else video_of(arm, config.env, seed, config.runs / "videos")
    out = config.runs / f"{config.task}-{name}-{seed}"
    eyes = "tokens" if arm.frozen else "estimates"
    pixels: dict[str, Any] = {"encoder": "random", "eyes": eyes} if arm.obs == "pixels" else {}
    if arm.encoder == "points" and video is not None:
        pixels["encoder"] = str(pretrained(video, seed, config.runs / f"{config.task}-{name}-{seed}-encoder"))
    asked = Train(
        EnvConfig(config.env, obs=arm.obs, vary=arm.vary),
        video=() if video is None or arm.frozen else (video,),
        watching=arm.watching if pixels.get("eyes") == "estimates" else Watching(),
        options=SACOptions(critics=arm.critics),
        seed=seed,
        steps=LENGTHS[config.task][arm.length],
        eval_every=config.eval_every,
        eval_episodes=config.eval_episodes,
        target_success=NEVER,
        threads=1,
        out=out,
        **pixels,
    )
    if not stopped_by():
        with labelled(arm, video, seed):
            finish(out if out.exists() else train(asked))
    return out


def asked_of(name: str, config: WatchingWorth) -> dict[str, Any]:
    """All that makes the runs of an arm what they are."""
    arm = ARMS[name]
    how = arm.watching
    estimates = arm.obs == "pixels" and not arm.frozen
    watching: dict[str, Any] = {"estimator_updates": how.estimator_updates} if estimates else {}
    if arm.shows != "nothing" and estimates:
        watching |= {"cloning": how.cloning, "rounds": how.rounds, "inverse_updates": how.inverse_updates}
    if arm.length == "often" or arm.length.startswith("few"):
        watching |= {"play": how.play, "attempts": how.attempts, "encoder": arm.encoder}
    if arm.encoder == "points":
        watching["pretraining"] = PRETRAINING
    if arm.frozen:
        watching |= {"eyes": "tokens", "encoder": arm.encoder}
    if arm.vary:
        watching["vary"] = list(arm.vary)
    if arm.critics != SACOptions.critics:
        watching["critics"] = arm.critics
    return {
        "shows": arm.shows,
        "episodes": arm.episodes,
        "steps": LENGTHS[config.task][arm.length],
        "labels": arm.labels,
        "eval_every": config.eval_every,
        "eval_episodes": config.eval_episodes,
        **watching,
    }


def run_all(result: Rows, config: WatchingWorth) -> None:
    """Make the runs that the result lacks, seed by seed, and write it after each."""
    keys = ("task", "arm", "seed")
    waiting = [
        (name, seed)
        for seed in config.seeds
        for name in config.arms
        if result.lacks({"task": config.task, "arm": name, "seed": seed, **asked_of(name, config)}, *keys)
    ]
    options = to_json(asdict(config))
    filmed = {(*ARMS[name].recording, seed): (name, seed) for name, seed in waiting if ARMS[name].shows != "nothing"}
    # Videos first: agents that watch the same one may learn at once.
    for function, some in (("film", filmed.values()), ("learn", waiting)):
        jobs = [
            Job(f"{name}, seed {seed}", f"watching:{function}", {"name": name, "seed": seed, "asked": options})
            for name, seed in some
        ]
        for outcome in follow(workers_of(str(config.jobs)), jobs, total=len(jobs), what=function):
            if outcome.result is not None:
                result.put(outcome.result, *keys)
                print(f"{outcome.job.name}: done", file=sys.stderr)


def main(config: WatchingWorth) -> None:
    """Make what is missing, and write what all of it says."""
    result = Rows(config.out, "runs")
    run_all(result, config)
    if stopped_by():
        print("stopped; start again to go on", file=sys.stderr)
    rows = with_earlier(result.rows, config.task)
    if rows:
        print(write(rows, config.out if config.task == "push" else config.out.with_stem(f"watching-{config.task}")))


if __name__ == "__main__":
    try:
        main(tyro.cli(WatchingWorth, description=__doc__))
    except UserError as error:
        sys.exit(str(error))

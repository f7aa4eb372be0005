"""What watching is worth: agents that watched silent video beside agents that did not, seed by seed.

What is claimed, and against whom, was written down before the first run, in watching_registered.md. Runs that the
result already holds are skipped, and it is written after each, so a stopped benchmark goes on when it is started again.
"""

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from learning import NEVER, evaluations_of
from numpy.typing import NDArray
from reporting import RESULTS, Rows, provenance, start
from watching_arms import ARMS, LENGTHS, PRETRAINING, Arm
from watching_summary import with_earlier, write
from watching_videos import finish, pretrained, video_of

from goalsight.agents.algorithms.sac import SACOptions
from goalsight.agents.train import Train, train
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
from goalsight.envs.config import EnvConfig
from goalsight.envs.ids import id_of
from goalsight.envs.tasks import TASKS
from goalsight.eval.evaluate import Eval, evaluate
from goalsight.pretrain.data.store import FrameStore


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
    start(WatchingWorth, main)

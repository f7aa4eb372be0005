"""Silent video for what watching is worth, and encoders pretrained on it: made where they are not there yet."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
from watching_arms import PRETRAINING, Arm

from goalsight.agents.collecting.collect import Collect, PlayEnv, collect
from goalsight.agents.collecting.play import SKILLED
from goalsight.agents.watching.experience import UNSKILLED
from goalsight.base.interruption import stopped_by
from goalsight.base.runs import Run
from goalsight.commands.resume import Resume, resume
from goalsight.envs.ids import id_of, spec_of
from goalsight.envs.tasks import TASKS
from goalsight.pretrain.data.store import FrameStore, FrameStoreWriter
from goalsight.pretrain.train import Pretrain, pretrain

VIDEO_SEED, VIDEO_SEEDS = 3_000_000, 10_000  # of the videos: one each for the agents' seeds


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

"""What an encoder is good for: skilled play is imitated from its frozen tokens, and success in the task is counted."""

import shutil
from pathlib import Path
from typing import Any

from goalsight.agents.watching.origin import recorded_in
from goalsight.base.errors import UserError
from goalsight.base.files import atomic_write_json
from goalsight.envs.config import EnvConfig


def check_control(play: Path, data: Path) -> None:
    """Check that play can be imitated from encoders of other play.

    Raises:
        UserError: if it is no recording of ours, or its frames are of another size or from another camera.
    """
    from goalsight.eval.probes.probe import open_labelled

    env = env_of(play)
    sizes = [open_labelled(path).image_size for path in (play, data)]
    if sizes[0] != sizes[1]:
        raise UserError(f"frames of {play} have {sizes[0]} px, those of {data} {sizes[1]} px; record both alike")
    if (watched := recorded_in(data)) is not None and watched.camera != env.camera:
        raise UserError(
            f"{play} was recorded with camera {env.camera}, {data} with camera {watched.camera}; record both alike"
        )


def env_of(play: Path) -> EnvConfig:
    """Return the environment in which play was recorded, as it was seen there.

    Raises:
        UserError: if it is no recording of ours.
    """
    from goalsight.base.runs import Run

    if (env := recorded_in(play)) is None:
        kind = Run.open(play).kind
        raise UserError(f"control imitates a run of goalsight collect, and {play} is one of goalsight {kind}")
    return env.change(obs="pixels")


def imitate(encoder: str, seed: int, asked: dict[str, Any], out: str) -> dict[str, Any]:
    """Imitate skilled play towards goal images, from an encoder's frozen tokens or points, and judge what was learnt.

    Args:
        encoder: a pretraining run, or "random".
        seed: of the actor, and of the weights of a random encoder.
        asked: "play": what is imitated, in the environment that it was recorded in; "updates" and "episodes".
        out: file that keeps the result.

    Returns:
        what was asked, how many episodes ended in success, and seconds.
    """
    from goalsight.agents.train import Train, train
    from goalsight.base.runs import Run

    folder = Path(out).with_suffix("")
    shutil.rmtree(folder, ignore_errors=True)  # one that was stopped
    train(
        Train(
            env_of(Path(asked["play"])),
            algorithm="bc",
            data=(Path(asked["play"]),),
            encoder=encoder,
            seed=seed,
            steps=asked["updates"],
            eval_every=asked["updates"],
            eval_episodes=asked["episodes"],
            target_success=2.0,  # all updates are made
            threads=1,
            out=folder,
        )
    )
    trained = Run.open(folder)
    if trained.status != "finished":
        return {"status": trained.status}
    success = round(trained.summary["last_success"] * asked["episodes"])
    found = {"asked": asked, "success": success, "seconds": trained.summary["seconds"]}
    shutil.rmtree(folder)
    atomic_write_json(Path(out), found)
    return found

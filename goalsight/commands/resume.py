"""`goalsight resume`: go on with a run that was stopped, failed, or was killed."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from goalsight.base.errors import UserError
from goalsight.base.registry import Registry

# What goes on with a run of each kind: `resume(run: Run)`, which is given the run as `Run.resume` holds it,
# makes what it needs from `run.config`, loads what `run.load_state()` returns, works, and calls `run.finish`.
RESUMES = Registry(
    "kind of run",
    {
        "collect": "goalsight.agents.collecting.collect:resume",
        "pretrain": "goalsight.pretrain.train:resume",
        "train": "goalsight.agents.train:resume",
    },
)


@dataclass(frozen=True)
class Resume:
    """Go on with a run that was stopped, failed, or was killed.

    Its options are those in its config.json. On a CPU, with a budget in steps, the result is the same to the bit as
    that of a run that was never stopped.
    """

    run: Annotated[Path, tyro.conf.Positional]
    """The run's folder."""


def resume(config: Resume) -> Path:
    """Go on with a run, and return its folder.

    Raises:
        UserError: it is no run, still runs, is finished, or cannot go on; says why.
    """
    from goalsight.base.runs import Run

    with Run.resume(config.run) as run:
        for difference in run.differences:
            print(f"since {config.run} was started: {difference}", file=sys.stderr)
        _check_env(run.config)
        try:
            go_on = RESUMES.load(run.kind)
        except AttributeError:
            raise UserError(f"a {run.kind} run cannot go on; start it anew") from None
        go_on(run)
    return run.path


def _check_env(config: dict[str, Any]) -> None:
    """See to it that the environment's id, which is read from a file, has nothing imported that nobody named."""
    env = config.get("env")
    if env is None:
        return
    from goalsight.envs.ids import recorded

    if isinstance(env, dict):
        config["env"] = env | {"id": recorded(str(env.get("id")))}
    else:
        config["env"] = recorded(str(env))

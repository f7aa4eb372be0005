"""`goalsight demo`: the whole line once, from play to a film of the arm reaching goals it is shown."""

import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from goalsight.base.errors import UserError
from goalsight.base.interruption import stopped_by

RESULT = "demo.json"


@dataclass(frozen=True)
class Plan:
    """How much of everything a task needs on two cores."""

    env: str
    frames: int  # of play to watch
    seconds: float  # of watching
    promise: str  # what to expect, said at the start


PLANS = {
    "reach": Plan("goalsight/PandaReach-v1", frames=15_000, seconds=60.0, promise="about 4 minutes on two cores"),
    "push": Plan("goalsight/PandaPush-v1", frames=45_000, seconds=300.0, promise="about 20 minutes on two cores"),
}


@dataclass(frozen=True)
class Demo:
    """Watch play, learn to reach goal images from pixels, judge the result, film it, report it."""

    task: Literal["reach", "push"] = "reach"
    """The task to learn."""
    out: Path | None = None
    """Folder for everything; by default runs/demo-<task>-<date>-<time>."""
    seed: int = 0
    """Seed of play, encoder and agent."""
    episodes: int = 100
    """Episodes that the agent is judged by."""
    json: bool = False
    """Print the result as JSON; what the stages say goes to stderr."""

    def __post_init__(self) -> None:
        if self.out is not None and (self.out / RESULT).exists():
            raise UserError(f"{self.out} holds a demo already; choose another folder")
        if self.episodes < 1:
            raise UserError(f"episodes must be at least 1, got {self.episodes}")


def demo(config: Demo) -> dict[str, Any]:
    """Run the stages one after the other.

    Args:
        config: which task, and where to.

    Returns:
        what `demo.json` holds: the folders, the seconds of each stage, and the success with its interval and
        the baselines. When it is interrupted, only the stages that were finished.
    """
    plan = PLANS[config.task]
    out = config.out or Path("runs") / f"demo-{config.task}-{datetime.now():%Y%m%d-%H%M%S}"
    result: dict[str, Any] = {"task": config.task, "env": plan.env, "seed": config.seed, "out": str(out)}
    with contextlib.redirect_stdout(sys.stderr) if config.json else contextlib.nullcontext():
        print(f"{plan.env}, from play to film, {plan.promise}; everything goes to {out}")
        result |= _run_stages(_stages(config, plan, out))
        if stopped_by():
            return result
        _conclude(result, out)
        print(_text(result))
    if config.json:
        print(json.dumps(result, indent=2))
    return result


# A stage is a name, what it does in the words of its heading, and the doing.
Stage = tuple[str, str, Callable[[], Any]]


def _stages(config: Demo, plan: Plan, out: Path) -> Iterator[Stage]:
    from goalsight.agents.collecting.collect import Collect, PlayEnv, collect
    from goalsight.agents.train import Train, train
    from goalsight.envs.config import EnvConfig
    from goalsight.eval.evaluate import Eval, evaluate
    from goalsight.eval.films.record import Record, record
    from goalsight.eval.reports.report import Report, report
    from goalsight.pretrain.train import Pretrain, pretrain

    play, encoder, agent = out / "play", out / "encoder", out / "agent"
    shared: dict[str, Any] = {"seed": config.seed}
    collecting = Collect(env=PlayEnv(plan.env), frames=plan.frames, out=play, **shared)
    watching = Pretrain(data=(play,), seconds=plan.seconds, out=encoder, cache=out / "frames", **shared)
    learning = Train(env=EnvConfig(plan.env, obs="pixels"), encoder=str(encoder), out=agent, **shared)
    yield "collect", "the arm plays, and is filmed", lambda: collect(collecting)
    yield "pretrain", "an encoder watches and learns to predict what is hidden", lambda: pretrain(watching)
    yield "train", "an agent learns to reach goal images", lambda: train(learning)
    yield "eval", "new goals, never trained on", lambda: evaluate(Eval(run=agent, episodes=config.episodes))
    yield "record", "a film of it", lambda: record(Record(run=agent, gif=True))
    yield (
        "report",
        "one page about the agent, one about the encoder",
        lambda: [report(Report(run=run)) for run in (agent, encoder)],
    )


def _run_stages(stages: Iterator[Stage]) -> dict[str, Any]:
    """Run the stages until the last one or an interruption; return the seconds and the results of each."""
    seconds: dict[str, float] = {}
    results: dict[str, Any] = {}
    for number, (name, heading, act) in enumerate(stages, start=1):
        print(f"\n[{number}/6] {name}: {heading}", flush=True)
        began = time.perf_counter()
        results[name] = act()
        seconds[name] = round(time.perf_counter() - began, 1)
        if stopped_by():
            break
    return {"seconds": seconds, "results": results}


def _conclude(result: dict[str, Any], out: Path) -> None:
    """Put the verdict and the places of the results in order, and write them to demo.json."""
    from goalsight.base.provenance import provenance
    from goalsight.base.runs import atomic_write_json

    results = result.pop("results")
    verdict = results["eval"]
    result |= {
        "total_seconds": round(sum(result["seconds"].values()), 1),
        "success": verdict["success"],
        "baselines": {name: baseline["success"] for name, baseline in verdict["baselines"].items()},
        "paths": {
            "play": str(out / "play" / "videos" / "play.mp4"),
            "pictures": str(out / "encoder" / "pictures"),
            "agent": str(out / "agent"),
            "film": str(results["record"]),
            "report": str(results["report"][0]),
        },
        **provenance(),
    }
    atomic_write_json(out / RESULT, result)


def _text(result: dict[str, Any]) -> str:
    success = result["success"]
    stages = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in result["seconds"].items())
    width = max(map(len, result["paths"]))
    places = "\n".join(f"  {name:{width}}  {path}" for name, path in result["paths"].items())
    return (
        f"\nsuccess {success['rate']:.0%} of {result['task']} goals "
        f"(95% interval {success['low']:.0%} to {success['high']:.0%})\n"
        f"{stages}; {result['total_seconds'] / 60:.1f} minutes in all\n{places}\n  as JSON  {result['out']}/{RESULT}"
    )

"""`goalsight demo`: the whole line once, from play to a film of the arm reaching goals it is shown."""

import contextlib
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from goalsight.base.errors import UserError
from goalsight.base.interruption import stopped_by

RESULT = "demo.json"


Task = Literal["reach", "push", "pick_place"]


@dataclass(frozen=True)
class Plan:
    """What a task's demo takes on two cores.

    Attributes:
        env: id of the environment.
        frames: of what is watched.
        promise: what to expect, said at the start.
        silent: whether what is watched is someone who can do it, so that the arm learns from those frames what to do.
        steps: of the training; the task's unless given.
        episode: frames of an episode of silent video, as many as the training's have steps.
        points: whether an encoder learns from it first, to find points.
        watching: how silent video is learnt from, where not as usual: options of `Watching`.
    """

    env: str
    frames: int
    promise: str
    silent: bool = True
    steps: int | None = None
    episode: int = 50
    points: bool = False
    watching: Mapping[str, int] = field(default_factory=dict)


PLANS = {
    "reach": Plan("goalsight/PandaReach-v1", 15_000, promise="about 4 minutes", silent=False),
    "push": Plan(
        "goalsight/PandaPush-v1",
        40_000,
        promise="about 6 minutes",
        steps=4_200,
        episode=40,
        points=True,
        watching={"play": 48, "attempts": 48, "rounds": 1},
    ),
    "pick_place": Plan(
        "goalsight/PandaPickPlace-v1", 125_000, promise="about 13 minutes", steps=14_900, watching={"rounds": 3}
    ),
}
SECONDS = 60.0  # of pretraining an encoder on play
EVAL_EVERY = 5_000  # env steps of an agent by silent video, or as many as it takes
STEPS = 800  # of pretraining one that finds points, on silent video


@dataclass(frozen=True)
class Demo:
    """Watch video, learn to reach goal images from pixels, evaluate the agent, record a video, write a report.

    Reach is learnt through an encoder pretrained on video of play. Push and PickPlace are learnt from silent video of a
    skilled arm, Push through an encoder that is pretrained on it, and compared with an agent that takes as many steps
    without it.
    """

    task: Task = "reach"
    """The task to learn."""
    out: Path | None = None
    """Folder for everything; by default runs/demo-<task>-<date>-<time>."""
    seed: int = 0
    """Seed of play, encoder and agent."""
    episodes: int = 100
    """Episodes that the agent is evaluated on."""
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
        print(f"{plan.env}, from play to video, {plan.promise} on two cores; everything goes to {out}")
        line = _line(config, plan, out)
        result |= _run_stages(line.stages)
        if stopped_by():
            return result
        _conclude(result, out, line.beside)
        print(_text(result))
    if config.json:
        print(json.dumps(result, indent=2))
    return result


# A stage is a name, what it does in the words of its heading, and the doing.
Stage = tuple[str, str, Callable[[], Any]]


@dataclass(frozen=True)
class Line:
    """The stages of a demo, and what it leaves beside agent, film and report, by name."""

    stages: list[Stage]
    beside: dict[str, Path]


def _line(config: Demo, plan: Plan, out: Path) -> Line:
    return _by_silent_video(config, plan, out) if plan.silent else _by_encoder(config, plan, out)


def _by_encoder(config: Demo, plan: Plan, out: Path) -> Line:
    """Play is watched by an encoder, through which the agent then sees."""
    from goalsight.agents.collecting.collect import Collect, PlayEnv, collect
    from goalsight.agents.train import Train, train
    from goalsight.envs.config import EnvConfig
    from goalsight.eval.films.record import Record, record
    from goalsight.eval.reports.report import Report, report
    from goalsight.pretrain.train import Pretrain, pretrain

    play, encoder, agent = out / "play", out / "encoder", out / "agent"
    shared: dict[str, Any] = {"seed": config.seed}
    collecting = Collect(env=PlayEnv(plan.env), frames=plan.frames, out=play, **shared)
    watching = Pretrain(data=(play,), seconds=SECONDS, out=encoder, cache=out / "frames", **shared)
    learning = Train(env=EnvConfig(plan.env, obs="pixels"), encoder=str(encoder), steps=plan.steps, out=agent, **shared)
    stages: list[Stage] = [
        ("collect", "the arm plays, and is filmed", lambda: collect(collecting)),
        ("pretrain", "an encoder watches and learns to predict what is hidden", lambda: pretrain(watching)),
        ("train", "an agent learns to reach goal images", lambda: train(learning)),
        ("eval", "new goals, never trained on", lambda: [_judged(config, agent)]),
        ("record", "a video of it", lambda: record(Record(run=agent, gif=True))),
        (
            "report",
            "one page about the agent, one about the encoder",
            lambda: [report(Report(run=run)) for run in (agent, encoder)],
        ),
    ]
    return Line(stages, {"pictures": encoder / "pictures"})


def _by_silent_video(config: Demo, plan: Plan, out: Path) -> Line:
    """Someone who can is filmed; the agent reads off the frames what to do, and another learns without them."""
    from goalsight.agents.collecting.collect import Collect, PlayEnv, collect
    from goalsight.agents.collecting.play import SKILLED
    from goalsight.agents.train import Train, train
    from goalsight.agents.watching.options import Watching
    from goalsight.envs.config import EnvConfig
    from goalsight.eval.comparing.compare import PAGE, Compare, compare
    from goalsight.eval.films.record import Record, record
    from goalsight.eval.reports.report import Report, report
    from goalsight.pretrain.train import Pretrain, pretrain

    video, encoder, agent, without = out / "play", out / "encoder", out / "agent", out / "without"
    shared: dict[str, Any] = {"seed": config.seed}
    collecting = Collect(
        env=PlayEnv(plan.env), frames=plan.frames, steps=plan.episode, mix=SKILLED, out=video, **shared
    )
    watching = Pretrain(
        data=(video,), objective="points", tokeniser="local", steps=STEPS, out=encoder, cache=out / "frames", **shared
    )
    learning = Train(
        env=EnvConfig(plan.env, obs="pixels"),
        video=(video,),
        encoder=str(encoder) if plan.points else "random",
        watching=Watching(**plan.watching),
        steps=plan.steps,
        eval_every=min(EVAL_EVERY, plan.steps or EVAL_EVERY),  # the comparison needs one of each
        out=agent,
        **shared,
    )
    alone = replace(learning, video=(), encoder="random", eyes="estimates", out=without)
    finding = "an encoder watches the frames, and finds points on what moves"
    pretraining: list[Stage] = [("pretrain", finding, lambda: pretrain(watching))] if plan.points else []
    stages: list[Stage] = [
        ("collect", "someone who can do it is filmed", lambda: collect(collecting)),
        *pretraining,
        ("train", "an agent watches the frames in silence, and learns what to do", lambda: train(learning)),
        ("without", "as many steps of another that has no video", lambda: train(alone)),
        ("eval", "new goals, never trained on", lambda: [_judged(config, run) for run in (agent, without)]),
        ("record", "a video of it", lambda: record(Record(run=agent, gif=True))),
        (
            "report",
            "one page about the agent, one that compares the two",
            lambda: [report(Report(run=agent)), compare(Compare((agent, without), out=out))],
        ),
    ]
    pictures = {"pictures": encoder / "pictures"} if plan.points else {}
    return Line(stages, {**pictures, "comparison": out / PAGE})


def _judged(config: Demo, run: Path) -> dict[str, Any]:
    from goalsight.eval.evaluate import Eval, evaluate

    return evaluate(Eval(run=run, episodes=config.episodes))


def _run_stages(stages: Sequence[Stage]) -> dict[str, Any]:
    """Run the stages until the last one or an interruption; return the seconds and the results of each."""
    seconds: dict[str, float] = {}
    results: dict[str, Any] = {}
    for number, (name, heading, act) in enumerate(stages, start=1):
        print(f"\n[{number}/{len(stages)}] {name}: {heading}", flush=True)
        began = time.perf_counter()
        results[name] = act()
        seconds[name] = round(time.perf_counter() - began, 1)
        if stopped_by():
            break
    return {"seconds": seconds, "results": results}


def _conclude(result: dict[str, Any], out: Path, beside: dict[str, Path]) -> None:
    """Put the verdict and the places of the results in order, and write them to demo.json."""
    from goalsight.base.files import atomic_write_json
    from goalsight.base.provenance import provenance

    results = result.pop("results")
    verdict, *others = results["eval"]
    result |= {
        "total_seconds": round(sum(result["seconds"].values()), 1),
        "success": verdict["success"],
        "baselines": {name: baseline["success"] for name, baseline in verdict["baselines"].items()},
        **({"without_video": others[0]["success"]} if others else {}),
        "paths": {
            "play": str(out / "play" / "videos" / "play.mp4"),
            "agent": str(out / "agent"),
            "film": str(results["record"]),
            "report": str(results["report"][0]),
            **{name: str(path) for name, path in beside.items()},
        },
        **provenance(),
    }
    atomic_write_json(out / RESULT, result)


def _text(result: dict[str, Any]) -> str:
    success = result["success"]
    stages = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in result["seconds"].items())
    width = max(map(len, result["paths"]))
    places = "\n".join(f"  {name:{width}}  {path}" for name, path in result["paths"].items())
    without = result.get("without_video")
    beside = "" if without is None else f"; as many steps without the video: {_interval(without)}"
    return (
        f"\nsuccess {_interval(success, of=result['task'])}{beside}\n"
        f"{stages}; {result['total_seconds'] / 60:.1f} minutes in all\n{places}\n  as JSON  {result['out']}/{RESULT}"
    )


def _interval(success: dict[str, float], of: str = "") -> str:
    goals = f" of {of} goals" if of else ""
    return f"{success['rate']:.0%}{goals} (95% interval {success['low']:.0%} to {success['high']:.0%})"

"""Learning curves: how many steps and minutes agents need, and what a pretrained encoder is worth to them.

Runs that the result already holds are skipped, and it is written after each run, so a stopped benchmark goes on
where it was when it is started again.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from learning_plot import plot
from learning_summary import report, summarise
from reporting import RESULTS, Rows, provenance, start

from goalsight.agents.collecting.collect import Collect, PlayEnv, collect
from goalsight.agents.train import Train, train
from goalsight.base.errors import UserError, choose
from goalsight.base.interruption import stopped_by
from goalsight.base.machine import usable_cores
from goalsight.base.runs import Run
from goalsight.base.workers import workers_of
from goalsight.base.workers.following import follow
from goalsight.base.workers.job import Job
from goalsight.commands.demo import PLANS, SECONDS
from goalsight.commands.resume import Resume, resume
from goalsight.envs.config import EnvConfig
from goalsight.envs.ids import id_of
from goalsight.envs.tasks import TASKS
from goalsight.eval.evaluate import Eval, evaluate
from goalsight.pretrain.encoders.vit import load_encoder
from goalsight.pretrain.train import Pretrain, pretrain

NEVER = 2.0  # a success that stops no training, where steps are to be matched


@dataclass(frozen=True)
class Experiment:
    """Agents that learn one task, alike but for their encoder."""

    task: str
    obs: Literal["state", "pixels"]
    encoders: tuple[str, ...]
    matched: bool  # all take the same number of env steps; otherwise they stop once they succeed

    @property
    def env(self) -> str:
        """The id, with the Panda."""
        return id_of("panda", TASKS[self.task])


EXPERIMENTS = {
    "push-state": Experiment("push", "state", ("none",), matched=False),
    "reach-pixels": Experiment("reach", "pixels", ("pretrained", "random"), matched=True),
    "push-pixels": Experiment("push", "pixels", ("pretrained", "random"), matched=True),
    **{
        f"{task}-state": Experiment(task, "state", ("none",), matched=False)
        for task in ("reach_pose", "pick_place", "slide", "drawer", "door", "switches", "buttons")
    },
}


@dataclass(frozen=True)
class Learning:
    """Measure learning curves over several seeds."""

    experiments: tuple[str, ...] = tuple(EXPERIMENTS)
    """Which to run."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """One agent each."""
    steps: int | None = None
    """Env steps; the task's preset unless given."""
    eval_every: int | None = None
    """Env steps between evaluations; the task's preset unless given."""
    eval_episodes: int = 100
    """Episodes per evaluation on the way."""
    final_episodes: int = 200
    """Episodes by which the finished agent is judged, on seeds of their own."""
    jobs: int = 1
    """Agents that learn at once, each on its share of the CPUs: less time in all, more for each agent."""
    encoder: Path | None = None
    """A pretraining run for all pixel experiments; by default each task gets the one its demo would make."""
    runs: Path = Path("runs/benchmarks")
    """Where play and encoders are kept; agents go to runs/."""
    out: Path = RESULTS / "learning.json"
    """The result; a plot (SVG) and a Markdown table are written beside it."""

    def __post_init__(self) -> None:
        for name in self.experiments:
            choose("experiment", name, EXPERIMENTS)
        if not 1 <= self.jobs <= usable_cores():
            raise UserError(f"jobs must be 1 to {usable_cores()}, one CPU each, got {self.jobs}")


class StoppedError(Exception):
    """Someone asked to stop; what is finished is kept."""


def pretrained_encoder(task: str, config: Learning) -> tuple[Path, dict[str, Any]]:
    """Return the task's pretraining run, making what is not there yet, and what it cost.

    Raises:
        StoppedError: when someone asked to stop meanwhile.
    """
    if config.encoder is not None:
        return config.encoder, {"pretrain": _cost(config.encoder)}
    plan = PLANS[task]
    play, encoder = config.runs / f"play-{task}", config.runs / f"encoder-{task}"
    if not _finished(play):
        collect(Collect(env=PlayEnv(plan.env), frames=plan.frames, out=play))
        _go_on()
    if not _finished(encoder):
        frames = config.runs / "frames"
        pretrain(Pretrain(data=(play,), seconds=None if plan.silent else SECONDS, out=encoder, cache=frames))
        _go_on()
    return encoder, {"play": _cost(play), "pretrain": _cost(encoder)}


def _cost(run: Path) -> dict[str, Any]:
    """Return a run's summary without its folders, which say nothing to a reader of the result."""
    return {key: value for key, value in Run.open(run).summary.items() if key not in ("run", "data")}


def _finished(folder: Path) -> bool:
    """Say whether a run is complete; one that was stopped is gone on with first.

    Raises:
        StoppedError: when someone asked to stop meanwhile.
        UserError: when it cannot go on; says why.
    """
    if not folder.exists():
        return False
    if Run.open(folder).status != "finished":
        resume(Resume(folder))
        _go_on()
    return True


def _go_on() -> None:
    if stopped_by():
        raise StoppedError


def asked_of(experiment: Experiment, encoder: str, seed: int, config: Learning) -> dict[str, Any]:
    """Return the options of `Train` that make a run what it is, without folders."""
    options: dict[str, Any] = {
        "env": experiment.env,
        "obs": experiment.obs,
        "encoder": encoder,
        "seed": seed,
        "steps": config.steps,
        "eval_every": config.eval_every,
        "eval_episodes": config.eval_episodes,
        "target_success": NEVER if experiment.matched else None,
    }
    return {name: value for name, value in options.items() if value is not None}


def learn(
    name: str, asked: dict[str, Any], source: str, threads: int, final_episodes: int, agents_at_once: int
) -> dict[str, Any] | None:
    """Train one agent, judge it, and return what the result keeps of it; None when someone asked to stop."""
    about = provenance()
    options = {key: value for key, value in asked.items() if key not in ("env", "obs")}
    env = EnvConfig(asked["env"], obs=asked["obs"])
    folder = train(Train(env, **options | {"encoder": source, "threads": threads}))
    if stopped_by():
        return None
    run = Run.open(folder)
    judged = evaluate(Eval(run=folder, checkpoint="last", episodes=final_episodes))
    kept = ("env_steps", "updates", "seconds", "critic", "best_success", "diverged_episodes", "reached_target")
    return {
        "experiment": name,
        "encoder": asked["encoder"],
        "seed": asked["seed"],
        "asked": asked,
        "preset": run.config["preset"],
        "encoder_hash": run.manifest["sources"].get("encoder"),
        **{key: run.summary[key] for key in kept},
        "evaluations": evaluations_of(run),
        "final": {"checkpoint": "last", "success": judged["success"], "seed": judged["seed"]},
        "baselines": {baseline: row["success"]["rate"] for baseline, row in judged["baselines"].items()},
        **about,
        "agents_at_once": agents_at_once,
    }


def evaluations_of(run: Run) -> list[dict[str, float]]:
    """Return what a run's agent reached on the way."""
    return [
        {"env_steps": row["step"], "wall_s": row["wall_s"], "success": row["eval/success"]}
        for row in run.metrics()
        if "eval/success" in row
    ]


def note_encoder(result: Rows, task: str, content_hash: str, cost: dict[str, Any]) -> None:
    """Keep what the encoder cost in the result.

    Raises:
        UserError: when earlier runs had another encoder.
    """
    encoders = result.beside.setdefault("encoders", {})
    before = encoders.get(task, {}).get("hash", content_hash)
    if before != content_hash:
        raise UserError(f"the result's runs of {task} had another encoder ({before[:12]}); choose another --out")
    encoders[task] = {"hash": content_hash, **cost}


def missing(result: Rows, config: Learning) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Yield experiment, options and encoder of each run that the result lacks; encoders are made on the way.

    Seed by seed, so that a benchmark that is stopped early still compares like with like.
    """
    for name in config.experiments:
        experiment = EXPERIMENTS[name]
        for seed in config.seeds:
            for encoder in experiment.encoders:
                asked = asked_of(experiment, encoder, seed, config)
                if not result.lacks({"experiment": name, **asked}, "experiment", "encoder", "seed"):
                    continue
                source = encoder
                if encoder == "pretrained":
                    folder, cost = pretrained_encoder(experiment.task, config)
                    note_encoder(result, experiment.task, load_encoder(folder).content_hash(), cost)
                    source = str(folder)
                yield name, asked, source


def run_all(result: Rows, config: Learning) -> None:
    """Make the runs that the result lacks, and write it after each."""
    shared = {"threads": usable_cores() // config.jobs, "agents_at_once": config.jobs}
    jobs = [
        Job(
            f"{name}, encoder {asked['encoder']}, seed {asked['seed']}",
            "learning:learn",
            {"name": name, "asked": asked, "source": source, "final_episodes": config.final_episodes, **shared},
        )
        for name, asked, source in missing(result, config)
    ]
    for outcome in follow(workers_of(str(config.jobs)), jobs, total=len(jobs), what="learning"):
        if outcome.result is not None:
            result.rows = sorted([*result.rows, outcome.result], key=order)
            write(result, config.out)
    _go_on()


def order(run: dict[str, Any]) -> tuple[int, int, int]:
    """Where a run stands in the result, whichever was finished first."""
    experiment = EXPERIMENTS[run["experiment"]]
    return list(EXPERIMENTS).index(run["experiment"]), run["seed"], experiment.encoders.index(run["encoder"])


def write(result: Rows, out: Path) -> None:
    """Write the result with its summary, the table and the plot."""
    result.beside["summary"] = summarise(result.rows)
    result.write()
    out.with_suffix(".md").write_text(report(result.beside["summary"]) + "\n")
    plot(result.rows, out.with_suffix(".svg"))


def main(config: Learning) -> None:
    """Make what is missing and print the summary."""
    result = Rows(config.out, "runs")
    try:
        run_all(result, config)
    except (StoppedError, KeyboardInterrupt):
        print("stopped; start again to go on", file=sys.stderr)
    if result.rows:
        write(result, config.out)
        print(report(result.beside["summary"]))


if __name__ == "__main__":
    start(Learning, main)

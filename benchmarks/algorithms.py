"""The algorithms beside each other on Push from state: those that try over env steps, the one that imitates as a level.

Everything but the algorithm is alike, options are the defaults. Runs that are finished are kept, and those that were
begun are gone on with, so a stopped benchmark goes on when it is started again.
"""

from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from reporting import RESULTS, markdown_table, provenance, start

from goalsight.agents.algorithms import ALGORITHMS
from goalsight.agents.collecting.collect import Collect, PlayEnv, collect
from goalsight.agents.collecting.play import SKILLED
from goalsight.agents.many import train_seeds
from goalsight.agents.train import Train
from goalsight.base.files import atomic_write_json, atomic_write_text, to_json
from goalsight.base.runs import Run
from goalsight.envs.config import EnvConfig
from goalsight.eval.comparing.comparison import Asked, Comparison, compared
from goalsight.eval.comparing.record import record
from goalsight.eval.reports.plots import Series, line_plot

ENV = "goalsight/PandaPush-v1"
NEVER = 2.0  # a success that stops no training


@dataclass(frozen=True)
class Algorithms:
    """Compare the algorithms."""

    seeds: tuple[int, ...] = (0, 1, 2)
    """One agent each."""
    steps: int = 60_000
    """Env steps of those that try."""
    updates: int = 8_000
    """Gradient steps of the one that imitates."""
    episodes: int = 1_000
    """Episodes of the noisy expert that it imitates."""
    eval_episodes: int = 100
    """Episodes per evaluation."""
    workers: str = "1"
    """Agents that learn at once."""
    runs: Path = Path("runs/algorithms")
    """Where play and agents are kept."""
    out: Path = RESULTS / "algorithms.json"
    """The result; a plot (SVG) and a Markdown table are written beside it."""


def config_of(name: str, config: Algorithms, play: Path) -> Train:
    """What an algorithm's agents are asked for."""
    online = ALGORITHMS.load(name).online
    return Train(
        env=EnvConfig(ENV, obs="state"),
        algorithm=name,
        data=() if online else (play,),
        steps=config.steps if online else config.updates,
        eval_every=5_000 if online else 2_000,
        eval_episodes=config.eval_episodes,
        target_success=NEVER,
        out=config.runs / name,
    )


def recorded(config: Algorithms) -> Path:
    """The play that is imitated, recorded unless it is there."""
    play = config.runs / "play"
    if not (play / "summary.json").exists():
        frames = 40 * config.episodes
        collect(Collect(env=PlayEnv(ENV), frames=frames, steps=40, mix=SKILLED, seed=1_000_000, film=0, out=play))
    return play


def figure(found: Comparison, imitated: dict[str, float]) -> str:
    """Curves of those that try, and levels of those that imitate, in SVG text."""
    curves = found.curves["steps"]
    lines = [
        Series(name, list(curve.x), list(curve.mean), band=(list(curve.low), list(curve.high)))
        for name, curve in curves.items()
    ]
    ends = [0.0, max(float(curve.x[-1]) for curve in curves.values())]
    levels = [Series(f"{name}, by imitation", ends, [rate, rate], dashed=True) for name, rate in imitated.items()]
    all_of_them = [*lines, *levels]
    return line_plot(all_of_them, x_label="env steps", y_label="success", percent=True, width=860, height=420)


def main(config: Algorithms) -> None:
    """Train what is missing, and write what all of it says."""
    play = recorded(config)
    rows: dict[str, list[float]] = {}
    tried: list[Path] = []
    for name in ALGORITHMS:
        folder, done = train_seeds(config_of(name, config, play), list(config.seeds), config.workers)
        runs = [Path(row["run"]) for row in done]
        if any(Run.open(run).status != "finished" for run in runs):
            return
        rows[name] = [row["last_success"] for row in done]
        if ALGORITHMS.load(name).online:
            tried += sorted(folder.glob("seed-*/"))
    found = compared(tuple(tried), Asked(by=("algorithm",)))
    imitated = {name: mean(rates) for name, rates in rows.items() if not ALGORITHMS.load(name).online}
    result: dict[str, Any] = {"asked": to_json(config), "last_success": rows, **to_json(record(found)), **provenance()}
    atomic_write_json(config.out, result)
    atomic_write_text(config.out.with_suffix(".svg"), figure(found, imitated))
    lines = [[name, f"{mean(of):.0%}", " ".join(f"{one:.0%}" for one in of)] for name, of in rows.items()]
    table = markdown_table(["algorithm", "success at the end", "of each seed"], lines)
    atomic_write_text(config.out.with_suffix(".md"), table + "\n")
    print(table)


if __name__ == "__main__":
    start(Algorithms, main)

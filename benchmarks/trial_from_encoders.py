"""What encoders of a comparison are worth to learning by trial: an agent from each, frozen, and what goes with success.

`goalsight compare objectives` makes the encoders and asks what they know. Here an agent learns Push by trial from goal
images through each of them, for as many env steps, and its mean success over all evaluations is put beside the scores.
Agents that the result holds already are skipped.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from learning import NEVER, evaluations_of
from reporting import RESULTS, Rows, markdown_table, provenance, start

from goalsight.agents.train import Train, train
from goalsight.base.errors import UserError
from goalsight.base.files import read_json
from goalsight.base.interruption import stopped_by
from goalsight.base.runs import Run
from goalsight.base.workers import workers_of
from goalsight.base.workers.following import follow
from goalsight.base.workers.job import Job
from goalsight.commands.resume import Resume, resume
from goalsight.envs.config import EnvConfig
from goalsight.eval.objectives.analysis import goes_with
from goalsight.eval.objectives.rows import SUCCESS, on_shared_factors, score_of

ENV = "goalsight/PandaPush-v1"
KEYS = ("objective", "asked_flops", "seed")
RANDOM = "random"


@dataclass(frozen=True)
class TrialFromEncoders:
    """Learn by trial from the encoders of a comparison of objectives."""

    comparison: tyro.conf.Positional[Path]
    """Folder of `goalsight compare objectives`."""
    flops: tuple[float, ...] = (1e13,)
    """Budgets of the encoders that are taken."""
    seeds: tuple[int, ...] = (0, 1)
    """Seeds of the encoders that are taken, and of their agents."""
    steps: int = 30_000
    """Env steps of each agent."""
    eval_every: int = 5_000
    """Env steps between evaluations."""
    eval_episodes: int = 100
    """Episodes of each evaluation."""
    jobs: int = 1
    """Agents that learn at once, each on one CPU."""
    runs: Path = Path("runs/trial-from-encoders")
    """Where agents are kept."""
    out: Path = RESULTS / "trial_from_encoders.json"
    """The result; the table lies beside it."""


def learn(encoder: str, seed: int, out: str, plan: dict[str, Any]) -> dict[str, Any] | None:
    """Train one agent and return what its evaluations found; None when someone asked to stop."""
    about, folder = provenance(), Path(out)
    if folder.exists():
        if Run.open(folder).status != "finished":
            resume(Resume(folder))
    else:
        env = EnvConfig(ENV, obs="pixels")
        train(Train(env, encoder=encoder, seed=seed, target_success=NEVER, threads=1, out=folder, **plan))
    if stopped_by():
        return None
    found = evaluations_of(Run.open(folder))
    success = [one["success"] for one in found]
    return {"evaluations": found, "success": float(np.mean(success)), "last": success[-1], **about}


def chosen(config: TrialFromEncoders) -> list[dict[str, Any]]:
    """Return the rows of the comparison whose encoders are taken, with where each lies, and one random encoder a seed.

    Raises:
        UserError: the folder holds no comparison, or none of these encoders.
    """
    path = config.comparison / "objectives.json"
    rows = read_json(path).get("rows", []) if path.exists() else []
    taken = [row for row in rows if row["asked_flops"] in config.flops and row["seed"] in config.seeds]
    if not taken:
        raise UserError(f"{config.comparison} holds no encoder of these budgets and seeds")
    for row in taken:
        row["encoder"] = str(config.comparison / row["objective"] / f"{row['asked_flops']:.3g}-{row['seed']}")
    random = [{"objective": RANDOM, "asked_flops": 0.0, "seed": seed, "encoder": RANDOM} for seed in config.seeds]
    return [*taken, *random]


def report(rows: list[dict[str, Any]]) -> str:
    """Return success by objective, and Spearman's correlation of scores with it, as Markdown."""
    lines = []
    for name in dict.fromkeys(row["objective"] for row in rows):
        of = [row for row in rows if row["objective"] == name]
        each = " ".join(f"{row['success']:.0%}" for row in of)
        mean, last = (np.mean([row[key] for row in of]) for key in ("success", "last"))
        lines.append([name, f"{mean:.1%} ({each})", f"{last:.0%}"])
    encoders = judged(rows)
    found = goes_with(encoders, np.random.default_rng(0))
    correlations = [[name, f"{one['value']:.2f} [{one['low']:.2f}, {one['high']:.2f}]"] for name, one in found.items()]
    return "\n\n".join(
        [
            markdown_table(["encoder", "success, mean over evaluations", "at the end"], lines),
            markdown_table([f"goes with success, of {len(encoders)} encoders", "Spearman"], correlations),
        ]
    )


def judged(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what encoders scored, with success by trial as their control; success of those who imitate is a score."""
    found = on_shared_factors([row for row in rows if "scores" in row])[0]
    for row in found:
        if "control" in row:
            row["scores"] = row["scores"] | {"success of those who imitate": score_of(row, SUCCESS)}
        row["control"] = {"success": row["success"], "asked": {"episodes": 1}}
    return found


def main(config: TrialFromEncoders) -> None:
    """Train what is missing, and write what all of it says."""
    result = Rows(config.out)
    plan = {name: getattr(config, name) for name in ("steps", "eval_every", "eval_episodes")}
    lacking = {}
    for row in chosen(config):
        name = f"{row['objective']}-{row['asked_flops']:.3g}-{row['seed']}"
        if result.lacks({**{key: row[key] for key in KEYS}, **plan}, *KEYS):
            lacking[name] = row
    jobs = [
        Job(
            name,
            "trial_from_encoders:learn",
            {"encoder": row["encoder"], "seed": row["seed"], "out": str(config.runs / name), "plan": plan},
        )
        for name, row in lacking.items()
    ]
    for outcome in follow(workers_of(str(config.jobs)), jobs, total=len(jobs), what="trial"):
        if outcome.result is not None:
            row = {key: value for key, value in lacking[outcome.job.name].items() if key != "encoder"}
            result.put({"asked": plan, **row, **outcome.result}, *KEYS)
    if result.rows:
        text = report(result.rows)
        config.out.with_suffix(".md").write_text(text + "\n")
        print(text)


if __name__ == "__main__":
    start(TrialFromEncoders, main, orderly=True)

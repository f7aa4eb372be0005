"""Success over fixed evaluation seeds, always beside the baselines: doing nothing, acting at random, the expert."""

import contextlib
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypedDict

import numpy as np
import tyro

from goalsight.base.errors import UserError
from goalsight.base.progress import progress
from goalsight.base.provenance import provenance
from goalsight.envs.config import EnvChanges
from goalsight.eval.stats import Proportion, wilson
from goalsight.eval.subject import BASELINES, Subject, baseline, resolve_subject

if TYPE_CHECKING:
    from tqdm import tqdm

    from goalsight.agents.rollout import Episodes
    from goalsight.envs.making import GoalEnvs

EVALUATION_SEED = 10_000  # training begins at 20,000,000; play at 0, and the first 10,000 episodes of it are others
BEST = "best"  # checkpoint
RESULT = "eval.json"  # in the run's folder, which report and model card show


@dataclass(frozen=True)
class Eval:
    """Evaluate an agent: its success, beside that of the baselines."""

    run: Annotated[Path | None, tyro.conf.Positional] = None
    """A training run, or nothing with --policy."""
    policy: str | None = None
    """Evaluate a policy that does not learn instead: nothing, random or expert."""
    env: tyro.conf.OmitArgPrefixes[EnvChanges] = EnvChanges()
    """The environment for --policy, and other conditions than the run's own."""
    episodes: int = 100
    """Episodes to play."""
    seed: int = EVALUATION_SEED
    """Episode k is seeded with seed + k."""
    goals: Literal["random", "named"] = "random"
    """Goals drawn with each episode's seed, or the task's named goals in turn, with a success each."""
    checkpoint: str = BEST
    """Checkpoint of the run: best, last, or a step."""
    num_envs: int = 50
    """Environments at once; results do not depend on it."""
    json: bool = False
    """Print the result as JSON."""

    def __post_init__(self) -> None:
        for name in ("episodes", "num_envs"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.seed < 0:
            raise UserError(f"seed must not be negative, got {self.seed}")


class Success(TypedDict, total=False):
    """A `Proportion` as results keep it."""

    count: int
    total: int
    rate: float
    low: float
    high: float


class Judged(TypedDict, total=False):
    """What results keep of a policy; see `summarise`."""

    success: Success
    mean_return: float
    diverged: int


class Judge(TypedDict, total=False):
    """Who was judged, in an `eval.json`."""

    name: str


class Result(Judged, total=False):
    """What an `eval.json` holds that is read again; earlier versions called baselines floors."""

    subject: Judge
    checkpoint: str | None
    episodes: int
    seed: int
    baselines: dict[str, Judged]
    floors: dict[str, Judged]


def evaluate(config: Eval) -> dict[str, Any]:
    """Play the evaluation episodes with the subject and with each baseline.

    Args:
        config: whom to judge, and on which episodes.

    Returns:
        the result, which for a run is also kept in its folder, under `result_name`.

    Raises:
        UserError: for an unknown run, policy or environment, or a folder that cannot be written.
    """
    from goalsight.base.files import atomic_write_json
    from goalsight.envs.ids import spec_of

    subject = resolve_subject(
        run=config.run, policy=config.policy, changes=config.env, which=config.checkpoint, seed=config.seed
    )
    experts = spec_of(subject.env.id).has_expert
    names = [name for name in BASELINES if name != subject.name and (experts or name != "expert")]
    others = [baseline(name, subject.env, seed=config.seed) for name in names]
    with progress(total=(1 + len(others)) * config.episodes, unit="episode", desc="eval") as bar:
        judged = judge(subject, config, bar)
        baselines = {one.name: judge(one, config, bar) for one in others}
    result = {
        "env": subject.env.id,
        "env_kwargs": subject.env.arguments(),
        "subject": {"name": subject.name, **subject.facts},
        "checkpoint": None if subject.run is None else config.checkpoint,
        "episodes": config.episodes,
        "seed": config.seed,
        "goals": config.goals,
        **judged,
        "baselines": baselines,
        **provenance(),
    }
    print(json.dumps(result, default=str) if config.json else table(result))
    if subject.run is not None:
        atomic_write_json(subject.run.path / result_name(config), result)
    return result


def result_name(config: Eval) -> str:
    """The file in a run's folder that keeps the result.

    It is `eval.json` for the best checkpoint on the usual seeds; named goals, other conditions than the run's own,
    another checkpoint and other seeds have a file of their own, so that what is published stays.
    """
    others = {
        "named_goals": config.goals != "random",
        "changed": bool(config.env.conditions),
        f"checkpoint_{config.checkpoint}": config.checkpoint != BEST,
        f"seed_{config.seed}": config.seed != EVALUATION_SEED,
    }
    return RESULT.replace(".json", "".join(f"_{name}" for name, other in others.items() if other) + ".json")


def judge(subject: Subject, config: Eval, bar: "tqdm[Any]") -> dict[str, Any]:
    """Play the episodes with one policy: success with its interval, mean return, divergences and seconds."""
    from goalsight.agents.rollout import rollout

    env = subject.make_env(min(config.num_envs, config.episodes))
    began = time.perf_counter()
    named = goals_of(env, subject.env.id) if config.goals == "named" else {}
    with contextlib.closing(env):
        episodes = rollout(
            env,
            subject.policy,
            episodes=config.episodes,
            seed=config.seed,
            goals=np.array(list(named.values())) if named else None,
            after_wave=lambda finished: bar.update(len(finished)),
        )
    seconds = time.perf_counter() - began
    by_goal = {
        name: asdict(wilson(int(tried.sum()), len(tried)))
        for number, name in enumerate(named)
        if len(tried := episodes.success[episodes.index % len(named) == number])
    }
    return summarise(episodes, seconds) | ({"by_goal": by_goal} if named else {})


def goals_of(env: "GoalEnvs", env_id: str) -> dict[str, tuple[float, ...]]:
    """The named goals of an environment's task.

    Raises:
        UserError: it has none.
    """
    if not env.task.goals:
        raise UserError(f'task "{env.task.name}" of {env_id} has no named goals; choose --goals random')
    return env.task.goals


def summarise(episodes: "Episodes", seconds: float) -> dict[str, Any]:
    """One policy's figures; a diverged episode counts as a failure and is reported."""
    return {
        "success": asdict(wilson(int(episodes.success.sum()), len(episodes))),
        "mean_return": float(episodes.returns.mean()),
        "diverged": int(episodes.diverged.sum()),
        "seconds": round(seconds, 3),
    }


def table(result: dict[str, Any]) -> str:
    """The result as text for people."""
    last = result["seed"] + result["episodes"] - 1
    kind = ", named goals in turn" if result["goals"] == "named" else ""
    for key, word in (("vary", "varied"), ("aids", "aided by")):
        if result["env_kwargs"].get(key):
            kind += f"; {word}: {', '.join(result['env_kwargs'][key])}"
    lines = [
        f"{result['env']}: {result['episodes']} episodes, seeds {result['seed']} to {last}{kind}",
        f"  {'policy':8}  {'success':>7}  {'95% interval':>16}  {'mean return':>11}",
    ]
    rows = {result["subject"]["name"]: result, **result["baselines"]}
    for name, row in rows.items():
        success = Proportion(**row["success"])
        interval = f"[{100 * success.low:.1f}%, {100 * success.high:.1f}%]"
        note = f"  {row['diverged']} diverged" if row["diverged"] else ""
        lines.append(f"  {name:8}  {success.rate:>7.1%}  {interval:>16}  {row['mean_return']:>11.1f}{note}")
    if "by_goal" in result:
        width = max(map(len, result["by_goal"]))
        lines.append(f"  by goal: {result['subject']['name']}, and the expert")
        experts = (result["baselines"].get("expert") or result)["by_goal"]
        for name, row in result["by_goal"].items():
            lines.append(f"    {name:{width}}  {row['count']:>3} of {row['total']}  {experts[name]['rate']:>5.0%}")
    seen = [f"{key}: {value}" for key, value in result["subject"].items() if key != "name" and value is not None]
    return "\n".join([*lines, *([f"  {', '.join(seen)}"] if seen else [])])

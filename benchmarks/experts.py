"""Which task the scripted expert solves with which arm, and how often; over fixed evaluation seeds."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro
from reporting import RESULTS, markdown_table, provenance
from tqdm import tqdm

from goalsight.agents.policies import make_policy
from goalsight.agents.rollout import rollout
from goalsight.envs.arms import ARMS
from goalsight.envs.fingerprints import own_ids
from goalsight.envs.registration import make_vector
from goalsight.envs.tasks import TASKS
from goalsight.errors import UserError
from goalsight.eval.evaluate import EVALUATION_SEED
from goalsight.eval.stats import Proportion, wilson
from goalsight.runs import atomic_write_json

if TYPE_CHECKING:
    from goalsight.envs.registration import GoalEnvs


@dataclass(frozen=True)
class Experts:
    """Judge the expert of every environment that comes with goalsight."""

    episodes: int = 500
    """Of each."""
    num_envs: int = 100
    """Environments at once."""
    out: Path = RESULTS / "experts.json"
    """The result; a Markdown table is written beside it."""

    def __post_init__(self) -> None:
        if min(self.episodes, self.num_envs) < 1:
            raise UserError(f"episodes and num_envs must be at least 1, got {self.episodes} and {self.num_envs}")


def succeeds(env: "GoalEnvs", episodes: int) -> Proportion:
    """How often the expert succeeds in so many fixed episodes."""
    success = rollout(env, make_policy("expert"), episodes=episodes, seed=EVALUATION_SEED).success
    return wilson(int(success.sum()), len(success))


def judge(env_id: str, config: Experts) -> dict[str, Any]:
    """The expert's success in one environment."""
    env = make_vector(env_id, num_envs=min(config.num_envs, config.episodes))
    success = succeeds(env, config.episodes)
    row = {"env": env_id, "task": env.task.name, "arm": env.arm.name, "count": success.count, "total": success.total}
    env.close()
    return row | {"low": round(success.low, 4), "high": round(success.high, 4)}


def report(rows: list[dict[str, Any]]) -> str:
    """A line for each task, a column for each arm; a dash where the task lies beyond the arm's reach."""
    rates = {(row["task"], row["arm"]): f"{row['count'] / row['total']:.1%}" for row in rows}
    lines = [[task, *(rates.get((task, arm), "-") for arm in ARMS)] for task in TASKS]
    return markdown_table(["task", *ARMS], lines)


def main(config: Experts) -> None:
    """Judge all, print the table, write both."""
    about = provenance() | {"episodes": config.episodes, "seed": EVALUATION_SEED}
    rows = [judge(env_id, config) for env_id in tqdm(own_ids(), unit="env", disable=None)]
    config.out.parent.mkdir(parents=True, exist_ok=True)
    atomic_write_json(config.out, about | {"rows": rows})
    config.out.with_suffix(".md").write_text(report(rows) + "\n")
    print(report(rows))


if __name__ == "__main__":
    try:
        main(tyro.cli(Experts, description=__doc__))
    except UserError as error:
        sys.exit(str(error))

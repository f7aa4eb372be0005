"""Which task the scripted expert solves with which arm, and how often; over fixed evaluation seeds."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reporting import RESULTS, markdown_table, provenance, start
from tqdm import tqdm

from goalsight.agents.policies import make_policy
from goalsight.agents.rollout import rollout
from goalsight.base.errors import UserError
from goalsight.base.files import atomic_write_json
from goalsight.envs.arms.catalogue import ARMS
from goalsight.envs.arms.files import find_arm
from goalsight.envs.fingerprints import own_ids
from goalsight.envs.registration import make_vector
from goalsight.envs.tasks import TASKS
from goalsight.envs.vector import GoalVectorEnv
from goalsight.eval.evaluate import EVALUATION_SEED
from goalsight.eval.stats import Proportion, wilson

if TYPE_CHECKING:
    from goalsight.envs.making import GoalEnvs


@dataclass(frozen=True)
class Experts:
    """Judge the expert of every environment that comes with goalsight."""

    episodes: int = 500
    """Of each."""
    num_envs: int = 100
    """Environments at once."""
    arms: tuple[str, ...] = ()
    """Arms of MuJoCo Menagerie, or TOML files, to judge instead of goalsight's own."""
    tasks: tuple[str, ...] = ("reach", "push", "pick_place")
    """What such arms have to do."""
    out: Path | None = None
    """The result, results/experts.json, or arms.json of such arms; a Markdown table is written beside it."""

    def __post_init__(self) -> None:
        if min(self.episodes, self.num_envs) < 1:
            raise UserError(f"episodes and num_envs must be at least 1, got {self.episodes} and {self.num_envs}")


def succeeds(env: "GoalEnvs", episodes: int) -> Proportion:
    """How often the expert succeeds in so many fixed episodes."""
    success = rollout(env, make_policy("expert"), episodes=episodes, seed=EVALUATION_SEED).success
    return wilson(int(success.sum()), len(success))


def asked(config: Experts) -> dict[str, Callable[..., GoalVectorEnv]]:
    """What makes each of the environments that are to be judged, by its name."""
    if not config.arms:
        return {env_id: partial(make_vector, env_id) for env_id in own_ids()}
    arms = {arm: find_arm(arm) for arm in config.arms}
    return {f"{arm} {task}": partial(GoalVectorEnv, task, arms[arm]) for arm in arms for task in config.tasks}


def judge(name: str, make: Callable[..., GoalVectorEnv], config: Experts) -> dict[str, Any]:
    """The expert's success in one environment."""
    env = make(num_envs=min(config.num_envs, config.episodes))
    success = succeeds(env, config.episodes)
    row = {"env": name, "task": env.task.name, "arm": env.arm.name, "count": success.count, "total": success.total}
    env.close()
    return row | {"low": round(success.low, 4), "high": round(success.high, 4)}


def report(rows: list[dict[str, Any]]) -> str:
    """A line for each task, a column for each arm, or the other way round; a dash where the arm does not reach."""
    rates = {(row["task"], row["arm"]): f"{row['count'] / row['total']:.1%}" for row in rows}
    tasks = [task for task in TASKS if any(task == each for each, _ in rates)]
    arms = [arm for arm in (*ARMS, *dict.fromkeys(arm for _, arm in rates)) if any(arm == each for _, each in rates)]
    arms = list(dict.fromkeys(arms))
    if len(arms) > len(tasks):
        lines = [[arm, *(rates.get((task, arm), "-") for task in tasks)] for arm in arms]
        return markdown_table(["arm", *tasks], lines)
    lines = [[task, *(rates.get((task, arm), "-") for arm in arms)] for task in tasks]
    return markdown_table(["task", *arms], lines)


def main(config: Experts) -> None:
    """Judge all, print the table, write both."""
    about = provenance() | {"episodes": config.episodes, "seed": EVALUATION_SEED}
    envs = asked(config)
    rows = [judge(name, make, config) for name, make in tqdm(envs.items(), unit="env", disable=None)]
    out = config.out or RESULTS / ("arms.json" if config.arms else "experts.json")
    out.parent.mkdir(parents=True, exist_ok=True)
    atomic_write_json(out, about | {"rows": rows})
    out.with_suffix(".md").write_text(report(rows) + "\n")
    print(report(rows))


if __name__ == "__main__":
    start(Experts, main)

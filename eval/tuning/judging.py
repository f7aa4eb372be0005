"""One training of a sweep: made, or gone on with, and judged on episodes that only sweeps play."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from goalsight.base.files import atomic_write_json

# The seeds of the episodes that trials are judged by. Evaluations begin at 10,000, recordings for benchmarks at
# 1,000,000, the checks within a training at 5,000,000, its own episodes at 20,000,000, its play at 900,000,000.
TUNING_SEED = 10_000_000
MOST_EPISODES = 100_000
ENVS = 50  # at once
RESULT = "tuning.json"  # in the run's folder


def try_out(config: dict[str, Any], out: str, episodes: int) -> dict[str, Any]:
    """Train, or do what is left of it, and judge the agent as it is in the end.

    Args:
        config: the training, as its run records it.
        out: the run's folder.
        episodes: to judge by, with goals that no evaluation and no check has.

    Returns:
        "status" of the run, and where it is finished "success" in [0, 1].
    """
    from goalsight.agents.agent import load_agent
    from goalsight.agents.many import train_or_go_on
    from goalsight.agents.rollout import rollout
    from goalsight.envs.config import EnvConfig
    from goalsight.envs.making import make
    from goalsight.eval.stats import wilson

    status = train_or_go_on(config, out)["status"]
    if status != "finished":
        return {"status": status}
    # The last checkpoint: the best one was chosen by the checks, more luckily where there were more of them.
    agent = load_agent(Path(out), "last")
    env = make(EnvConfig.of(agent.env_id, agent.env_kwargs), min(ENVS, episodes), num_threads=config["threads"])
    try:
        judged = rollout(env, agent, episodes=episodes, seed=TUNING_SEED)
    finally:
        env.close()
    success = wilson(int(judged.success.sum()), episodes)
    atomic_write_json(Path(out) / RESULT, {"success": asdict(success), "seed": TUNING_SEED, "checkpoint": "last"})
    return {"status": status, "success": success.rate}

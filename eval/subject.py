"""Who is judged: the agent of a training run, or a policy that needs no learning, and in which environment."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from goalsight.base.errors import UserError
from goalsight.envs.config import EnvChanges, EnvConfig

if TYPE_CHECKING:
    from goalsight.agents.policies import Policy
    from goalsight.base.runs import Run
    from goalsight.envs.making import GoalEnvs

BASELINES = ("nothing", "random", "expert")


@dataclass(frozen=True)
class Subject:
    """A policy, the environment it acts in, and what it saw."""

    name: str  # a word for tables and file names
    policy: "Policy"
    env: EnvConfig
    facts: dict[str, Any]  # what a result must name: checkpoint, encoder, what actor and critic saw
    run: "Run | None" = None

    def make_env(self, num_envs: int, **changes: Any) -> "GoalEnvs":
        """The environments it acts in, with evaluation starts."""
        from goalsight.envs.making import make

        return make(self.env, num_envs, **{"training_starts": False, **changes})


def baseline(name: str, env: EnvConfig, *, seed: int) -> Subject:
    """A policy that needs no learning, in an environment.

    It looks at no pixels, so none are rendered; starts and goals do not depend on what is observed.

    Raises:
        UserError: for an unknown policy or environment.
    """
    from goalsight.agents.policies import make_policy
    from goalsight.envs.ids import resolved

    return Subject(name, make_policy(name, seed=seed), resolved(env.unseen()), {})


def resolve_subject(*, run: Path | None, policy: str | None, changes: EnvChanges, which: str, seed: int) -> Subject:
    """Find what the command line names.

    Args:
        run: a training run.
        policy: or the name of a policy without learning, then with `env`.
        changes: the environment of a policy without learning, and the conditions to act under.
        which: checkpoint of the run: "best", "last" or a step.
        seed: of a policy that draws at random.

    Raises:
        UserError: if neither or both are given, or something does not exist.
    """
    if (run is None) == (policy is None):
        raise UserError(f"name a training run, or --policy {'|'.join(BASELINES)} with --env ID: one of the two")
    if run is not None:
        if changes.id is not None:
            raise UserError(f"--env {changes.id} goes with --policy only: the run {run} knows its environment")
        agent = _agent(run, which)
        return replace(agent, env=agent.env.change(**changes.conditions))
    if changes.id is None:
        raise UserError(f"--policy {policy} needs --env ID; `goalsight envs` lists them")
    subject = baseline(str(policy), EnvConfig(changes.id), seed=seed)
    return replace(subject, env=subject.env.change(**changes.conditions))


def _agent(path: Path, which: str) -> Subject:
    from goalsight.base.runs import Run

    run = Run.open(path)
    if run.kind != "train":
        raise UserError(f"{path} is a {run.kind} run, and only a train run has an agent")
    from goalsight.agents.agent import load_agent

    agent = load_agent(path, which)
    facts = {key: value for key, value in agent.facts.items() if key != "env"}
    if "encoder" in run.manifest["sources"]:
        facts["encoder_hash"] = run.manifest["sources"]["encoder"]
    return Subject("agent", agent, EnvConfig.of(agent.env_id, agent.env_kwargs), facts, run)

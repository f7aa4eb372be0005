"""Who is judged: the agent of a training run, or a policy that needs no learning, and in which environment."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from goalsight.base.errors import UserError

if TYPE_CHECKING:
    from goalsight.agents.policies import Policy
    from goalsight.base.runs import Run
    from goalsight.envs.registration import GoalEnvs

BASELINES = ("nothing", "random", "expert")
LOOKS = (
    "obs",
    "image_size",
    "camera",
    "renderer",
    "privileged",
    "aids",
)  # arguments that change what is seen, not what happens


@dataclass(frozen=True)
class Subject:
    """A policy, the environment it acts in, and what it saw."""

    name: str  # a word for tables and file names
    policy: "Policy"
    env_id: str
    env_kwargs: dict[str, Any]  # for `make_vector`, without the number of environments
    facts: dict[str, Any]  # what a result must name: checkpoint, encoder, what actor and critic saw
    run: "Run | None" = None

    def under(self, vary: Sequence[str] | None, aids: Sequence[str] | None) -> "Subject":
        """The same under other conditions: factors of variation and visual aids; None leaves them."""
        given = {name: list(words) for name, words in (("vary", vary), ("aids", aids)) if words is not None}
        return replace(self, env_kwargs={**self.env_kwargs, **given})

    def make_env(self, num_envs: int, **changes: Any) -> "GoalEnvs":
        """The environments it acts in, with evaluation starts."""
        from goalsight.envs.registration import make_goal_envs

        kwargs = {**self.env_kwargs, "training_starts": False, **changes}
        return make_goal_envs(self.env_id, num_envs=num_envs, **kwargs)


def baseline(name: str, env_id: str, env_kwargs: dict[str, Any], *, seed: int) -> Subject:
    """A policy that needs no learning, in the environment that these arguments make.

    It looks at no pixels, so none are rendered; starts and goals do not depend on what is observed.

    Raises:
        UserError: for an unknown policy or environment.
    """
    from goalsight.agents.policies import make_policy
    from goalsight.envs.registration import resolve

    kept = {key: value for key, value in env_kwargs.items() if key not in LOOKS}
    return Subject(name, make_policy(name, seed=seed), resolve(env_id), {**kept, "obs": "state"}, {})


def resolve_subject(*, run: Path | None, policy: str | None, env: str | None, which: str, seed: int) -> Subject:
    """Find what the command line names.

    Args:
        run: a training run.
        policy: or the name of a policy without learning, then with `env`.
        env: environment id.
        which: checkpoint of the run: "best", "last" or a step.
        seed: of a policy that draws at random.

    Raises:
        UserError: if neither or both are given, or something does not exist.
    """
    if (run is None) == (policy is None):
        raise UserError(f"name a training run, or --policy {'|'.join(BASELINES)} with --env ID: one of the two")
    if run is not None:
        if env is not None:
            raise UserError(f"--env {env} goes with --policy only: the run {run} knows its environment")
        return _agent(run, which)
    if env is None:
        raise UserError(f"--policy {policy} needs --env ID; `goalsight envs` lists them")
    return baseline(str(policy), env, {}, seed=seed)


def _agent(path: Path, which: str) -> Subject:
    from goalsight.base.runs import Run

    run = Run.open(path)
    if run.kind != "train":
        raise UserError(f"{path} is a {run.kind} run: only a train run has an agent to judge")
    from goalsight.agents.agent import load_agent

    agent = load_agent(path, which)
    facts = {key: value for key, value in agent.facts.items() if key != "env"}
    if "encoder" in run.manifest["sources"]:
        facts["encoder_hash"] = run.manifest["sources"]["encoder"]
    return Subject("agent", agent, agent.env_id, dict(agent.env_kwargs), facts, run)

"""A run's model card: README.md, with a head that model hubs read and a text for people."""

import json
import shlex
from typing import TYPE_CHECKING, Any

from goalsight.eval.reports import chapters
from goalsight.eval.reports.judged import checkpoint_of, judged_how, judgement
from goalsight.eval.stats import Proportion

if TYPE_CHECKING:
    from goalsight.base.runs import Run

CARD = "README.md"  # in the run's folder
TAGS = {
    "pretrain": ["robotics", "video", "self-supervised", "mujoco"],
    "train": ["robotics", "reinforcement-learning", "goal-conditioned", "mujoco"],
}
LOADED = {
    "pretrain": 'encoder = goalsight.load_encoder("{run}")  # a torch module\n'
    "tokens = encoder(frames)  # (B, H, W, 3) uint8 -> (B, tokens, width)",
    "train": 'agent = goalsight.load_agent("{run}")\n'
    "env = gymnasium.make(agent.env_id, **agent.env_kwargs)\n"
    "action, _ = agent.predict(env.reset(seed=0)[0])",
}


def card(run: "Run", name: str = "") -> str:
    """Return the card of a run that has weights, kind pretrain or train, as Markdown.

    Args:
        run: what it is of.
        name: what readers load it by; its folder's name unless given.
    """
    name = name or run.path.name
    imports = "import goalsight" if run.kind == "pretrain" else "import gymnasium\n\nimport goalsight"
    parts = [
        f"---\n{_head(run, name)}---",
        f"# {chapters.title(run)}",
        _about(run),
        _results(run),
        f"## Use\n\n```python\n{imports}\n\n{LOADED[run.kind].format(run=name)}\n```",
        f"## How it was made\n\n```sh\n{shlex.join(run.manifest['command'])}\n```",
        _origin(run),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _head(run: "Run", name: str) -> str:
    """What hubs read, as YAML, of which JSON is a part."""
    lines = ["library_name: goalsight", f"tags: {json.dumps(['goalsight', *TAGS[run.kind]])}"]
    found = judgement(run)
    if found:
        words = f"success of the checkpoint {checkpoint_of(found)} in {found['episodes']} episodes"
        metric = {"type": "success_rate", "name": f"{words}, with its 95% interval", "value": _share(found)}
        data = {"type": found["env"], "name": found["env"]}
        task = {"type": "reinforcement-learning", "name": "goal-conditioned reinforcement learning"}
        results = [{"task": task, "dataset": data, "metrics": [metric]}]
        lines.append(f"model-index: {json.dumps([{'name': name, 'results': results}])}")
    return "\n".join(lines) + "\n"


def _share(found: dict[str, Any]) -> str:
    success = Proportion(**found["success"])
    return f"{success.rate:.0%} [{success.low:.0%}, {success.high:.0%}]"


def _about(run: "Run") -> str:
    if run.kind == "pretrain":
        objective = run.config.get("objective", "masked")
        return f"An encoder of goalsight, which learnt from video by the objective `{objective}`."
    env = run.config["env"]
    env = env["id"] if isinstance(env, dict) else env
    return f"An agent of goalsight for `{env}`: an arm that reaches goals which it is shown."


def _results(run: "Run") -> str:
    found = judgement(run)
    if not found:
        return ""
    rows = {found["subject"]["name"]: found, **found["baselines"]}
    table = ["| policy | success | successes | mean return |", "|---|---|---|---|"]
    for name, row in rows.items():
        success = row["success"]
        table.append(
            f"| {name} | {_share(row)} | {success['count']} of {success['total']} | {row['mean_return']:.1f} |"
        )
    words = f"{judged_how(found)} Success is that of the last step; intervals are 95%."
    return "\n".join([f"## Results\n\n{words}\n", *table])


def _origin(run: "Run") -> str:
    manifest = run.manifest
    versions = ", ".join(f"{name} {version}" for name, version in manifest["versions"].items())
    sources = "".join(f"\n- {name}: `{value}`" for name, value in manifest["sources"].items())
    made = f"Seed {manifest['seed']}, started {manifest['started']}, {run.status}; {versions}."
    return f"{made}\n{sources}" if sources else made

"""`goalsight envs`: what there is to act in."""

import inspect
import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Envs:
    """List environment ids, arms, tasks and their options."""

    check: str | None = None
    """Instead, check that an environment (or "all") behaves here as it did when it was published."""
    json: bool = False
    """Print them as JSON."""


def list_envs(config: Envs) -> dict[str, Any] | int:
    """Print and return the ids, arms, tasks, control and observation modes that exist.

    With `check`, print how ids compare with their fingerprints; returns 1 when one differs.
    """
    if config.check is not None:
        from goalsight.envs.fingerprints import compare, own_ids, text
        from goalsight.envs.ids import resolve

        compared = compare(own_ids() if config.check == "all" else [resolve(config.check)])
        print(json.dumps(compared, indent=2) if config.json else text(compared))
        return int(any(compared.values()))
    from goalsight.envs.arms.catalogue import ARMS
    from goalsight.envs.ids import env_ids, source_of
    from goalsight.envs.plugins import load_plugins
    from goalsight.envs.simulation.control import CONTROLS
    from goalsight.envs.tasks import TASKS

    tasks = {
        name: {
            "about": (inspect.getdoc(type(task)) or "").partition("\n")[0],
            "tolerance": task.tolerance,
            "unit": task.unit,
            "goals": list(task.goals),
            "steps": task.max_episode_steps,
        }
        for name, task in TASKS.items()
    }
    found = {
        "ids": {env_id: source_of(env_id) for env_id in env_ids()},
        "failed_plugins": load_plugins(),
        "arms": list(ARMS),
        "tasks": tasks,
        "control": list(CONTROLS),
        "obs": ["state", "pixels"],
    }
    print(json.dumps(found, indent=2) if config.json else _text(found))
    return found


def _tolerance(task: dict[str, Any]) -> str:
    return f"{task['tolerance'] * 100:g} cm" if task["unit"] == "m" else f"{task['tolerance']:g} {task['unit']}"


def _text(found: dict[str, Any]) -> str:
    width = max(map(len, found["tasks"]))
    tasks = [
        f"  {name:{width}}  {task['about']} Within {_tolerance(task)}, {task['steps']} steps."
        for name, task in found["tasks"].items()
    ]
    ids = [f"  {name}{'' if source == 'goalsight' else f'  from {source}'}" for name, source in found["ids"].items()]
    failed = [f"plug-in {name} failed: {why}" for name, why in found["failed_plugins"].items()]
    lines = ["environments:", *ids, *failed, "tasks:", *tasks]
    lines += [f"{kind}: {', '.join(found[kind])}" for kind in ("arms", "control", "obs")]
    return "\n".join(lines)

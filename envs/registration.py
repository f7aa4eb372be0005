"""Ids: `goalsight/PandaPush-v1` and its like, for `gymnasium.make`, `gymnasium.make_vec` and the command line."""

import re
import sys
from collections.abc import Iterable, Sequence
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from itertools import product
from typing import TYPE_CHECKING, Any

import gymnasium as gym

from goalsight.base.errors import UserError, blaming, choose, in_one_line
from goalsight.envs.arms.catalogue import ARMS, Arm
from goalsight.envs.tasks import TASKS, Task

if TYPE_CHECKING:
    from goalsight.envs.foreign.adapter import AdaptedVectorEnv
    from goalsight.envs.vector import GoalVectorEnv

    GoalEnvs = GoalVectorEnv | AdaptedVectorEnv

NAMESPACE = "goalsight"
VERSION = 1  # of what all environments share: arms, control, scene; raised when that changes what they do
TASK_NAME, NAMESPACE_NAME = "[a-z][a-z0-9_]*", "[A-Za-z][A-Za-z0-9_-]*"  # regular expressions
PLUGINS = "goalsight.tasks"  # the entry-point group by which installed packages add tasks


def camel(name: str) -> str:
    """How a name is spelt in ids and classes: "pick_place" becomes "PickPlace"."""
    return "".join(part.capitalize() for part in name.split("_"))


def id_of(arm: str, task: Task, namespace: str = NAMESPACE) -> str:
    """The id of a task with an arm; its version rises with every change of the simulation, the task or the arm."""
    return f"{namespace}/{camel(arm)}{camel(task.name)}-v{VERSION + task.version + ARMS[arm].version}"


def _can_do(arm: str, task: Task) -> bool:
    """Whether an arm reaches something of each of a task's regions."""
    try:
        task.within(ARMS[arm].reach, len(ARMS[arm].home))
    except UserError:
        return False
    return True


# Every id and the arguments that make its environment; the one list that ids, the command line and tests read.
_SPECS: dict[str, dict[str, Any]] = {
    id_of(arm, task): {"task": name, "arm": arm}
    for arm, (name, task) in product(ARMS, TASKS.items())
    if _can_do(arm, task)
}


# Which module registered the ids that are not this project's own.
_SOURCES: dict[str, str] = {}


def _register(env_id: str, kwargs: dict[str, Any]) -> None:
    gym.register(
        env_id,
        entry_point="goalsight.envs.single:GoalEnv",
        vector_entry_point="goalsight.envs.vector:GoalVectorEnv",
        max_episode_steps=TASKS[kwargs["task"]].max_episode_steps,
        kwargs=kwargs,
    )


def register_all() -> None:
    """Register every arm with the tasks it can do, once. Nothing heavy is imported until an environment is made."""
    for env_id, kwargs in _SPECS.items():
        if env_id not in gym.registry:
            _register(env_id, kwargs)


def register_task(task: Task, *, namespace: str = NAMESPACE, arms: Sequence[str] | None = None) -> list[str]:
    """Make a task available by name and, with each arm, as a Gymnasium id.

    Args:
        task: an instance of a subclass of `Task`; its class's `name` must be new.
        namespace: what precedes the slash in the ids.
        arms: names of the arms to do it with; None takes all that reach its regions.

    Returns:
        the new ids, such as "mine/PandaTurn-v1".

    Raises:
        UserError: the name is taken, or an arm does not exist or does not reach the task's regions.
    """
    if not isinstance(task, Task):
        raise UserError(f"register_task takes an instance of a Task, got {task!r:.80}")
    if not isinstance(task.name, str) or not re.fullmatch(TASK_NAME, task.name):
        raise UserError(f"a task's name has small letters, digits and _, and begins with a letter, got {task.name!r}")
    if task.name in TASKS:
        owner = next((source_of(env_id) for env_id, spec in _SPECS.items() if spec["task"] == task.name), NAMESPACE)
        raise UserError(f'a task named "{task.name}" is registered already, by {owner}; choose another name')
    if arms is None:
        arms = [arm for arm in ARMS if _can_do(arm, task)]
    for arm in arms:
        chosen = ARMS[choose("arm", arm, ARMS)]
        task.within(chosen.reach, len(chosen.home))
    specs = {id_of(arm, task, namespace): {"task": task.name, "arm": arm} for arm in arms}
    _check_ids(specs, namespace)
    TASKS[task.name] = task
    return _add(specs)


def register_arm(arm: Arm, *, namespace: str = NAMESPACE) -> list[str]:
    """Make an arm available by name and, with each task that it can do, as a Gymnasium id.

    Args:
        arm: the arm, such as one of `load_arm`; its name must be new.
        namespace: what precedes the slash in the ids.

    Returns:
        the new ids, such as "goalsight/MyArmPush-v1".

    Raises:
        UserError: the name is taken.
    """
    if arm.name in ARMS:
        raise UserError(f'an arm named "{arm.name}" is registered already; choose another name')
    ARMS[arm.name] = arm
    specs = {
        id_of(arm.name, task, namespace): {"task": name, "arm": arm.name}
        for name, task in TASKS.items()
        if _can_do(arm.name, task)
    }
    try:
        _check_ids(specs, namespace)
    except UserError:
        del ARMS[arm.name]
        raise
    return _add(specs)


def _check_ids(ids: Iterable[str], namespace: str) -> None:
    """Refuse ids that Gymnasium would not take, or that are taken, before anything is registered."""
    if not re.fullmatch(NAMESPACE_NAME, namespace):
        raise UserError(f"a namespace has letters, digits, _ and -, got {namespace!r}")
    for env_id in ids:
        if env_id in _SPECS or env_id in gym.registry:
            raise UserError(f"{env_id} is registered already, by {source_of(env_id)}; choose another name")


def _add(specs: dict[str, dict[str, Any]]) -> list[str]:
    """Register ids on behalf of whoever called the caller."""
    _SPECS.update(specs)
    caller = sys._getframe(2).f_globals.get("__name__", "?")
    _SOURCES.update(dict.fromkeys(specs, caller))
    register_all()
    return list(specs)


@cache
def load_plugins() -> dict[str, str]:
    """Let installed packages register their tasks, once; one that fails breaks nothing.

    An entry point of the group `goalsight.tasks` names a function, which is called, or a module, which is imported.

    Returns:
        why plug-ins failed, by their names.
    """
    failures = {}
    for entry in entry_points(group=PLUGINS):
        try:
            plugin = entry.load()
            if callable(plugin):
                plugin()
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # whatever a stranger's module raises; it may even try to exit
            failures[entry.name] = in_one_line(error)
    return failures


def env_ids() -> list[str]:
    """The ids of this project and of what was registered with it, sorted."""
    load_plugins()
    return sorted(_SPECS)


def source_of(env_id: str) -> str:
    """The module that registered an id."""
    return _SOURCES.get(env_id, NAMESPACE)


def lasting_id(env_id: str) -> str:
    """An id that another process can resolve: with the module that registers it, where that is not goalsight's own."""
    module = source_of(env_id)
    return env_id if module.split(".")[0] in (NAMESPACE, "__main__") else f"{module}:{env_id}"


def import_tasks(module: str) -> None:
    """Import a module that registers tasks.

    Raises:
        UserError: it does not import; says why.
    """
    with blaming(f'module "{module}" does not import'):
        found = import_module(module)
    if getattr(found, "__file__", None) is None and hasattr(found, "__path__"):
        folder = next(iter(found.__path__))
        raise UserError(f'"{module}" is a folder here, {folder}, and no module; go into it, or `pip install` it')


def resolve(env_id: str) -> str:
    """The full id meant by `env_id`.

    "PandaPush-v1" means "goalsight/PandaPush-v1"; in "module:Namespace/Name-v0" the module, which registers its
    tasks, is imported first, as `gymnasium.make` does.

    Raises:
        UserError: the module does not import, or there is no such id; names the nearest.
    """
    module, _, name = env_id.rpartition(":")
    if module:
        import_tasks(module)
    if name not in _SPECS and name in gym.registry and not name.startswith(f"{NAMESPACE}/"):
        return env_id  # of someone else
    theirs = [
        other
        for other, spec in gym.registry.items()
        if other not in _SPECS and str(spec.entry_point).startswith(f"{module}.")
    ]
    short = {full.removeprefix(f"{NAMESPACE}/"): full for full in env_ids()}
    try:
        return short[choose("environment", name.removeprefix(f"{NAMESPACE}/"), theirs if module and theirs else short)]
    except UserError as error:
        failed = "".join(f'; plug-in "{plugin}" failed: {why}' for plugin, why in load_plugins().items())
        raise UserError(f"{error}; `goalsight envs` lists all{failed}") from None


def asked(**options: Sequence[str] | None) -> dict[str, list[str]]:
    """Those of a command's options for environments that were given, as a run keeps them."""
    return {name: list(words) for name, words in options.items() if words}


def make_goal_envs(env_id: str, num_envs: int = 1, **kwargs: Any) -> "GoalEnvs":
    """A `GoalVectorEnv` by id, or goal environments of someone else's, adapted.

    Raises:
        UserError: an unknown id, a bad argument, or one that does not go with environments of others.
    """
    full = resolve(env_id)
    if full.rpartition(":")[2] in _SPECS:
        return make_vector(full, num_envs, **kwargs)
    from goalsight.envs.foreign.adapter import adapt

    return adapt(full, num_envs, **kwargs)


def make_vector(env_id: str, num_envs: int = 1, **kwargs: Any) -> "GoalVectorEnv":
    """A `GoalVectorEnv` by id; keyword arguments are those of its constructor.

    Raises:
        UserError: an unknown id or a bad argument.
    """
    from goalsight.envs.vector import GoalVectorEnv

    full = resolve(env_id)
    if full.rpartition(":")[2] not in _SPECS:
        raise UserError(f"{full} was made elsewhere; this needs one of goalsight's own environments")
    try:
        env = gym.make_vec(full, num_envs, **kwargs)
    except TypeError as error:
        raise UserError(f"{full}: {error}") from error
    assert isinstance(env, GoalVectorEnv)
    return env


register_all()

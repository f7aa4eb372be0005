"""Ids: `goalsight/PandaPush-v1` and its like, for `gymnasium.make`, `gymnasium.make_vec` and the command line."""

import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import product
from typing import TypeVar

import gymnasium as gym

from goalsight.base.errors import UserError, choose
from goalsight.envs.arms.catalogue import ARMS, Arm
from goalsight.envs.config import EnvConfig
from goalsight.envs.plugins import import_tasks, load_plugins
from goalsight.envs.tasks import TASKS, Task

NAMESPACE = "goalsight"
VERSION = 1  # of what all environments share: arms, control, scene; raised when that changes what they do
TASK_NAME, NAMESPACE_NAME = "[a-z][a-z0-9_]*", "[A-Za-z][A-Za-z0-9_-]*"  # regular expressions

AnyConfig = TypeVar("AnyConfig", bound=EnvConfig)


@dataclass(frozen=True)
class Spec:
    """What an id stands for; no environment is built to know it."""

    id: str  # in full
    name: str  # of the task, or of the environment where it was made elsewhere
    task: str | None  # names of task and arm; None where it was made elsewhere
    arm: str | None
    horizon: int | None  # steps of an episode; None where it was registered without
    goals: dict[str, tuple[float, ...]] = field(default_factory=dict)  # by name

    @property
    def own(self) -> bool:
        """Whether it is a task with an arm here, rather than an environment that was made elsewhere."""
        return self.task is not None

    @property
    def has_expert(self) -> bool:
        """Whether there is a scripted expert: every task here has one."""
        return self.own


def camel(name: str) -> str:
    """How a name is spelt in ids and classes: "pick_place" becomes "PickPlace"."""
    return "".join(part.capitalize() for part in name.split("_"))


def id_of(arm: str | Arm, task: Task, namespace: str = NAMESPACE) -> str:
    """The id of a task with an arm; its version rises with every change of the simulation, the task or the arm."""
    arm = ARMS[arm] if isinstance(arm, str) else arm
    return f"{namespace}/{camel(arm.name)}{camel(task.name)}-v{VERSION + task.version + arm.version}"


def can_do(arm: str, task: Task) -> bool:
    """Whether an arm reaches something of each of a task's regions."""
    try:
        task.within(ARMS[arm].reach, len(ARMS[arm].home))
    except UserError:
        return False
    return True


# Every id and the arguments that make its environment; the one list that ids, the command line and tests read.
_ARGUMENTS: dict[str, dict[str, str]] = {
    id_of(arm, task): {"task": name, "arm": arm}
    for arm, (name, task) in product(ARMS, TASKS.items())
    if can_do(arm, task)
}

# Which module registered the ids that are not this project's own.
_SOURCES: dict[str, str] = {}


def _register_all() -> None:
    """Register every id with Gymnasium, once. Nothing heavy is imported until an environment is made."""
    for env_id, kwargs in _ARGUMENTS.items():
        if env_id not in gym.registry:
            gym.register(
                env_id,
                entry_point="goalsight.envs.single:GoalEnv",
                vector_entry_point="goalsight.envs.vector:GoalVectorEnv",
                max_episode_steps=TASKS[kwargs["task"]].max_episode_steps,
                kwargs=kwargs,
            )


def add_ids(arguments: dict[str, dict[str, str]], source: str) -> list[str]:
    """Register ids, each with its task and arm, on behalf of the module `source`."""
    _ARGUMENTS.update(arguments)
    _SOURCES.update(dict.fromkeys(arguments, source))
    _register_all()
    return list(arguments)


def check_new(ids: Iterable[str]) -> None:
    """Make sure that ids are free.

    Raises:
        UserError: one is taken; says by whom.
    """
    for env_id in ids:
        if env_id in _ARGUMENTS or env_id in gym.registry:
            raise UserError(f"{env_id} is registered already, by {source_of(env_id)}; choose another name")


def env_ids() -> list[str]:
    """The ids of this project and of what was registered with it, sorted."""
    load_plugins()
    return sorted(_ARGUMENTS)


def id_by_parts(arm: Arm, task: Task) -> str:
    """The id that a task with an arm is registered under, or would be."""
    parts = {"task": task.name, "arm": arm.name}
    return next((env_id for env_id, own in _ARGUMENTS.items() if own == parts), id_of(arm, task))


def owner_of(task: str) -> str:
    """The module that registered a task, by its name."""
    return next((source_of(env_id) for env_id, own in _ARGUMENTS.items() if own["task"] == task), NAMESPACE)


def source_of(env_id: str) -> str:
    """The module that registered an id."""
    return _SOURCES.get(env_id, NAMESPACE)


def lasting_id(env_id: str) -> str:
    """An id that another process can resolve: with the module that registers it, where that is not goalsight's own."""
    module = source_of(env_id)
    return env_id if module.split(".")[0] in (NAMESPACE, "__main__") else f"{module}:{env_id}"


def recorded(env_id: str) -> str:
    """An id that was read from a file, such as a run's, for `resolve`: a file may not name code to be imported.

    Raises:
        UserError: it names a module that the user has not named, and that no installed plug-in has imported.
    """
    module, _, name = env_id.rpartition(":")
    load_plugins()
    if not module or module in sys.modules:
        return env_id
    if name in _ARGUMENTS:
        return name
    raise UserError(
        f'it needs the module "{module}", which is no installed plug-in; if you trust it: --import {module}'
    )


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
    if name not in _ARGUMENTS and name in gym.registry and not name.startswith(f"{NAMESPACE}/"):
        return env_id  # of someone else
    theirs = [
        other
        for other, spec in gym.registry.items()
        if other not in _ARGUMENTS and str(spec.entry_point).startswith(f"{module}.")
    ]
    short = {full.removeprefix(f"{NAMESPACE}/"): full for full in env_ids()}
    try:
        return short[choose("environment", name.removeprefix(f"{NAMESPACE}/"), theirs if module and theirs else short)]
    except UserError as error:
        failed = "".join(f'; plug-in "{plugin}" failed: {why}' for plugin, why in load_plugins().items())
        raise UserError(f"{error}; `goalsight envs` lists all{failed}") from None


def spec_of(env_id: str) -> Spec:
    """What an id stands for, read from the registries: nothing is built.

    Raises:
        UserError: as `resolve`.
    """
    full = resolve(env_id)
    name = full.rpartition(":")[2]
    if name in _ARGUMENTS:
        own = _ARGUMENTS[name]
        arm = ARMS[own["arm"]]
        task = TASKS[own["task"]].within(arm.reach, len(arm.home))
        return Spec(full, task.name, task.name, own["arm"], task.max_episode_steps, dict(task.goals))
    return Spec(full, name.rpartition("/")[2], None, None, gym.spec(name).max_episode_steps)


def resolved(config: AnyConfig) -> AnyConfig:
    """The same with its full id.

    Raises:
        UserError: as `resolve`.
    """
    return config.change(id=resolve(config.id))


def horizon_of(config: EnvConfig) -> int:
    """How many steps an episode takes.

    Raises:
        UserError: as `resolve`, or the environment is registered without a length of its episodes.
    """
    horizon = config.max_episode_steps or spec_of(config.id).horizon
    if horizon is None:
        raise UserError(f"{config.id} is registered without max_episode_steps, so its episodes have no end")
    return horizon


_register_all()

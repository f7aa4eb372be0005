"""What adds tasks and arms, as Gymnasium ids; and, for one import, what finds and makes environments by id."""

import re
import sys
from collections.abc import Sequence

from goalsight.base.errors import UserError, choose
from goalsight.envs.arms.catalogue import ARMS, Arm
from goalsight.envs.ids import (
    NAMESPACE,
    NAMESPACE_NAME,
    TASK_NAME,
    add_ids,
    can_do,
    check_new,
    env_ids,
    id_of,
    owner_of,
    resolve,
)
from goalsight.envs.making import make_goal_envs, make_vector
from goalsight.envs.tasks import TASKS, Task

__all__ = ["env_ids", "make_goal_envs", "make_vector", "register_arm", "register_task", "resolve"]


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
        owner = owner_of(task.name)
        raise UserError(f'a task named "{task.name}" is registered already, by {owner}; choose another name')
    if arms is None:
        arms = [arm for arm in ARMS if can_do(arm, task)]
    for arm in arms:
        chosen = ARMS[choose("arm", arm, ARMS)]
        task.within(chosen.reach, len(chosen.home))
    arguments = {id_of(arm, task, namespace): {"task": task.name, "arm": arm} for arm in arms}
    _check_namespace(namespace)
    check_new(arguments)
    TASKS[task.name] = task
    return add_ids(arguments, _caller())


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
    _check_namespace(namespace)
    ARMS[arm.name] = arm
    arguments = {
        id_of(arm.name, task, namespace): {"task": name, "arm": arm.name}
        for name, task in TASKS.items()
        if can_do(arm.name, task)
    }
    try:
        check_new(arguments)
    except UserError:
        del ARMS[arm.name]
        raise
    return add_ids(arguments, _caller())


def register_arm_file(path: str, trusted: bool = False) -> list[str]:
    """Register the arm that a file describes; see `load_arm` and `register_arm`."""
    from goalsight.envs.arms.files import load_arm

    return register_arm(load_arm(path, trusted=trusted))


def _check_namespace(namespace: str) -> None:
    if not re.fullmatch(NAMESPACE_NAME, namespace):
        raise UserError(f"a namespace has letters, digits, _ and -, got {namespace!r}")


def _caller() -> str:
    """The module that called the function that asks."""
    return str(sys._getframe(2).f_globals.get("__name__", "?"))

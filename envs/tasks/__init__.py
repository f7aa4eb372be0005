"""Tasks: what varies between environments. A new task is one file and one line in `TASKS`."""

from goalsight.envs.tasks.buttons import Buttons
from goalsight.envs.tasks.cubes import SORTS, STACKS, Sort, Stack
from goalsight.envs.tasks.door import Door
from goalsight.envs.tasks.drawer import Drawer
from goalsight.envs.tasks.insert import Insert
from goalsight.envs.tasks.pick_place import PickPlace
from goalsight.envs.tasks.push import Push
from goalsight.envs.tasks.reach import Reach
from goalsight.envs.tasks.reach_pose import ReachPose
from goalsight.envs.tasks.scene import Scene
from goalsight.envs.tasks.shared.base import Task
from goalsight.envs.tasks.shared.draws import Drawn, Draws
from goalsight.envs.tasks.shared.world import Cube, Layout, Placement, Thing, World
from goalsight.envs.tasks.slide import Slide
from goalsight.envs.tasks.switches import Switches

_ALL = (
    Reach(),
    ReachPose(),
    Push(),
    Slide(),
    PickPlace(),
    Drawer(),
    Door(),
    Switches(),
    Buttons(),
    Insert(),
    Scene(),
    *SORTS,
    *STACKS,
)
TASKS: dict[str, Task] = {task.name: task for task in _ALL}

__all__ = [
    "TASKS",
    "Buttons",
    "Cube",
    "Door",
    "Drawer",
    "Drawn",
    "Draws",
    "Insert",
    "Layout",
    "PickPlace",
    "Placement",
    "Push",
    "Reach",
    "ReachPose",
    "Scene",
    "Slide",
    "Sort",
    "Stack",
    "Switches",
    "Task",
    "Thing",
    "World",
]

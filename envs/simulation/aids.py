"""Visual aids: what makes a scene easier to see than it is. Off unless named, and named in every result."""

from collections.abc import Sequence
from dataclasses import dataclass

import mujoco
import numpy as np

from goalsight.base.errors import UserError, choose
from goalsight.envs.geometry.region import Array
from goalsight.envs.tasks import Task

TRANSPARENT_ARM, GOAL_MARKERS = "transparent_arm", "goal_markers"
AIDS = (TRANSPARENT_ARM, GOAL_MARKERS)
ARM_OPACITY = 0.3  # of a transparent one
MARKER_RADIUS = 0.012  # [m]


def aids_of(names: str | Sequence[str]) -> tuple[str, ...]:
    """Names of aids, checked.

    Raises:
        UserError: there is no such aid.
    """
    names = (names,) if isinstance(names, str) else names
    return tuple(choose("visual aid", name, AIDS) for name in names)


def marked_places(task: Task, goal: Array) -> Array:
    """Where markers of goals (n, G) stand [m], (n, K, 3).

    Raises:
        UserError: the goals of the task are no places.
    """
    places = task.markers(goal)
    if places is None:
        raise UserError(f'task "{task.name}" has no places to mark: its goals are in {task.unit}')
    return places


@dataclass(frozen=True)
class Markers:
    """Balls at the goal, which are seen but cannot be touched."""

    count: int

    @classmethod
    def of(cls, task: Task) -> "Markers":
        """As many as the task's goals have places."""
        return cls(marked_places(task, np.zeros((1, task.goal_size))).shape[1])

    @property
    def names(self) -> list[str]:
        """Of the geoms."""
        return [f"goal_marker_{i}" for i in range(self.count)]

    def furnish(self, spec: mujoco.MjSpec) -> None:
        """Add them to a scene."""
        for name in self.names:
            spec.worldbody.add_geom(
                name=name,
                type=mujoco.mjtGeom.mjGEOM_SPHERE,
                size=[MARKER_RADIUS, 0, 0],
                pos=[0, 0, -1],  # not the origin, whence MuJoCo would take it for a geom that never leaves it
                rgba=[0.95, 0.15, 0.75, 1.0],
                contype=0,
                conaffinity=0,
            )

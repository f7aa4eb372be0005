"""What a factor of variation is, and what it finds in a model."""

import dataclasses
from abc import ABC, abstractmethod
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Any, ClassVar

import mujoco
import numpy as np
from numpy.typing import NDArray

from goalsight.base.errors import UserError
from goalsight.envs.simulation.scene import ThingIndex, arm_geoms

if TYPE_CHECKING:
    from goalsight.envs.arms.catalogue import Arm
    from goalsight.envs.tasks import Task
    from goalsight.envs.variation.engine import Variation

Floats = NDArray[np.floating[Any]]
Ids = NDArray[np.int64]
Span = tuple[float, float]

TABLE = "table"  # the scene's geom and material
DISTRACTORS = ("distractor_box", "distractor_ball", "distractor_can")


@dataclass(frozen=True)
class Cast:
    """Where in a model's arrays lies what the factors change."""

    geoms: Ids  # of all that the task brings
    free_bodies: Ids  # of things that can lie anywhere, (B,)
    free_geoms: Ids
    free_pairs: Ids  # explicit pairs of geoms, one of them of a free thing
    free_dofs: Ids  # (6 B,)
    part_dofs: Ids  # of drawers, doors, switches
    distractors: Ids  # geoms
    cameras: Ids
    lights: Ids

    @classmethod
    def of(cls, arm: "Arm", task: "Task", model: mujoco.MjModel) -> "Cast":
        """Resolve names once."""
        things = [ThingIndex.of(thing.name, model) for thing in task.objects]
        free, parts = [thing for thing in things if thing.free], [thing for thing in things if not thing.free]
        bodies = np.array([thing.body for thing in free], np.int64)
        free_geoms = np.flatnonzero(np.isin(model.geom_bodyid, bodies))
        names = [model.geom(i).name for i in range(model.ngeom)]
        on_bodies = np.flatnonzero(model.geom_bodyid > 0)  # the table and what is only seen are the world's own
        return cls(
            geoms=np.setdiff1d(on_bodies, arm_geoms(arm, model)),
            free_bodies=bodies,
            free_geoms=free_geoms,
            free_pairs=np.flatnonzero(np.isin(model.pair_geom1, free_geoms) | np.isin(model.pair_geom2, free_geoms)),
            free_dofs=np.array([dof for thing in free for dof in range(thing.qvel.start, thing.qvel.stop)], np.int64),
            part_dofs=np.array([thing.qvel.start for thing in parts], np.int64),
            distractors=np.array([i for i, name in enumerate(names) if name in DISTRACTORS], np.int64),
            cameras=np.arange(model.ncam),
            lights=np.arange(model.nlight),
        )


@dataclass(frozen=True)
class Factor(ABC):
    """One thing that varies; its ranges are data."""

    name: ClassVar[str]
    draws: ClassVar[int]  # uniform numbers that `apply` uses
    fields: ClassVar[tuple[str, ...]] = ()  # of the model, which it gives each simulation values of its own

    def __post_init__(self) -> None:
        for each in dataclasses.fields(self):
            value = getattr(self, each.name)
            if isinstance(value, int | float) and not 0 <= value < inf:
                raise UserError(f"{self.name}: {each.name} must be finite and at least 0, got {value}")
            if each.type == Span and not 0 < value[0] <= value[1] < inf:
                raise UserError(f"{self.name}: {each.name} must be positive, from low to high, got {value}")

    def concerns(self, cast: Cast) -> bool:
        """Whether there is something for it to change."""
        return True

    def furnish(self, spec: mujoco.MjSpec) -> None:  # noqa: B027 (most factors add nothing)
        """Add to a scene what it needs there."""

    @abstractmethod
    def apply(self, variation: "Variation", ids: Ids, u: Floats) -> None:
        """Change simulations `ids`, which are as the model says, by uniform numbers in [0, 1), (n, draws)."""


def between(span: Span, u: Floats) -> Floats:
    """Numbers in [0, 1) spread evenly over a span."""
    return span[0] + (span[1] - span[0]) * u

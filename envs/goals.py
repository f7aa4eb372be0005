"""Goal channels: the ways in which an environment shows what has been achieved, and what shall be.

All follow one rule: a goal is what would be observed in the goal state. So each channel has two keys of the
observation, one for what is observed now (a frame) and one for the goal, in the same space; and a frame can take the
goal's place, as it does in hindsight relabelling. A new channel is a class in a file of its own and a line in
`CHANNELS`.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from goalsight.base.errors import UserError, choose
from goalsight.base.registry import Registry

if TYPE_CHECKING:
    from goalsight.envs.config import EnvConfig
    from goalsight.envs.rendering.pictures import Pictures
    from goalsight.envs.simulation.simulator import GoalSimulator
    from goalsight.envs.simulation.state import Observed
    from goalsight.envs.tasks import Task

CHANNELS = Registry(
    "goal channel",
    {
        "numbers": "goalsight.envs.goals:Numbers",
        "image": "goalsight.envs.goals:Image",
    },
)
PIXELS = "pixels"  # key of the first camera's frames; a further camera adds its name
# The largest number that a simulation may show [m, rad, m/s, rad/s]: one with a larger has diverged. At 1000 rad/s a
# thing turns by 4 rad in a physics step, which nothing integrates; under extreme actions all stay below 100.
MOST = 1000.0
BOUND = 2 * MOST  # of what is observed: sensors add noise, which is no larger


@dataclass(frozen=True)
class Stage:
    """What channels are made from: a batch of N simulations and how it is to be seen."""

    config: "EnvConfig"
    sim: "GoalSimulator"
    pictures: "Pictures"
    elapsed: NDArray[np.int64]  # steps of the episodes, (N,), kept current by the environment


class GoalChannel(ABC):
    """One way of showing what has been achieved and what shall be.

    Attributes:
        frame: key of the observation that shows the present.
        goal: key of the observation that shows the goal.
        space: of either, for one environment.
    """

    frame: str
    goal: str
    space: gym.spaces.Box

    @classmethod
    @abstractmethod
    def of(cls, stage: Stage) -> Sequence[Self]:
        """The channels of this kind: one, or one for each camera."""

    @abstractmethod
    def observe(self, seen: "Observed", ids: NDArray[np.int64]) -> NDArray[Any]:
        """Frames of simulations `ids` as they are now, (n, ...); `seen` holds what was read of all N."""

    @abstractmethod
    def show(self, ids: NDArray[np.int64]) -> NDArray[Any]:
        """Goals of simulations `ids`, (n, ...): what would be observed in their goal states."""

    def as_goal(self, frames: NDArray[Any]) -> NDArray[Any]:
        """The goals that frames (n, ...) would be, for hindsight; as they are, unless a channel says otherwise."""
        return frames


class Numbers(GoalChannel):
    """Goals as numbers, positions [m] in most tasks: `achieved_goal` and `desired_goal`, float32 (G,)."""

    frame, goal = "achieved_goal", "desired_goal"

    def __init__(self, sim: "GoalSimulator") -> None:
        self._sim = sim
        self.space = _reals(sim.task.goal_size)

    @classmethod
    def of(cls, stage: Stage) -> Sequence[Self]:
        """One."""
        return [cls(stage.sim)]

    def observe(self, seen: "Observed", ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """What has been achieved, (n, G)."""
        return seen.achieved[ids]

    def show(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """What the goal states achieve, (n, G), as it was measured when they came to rest."""
        return self._sim.desired[ids]


class Image(GoalChannel):
    """Goals as pictures by one camera, uint8 (size, size, 3).

    The first camera gives `pixels` and `goal_pixels`, a further one adds its name: `pixels_wrist`, `goal_pixels_wrist`.
    """

    def __init__(self, stage: Stage, camera: str, *, suffix: str) -> None:
        self.frame, self.goal = f"{PIXELS}{suffix}", f"goal_{PIXELS}{suffix}"
        self._stage, self._camera, self._size = stage, camera, stage.config.image_size
        self.space = gym.spaces.Box(0, 255, (self._size, self._size, 3), np.uint8)

    @classmethod
    def of(cls, stage: Stage) -> Sequence[Self]:
        """One for each camera."""
        cameras = stage.config.cameras
        return [cls(stage, name, suffix=f"_{name}" if place else "") for place, name in enumerate(cameras)]

    def observe(self, seen: "Observed", ids: NDArray[np.int64]) -> NDArray[np.uint8]:
        """The views, (n, size, size, 3)."""
        frames, variation = self._draw(ids), self._stage.sim.variation
        return frames if variation is None else variation.filmed(frames, ids, self._stage.elapsed[ids])

    def show(self, ids: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Pictures of the goal states, (n, size, size, 3); without noise, which views may have."""
        with self._stage.sim.show_goal(ids):
            return self._draw(ids)

    def _draw(self, ids: NDArray[np.int64]) -> NDArray[np.uint8]:
        return self._stage.pictures.draw(self._size, self._camera, ids)


def channels_of(stage: Stage) -> list[GoalChannel]:
    """The channels that a configuration asks for, numbers first.

    Raises:
        UserError: there is no such channel.
    """
    names = dict.fromkeys(("numbers", *(["image"] if stage.config.obs == "pixels" else []), *stage.config.channels))
    return [channel for name in names for channel in CHANNELS.load(name).of(stage)]


def asked_goals(task: "Task", goal: Any, num_envs: int) -> NDArray[np.float64] | None:
    """The goals that are meant, (N, G): by name, or as numbers (G,) or (N, G); None stays None.

    Raises:
        UserError: there is no such goal, or the numbers have another shape or are not finite.
    """
    if goal is None:
        return None
    if isinstance(goal, str):
        goal = task.goals[choose(f'goal of task "{task.name}"', goal, task.goals)]
    try:
        numbers = np.asarray(goal, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise UserError(f"goal must be a name or numbers, got {goal!r}") from error
    size = task.goal_size
    if numbers.shape not in ((size,), (num_envs, size)) or not np.isfinite(numbers).all():
        shapes = f"({size},) or ({num_envs}, {size})"
        raise UserError(f"goal must be finite numbers of shape {shapes}, got shape {numbers.shape}")
    return np.broadcast_to(numbers, (num_envs, size))


def spaces_of(stage: Stage, channels: Sequence[GoalChannel]) -> gym.spaces.Dict:
    """The space of one environment's observations: the state, or with images proprioception, and what channels show."""
    layout = stage.sim.reader.state_layout()
    state_size = max(part.stop for part in layout.values())
    own_size = min((layout[thing.name].start for thing in stage.sim.task.objects), default=state_size)
    pixels = stage.config.obs == "pixels"
    spaces: dict[str, gym.Space[Any]] = {"observation": _reals(own_size if pixels else state_size)}
    for channel in channels:
        spaces |= {channel.frame: channel.space, channel.goal: channel.space}
    if pixels and stage.config.privileged:
        spaces["state"] = _reals(state_size)
    return gym.spaces.Dict(spaces)


def beyond(seen: "Observed") -> NDArray[np.bool_]:
    """Which simulations show a number larger than `MOST`, or what is none, (N,)."""
    largest = np.maximum(np.abs(seen.state).max(axis=1), np.abs(seen.achieved).max(axis=1))
    return ~(largest <= MOST)  # also where it is not a number


def _reals(size: int) -> gym.spaces.Box:
    return gym.spaces.Box(-BOUND, BOUND, (size,), np.float32)

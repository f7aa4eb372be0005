"""Takes what is seen, done and known in a wave of episodes, and puts the finished ones into a frame store."""

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from goalsight.agents.collecting.narration import narrate, was_moved
from goalsight.agents.policies import Policy
from goalsight.agents.rollout import Episodes, Moment, Outcome
from goalsight.pretrain.data.format import PLACE, TOUCHED

if TYPE_CHECKING:
    from tqdm import tqdm

    from goalsight.envs.vector import GoalVectorEnv
    from goalsight.pretrain.data.appender import StoreAppender

BOOKS = ("next", "dropped", "moved")  # kept in the store's notes: with what to go on


class Player(Policy, Protocol):
    """Plays what is recorded, in rounds of episodes."""

    def behaviour_of(self, env: int) -> str:
        """Return the name of what an environment's episode plays."""

    def next_round(
        self, env: "GoalVectorEnv", store: "StoreAppender", first: int, episodes: int
    ) -> tuple[int, NDArray[np.float64] | None]:
        """Return the episode that the round of `first` ends before, and goals as `rollout` takes them."""


class Recorder:
    """Keeps the books of a recording. They lie in the store's notes, so that a recording can go on from there."""

    def __init__(
        self,
        env: "GoalVectorEnv",
        policy: Player,
        store: "StoreAppender",
        bar: "tqdm[Any]",
        *,
        source: str,
        seed: int,
        steps: int,
    ) -> None:
        """Go on where the store ends.

        Args:
            env: is filmed by its own camera.
            policy: plays.
            store: takes the episodes.
            bar: shows how many frames there are.
            source: what every episode's source begins with; its seed follows.
            seed: episode k's is seed + k.
            steps: frames of an episode.
        """
        self._env, self._policy, self._store, self._bar = env, policy, store, bar
        self._source, self._seed, self._steps = source, seed, steps
        # Time is the second axis, so that an episode lies in one piece.
        self._columns: dict[str, NDArray[Any]] = {}  # each (N, T, ...)
        self._points: dict[str, NDArray[np.float32]] = {}  # each (N, T, 3) [m]
        self._in_picture: dict[str, NDArray[np.bool_]] = {}  # each (N, T)
        self.books: dict[str, Any] = store.notes
        for name in BOOKS:
            self.books.setdefault(name, 0)
        self.books.setdefault("behaviours", {})
        self.books["state"] = {name: [part.start, part.stop] for name, part in env.state_layout().items()}

    def take(self, moment: Moment) -> None:
        """Keep what the camera and the simulation show at this moment, and what is about to be done."""
        obs = moment.obs
        for name, values in (
            ("pixels", obs["pixels"]),
            ("proprioception", obs["observation"]),
            ("state", self._env.state_observation()),
            ("achieved_goal", obs["achieved_goal"]),
            ("desired_goal", obs["desired_goal"]),
            ("action", moment.action),
        ):
            self._keep(self._columns, name, moment.time, values)
        for name, points in self._env.object_positions().items():
            self._keep(self._points, name, moment.time, points)
            camera = self._env.config.cameras[0]
            places = self._env.pictures.places(points, camera).astype(np.float32)
            self._keep(self._columns, f"{PLACE}{name}", moment.time, places)
            self._keep(self._in_picture, name, moment.time, self._env.pictures.within(points, camera))
        for name, touched in self._env.touched().items():
            self._keep(self._columns, f"{TOUCHED}{name}", moment.time, touched[:, None])
        self._bar.update(int(moment.active.sum()))

    def answer(self, moment: Moment, outcome: Outcome) -> None:
        """Keep what came of what was done at this moment."""
        self._keep(self._columns, "reward", moment.time, outcome.reward[:, None].astype(np.float32))
        self._keep(self._columns, "success", moment.time, outcome.success[:, None])

    def publish(self, finished: Episodes) -> None:
        """Put the finished episodes of the wave into the store; those whose physics broke are left out."""
        for env, number in enumerate(finished.index):
            if finished.diverged[env]:
                self.books["dropped"] += 1
            else:
                self._add(env, f"{self._source} {self._seed + int(number)}")
        self.books["next"] += len(finished)
        if self._store.episodes:
            self._store.publish(complete=False)

    def _keep(self, kept: dict[str, NDArray[Any]], name: str, time: int, values: NDArray[Any]) -> None:
        if name not in kept:
            kept[name] = np.zeros((len(values), self._steps, *values.shape[1:]), values.dtype)
        kept[name][:, time] = values

    def _add(self, env: int, source: str) -> None:
        columns = {name: values[env] for name, values in self._columns.items() if name != "pixels"}
        paths = {name: points[env] for name, points in self._points.items()}
        labels = {
            name: np.where(self._in_picture[name][env, :, None], path, np.float32(np.nan))
            for name, path in paths.items()
        }
        behaviour = self._policy.behaviour_of(env)
        self._store.add_episode(
            self._columns["pixels"][env],
            labels,
            source,
            columns=columns,
            instruction=narrate(behaviour, paths),
        )
        self.books["behaviours"][behaviour] = self.books["behaviours"].get(behaviour, 0) + 1
        moved = [was_moved(path) for name, path in paths.items() if name != "gripper"]
        self.books["with_things"] = bool(moved)
        self.books["moved"] += int(np.any(moved, axis=0).sum()) if moved else 0

"""The rounds in which an arm learns to read silent video, and to do what it shows.

It plays without skill, learns from that where things are and which action leads from frame to frame, reads the video's
actions, imitates them towards goals that the video came to, attempts the same itself, and reads the video anew by what
the attempts taught (BCO(alpha) of Torabi et al. 2018; hindsight goals of Ding et al. 2019). No reward is looked at.
"""

import contextlib
import copy
import sys
import time
from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from goalsight.agents.agent import Agent
from goalsight.agents.algorithms.base import descend, set_rate, settling
from goalsight.agents.algorithms.imitation import cloning_error, spread_error
from goalsight.agents.costs import Costs
from goalsight.agents.networks.estimates import Estimates
from goalsight.agents.networks.estimator import StateEstimator
from goalsight.agents.networks.policy import GoalActor
from goalsight.agents.recordings import Recording
from goalsight.agents.watching.estimating import Legibility, Lessons, prepare, teach
from goalsight.agents.watching.experience import Experience, Noisy, gather, unskilled
from goalsight.agents.watching.glimpse import Glimpse, glimpse_of
from goalsight.agents.watching.inverse import InverseModel, bounds, explained
from goalsight.agents.watching.options import Watching
from goalsight.agents.watching.reading import Reading, read_actions
from goalsight.agents.watching.video import SilentVideo
from goalsight.agents.watching.watched import Watched
from goalsight.base.errors import UserError
from goalsight.base.precision import autocast
from goalsight.base.progress import progress
from goalsight.base.training_state import State, load_rng, restoring, rng_state

if TYPE_CHECKING:
    from goalsight.envs.making import GoalEnvs
    from goalsight.pretrain.encoders.vit import VideoEncoder

VIEW = "pixels"
PLAYING, SEEING, READING, IMITATING = "playing", "seeing", "reading", "imitating"  # costs
BATCH, RATE, DECAY = 256, 1e-3, 1e-2  # of imitation
SPREAD_WEIGHT = 0.1  # of the actor's spread in its loss while it imitates


class StoppedError(Exception):
    """Someone asked to stop within a round."""


class Watcher:
    """Learns to see, and from video to act.

    Args:
        env: the environments, with images and, in training, the state beside them.
        encoder: what the estimator begins with; stays as it is.
        video: what is watched; None learns to see from play alone.
        options: how; settled.
        make_actor: makes an actor for features, by what has been experienced so far.
        act: makes an actor act on images.
        judge: returns an agent's success in episodes of their own, after so many environment steps; None when stopped.
        seed: of everything random.
        play_seed: of the episodes, as many as are played in all.
        device: where networks compute.
        threads: of a CPU, for what is learnt and looked at between playing; no bit depends on them.
        stopped: whether someone asked to stop.
        keep: takes what people may look at of the video, as each round has read it.
        save: takes what a round has come to, once it has been judged, and the watcher's state, to go on from.
        costs: takes what each part of it costs.
    """

    def __init__(
        self,
        env: "GoalEnvs",
        encoder: "VideoEncoder",
        video: SilentVideo | None,
        options: Watching,
        *,
        make_actor: Callable[[Estimates, Experience], GoalActor],
        act: Callable[[GoalActor, Estimates], Agent],
        judge: Callable[[Agent, int], float | None],
        seed: int,
        play_seed: int,
        device: str = "cpu",
        threads: int = 1,
        stopped: Callable[[], bool] = lambda: False,
        keep: Callable[[Glimpse], None] = lambda glimpse: None,
        save: Callable[[Watched, State], None] = lambda watched, state: None,
        costs: Costs | None = None,
    ) -> None:
        self._stopped, self._keep, self._save, self._costs = stopped, keep, save, costs or Costs()
        self._env, self._encoder, self._video, self._options = env, encoder, video, options
        self._make_actor, self._act, self._judge = make_actor, act, judge
        self._rng = np.random.default_rng((seed, 1))
        self._seed, self._play_seed, self._device, self._threads = seed, play_seed, device, threads
        self._played = 0  # episodes

    def watch(self, kept: State | None = None) -> Watched:
        """Go through all rounds.

        Args:
            kept: a state that `save` was given, to go on from; the first round unless given.

        Raises:
            StoppedError: if someone asked to stop.
            UserError: if what is achieved cannot be read.
        """
        options = self._options
        watched = self._begin() if kept is None else self._load(kept)
        while watched.actor is not None and len(watched.rounds) <= options.rounds:  # else labels are not believed
            measured, agent = watched.rounds[-1], self._act(watched.actor, watched.features)
            if "success" not in measured:
                if (success := self._judge(agent, watched.experience.steps)) is None:
                    raise StoppedError
                measured["success"] = success
                self._save(watched, self._state(watched))
            trying = Noisy(agent, options.noise, self._seed + self._played, watched.unread)
            attempts = self._gather(trying, options.attempts)
            measured["attempts_success"] = float(attempts.success.mean())
            experience, estimator = Experience.joined([watched.experience, attempts]), watched.features.estimator
            estimator.requires_grad_(True)
            watched = self._round(estimator, experience, watched.rounds, self._estimator_updates // 2)
        return watched

    @property
    def _estimator_updates(self) -> int:
        assert self._options.estimator_updates, "settled"
        return self._options.estimator_updates

    def _begin(self) -> Watched:
        """Play without skill, and go through the first round."""
        experience = self._gather(unskilled(self._env, self._seed), self._options.play)
        with self._seeded():
            encoder = copy.deepcopy(self._encoder).requires_grad_(True)
            estimator = StateEstimator(encoder, experience.targets.shape[-1]).to(self._device)
        return self._round(estimator, experience, [], self._estimator_updates)

    def _state(self, watched: Watched) -> State:
        return {"watched": watched.state(), "rng": rng_state(self._rng), "played": self._played}

    def _load(self, state: State) -> Watched:
        """Go back to a state, and return what had been watched by then."""
        with restoring("the run"):
            load_rng(self._rng, state["rng"])
            self._played = int(state["played"])
            return Watched.restored(state["watched"], self._new_actor, self._device)

    def _gather(self, policy: Any, episodes: int) -> Experience:
        with self._costs.timed(PLAYING):
            found = gather(self._env, policy, episodes=episodes, seed=self._play_seed + self._played)
        self._played += episodes
        return found

    def _round(
        self, estimator: StateEstimator, experience: Experience, rounds: list[dict[str, Any]], updates: int
    ) -> Watched:
        """Learn to see from all experience, label the video, imitate it."""
        began = time.monotonic()
        number = len(rounds)
        lessons = Lessons(experience, VIEW, self._rng)
        estimator.train()
        how: Any = {"device": self._device, "threads": self._threads}
        if number == 0:
            self._costs.spend(SEEING, lambda: prepare(estimator, lessons, **how), kind="prepare")
        self._show(teach(estimator, lessons, updates=updates, **how), updates, SEEING)
        legibility = lessons.judge(estimator, **how)
        features = Estimates(estimator, legibility.readable.tolist(), len(legibility.readable_goal))
        if not features.goal_size:
            raise UserError(
                f"after {experience.steps:,} own steps what is achieved cannot be read off the images; "
                "play more (--watching.play), learn more (--watching.estimator-updates), or choose --eyes tokens"
            )
        measured = {"env_steps": experience.steps, **self._what_is_read(legibility)}
        rounds.append(measured)
        watched = Watched(experience, features, None, None, rounds)
        if self._video is not None:
            reading, seen = self._read(self._video, features, experience)
            watched.unread = reading.unread
            measured |= self._how_read(self._video, reading)
            self._keep(glimpse_of(self._video, self._env, features, legibility, seen, reading.labels))
            if (why := self._why_not(measured)) is not None:
                measured["refused"] = why
                print(f"nothing can be learnt of this video: {why}", file=sys.stderr)
            else:
                watched.recording = self._label(self._video, features, seen, reading.labels)
                watched.actor = self._imitate(features, experience, watched.recording)
        measured["seconds"] = round(time.monotonic() - began, 1)
        print(f"round {number}: {_sentence(measured)}", file=sys.stderr)
        return watched

    @staticmethod
    def _what_is_read(legibility: Legibility) -> dict[str, Any]:
        goal = legibility.readable_goal
        return {
            "readable": len(legibility.readable),
            "goal_readable": len(goal),
            "goal_error": float(np.sqrt((legibility.error[goal] ** 2).sum())),
        }

    def _read(
        self, video: SilentVideo, features: Estimates, experience: Experience
    ) -> tuple[Reading, NDArray[np.float32]]:
        """Read the video's actions; also what is seen in its frames, (F, D)."""
        frames = experience.frames[VIEW]
        own = self._look(features, frames.reshape(-1, *frames.shape[2:])).reshape(*frames.shape[:2], -1)
        seen = video.look(lambda part: self._look(features, part))
        reading = read_actions(
            seen,
            video.lengths,
            own,
            experience.actions,
            experience.held_out,
            least=self._options.least_explained,
            fit=self._invert,
        )
        return reading, seen

    def _look(self, features: Estimates, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
        return self._costs.spend(
            READING, lambda: features.look(frames, threads=self._threads), kind="frames", units=len(frames)
        )

    @staticmethod
    def _how_read(video: SilentVideo, reading: Reading) -> dict[str, Any]:
        measured = {
            "own_actions_explained": reading.explained.tolist(),
            "unread_actions": list(reading.unread),
            "doubt": reading.doubt,
        }
        audit = video.audit(reading.labels.shape[1])
        if len(audit):
            inner = np.arange(len(audit)) < bounds(video.lengths)[1][: len(audit)]  # no frame follows an episode's last
            audited = explained(audit[inner], reading.labels[: len(audit)][inner])
            measured["audited_actions_explained"] = audited.tolist()
        return measured

    def _label(
        self, video: SilentVideo, features: Estimates, seen: NDArray[np.float32], labels: NDArray[np.float32]
    ) -> Recording:
        """What is imitated: the video as the actor sees it, with the actions that were read; audited episodes not."""
        audited = len(video.audit(labels.shape[1]))
        return Recording(
            {"features": torch.from_numpy(np.ascontiguousarray(seen[audited:, : len(features.kept)]))},
            torch.from_numpy(np.ascontiguousarray(labels[audited:])),
            video.lengths[np.cumsum(video.lengths) > audited],
            goals={"goal_features": "features"},
            last_goals=self._options.last_goals,
            seed=self._seed,
        )

    def _invert(self, around: NDArray[np.float32], actions: NDArray[np.float32]) -> InverseModel:
        """Learn from windows (E, T, D) of own play which actions (E, T, A) were taken in them."""
        with self._seeded():
            inverse = InverseModel(around.shape[-1], actions.shape[-1])
        taught = around.reshape(-1, around.shape[-1]), actions.reshape(-1, inverse.size)
        updates = self._options.inverse_updates
        self._show(inverse.fit(*taught, updates=updates, rng=self._rng), updates, READING, around.shape[-1])
        return inverse

    def _why_not(self, measured: dict[str, Any]) -> str | None:
        """Say why the labels are not to be believed; None where they are."""
        size, doubt = len(measured["own_actions_explained"]), measured["doubt"]
        read = size - len(measured["unread_actions"])
        if 2 * read < size:
            return (
                f"{read} of {size} numbers of the arm's own actions are read, at least half are wanted, each explained "
                f"to {self._options.least_explained:.0%}; play more (--watching.play), or learn more "
                "(--watching.estimator-updates)"
            )
        if doubt > self._options.most_doubt:
            return (
                f"doubt about its actions is {doubt:.1f} times that about own ones, {self._options.most_doubt} is "
                "borne; is it of this scene, this arm and this camera?"
            )
        return None

    def _imitate(self, features: Estimates, experience: Experience, recording: Recording) -> GoalActor:
        """Make an actor that does what the labelled video shows."""
        actor = self._new_actor(features, experience)
        updates = self._options.imitation_updates
        optimiser = torch.optim.AdamW(actor.parameters(), lr=RATE, weight_decay=DECAY, fused=True)

        def learn() -> Generator[float]:
            for update in range(updates):
                set_rate([optimiser], settling(RATE, 1 - update / updates))
                batch = recording.sample(BATCH).to(self._device)
                with autocast(self._device):
                    error = cloning_error(actor, batch)
                    loss = error
                    if actor.spread and self._options.noise:
                        loss = error + SPREAD_WEIGHT * spread_error(actor, batch, self._options.noise)
                descend(optimiser, loss)
                yield float(error.detach())

        self._show(learn(), updates, IMITATING)
        return actor

    def _new_actor(self, features: Estimates, experience: Experience) -> GoalActor:
        with self._seeded():
            return self._make_actor(features, experience)

    @contextlib.contextmanager
    def _seeded(self) -> Iterator[None]:
        """Draw weights from the seed; torch's global generator ends as it was."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self._seed)
            yield

    def _show(self, losses: Generator[float], updates: int, stage: str, kind: int = 0) -> None:
        """Go through updates with a bar that shows their loss; those of one stage and kind cost the same."""
        bar = progress(total=updates, desc=stage, unit="update", unit_scale=True, mininterval=0.5)
        with bar, contextlib.closing(losses):
            for _ in range(updates):
                loss = self._costs.spend(stage, lambda: next(losses), kind=str(kind))
                if self._stopped():
                    raise StoppedError
                if bar.n % 50 == 0:
                    bar.set_postfix(loss=f"{loss:.4f}", refresh=False)
                bar.update()


def _sentence(measured: dict[str, Any]) -> str:
    """Return what a round measured as a sentence."""
    goal, actions = measured["goal_error"], measured.get("own_actions_explained")
    parts = [f"{measured['env_steps']:,} own steps", f"what is achieved read within {100 * goal:.1f} cm"]
    if actions is not None:
        parts.append(
            f"own actions explained to {np.mean(actions):.2f}, doubt about the video's {measured['doubt']:.1f}x"
        )
    if "audited_actions_explained" in measured:
        parts.append(f"audited ones to {np.mean(measured['audited_actions_explained']):.2f}")
    return "; ".join(parts)

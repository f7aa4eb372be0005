"""Training from end to end: environments, features, replay and agent put together, watched and saved."""

import time
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, cast

import torch
from gymnasium import spaces
from stable_baselines3.common.utils import set_random_seed

from goalsight.agents.agent import Agent
from goalsight.agents.algorithms import ALGORITHMS
from goalsight.agents.algorithms.base import Algorithm, Scales
from goalsight.agents.calibration import calibrate, calibration_steps, scales_of
from goalsight.agents.checking import Check
from goalsight.agents.costs import CALIBRATING, Costs
from goalsight.agents.keeping import Keeper
from goalsight.agents.making import make_algorithm, make_replay, make_training_envs
from goalsight.agents.networks.estimates import Estimates
from goalsight.agents.networks.features import Features, FrozenFeatures, Reduction, find_encoder
from goalsight.agents.networks.policy import GoalActor
from goalsight.agents.offline import Offline
from goalsight.agents.online import Online
from goalsight.agents.recordings import Recording, check_stores, open_stores, read_recording, some_frames
from goalsight.agents.vec_env import GoalVecEnv
from goalsight.agents.watch import Watch
from goalsight.agents.watching.experience import Experience
from goalsight.agents.watching.origin import check_recordings, check_video
from goalsight.agents.watching.video import SilentVideo, open_video
from goalsight.agents.watching.watcher import StoppedError, Watched, Watcher
from goalsight.base.errors import UserError, choose
from goalsight.base.machine import check_threads, usable_cores
from goalsight.base.parts import options_of
from goalsight.base.run_folders import ENCODER_PATH
from goalsight.base.runs import Run
from goalsight.base.training_state import State, restoring
from goalsight.envs.ids import resolved, spec_of
from goalsight.envs.making import make
from goalsight.envs.tasks import TASKS
from goalsight.envs.tasks.shared.training import UNTRIED
from goalsight.pretrain.encoders.vit import VideoEncoder, check_map

if TYPE_CHECKING:
    from goalsight.agents.train import Train
    from goalsight.envs.making import GoalEnvs

# Ranges of seeds that never meet those of evaluations.
TRAIN_SEED = 20_000_000
PLAY_SEED = 900_000_000  # the random play before training
SEEDS_PER_RUN = 10_000
CALIBRATED = 1_000  # seeds of play before training that are left to its calibration
FIT_FRAMES = 2_000  # of a recording, that features are fitted on

Loop = Online | Offline


class Learner:
    """A training run, ready to learn. A context manager: threads and environments end with it.

    Attributes:
        plan: its length, and how it is watched.
        options: the algorithm's, with the task's numbers where none were given.
        algorithm: what learns.
        facts: what results must name.
        state: what a stopped run goes on from; None begins anew.
        sources: hashes of what it is made from.
        task: the task's name.
        costs: of all stages so far.
        env: the environment, with its full id.
        found: what takes the place of what was asked for in the run's record.
    """

    def __init__(self, config: "Train", state: State | None = None) -> None:
        self.config = config
        self.env = resolved(config.env)
        self.source = config.source
        check_threads(config.threads)
        self.threads, self.costs = config.threads or usable_cores(), Costs()
        self._kind: type[Algorithm] = ALGORITHMS.load(config.algorithm)
        self.options: Any = options_of(ALGORITHMS, config.algorithm, config.options)
        if self._kind.online and config.data:
            raise UserError(f"{config.algorithm} learns from play of its own; --data is for algorithms such as bc")
        if config.estimates and not self._kind.online:
            able = ", ".join(name for name in ALGORITHMS if ALGORITHMS.load(name).online)
            raise UserError(f"{config.algorithm} imitates recorded actions; what is seen in video helps {able}")
        if state is None:  # the record of an older run may hold what does nothing
            config.refuse_idle_options(online=self._kind.online)
        self._stores = [] if self._kind.online else open_stores(config.data, self.env.obs)
        if self._stores:
            check_recordings(config.data, self.env)
        self.state = state
        spec = spec_of(self.env.id)
        training = UNTRIED if spec.task is None else TASKS[spec.task].training
        self.task = spec.name
        self.options = self.options.completed(training)
        self.plan = config.plan(self.options, training)
        choose("device", config.device, ("cpu", *(["cuda"] if torch.cuda.is_available() else [])))
        self._threads_before = torch.get_num_threads()
        self._env: GoalVecEnv | None = None
        self._raw: GoalEnvs | None = None  # what it is made of

    def __enter__(self) -> "Learner":
        """Make everything."""
        # Batches this small gain nothing from a second thread, and the environments, which step meanwhile, need it.
        torch.set_num_threads(1)
        try:
            self._build()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End threads and environments."""
        self.close()

    def close(self) -> None:
        """End threads and environments, and give torch its threads back."""
        for env in (self._env, self._raw):
            if env is not None:
                env.close()
        torch.set_num_threads(self._threads_before)

    # Putting together ---------------------------------------------------------------------------------------------

    def _build(self) -> None:
        config, encoder = self.config, self._find_encoder()
        self._watching = config.watching.settled(points=encoder is not None and encoder.points is not None)
        self._encoder, self._video = encoder, self._open_video()
        self.rounds: list[dict[str, Any]] = []
        self.features: Features | None = self._find_features()
        self._loop: Loop | None = None  # where the actor's eyes are still to be made, they are a part of the learning
        if not self._kind.online:
            self._loop = self._make_offline()
        else:
            self._raw = make_training_envs(self.env, self.plan, threads=self.threads, critic=config.critic)
            if not config.estimates:
                self._loop = self._make_online(self._raw)
        self.sources = self._hashes()
        critic = None if self._stores else "state" if self.env.obs == "state" else config.critic
        self.found = {
            "critic": critic,
            "encoder": self.source,
            "env": self.env,
            "options": self.options,
            "watching": self._watching,
        }
        self.facts: dict[str, Any] = {
            "env": self.env.id,
            "obs": self.env.obs,
            "algorithm": config.algorithm,
            "critic": critic,
            "encoder": self.source,
            "tune_blocks": config.tune_blocks,
            "calibration_steps": 0 if config.estimates or self._stores else calibration_steps(self.plan.num_envs),
            **self._facts_of_sight(),
        }

    def _find_encoder(self) -> VideoEncoder | None:
        """What frames are seen by; None where none are."""
        if self.env.obs != "pixels":
            return None
        config = self.config
        tokeniser = "local" if config.estimates else "conv"
        encoder = find_encoder(self.source, self.env.image_size, config.seed, tokeniser=tokeniser)
        if config.estimates:
            check_map(encoder)
        return encoder.to(config.device)

    def _hashes(self) -> dict[str, str]:
        """Hashes of what it is made from, by name."""
        found: dict[str, str] = {}
        if self._video is not None:
            found["video"] = self._video.content_hash
        if self._stores:
            found["data"] = ", ".join(store.content_hash for store in self._stores)
        if self._encoder is not None:
            found["encoder"] = self._encoder.content_hash()
            if self.source != "random":
                found[ENCODER_PATH] = str(Path(self.source).resolve())
        return found

    def _facts_of_sight(self) -> dict[str, Any]:
        """What results must name where the actor sees by estimates."""
        if not self.config.estimates:
            return {}
        watched = {} if self._video is None else self._video.facts
        return {"eyes": "estimates", "estimates_learn": "state", **watched}

    def _open_video(self) -> SilentVideo | None:
        if not self.config.video:
            return None
        check_video(self.config.video, self.env)
        return open_video(self.config.video, self.env.image_size)

    def _find_features(self) -> Features | None:
        """What the actor sees by, as far as it is known before the learning."""
        if self._encoder is None:
            return None
        if self.config.estimates:
            with restoring("the run"):
                kept = None if self.state is None else self.state["estimates"]
                found = None if kept is None else Estimates.from_kept(kept["tensors"], kept["meta"])
            return None if found is None else found.to(self.config.device)
        features = FrozenFeatures(self._encoder, self.config.tune_blocks, cameras=len(self.env.cameras))
        if self.state is not None:
            with restoring("the run"):
                features.reduction = Reduction(**self.state["reduction"])
            features.to(self.config.device)
        return features

    def _make_online(self, env: "GoalEnvs", run: Run | None = None) -> Online:
        """Make replay and algorithm, after a play that shows the scales of vectors."""
        config, options = self.config, self.options
        scales: Scales | None = None
        watched: Watched | None = None
        if self.state is None and config.estimates:
            assert run is not None, "its eyes are made when the learning begins"
            watched = self._watch(env, run)
            scales = scales_of(watched.experience.vectors)
        elif self.state is None:
            scales = self._calibrate(env)
        self._env = GoalVecEnv(
            env,
            self.features,
            None if self.features is None else self.features.space,
            background=not env.bound_to_thread,
            costs=self.costs,
        )
        space, actions = cast(spaces.Dict, self._env.observation_space), cast(spaces.Box, self._env.action_space)
        played = self.rounds[-1]["env_steps"] if self.rounds else 0
        replay = make_replay(self._env, config, self.plan, relabelled=options.relabelled, played=played)
        self._env.seed(TRAIN_SEED + SEEDS_PER_RUN * config.seed)
        if watched is None or watched.recording is None:
            self.algorithm = self._algorithm(space, actions, scales)
        if watched is not None:
            assert isinstance(self.features, Estimates)
            replay.add_episodes(*watched.experience.seen_by(self.features, "pixels"), watched.experience.actions)
            set_random_seed(config.seed)  # what is drawn in updates, whatever was drawn before
        return Online(
            self.algorithm,
            self._env,
            replay,
            options,
            total=self.plan.steps,
            seed=config.seed,
            played=played,
            recording=self._recording(watched),
            watching=self._watching,
            costs=self.costs,
        )

    def _calibrate(self, env: "GoalEnvs") -> Scales:
        """Play at random for a moment; return the scales of vectors, and fit frozen features on what was seen."""
        with self.costs.timed(CALIBRATING):
            play = calibrate(env, PLAY_SEED + SEEDS_PER_RUN * self.config.seed)
            if isinstance(self.features, FrozenFeatures) and play.frames is not None:
                self.features.fit(play.frames)
        return play.scales

    def _recording(self, watched: Watched | None) -> Recording | None:
        """The labelled video: as it has just been read, or as the run keeps it."""
        if watched is not None:
            return watched.recording
        kept = None if self.state is None else self.state.get("recording")
        return None if kept is None else Recording.restored(kept)

    def _watch(self, env: "GoalEnvs", run: Run) -> Watched:
        """Learn to see from play, and from video what to do; what each round's imitation reaches is logged."""
        config = self.config
        assert self._encoder is not None

        def make_actor(features: Estimates, experience: Experience) -> GoalActor:
            self.features = features
            seen = GoalVecEnv(env, features, features.space)
            space, actions = cast(spaces.Dict, seen.observation_space), cast(spaces.Box, seen.action_space)
            self.algorithm = self._algorithm(space, actions, scales_of(experience.vectors))
            return self.algorithm.actor

        with Check(self.env, self.plan.eval_episodes, self.threads, run, self.costs) as check:
            watched = Watcher(
                env,
                self._encoder,
                self._video,
                self._watching,
                make_actor=make_actor,
                act=self._acting,
                judge=check.log,
                seed=config.seed,
                play_seed=PLAY_SEED + SEEDS_PER_RUN * config.seed + CALIBRATED,
                device=config.device,
                threads=self.threads,
                stopped=lambda: run.stopped,
                keep=lambda glimpse: glimpse.save(run.path),
                costs=self.costs,
            ).watch()
        self.features, self.rounds = watched.features, watched.rounds
        return watched

    def _make_offline(self) -> Offline:
        """Read the recordings, and make an algorithm that imitates them."""
        config, options = self.config, self.options
        if len(self.env.cameras) > 1:
            raise UserError(f"a recording is by one camera, got {', '.join(self.env.cameras)}")
        env = make(self.env)
        seen = GoalVecEnv(env, self.features, None if self.features is None else self.features.space)
        space, actions = cast(spaces.Dict, seen.observation_space), cast(spaces.Box, seen.action_space)
        seen.close()
        check_stores(self._stores, self.env.obs, space, actions, self.env.id)
        if isinstance(self.features, FrozenFeatures) and self.state is None:
            self.features.fit(some_frames(self._stores, FIT_FRAMES))
        recording = read_recording(
            self._stores, self.env.obs, self.features, last_goals=options.last_goals, seed=config.seed
        )
        self.algorithm = self._algorithm(space, actions, recording.scales())
        return Offline(
            self.algorithm, recording, batch_size=options.batch_size, total=self.plan.steps, costs=self.costs
        )

    def _algorithm(self, space: spaces.Dict, actions: spaces.Box, scales: Scales | None) -> Algorithm:
        return make_algorithm(self._kind, self.options, self.config, self.features, space, actions, scales)

    @property
    def numbers(self) -> dict[str, Any]:
        """The numbers that it learns by, for the run's record."""
        return asdict(self.plan) | asdict(self.options)

    @property
    def loop(self) -> Loop:
        """What it learns in."""
        assert self._loop is not None, "made when the learning begins"
        return self._loop

    # Learning -----------------------------------------------------------------------------------------------------

    def learn(self, run: Run) -> dict[str, Any]:
        """Train into `run` until the steps are done, the target is reached or `run.stopped`; return the summary.

        What is kept on the way, and when it is stopped, is enough to go on to the bit.
        """
        began = time.monotonic()
        if self._loop is None:
            if self.state is not None:
                with restoring(f"run {run.path}"):
                    self.rounds = list(self.state["rounds"])
            try:
                assert self._raw is not None
                self._loop = self._make_online(self._raw, run)
            except StoppedError:
                return {**self.facts, "env_steps": 0, "updates": 0, "seconds": 0.0, "best_success": None}
        self.keeper = Keeper(self, run)
        with Watch(self, run, self.keeper, seconds=time.monotonic() - began) as watch:
            self.loop.saw = watch.saw
            if self.state is not None:
                self.keeper.load(self.state, watch)
                self.state = None
            self.loop.run(watch.rest)
            watch.finish()
        rounds = {"watching": self.rounds} if self.rounds else {}
        return {**self.facts, **watch.summary(), **rounds}

    def note_before_trial(self, steps: int, success: float) -> None:
        """Note with what the last round taught how much was reached before any step of trial, where this is it."""
        if self.rounds and steps == self.rounds[-1]["env_steps"]:
            self.rounds[-1].setdefault("success", success)

    def agent(self) -> Agent:
        """Return the agent as it is now."""
        return self._acting(self.algorithm.judged, self.features)

    def _acting(self, actor: GoalActor, features: Features | None) -> Agent:
        return Agent(actor, features, env_id=self.env.id, env_kwargs=self.env.arguments(), facts=self.facts)

    def verdict(self, summary: dict[str, Any]) -> str:
        """Return the summary as a sentence."""
        best = summary["best_success"]
        reached = "not evaluated" if best is None else f"best evaluation {best:.0%}"
        done = f"{summary['env_steps']:,} env steps" if self._kind.online else f"{summary['updates']:,} updates"
        return (
            f"{self.env.id}: {reached} after {done}, {summary['seconds']:.0f} s "
            f"({self.config.algorithm}, obs {self.facts['obs']}, critic {self.facts['critic']}, "
            f"encoder {self.facts['encoder']})"
        )

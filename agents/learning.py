"""Training from end to end: environments, features, replay and agent put together, watched and saved."""

import sys
import time
from dataclasses import asdict
from types import TracebackType
from typing import TYPE_CHECKING, Any, cast

import torch
from gymnasium import spaces
from stable_baselines3.common.utils import set_random_seed

from goalsight.agents.agent import Agent, agent_meta, agent_tensors
from goalsight.agents.algorithms import ALGORITHMS
from goalsight.agents.algorithms.base import Algorithm, Scales
from goalsight.agents.calibration import calibrate, calibration_steps, scales_of
from goalsight.agents.checking import Check
from goalsight.agents.costs import CALIBRATING, SAVING, Costs
from goalsight.agents.keeping import Keeper
from goalsight.agents.making import make_algorithm, make_replay, make_training_envs
from goalsight.agents.material import Material
from goalsight.agents.networks.estimates import Estimates
from goalsight.agents.networks.features import Features, FrozenFeatures, Reduction
from goalsight.agents.networks.policy import GoalActor
from goalsight.agents.offline import Offline
from goalsight.agents.online import Online
from goalsight.agents.recordings import Recording, check_stores, open_stores, read_recording, some_frames
from goalsight.agents.vec_env import GoalVecEnv
from goalsight.agents.watch import Watch
from goalsight.agents.watching.experience import Experience
from goalsight.agents.watching.origin import check_recordings
from goalsight.agents.watching.rounds import Rounds
from goalsight.agents.watching.watched import Watched
from goalsight.agents.watching.watcher import StoppedError, Watcher
from goalsight.base.errors import UserError, choose
from goalsight.base.machine import check_threads, usable_cores
from goalsight.base.memory import free_memory
from goalsight.base.parts import options_of
from goalsight.base.runs import Run
from goalsight.base.training_state import State, restoring
from goalsight.envs.ids import resolved, spec_of
from goalsight.envs.making import make
from goalsight.envs.tasks import TASKS
from goalsight.envs.tasks.shared.training import UNTRIED

if TYPE_CHECKING:
    from goalsight.agents.train import Train
    from goalsight.envs.making import GoalEnvs

# Ranges of seeds that never meet those of evaluations.
TRAIN_SEED = 20_000_000
PLAY_SEED = 900_000_000  # the random play before training
SEEDS_PER_RUN = 10_000
CALIBRATED = 1_000  # seeds of play before training that are left to its calibration
FIT_FRAMES = 2_000  # of a recording, that features are fitted on
COPIES = 3  # of own play, that saving it takes for a moment
WATCHING = "watching"  # what a training goes on from that was stopped between rounds of watching

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
        self._halfway: State | None = None if state is None else state.get(WATCHING)
        self.state = state if self._halfway is None else None
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
        config = self.config
        self._material = material = Material.find(config, self.env, self._stores)
        self._watching = config.watching.settled(points=material.finds_points)
        self.rounds = Rounds()
        self.features: Features | None = self._find_features()
        self._loop: Loop | None = None  # where the actor's eyes are still to be made, they are a part of the learning
        if not self._kind.online:
            self._loop = self._make_offline()
        else:
            self._raw = make_training_envs(self.env, self.plan, threads=self.threads, critic=config.critic)
            if not config.estimates:
                self._loop = self._make_online(self._raw)
        self.sources = material.hashes()
        critic = None if self._stores else "state" if self.env.obs == "state" else config.critic
        self.found = {
            "critic": critic,
            "encoder": config.source,
            "env": self.env,
            "options": self.options,
            "watching": self._watching,
        }
        self.facts: dict[str, Any] = {
            "env": self.env.id,
            "obs": self.env.obs,
            "algorithm": config.algorithm,
            "critic": critic,
            "encoder": config.source,
            "tune_blocks": config.tune_blocks,
            "calibration_steps": 0 if config.estimates or self._stores else calibration_steps(self.plan.num_envs),
            **({"eyes": "estimates", "estimates_learn": "state", **material.watched} if config.estimates else {}),
        }

    def _find_features(self) -> Features | None:
        """What the actor sees by, as far as it is known before the learning."""
        if self._material.encoder is None:
            return None
        if self.config.estimates:
            with restoring("the run"):
                kept = None if self.state is None else self.state["estimates"]
                found = None if kept is None else Estimates.from_kept(kept["tensors"], kept["meta"])
            return None if found is None else found.to(self.config.device)
        features = FrozenFeatures(self._material.encoder, self.config.tune_blocks, cameras=len(self.env.cameras))
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
        played = self.rounds.env_steps
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
        assert self._material.encoder is not None

        def make_actor(features: Estimates, experience: Experience) -> GoalActor:
            self.features = features
            seen = GoalVecEnv(env, features, features.space)
            space, actions = cast(spaces.Dict, seen.observation_space), cast(spaces.Box, seen.action_space)
            self.algorithm = self._algorithm(space, actions, scales_of(experience.vectors))
            return self.algorithm.actor

        def save(watched: Watched, state: State) -> None:
            self.rounds = Rounds(watched.rounds)
            if COPIES * watched.experience.nbytes > free_memory():
                print("too little memory is free to save this round: a stop goes on before it", file=sys.stderr)
                return
            kept = {"watcher": state, "costs": self.costs.state(), "seconds": self._elapsed()}
            best = self.rounds.last == self.rounds.best
            with self.costs.timed(SAVING):
                self.publish(run, watched.experience.steps, {WATCHING: kept}, best=best, keep=False)

        with Check(self.env, self.plan.eval_episodes, self.threads, run, self.costs) as check:
            watched = Watcher(
                env,
                self._material.encoder,
                self._material.video,
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
                save=save,
                costs=self.costs,
            ).watch(self._halfway)
        self._halfway = None
        self.features, self.rounds = watched.features, Rounds(watched.rounds)
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
        self._began = time.monotonic()
        if self._loop is None:
            with restoring(f"run {run.path}"):
                if self.state is not None:
                    self.rounds = Rounds(self.state["rounds"])
                elif (kept := self._halfway) is not None:
                    self.costs.load(kept["costs"])
                    self._began -= float(kept["seconds"])
                    self._halfway = dict(kept["watcher"])
                    self.rounds = Rounds(self._halfway["watched"]["rounds"])
            try:
                assert self._raw is not None
                self._loop = self._make_online(self._raw, run)
            except StoppedError:
                return self._before_trial()
        self.keeper = Keeper(self, run)
        with Watch(self, run, self.keeper, seconds=self._elapsed()) as watch:
            self.loop.saw = watch.saw
            if self.state is not None:
                self.keeper.load(self.state, watch)
                self.state = None
            self.loop.run(watch.rest)
            watch.finish()
        return {**self.facts, **watch.summary(), **self._watched()}

    def _elapsed(self) -> float:
        """Since the learning began, and in the processes before [s]."""
        return time.monotonic() - self._began

    def _before_trial(self) -> dict[str, Any]:
        """The summary of a training that was stopped while it watched, as far as its rounds were judged."""
        return {
            **self.facts,
            "env_steps": self.rounds.env_steps,
            "updates": 0,
            "seconds": round(self._elapsed(), 1),
            **self.costs.summary(),
            "best_success": self.rounds.best,
            "last_success": self.rounds.last,
            **self._watched(),
        }

    def _watched(self) -> dict[str, Any]:
        """What rounds of watching measured, where there were any."""
        return {WATCHING: self.rounds.measured} if self.rounds else {}

    def publish(self, run: Run, steps: int, state: State | None, *, best: bool, keep: bool) -> None:
        """Publish the agent as it is now.

        Args:
            run: the training's.
            steps: environment steps so far, or updates where there are none.
            state: what the training goes on from.
            best: whether it is the best so far.
            keep: whether it stays once a newer one is there.
        """
        facts = {"env_steps": steps} if self._loop is None else self._loop.facts
        meta = agent_meta(
            self.algorithm.actor,
            self.features,
            env_id=self.env.id,
            env_kwargs=self.env.arguments(),
            facts={**self.facts, **facts},
            options=self.options,
        )
        tensors = agent_tensors(self.algorithm, self.features)
        run.publish(steps, tensors, meta, state=state, best=best, keep=keep)

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

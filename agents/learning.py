"""Training from end to end: environments, features, replay and agent put together, watched and saved."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, cast

import torch
from gymnasium import spaces
from stable_baselines3.common.utils import set_random_seed

from goalsight.agents.agent import Agent
from goalsight.agents.algorithms import ALGORITHMS
from goalsight.agents.algorithms.base import Algorithm, Scales, Setting
from goalsight.agents.calibration import calibrate
from goalsight.agents.keeping import Keeper
from goalsight.agents.networks.features import FrozenFeatures, Reduction, find_encoder
from goalsight.agents.networks.inputs import PIXELS, PRIVILEGED, STATE
from goalsight.agents.offline import Offline
from goalsight.agents.online import Online
from goalsight.agents.recordings import Recording, open_stores, some_frames
from goalsight.agents.replay import GoalReplayBuffer
from goalsight.agents.vec_env import GoalVecEnv
from goalsight.agents.watch import Watch
from goalsight.base.errors import UserError, choose
from goalsight.base.machine import usable_cores
from goalsight.base.parts import options_of
from goalsight.base.precision import fast_dtype
from goalsight.base.runs import Run
from goalsight.base.training_state import State
from goalsight.envs.ids import resolved, spec_of
from goalsight.envs.making import make
from goalsight.envs.tasks import TASKS
from goalsight.envs.tasks.shared.training import UNTRIED

if TYPE_CHECKING:
    from goalsight.agents.train import Train

# Ranges of seeds that never meet those of evaluations.
TRAIN_SEED = 20_000_000
PLAY_SEED = 900_000_000  # the random play before training
SEEDS_PER_RUN = 10_000
FIT_FRAMES = 2_000  # of a recording, that features are fitted on

Loop = Online | Offline


class Learner:
    """A training run, ready to learn. A context manager: threads and environments end with it.

    Attributes:
        plan: its length, and how it is watched.
        options: the algorithm's, with the task's numbers where none were given.
        algorithm: what learns.
        loop: what it learns in.
        facts: what results must name.
        state: what a stopped run goes on from; None begins anew.
        sources: hashes of what it is made from.
        task: the task's name.
        env: the environment, with its full id.
        found: what takes the place of what was asked for in the run's record.
    """

    def __init__(self, config: "Train", state: State | None = None) -> None:
        self.config = config
        self.env = resolved(config.env)
        self.source = config.source
        self.threads = config.threads or usable_cores()
        if self.threads < 1:
            raise UserError(f"threads must be at least 1, or 0 for every CPU, got {config.threads}")
        self._kind: type[Algorithm] = ALGORITHMS.load(config.algorithm)
        self.options: Any = options_of(ALGORITHMS, config.algorithm, config.options)
        if self._kind.online and config.data:
            raise UserError(f"{config.algorithm} learns from play of its own; --data is for algorithms such as bc")
        self._stores = [] if self._kind.online else open_stores(config.data, self.env.obs)
        self.state = state
        choose("device", config.device, ("cpu", *(["cuda"] if torch.cuda.is_available() else [])))
        self._threads_before = torch.get_num_threads()
        self._env: GoalVecEnv | None = None

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
        if self._env is not None:
            self._env.close()
        torch.set_num_threads(self._threads_before)

    # Putting together ---------------------------------------------------------------------------------------------

    def _build(self) -> None:
        config = self.config
        encoder = None
        if self.env.obs == "pixels":
            encoder = find_encoder(self.source, self.env.image_size, config.seed).to(config.device)
        spec = spec_of(self.env.id)
        training = UNTRIED if spec.task is None else TASKS[spec.task].training
        self.task = spec.name
        self.options = self.options.completed(training)
        self.plan = config.plan(self.options, training)
        self.features = (
            None if encoder is None else FrozenFeatures(encoder, config.tune_blocks, cameras=len(self.env.cameras))
        )
        if self.features is not None and self.state is not None:
            self.features.reduction = Reduction(**self.state["reduction"])
        self.loop: Loop = self._make_online(training.horizon) if self._kind.online else self._make_offline()
        self.sources: dict[str, str] = {}
        if self._stores:
            self.sources["data"] = ", ".join(store.content_hash for store in self._stores)
        if encoder is not None:
            self.sources["encoder"] = encoder.content_hash()
            if self.source != "random":
                self.sources["encoder_path"] = str(Path(self.source).resolve())
        critic = None if self._stores else "state" if self.env.obs == "state" else config.critic
        self.found = {"critic": critic, "encoder": self.source, "env": self.env, "options": self.options}
        self.facts: dict[str, Any] = {
            "env": self.env.id,
            "obs": self.env.obs,
            "algorithm": config.algorithm,
            "critic": critic,
            "encoder": self.source,
            "tune_blocks": config.tune_blocks,
        }

    def _make_online(self, horizon: int | None) -> Online:
        """Make environments, replay and algorithm, after a short play at random that shows their scales."""
        config, options = self.config, self.options
        env = make(
            self.env,
            self.plan.num_envs,
            num_threads=self.threads,
            max_episode_steps=horizon,
            training_starts=True,
            privileged=self.env.obs == "pixels",
        )
        shown: Any = env.single_observation_space
        if self.env.obs == "pixels" and config.critic == "state" and "state" not in shown.spaces:
            raise UserError(f"{self.env.id} shows no state beside its images; choose critic pixels")
        scales: Scales | None = None
        if self.state is None:
            play = calibrate(env, PLAY_SEED + SEEDS_PER_RUN * config.seed)
            scales = play.scales
            if self.features is not None and play.frames is not None:
                self.features.fit(play.frames)
        self._env = GoalVecEnv(
            env,
            self.features,
            None if self.features is None else self.features.space,
            background=not env.bound_to_thread,
        )
        space, actions = cast(spaces.Dict, self._env.observation_space), cast(spaces.Box, self._env.action_space)
        replay = GoalReplayBuffer(
            self.plan.steps,
            space,
            actions,
            config.device,
            self.plan.num_envs,
            goal_keys=self._env.goal_keys,
            compute_reward=env.compute_reward,
            horizon=env.horizon,
            relabelled=options.relabelled,
            seed=config.seed,
        )
        self._env.seed(TRAIN_SEED + SEEDS_PER_RUN * config.seed)
        self.algorithm = self._make_algorithm(space, actions, scales)
        return Online(self.algorithm, self._env, replay, options, total=self.plan.steps, seed=config.seed)

    def _make_offline(self) -> Offline:
        """Read the recordings, and make an algorithm that imitates them."""
        config, options = self.config, self.options
        if len(self.env.cameras) > 1:
            raise UserError(f"a recording is by one camera, got {', '.join(self.env.cameras)}")
        if self.features is not None and self.state is None:
            self.features.fit(some_frames(self._stores, FIT_FRAMES))
        recording = Recording(
            self._stores, self.env.obs, self.features, last_goals=options.last_goals, seed=config.seed
        )
        env = make(self.env)
        seen = GoalVecEnv(env, self.features, None if self.features is None else self.features.space)
        space, actions = cast(spaces.Dict, seen.observation_space), cast(spaces.Box, seen.action_space)
        seen.close()
        recording.check(space, actions, self.env.id)
        self.algorithm = self._make_algorithm(space, actions, recording.scales())
        return Offline(self.algorithm, recording, batch_size=options.batch_size, total=self.plan.steps)

    def _make_algorithm(self, space: spaces.Dict, actions: spaces.Box, scales: Scales | None) -> Algorithm:
        """Make the algorithm; without scales those of its state will take their place."""
        config = self.config
        if scales is None:
            scales = {key: (torch.zeros(part.shape), torch.ones(part.shape)) for key, part in space.spaces.items()}  # type: ignore[arg-type]
        actor_sees = STATE if self.env.obs == "state" else PIXELS
        critic_sees = STATE if self.env.obs == "state" else {"state": PRIVILEGED, "pixels": PIXELS}[config.critic]
        setting = Setting(
            space,
            actions,
            actor_sees,
            critic_sees,
            scales,
            make_eye=self.features.make_eye if self.features is not None and config.tune_blocks else None,
            device=config.device,
            bfloat16=fast_dtype(config.device) == torch.bfloat16,
        )
        set_random_seed(config.seed)  # weights, and what is drawn in updates
        return self._kind(setting, self.options)

    @property
    def numbers(self) -> dict[str, Any]:
        """The numbers that it learns by, for the run's record."""
        return asdict(self.plan) | asdict(self.options)

    # Learning -----------------------------------------------------------------------------------------------------

    def learn(self, run: Run, stopped: Callable[[], bool]) -> dict[str, Any]:
        """Train into `run` until the steps are done, the target is reached or `stopped()`; return the summary.

        What is kept on the way, and when it is stopped, is enough to go on to the bit.
        """
        self.keeper = Keeper(self, run)
        with Watch(self, run, stopped, self.keeper) as watch:
            self.loop.saw = watch.saw
            if self.state is not None:
                self.keeper.load(self.state, watch)
                self.state = None
            self.loop.run(watch.rest)
            watch.finish()
        return {**self.facts, **watch.summary()}

    def agent(self) -> Agent:
        """Return the agent as it is now."""
        return Agent(
            self.algorithm.actor, self.features, env_id=self.env.id, env_kwargs=self.env.arguments(), facts=self.facts
        )

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

"""Training from end to end: environments, features, replay and agent put together, watched and saved."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import torch
from stable_baselines3.common.logger import Logger

from goalsight.agents.agent import Agent
from goalsight.agents.algorithms.sac import GoalSAC
from goalsight.agents.calibration import calibrate
from goalsight.agents.networks.features import FrozenFeatures, find_encoder
from goalsight.agents.networks.inputs import PIXELS, PRIVILEGED, STATE
from goalsight.agents.networks.policy import GoalPolicy
from goalsight.agents.presets import TrainPreset
from goalsight.agents.replay import GoalReplayBuffer
from goalsight.agents.vec_env import GoalVecEnv
from goalsight.agents.watch import Watch
from goalsight.base.errors import UserError, choose
from goalsight.base.machine import usable_cores
from goalsight.base.precision import fast_dtype
from goalsight.base.runs import Run
from goalsight.envs.ids import resolved, spec_of
from goalsight.envs.making import make

if TYPE_CHECKING:
    from goalsight.agents.train import Train

# Ranges of seeds that never meet those of evaluations.
TRAIN_SEED = 20_000_000
PLAY_SEED = 900_000_000  # the random play before training
SEEDS_PER_RUN = 10_000


def settling(rate: float) -> Callable[[float], float]:
    """A learning rate that is constant for half of the training and then falls linearly, to a twentieth at the end.

    Args:
        rate: at the start.

    Returns:
        the rate as a function of the share of the training that remains, as stable-baselines3 wants it.
    """
    return lambda remaining: rate * min(1.0, max(0.05, 2 * remaining))


class Learner:
    """A training run, ready to learn. A context manager: threads and environments end with it.

    Attributes:
        preset: the hyperparameters.
        env: the environment, with its full id.
        facts: what results must name.
        found: what takes the place of what was asked for in the run's record.
        sources: hashes of what it is made from.
        task: the task's name.
    """

    def __init__(self, config: "Train") -> None:
        self.config = config
        self.env = resolved(config.env)
        self.source = config.source
        self.threads = config.threads or usable_cores()
        if self.threads < 1:
            raise UserError(f"threads must be at least 1, or 0 for every CPU, got {config.threads}")
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
        self.task = spec_of(self.env.id).name
        self.preset: TrainPreset = config.preset(self.task)
        env = make(
            self.env,
            self.preset.num_envs,
            num_threads=self.threads,
            max_episode_steps=self.preset.horizon,
            training_starts=True,
            privileged=self.env.obs == "pixels",
        )
        shown: Any = env.single_observation_space
        if self.env.obs == "pixels" and config.critic == "state" and "state" not in shown.spaces:
            raise UserError(f"{self.env.id} shows no state beside its images; choose critic pixels")
        self.features = None if encoder is None else FrozenFeatures(encoder, config.tune_blocks)
        play = calibrate(env, PLAY_SEED + SEEDS_PER_RUN * config.seed)
        if self.features is not None and play.frames is not None:
            self.features.fit(play.frames)
        self._env = GoalVecEnv(
            env,
            self.features,
            None if self.features is None else self.features.space,
            background=not env.bound_to_thread,
        )
        self.sac = self._make_sac(self._env, env.compute_reward, env.horizon)
        self.sac.policy.set_scales(play.scales)
        self.sources = {}
        if encoder is not None:
            self.sources = {"encoder": encoder.content_hash()}
            if self.source != "random":
                self.sources["encoder_path"] = str(Path(self.source).resolve())
        critic = "state" if self.env.obs == "state" else config.critic
        self.found = {"critic": critic, "encoder": self.source, "env": self.env}
        self.facts: dict[str, Any] = {
            "env": self.env.id,
            "obs": self.env.obs,
            "critic": critic,
            "encoder": self.source,
            "tune_blocks": config.tune_blocks,
        }

    def _make_sac(self, env: GoalVecEnv, compute_reward: Callable[..., Any], horizon: int) -> GoalSAC:
        config, preset = self.config, self.preset
        actor_sees = STATE if self.env.obs == "state" else PIXELS
        critic_sees = STATE if self.env.obs == "state" else {"state": PRIVILEGED, "pixels": PIXELS}[config.critic]
        make_eye = self.features.make_eye if self.features is not None and config.tune_blocks else None
        updates = Fraction(preset.updates_per_step * preset.num_envs).limit_denominator(100)  # per step of all
        sac = GoalSAC(
            GoalPolicy,
            env,
            random_actions=preset.random_actions,
            bfloat16=fast_dtype(config.device) == torch.bfloat16,
            learning_rate=settling(preset.learning_rate),
            buffer_size=preset.steps,
            learning_starts=preset.warmup,
            batch_size=preset.batch_size,
            tau=preset.tau,
            gamma=preset.gamma,
            train_freq=updates.denominator,
            gradient_steps=max(1, updates.numerator),
            replay_buffer_class=GoalReplayBuffer,
            replay_buffer_kwargs={
                "compute_reward": compute_reward,
                "horizon": horizon,
                "relabelled": preset.relabelled,
                "seed": config.seed,
            },
            ent_coef=f"auto_{preset.temperature}",
            target_entropy=preset.target_entropy,
            seed=config.seed,
            device=config.device,
            policy_kwargs={
                "actor_sees": actor_sees,
                "critic_sees": critic_sees,
                "hidden": preset.hidden,
                "make_eye": make_eye,
            },
        )
        sac.set_logger(Logger(None, []))
        env.seed(TRAIN_SEED + SEEDS_PER_RUN * config.seed)
        return sac

    # Learning -----------------------------------------------------------------------------------------------------

    def learn(self, run: Run, stopped: Callable[[], bool]) -> dict[str, Any]:
        """Train into `run` until the steps are done, the target is reached or `stopped()`; return the summary."""
        with Watch(self, run, stopped) as watch:
            self.sac.learn(self.preset.steps, callback=watch, log_interval=1)
            watch.save(best=False)
        return {**self.facts, **watch.summary()}

    def agent(self) -> Agent:
        """Return the agent as it is now."""
        return Agent(
            self.sac.actor, self.features, env_id=self.env.id, env_kwargs=self.env.arguments(), facts=self.facts
        )

    def verdict(self, summary: dict[str, Any]) -> str:
        """Return the summary as a sentence."""
        best = summary["best_success"]
        reached = "not evaluated" if best is None else f"best evaluation {best:.0%}"
        return (
            f"{self.env.id}: {reached} after {summary['env_steps']:,} env steps, {summary['seconds']:.0f} s "
            f"(obs {self.facts['obs']}, critic {self.facts['critic']}, encoder {self.facts['encoder']})"
        )

"""Soft actor-critic with the interface of `stable_baselines3.SAC` and a training step without overhead."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3 import SAC
from stable_baselines3.common.buffers import BaseBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.noise import ActionNoise
from stable_baselines3.common.type_aliases import DictReplayBufferSamples, RolloutReturn, TrainFreq
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor

from goalsight.agents.networks.policy import GoalActor, GoalPolicy, TwinCritic


class GoalSAC(SAC):
    """SAC (Haarnoja et al. 2018) on goal environments.

    `learn`, `predict`, `get_parameters` and `set_parameters` are stable-baselines3's. What differs: the update (fused
    Adam, both critics in one product, bfloat16 where asked for, losses read only when they are logged, targets kept
    within what rewards can add up to), and collecting: the next environment step is under way while the update runs,
    its actions chosen before that update.

    Args:
        random_actions: share of the actions that are drawn uniformly.
        bfloat16: compute matrix products in bfloat16.
        **kwargs: those of `stable_baselines3.SAC`.
    """

    policy: GoalPolicy
    actor: GoalActor  # type: ignore[assignment]
    critic: TwinCritic  # type: ignore[assignment]
    critic_target: TwinCritic  # type: ignore[assignment]

    def __init__(
        self,
        policy: type[GoalPolicy],
        env: VecEnv,
        *,
        random_actions: float = 0.2,
        bfloat16: bool = False,
        **kwargs: Any,
    ) -> None:
        if not 0.0 <= random_actions <= 1.0:
            raise ValueError(f"random_actions must lie in [0, 1], got {random_actions}")
        if not 0.0 <= kwargs.get("gamma", 0.99) < 1.0:
            raise ValueError(f"gamma must lie in [0, 1), got {kwargs['gamma']}")
        self.random_actions = random_actions
        self.bfloat16 = bfloat16
        self._rng = np.random.default_rng(kwargs.get("seed"))
        self._under_way: NDArray[np.float32] | None = None  # actions of the step that the environments are taking
        self._losses: dict[str, Tensor] = {}
        super().__init__(policy, env, **kwargs)

    def _setup_model(self) -> None:
        super()._setup_model()
        if self.log_ent_coef is None:
            raise ValueError('ent_coef must be "auto" or "auto_<initial value>"')
        self._least = self._greatest = torch.zeros((), device=self.device)  # rewards seen, and what follows an end
        self._online = [p.detach() for p in self.critic.parameters()]
        self._target = [p.detach() for p in self.critic_target.parameters()]

    # Learning -----------------------------------------------------------------------------------------------------

    def train(self, gradient_steps: int, batch_size: int = 256) -> None:
        """Do `gradient_steps` updates of `batch_size` transitions each."""
        assert self.replay_buffer is not None
        if not self.replay_buffer.size():
            return  # no episode has finished yet
        self.policy.set_training_mode(True)
        assert self.ent_coef_optimizer is not None
        self._update_learning_rate([self.actor.optimizer, self.critic.optimizer, self.ent_coef_optimizer])
        for _ in range(gradient_steps):
            batch: DictReplayBufferSamples = self.replay_buffer.sample(batch_size)  # type: ignore[assignment]
            # Without autocast's cache of cast weights: it is one for all threads, and whoever encodes frames in the
            # background meanwhile empties it, so that gradients would be rounded here or there as chance has it.
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16, cache_enabled=False):
                self._update(batch)
            self._n_updates += 1

    def _update(self, batch: DictReplayBufferSamples) -> None:
        """Update the critics, the actor, the temperature and the critics' targets."""
        assert self.log_ent_coef is not None
        obs, next_obs = batch.observations, batch.next_observations
        temperature = self.log_ent_coef.detach().exp()
        goal = self.actor.first.goal(obs)
        actions, log_prob = self.actor.action_log_prob(obs, goal)
        with torch.no_grad():
            # Both frames have one goal: the actor looks at its image once.
            next_actions, next_log_prob = self.actor.action_log_prob(next_obs, goal)
            soft = self.critic_target.values(next_obs, next_actions).amin(0) - temperature * next_log_prob
            target = self._bounded(batch.rewards[:, 0] + self.gamma * (1 - batch.dones[:, 0]) * soft, batch.rewards)
        values = self.critic.values(obs, batch.actions)
        critic_loss = 0.5 * (values - target).square().mean(1).sum()
        _descend(self.critic.optimizer, critic_loss)
        self._losses |= {"critic_loss": critic_loss.detach(), "value": values.detach().mean()}
        self._update_actor(obs, actions, log_prob, temperature)
        torch._foreach_lerp_(self._target, self._online, self.tau)

    def _bounded(self, target: Tensor, rewards: Tensor) -> Tensor:
        """Keep targets (B,) within what the rewards seen so far could add up to (Andrychowicz et al. 2017, appendix A).

        Nothing else holds them there: a value that bootstrapping has carried below the least possible return is
        bootstrapped in turn, and the critics run away.
        """
        low, high = rewards.aminmax()
        self._least, self._greatest = torch.minimum(self._least, low), torch.maximum(self._greatest, high)
        return target.clamp(self._least / (1 - self.gamma), self._greatest / (1 - self.gamma))

    def _update_actor(self, obs: dict[str, Tensor], actions: Tensor, log_prob: Tensor, temperature: Tensor) -> None:
        assert self.log_ent_coef is not None
        assert self.ent_coef_optimizer is not None
        # The critics only carry the gradient to the actions: their own would be thrown away.
        self.critic.requires_grad_(False)
        actor_loss = (temperature * log_prob - self.critic.values(obs, actions).amin(0)).mean()
        _descend(self.actor.optimizer, actor_loss)
        self.critic.requires_grad_(True)
        surplus = (log_prob.detach() + float(self.target_entropy)).mean()
        _descend(self.ent_coef_optimizer, -(self.log_ent_coef * surplus).sum())
        self._losses |= {
            "actor_loss": actor_loss.detach(),
            "entropy": -log_prob.detach().mean(),
            "temperature": temperature,
        }

    @property
    def updates(self) -> int:
        """How many gradient steps the critics have taken."""
        return self._n_updates

    def losses(self) -> dict[str, float]:
        """Return the latest update's losses by name."""
        return {f"train/{name}": float(value) for name, value in self._losses.items()}

    # Acting -------------------------------------------------------------------------------------------------------

    def _sample_action(
        self, learning_starts: int, action_noise: ActionNoise | None = None, n_envs: int = 1
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return actions for the environments, and the same scaled to [-1, 1] for the replay, each (n_envs, A)."""
        shape = (n_envs, *(self.action_space.shape or ()))
        actions = self._rng.uniform(-1, 1, shape).astype(np.float32)
        if self.num_timesteps >= learning_starts:
            obs: dict[str, Any] = self._last_obs  # type: ignore[assignment]
            with torch.no_grad():
                drawn = self.actor({key: torch.as_tensor(obs[key], device=self.device) for key in obs})
            keep = self._rng.random(n_envs) >= self.random_actions
            actions[keep] = drawn.cpu().numpy()[keep]
        return self.policy.unscale_action(actions), actions

    def _send(self, env: VecEnv, learning_starts: int) -> None:
        actions, self._under_way = self._sample_action(learning_starts, None, env.num_envs)
        env.step_async(actions)

    def collect_rollouts(
        self,
        env: VecEnv,
        callback: BaseCallback,
        train_freq: TrainFreq,
        replay_buffer: BaseBuffer,
        action_noise: ActionNoise | None = None,
        learning_starts: int = 0,
        log_interval: int | None = None,
    ) -> RolloutReturn:
        """Take `train_freq.frequency` steps of every environment, and start the one after them."""
        self.policy.set_training_mode(False)
        callback.on_rollout_start()
        steps, episodes = 0, 0
        while steps < train_freq.frequency:
            if self._under_way is None:
                self._send(env, learning_starts)
            taken, self._under_way = self._under_way, None
            new_obs, rewards, dones, infos = env.step_wait()
            self.num_timesteps += env.num_envs
            steps += 1
            episodes += int(dones.sum())
            self._store_transition(replay_buffer, taken, new_obs, rewards, dones, infos)  # type: ignore[arg-type]
            self._update_info_buffer(infos, dones)
            self._update_current_progress_remaining(self.num_timesteps, self._total_timesteps)
            callback.update_locals(locals())
            if not callback.on_step():
                return RolloutReturn(steps * env.num_envs, episodes, continue_training=False)
            if self.num_timesteps < self._total_timesteps:
                self._send(env, learning_starts)
        self._episode_num += episodes
        callback.on_rollout_end()
        return RolloutReturn(steps * env.num_envs, episodes, continue_training=True)


def _descend(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()

"""Soft actor-critic, with a training step without overhead."""

from dataclasses import dataclass, replace
from typing import Self

import torch
from stable_baselines3.common.type_aliases import DictReplayBufferSamples
from torch import Tensor

from goalsight.agents.algorithms.actor_critic import ActorCritic, Returns
from goalsight.agents.algorithms.base import (
    OnlineOptions,
    Setting,
    descend,
    rehearsed,
    set_rate,
    settling,
)
from goalsight.agents.algorithms.imitation import Rehearsal
from goalsight.agents.networks.averaging import Average
from goalsight.agents.networks.policy import GoalPolicy
from goalsight.base.errors import UserError
from goalsight.base.options import check_positive
from goalsight.base.training_state import State
from goalsight.envs.tasks.shared.training import Training

TWIN, MOST_CRITICS = 2, 100  # critics of which the lower is believed, and all that there may be


@dataclass(frozen=True)
class SACOptions(OnlineOptions):
    """Options of SAC."""

    target_entropy: float | None = None
    """Target entropy of the actor [nats]; the task's unless given."""
    temperature: float = 0.1
    """Weight of the entropy (alpha) at the start; it is tuned from there."""
    critics: int = TWIN
    """Critics, of which the lower is believed; of more than two, two are drawn for each gradient step, and the actor
    follows the mean of all (REDQ). Ten took fewer environment steps in Push from state, and more time for each."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(self, "temperature")
        if not TWIN <= self.critics <= MOST_CRITICS:
            raise UserError(f"critics must be {TWIN} to {MOST_CRITICS}, got {self.critics}")

    def completed(self, training: Training) -> Self:
        """See `Options`."""
        rest = super().completed(training)
        return rest if self.target_entropy is not None else replace(rest, target_entropy=training.action_entropy)


class SAC(ActorCritic):
    """SAC (Haarnoja et al. 2018) on goals; with more than two critics, as REDQ has them (Chen et al. 2021).

    Against `stable_baselines3.SAC`, to which the update is equal otherwise: fused Adam, both critics in one product,
    bfloat16 where asked for, losses read only when they are logged, targets kept within what rewards can add up to.
    """

    Options = SACOptions

    def __init__(self, setting: Setting, options: SACOptions) -> None:
        assert options.gamma is not None
        assert options.target_entropy is not None
        self.options, self.gamma, self.target_entropy = options, options.gamma, options.target_entropy
        self.device, self._bfloat16 = torch.device(setting.device), setting.bfloat16
        self.networks = GoalPolicy(
            setting.observation_space,
            setting.action_space,
            lambda remaining: settling(options.learning_rate, remaining),
            actor_sees=setting.actor_sees,
            critic_sees=setting.critic_sees,
            hidden=options.hidden,
            make_eye=setting.make_eye,
            critics=options.critics,
        ).to(self.device)
        self.networks.set_scales(setting.scales)
        self.actor, self.critic, self.critic_target = (
            self.networks.actor,
            self.networks.critic,
            self.networks.critic_target,
        )
        self.log_temperature = torch.log(torch.ones(1, device=self.device) * options.temperature).requires_grad_(True)
        self._optimisers = {
            "actor": self.actor.optimizer,
            "critic": self.critic.optimizer,
            "temperature": torch.optim.Adam([self.log_temperature], lr=options.learning_rate),
        }
        self._bounds = Returns(self.gamma, self.device)
        self._average = Average(self.actor, options.averaged)
        self._online = [p.detach() for p in self.critic.parameters()]
        self._target = [p.detach() for p in self.critic_target.parameters()]
        self._losses: dict[str, Tensor] = {}
        self.updates = 0

    def update(
        self, batch: DictReplayBufferSamples, remaining: float = 1.0, rehearsal: Rehearsal | None = None
    ) -> None:
        """Update the critics, the actor, the temperature and the critics' targets."""
        set_rate(list(self._optimisers.values()), settling(self.options.learning_rate, remaining))
        # Without autocast's cache of cast weights: it is one for all threads, and whoever encodes frames in the
        # background meanwhile empties it, so that gradients would be rounded here or there as chance has it.
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self._bfloat16, cache_enabled=False):
            self._update(batch, rehearsal)
        self.updates += 1

    def _update(self, batch: DictReplayBufferSamples, rehearsal: Rehearsal | None) -> None:
        obs, next_obs = batch.observations, batch.next_observations
        temperature = self.log_temperature.detach().exp()
        goal = self.actor.first.goal(obs)
        actions, log_prob = self.actor.action_log_prob(obs, goal)
        with torch.no_grad():
            # Both frames have one goal: the actor looks at its image once.
            next_actions, next_log_prob = self.actor.action_log_prob(next_obs, goal)
            soft = self._lower(self.critic_target.values(next_obs, next_actions)) - temperature * next_log_prob
            target = self._bounds(batch.rewards[:, 0] + self.gamma * (1 - batch.dones[:, 0]) * soft, batch.rewards)
        values = self.critic.values(obs, batch.actions)
        critic_loss = 0.5 * (values - target).square().mean(1).sum()
        descend(self._optimisers["critic"], critic_loss)
        self._losses |= {"critic_loss": critic_loss.detach(), "value": values.detach().mean()}
        self._update_actor(obs, actions, log_prob, temperature, rehearsal)
        torch._foreach_lerp_(self._target, self._online, self.options.tau)
        self._average.update()

    def _lower(self, values: Tensor) -> Tensor:
        """The lower of two values, (critics, B) -> (B,), which are drawn where there are more."""
        if self.options.critics > TWIN:
            values = values[torch.randperm(len(values))[:TWIN].to(values.device)]
        return values.amin(0)

    def _update_actor(
        self,
        obs: dict[str, Tensor],
        actions: Tensor,
        log_prob: Tensor,
        temperature: Tensor,
        rehearsal: Rehearsal | None,
    ) -> None:
        # The critics only carry the gradient to the actions: their own would be thrown away.
        self.critic.requires_grad_(False)
        values = self.critic.values(obs, actions)
        followed = values.mean(0) if self.options.critics > TWIN else values.amin(0)
        actor_loss = (temperature * log_prob - followed).mean()
        descend(self._optimisers["actor"], rehearsed(actor_loss, self.actor, rehearsal, self._losses))
        self.critic.requires_grad_(True)
        if rehearsal is None or not rehearsal.only:
            surplus = (log_prob.detach() + float(self.target_entropy)).mean()
            descend(self._optimisers["temperature"], -(self.log_temperature * surplus).sum())
        self._losses |= {
            "actor_loss": actor_loss.detach(),
            "entropy": -log_prob.detach().mean(),
            "temperature": temperature,
        }

    def state(self) -> State:
        """See `Algorithm`."""
        return super().state() | {"log_temperature": self.log_temperature.detach().clone()}

    def load(self, state: State) -> None:
        """See `Algorithm`."""
        super().load(state)
        with torch.no_grad():
            self.log_temperature.copy_(state["log_temperature"])

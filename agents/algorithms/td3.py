"""Twin delayed deep deterministic policy gradient."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.type_aliases import DictReplayBufferSamples
from torch import Tensor, nn

from goalsight.agents.algorithms.actor_critic import ActorCritic, Returns
from goalsight.agents.algorithms.base import (
    Obs,
    OnlineOptions,
    Setting,
    descend,
    rehearsed,
    set_rate,
    settling,
)
from goalsight.agents.algorithms.imitation import Rehearsal
from goalsight.agents.networks.averaging import Average
from goalsight.base.options import check_not_negative, check_positive


@dataclass(frozen=True)
class TD3Options(OnlineOptions):
    """Options of TD3."""

    noise: float = 0.1
    """Standard deviation of the noise on actions in training."""
    target_noise: float = 0.2
    """Standard deviation of the noise on the targets' actions, by which values are smoothed."""
    target_clip: float = 0.5
    """That noise never exceeds this."""
    delay: int = 2
    """Updates of the critics for each of the actor and of the targets."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(self, "delay")
        check_not_negative(self, "noise", "target_noise", "target_clip")


class TD3(ActorCritic):
    """TD3 (Fujimoto et al. 2018, algorithm 1) on goals.

    Twin critics of which the lower is believed, targets smoothed by clipped noise, actor and targets updated less
    often than the critics. Targets are kept within what rewards can add up to, as SAC's are.
    """

    Options = TD3Options

    def __init__(self, setting: Setting, options: TD3Options) -> None:
        assert options.gamma is not None
        self.options, self.gamma = options, options.gamma
        self.device, self._bfloat16 = torch.device(setting.device), setting.bfloat16
        self._bounds = Returns(self.gamma, self.device)
        self.actor, self.actor_target = (setting.actor(options.hidden, spread=False) for _ in range(2))
        self.critic, self.critic_target = (setting.critic(options.hidden) for _ in range(2))
        self.networks = nn.ModuleDict(
            {name: getattr(self, name) for name in ("actor", "critic", "actor_target", "critic_target")}
        )
        self._average = Average(self.actor, options.averaged)
        self._optimisers: dict[str, torch.optim.Optimizer] = {}
        for name in ("actor", "critic"):
            weights, target = self.networks[name], self.networks[f"{name}_target"]
            target.load_state_dict(weights.state_dict())
            target.requires_grad_(False)
            rate = options.learning_rate
            self._optimisers[name] = torch.optim.Adam(weights.parameters(), lr=rate, fused=True)
        self._online = [p.detach() for network in (self.actor, self.critic) for p in network.parameters()]
        self._target = [p.detach() for network in (self.actor_target, self.critic_target) for p in network.parameters()]
        self._losses: dict[str, Tensor] = {}
        self.updates = 0

    def act(self, obs: Obs, *, explore: bool = False) -> NDArray[np.float32]:
        """See `Algorithm`."""
        actions = torch.from_numpy(super().act(obs))
        if explore:
            actions = (actions + self.options.noise * torch.randn_like(actions)).clamp(-1, 1)
        return actions.numpy()

    def update(
        self, batch: DictReplayBufferSamples, remaining: float = 1.0, rehearsal: Rehearsal | None = None
    ) -> None:
        """Update the critics and, every `delay` times, the actor and the targets."""
        set_rate(list(self._optimisers.values()), settling(self.options.learning_rate, remaining))
        if not self.updates:  # the actor may have imitated since it was made
            self.actor_target.load_state_dict(self.actor.state_dict())
        # Without autocast's cache of cast weights, which other threads share; see SAC.
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self._bfloat16, cache_enabled=False):
            target = self._targets(batch)
            values = self.critic.values(batch.observations, batch.actions)
            critic_loss = 0.5 * (values - target).square().mean(1).sum()
            descend(self._optimisers["critic"], critic_loss)
            self._losses |= {"critic_loss": critic_loss.detach(), "value": values.detach().mean()}
            self.updates += 1
            if self.updates % self.options.delay == 0:
                self._update_actor(batch.observations, rehearsal)
                torch._foreach_lerp_(self._target, self._online, self.options.tau)
                self._average.update()

    @torch.no_grad()
    def _targets(self, batch: DictReplayBufferSamples) -> Tensor:
        """Return what the critics should say, (B,): the reward, and the lower value of a smoothed action after it."""
        options, next_obs = self.options, batch.next_observations
        noise = (options.target_noise * torch.randn_like(batch.actions)).clamp(
            -options.target_clip, options.target_clip
        )
        actions = (self.actor_target.mean_action(next_obs) + noise).clamp(-1, 1)
        value = self.critic_target.values(next_obs, actions).amin(0)
        return self._bounds(batch.rewards[:, 0] + self.gamma * (1 - batch.dones[:, 0]) * value, batch.rewards)

    def _update_actor(self, obs: dict[str, Tensor], rehearsal: Rehearsal | None = None) -> None:
        # The critics only carry the gradient to the actions: their own would be thrown away.
        self.critic.requires_grad_(False)
        actor_loss = -self.critic.values(obs, self.actor.mean_action(obs))[0].mean()
        descend(self._optimisers["actor"], rehearsed(actor_loss, self.actor, rehearsal, self._losses))
        self.critic.requires_grad_(True)
        self._losses["actor_loss"] = actor_loss.detach()

"""TD3: its targets by hand, how often the actor learns, and acting with noise."""

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.type_aliases import DictReplayBufferSamples

from goalsight.agents.algorithms.base import Setting
from goalsight.agents.algorithms.td3 import TD3, TD3Options
from goalsight.agents.networks.inputs import STATE
from goalsight.base.errors import UserError
from goalsight.base.training_state import cut, join

SPACE = spaces.Dict(
    {key: spaces.Box(-np.inf, np.inf, (3,), np.float32) for key in ("observation", "achieved_goal", "desired_goal")}
)
ACTIONS = spaces.Box(-1, 1, (2,), np.float32)
SCALES = {key: (torch.zeros(3), torch.ones(3)) for key in SPACE}


def make(**options) -> TD3:
    torch.manual_seed(0)
    chosen = {"gamma": 0.9, "hidden": (8, 8)} | options
    return TD3(Setting(SPACE, ACTIONS, STATE, STATE, SCALES), TD3Options(**chosen))


def batch(rewards: list[float], seed: int = 0) -> DictReplayBufferSamples:
    generator = torch.Generator().manual_seed(seed)
    rows = len(rewards)
    obs = [{key: torch.randn(rows, 3, generator=generator) for key in SPACE} for _ in range(2)]
    actions = torch.rand(rows, 2, generator=generator) * 2 - 1
    return DictReplayBufferSamples(
        observations=obs[0],
        actions=actions,
        next_observations=obs[1],
        dones=torch.zeros(rows, 1),
        rewards=torch.tensor(rewards)[:, None],
    )


def test_targets_are_the_reward_and_the_lower_value_of_the_smoothed_action(monkeypatch):
    td3 = make(target_noise=1.0, target_clip=0.25)
    asked = []
    monkeypatch.setattr(td3.actor_target, "mean_action", lambda obs: torch.tensor([[0.9, -0.5], [0.0, 0.1]]))
    monkeypatch.setattr(torch, "randn_like", lambda like: torch.tensor([[3.0, -0.1], [-9.0, 0.2]]))

    def values(obs, actions):
        asked.append(actions)
        return torch.tensor([[-2.0, -5.0], [-3.0, -4.0]])

    monkeypatch.setattr(td3.critic_target, "values", values)
    targets = td3._targets(batch([-1.0, 0.0]))
    # Noise of 3 and -9 is clipped to 0.25 and -0.25; 0.9 + 0.25 exceeds what an action can be.
    assert torch.allclose(asked[0], torch.tensor([[1.0, -0.6], [-0.25, 0.3]]))
    # -1 + 0.9 * min(-2, -3), 0 + 0.9 * min(-5, -4)
    assert targets.tolist() == pytest.approx([-3.7, -4.5])


def test_targets_stay_within_what_rewards_can_add_up_to(monkeypatch):
    td3 = make()
    monkeypatch.setattr(td3.critic_target, "values", lambda obs, actions: torch.full((2, 2), -50.0))
    # A reward of -1 for ever is worth -1 / (1 - 0.9).
    assert td3._targets(batch([-1.0, -1.0])).tolist() == pytest.approx([-10, -10])


def test_the_actor_and_the_targets_move_with_every_second_update():
    td3 = make()
    before = {name: tensor.clone() for name, tensor in td3.networks.state_dict().items()}

    def moved() -> set[str]:
        return {
            name.split(".")[0]
            for name, tensor in td3.networks.state_dict().items()
            if not torch.equal(tensor, before[name])
        }

    td3.update(batch([-1.0] * 16))
    assert moved() == {"critic"}
    online = td3.critic.last.bias.detach().clone()
    td3.update(batch([-1.0] * 16, seed=1))
    assert moved() == {"actor", "critic", "actor_target", "critic_target"}
    # A fiftieth of the way from where it was to where the critic is now.
    expected = before["critic_target.last.bias"].lerp(td3.critic.last.bias.detach(), 0.02)
    assert torch.allclose(td3.critic_target.last.bias, expected)
    assert not torch.equal(online, td3.critic.last.bias)


def test_the_actor_climbs_the_first_critic():
    td3 = make(learning_rate=1e-2)
    data = batch([-1.0] * 64)
    with torch.no_grad():
        before = td3.critic.values(data.observations, td3.actor.mean_action(data.observations))[0].mean()
    for _ in range(30):
        td3._update_actor(data.observations)
    with torch.no_grad():
        after = td3.critic.values(data.observations, td3.actor.mean_action(data.observations))[0].mean()
    assert after > before


def test_exploring_adds_noise_of_the_given_spread():
    td3 = make(noise=0.1)
    td3.actor.last.weight.data.zero_()
    td3.actor.last.bias.data.zero_()
    obs = {key: np.zeros((4000, 3), np.float32) for key in SPACE}
    assert np.array_equal(td3.act(obs), np.zeros((4000, 2)))
    assert td3.act(obs, explore=True).std() == pytest.approx(0.1, rel=0.05)


def test_a_state_goes_on_to_the_bit():
    whole = make()
    for seed in range(3):
        whole.update(batch([-1.0, 0.0], seed))
    part = make(learning_rate=1e-3)
    part.load(join(*cut(whole.state())))
    for td3 in (whole, part):
        torch.manual_seed(9)
        for seed in range(3, 8):
            td3.update(batch([-1.0, 0.0], seed), remaining=0.2)
    ours = part.networks.state_dict()
    assert part.updates == 8
    assert all(torch.equal(tensor, ours[name]) for name, tensor in whole.networks.state_dict().items())


def test_bad_options_are_refused():
    with pytest.raises(UserError, match="delay must be positive, got 0"):
        TD3Options(delay=0)
    with pytest.raises(UserError, match=r"target_clip must not be negative, got -0.5"):
        TD3Options(target_clip=-0.5)

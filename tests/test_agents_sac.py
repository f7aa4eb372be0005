"""The agent: its first layer, its update against the stock one, its sight, and learning to the bit."""

from copy import deepcopy

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import SAC
from stable_baselines3.common.logger import Logger
from torch.nn import functional as F

from goalsight.agents.algorithms.sac import GoalSAC
from goalsight.agents.networks.inputs import PIXELS, PRIVILEGED, STATE, FirstLayer
from goalsight.agents.networks.policy import GoalPolicy
from goalsight.agents.replay import GoalReplayBuffer
from goalsight.agents.vec_env import GoalVecEnv
from goalsight.envs.vector import GoalVectorEnv


def box(*shape: int) -> spaces.Box:
    return spaces.Box(-np.inf, np.inf, shape, np.float32)


SPACE = spaces.Dict(
    {
        "observation": box(4),
        "state": box(6),
        "achieved_goal": box(3),
        "desired_goal": box(3),
        "features": box(8, 2),
        "goal_features": box(8, 2),
    }
)
ACTIONS = spaces.Box(-1, 1, (2,), np.float32)


def observations(rows: int, seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {key: torch.randn(rows, *part.shape, generator=generator) for key, part in SPACE.items()}


def make_policy(**kwargs) -> GoalPolicy:
    torch.manual_seed(0)
    options = {"actor_sees": PIXELS, "critic_sees": PRIVILEGED, "hidden": (16, 16)} | kwargs
    return GoalPolicy(SPACE, ACTIONS, lambda _: 1e-3, **options)


def test_first_layer_sees_view_goal_and_their_difference_by_one_glance():
    layer = FirstLayer(SPACE, PIXELS, 5)
    obs = observations(7, 0)

    def glance(features: torch.Tensor) -> torch.Tensor:
        projected = F.linear(features.flatten(1), layer.glance.project.weight, layer.glance.project.bias)
        mean, spread = projected.mean(1, keepdim=True), projected.std(1, correction=0, keepdim=True)
        return torch.tanh((projected - mean) / spread)

    f, g = glance(obs["features"]), glance(obs["goal_features"])
    inputs = torch.cat([obs["observation"], f, g, g - f], 1)
    assert torch.allclose(layer(obs), F.linear(inputs, layer.linear.weight, layer.linear.bias), atol=1e-4)
    assert torch.equal(layer(obs, goal=layer.goal(obs)), layer(obs))


def test_vectors_are_centred_scaled_and_completed_by_the_way_to_the_goal():
    layer = FirstLayer(SPACE, STATE, 5)
    centre = torch.tensor([0.4, 0.0, 0.1])
    scales = {"observation": (torch.zeros(4), torch.ones(4))}
    scales |= {key: (centre, torch.full((3,), 10.0)) for key in ("achieved_goal", "desired_goal")}
    layer.vectors.set_scales(scales)
    obs = {
        "observation": torch.zeros(1, 4),
        "achieved_goal": torch.tensor([[0.5, 0.1, 0.1]]),
        "desired_goal": torch.tensor([[0.4, 0.2, 0.0]]),
    }
    by_hand = [[0, 0, 0, 0, 1, 1, 0, 0, 2, -1, -1, 1, -1]]
    assert torch.allclose(layer.vectors(obs), torch.tensor(by_hand, dtype=torch.float32), atol=1e-5)


def test_actor_sees_pixels_only_and_critic_the_state_only():
    policy = make_policy()
    obs, other = observations(3, 0), observations(3, 1)
    actions = torch.zeros(3, 2)
    acted, valued = policy.actor(obs, deterministic=True), policy.critic.values(obs, actions)
    for key in SPACE:
        changed = obs | {key: other[key]}
        actor_reacts = not torch.equal(policy.actor(changed, deterministic=True), acted)
        critic_reacts = not torch.equal(policy.critic.values(changed, actions), valued)
        assert actor_reacts == (key in {"observation", "features", "goal_features"})
        assert critic_reacts == (key in {"state", "achieved_goal", "desired_goal"})


def test_log_density_is_that_of_a_squashed_gaussian():
    policy = make_policy()
    obs = observations(5, 0)
    torch.manual_seed(1)
    actions, log_prob = policy.actor.action_log_prob(obs)
    mean, log_std = policy.actor.distribution(obs)
    gaussian = torch.distributions.Normal(mean, log_std.exp())
    raw = torch.atanh(actions)
    expected = (gaussian.log_prob(raw) - torch.log(1 - actions.square())).sum(1)
    assert torch.allclose(log_prob, expected, atol=1e-4)


def make_env(num_envs: int = 4) -> GoalVectorEnv:
    return GoalVectorEnv("reach", num_envs=num_envs, num_threads=1, max_episode_steps=10)


def make_sac(*, background: bool = False, algorithm: type[SAC] = GoalSAC, **kwargs) -> SAC:
    env = make_env()
    sac = algorithm(
        GoalPolicy,
        GoalVecEnv(env, background=background),
        buffer_size=2000,
        learning_starts=80,
        batch_size=32,
        train_freq=1,
        gradient_steps=2,
        replay_buffer_class=GoalReplayBuffer,
        replay_buffer_kwargs={"compute_reward": env.compute_reward, "horizon": 10},
        ent_coef="auto_0.1",
        target_entropy=-1.0,
        tau=0.02,
        seed=3,
        device="cpu",
        policy_kwargs={"actor_sees": STATE, "critic_sees": STATE, "hidden": (16, 16)},
        **kwargs,
    )
    sac.set_logger(Logger(None, []))
    return sac


def test_update_is_that_of_stock_sac():
    mine, stock = make_sac(), make_sac(algorithm=SAC)
    mine.learn(200)
    mine._least, mine._greatest = torch.tensor(-1e6), torch.tensor(1e6)  # stock SAC bounds no targets
    batches = [mine.replay_buffer.sample(32) for _ in range(3)]
    # Loading an optimizer's state does not copy it.
    stock.set_parameters(deepcopy(mine.get_parameters()))
    # Temperatures are no module: stable-baselines3 leaves them out of the parameters.
    stock.log_ent_coef.data.copy_(mine.log_ent_coef.data)
    for sac in (mine, stock):
        remaining = iter(batches)
        sac.replay_buffer.sample = lambda *args, remaining=remaining, **kwargs: next(remaining)
        torch.manual_seed(5)
        sac.train(gradient_steps=3, batch_size=32)
    theirs = stock.policy.state_dict()
    for name, tensor in mine.policy.state_dict().items():
        assert torch.allclose(tensor, theirs[name], atol=2e-5), name
    assert torch.allclose(mine.log_ent_coef, stock.log_ent_coef, atol=1e-5)


def test_targets_stay_within_what_rewards_can_add_up_to():
    sac = make_sac(gamma=0.9)
    far = torch.tensor([-50.0, -9.5, -0.5, 3.0])
    # Before a reward other than 0 was seen no other return is known; then -1 for ever is worth -1 / (1 - 0.9).
    assert sac._bounded(far, torch.tensor([[0.0]])).tolist() == [0, 0, 0, 0]
    assert sac._bounded(far, torch.tensor([[-1.0], [0.0]])).tolist() == pytest.approx([-10, -9.5, -0.5, 0])
    # What was seen before still counts, and rewards may be of another kind.
    assert sac._bounded(far, torch.tensor([[0.25]])).tolist() == pytest.approx([-10, -9.5, -0.5, 2.5])


def test_critics_that_ran_away_come_back():
    sac = make_sac(gamma=0.9)
    sac.learn(120)
    with torch.no_grad():
        for critic in (sac.critic, sac.critic_target):
            critic.last.bias -= 100.0
    batch = sac.replay_buffer.sample(32)
    with torch.no_grad():
        before = sac.critic.values(batch.observations, batch.actions).mean()
    sac.critic.optimizer.param_groups[0]["lr"] = 0.1
    sac.lr_schedule = lambda _: 0.1
    sac.train(60, 32)
    with torch.no_grad():
        after = sac.critic.values(batch.observations, batch.actions)
    assert before < -90
    assert after.min() > -20


def weights_after(steps: int, **kwargs) -> dict[str, torch.Tensor]:
    sac = make_sac(**kwargs)
    sac.learn(steps)
    return sac.policy.state_dict()


def test_same_seed_gives_the_same_weights_also_with_steps_in_the_background():
    once, again, behind = weights_after(200), weights_after(200), weights_after(200, background=True)
    for name, tensor in once.items():
        assert torch.equal(tensor, again[name]), name
        assert torch.equal(tensor, behind[name]), name


def test_updates_do_not_share_casts_with_other_threads(monkeypatch):
    # Autocast's cache is emptied by whichever thread leaves autocast first, so weights that are used twice in an
    # update would get gradients that depend on the timing of the frames' encoder.
    sac = make_sac(bfloat16=True)
    sac.learn(120)
    cached = []
    monkeypatch.setattr(sac, "_update", lambda *args, **kwargs: cached.append(torch.is_autocast_cache_enabled()))
    sac.train(2, 32)
    assert cached == [False, False]


def test_learning_goes_on_where_it_stopped():
    sac = make_sac(background=True)
    sac.learn(120)
    assert sac.num_timesteps == 120
    sac.learn(40, reset_num_timesteps=False)
    assert sac.num_timesteps == 160
    action, _ = sac.predict(sac.env.reset(), deterministic=True)
    assert action.shape == (4, 3)


def test_share_of_random_actions():
    sac = make_sac(random_actions=0.0)
    sac.learn(120)
    # Without noise in the policy, an action that differs from its mean was drawn uniformly.
    sac.actor.last.weight.data[3:] = 0
    sac.actor.last.bias.data[3:] = -10
    obs = sac.env.reset()
    many = {key: np.repeat(value[:1], 4000, 0) for key, value in obs.items()}
    sac._last_obs = many
    mean = sac.actor({key: torch.from_numpy(value) for key, value in many.items()}, deterministic=True)
    for share in (0.0, 0.2, 1.0):
        sac.random_actions = share
        actions, stored = sac._sample_action(0, None, 4000)
        drawn = (np.abs(actions - mean.detach().numpy()) > 0.01).any(1).mean()
        assert drawn == pytest.approx(share, abs=0.03)
        assert np.allclose(actions, stored, atol=1e-6)  # the environments' bounds are [-1, 1] already


def test_bad_options_are_refused():
    with pytest.raises(ValueError, match="random_actions must lie in"):
        make_sac(random_actions=2.0)
    with pytest.raises(ValueError, match=r"gamma must lie in \[0, 1\), got 1.0"):
        make_sac(gamma=1.0)

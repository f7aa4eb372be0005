"""The agent: its first layer, its update against the stock one, its sight, and learning to the bit."""

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import stable_baselines3
import torch
from gymnasium import spaces
from stable_baselines3.common.logger import Logger
from torch.nn import functional as F

from goalsight.agents.algorithms.actor_critic import Returns
from goalsight.agents.algorithms.base import Setting
from goalsight.agents.algorithms.sac import SAC, SACOptions
from goalsight.agents.networks.inputs import PIXELS, PRIVILEGED, STATE, FirstLayer
from goalsight.agents.networks.policy import GoalPolicy
from goalsight.agents.online import Online
from goalsight.agents.replay import GoalReplayBuffer
from goalsight.agents.vec_env import GoalVecEnv
from goalsight.base.errors import UserError
from goalsight.base.training_state import cut, join
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


def make_sac(env: GoalVecEnv, **options) -> SAC:
    torch.manual_seed(3)
    space: spaces.Dict = env.observation_space
    scales = {key: (torch.zeros(part.shape), torch.ones(part.shape)) for key, part in space.items()}
    chosen = {"gamma": 0.99, "hidden": (16, 16), "learning_rate": 3e-4, "target_entropy": -1.0} | options
    return SAC(Setting(space, env.action_space, STATE, STATE, scales), SACOptions(**chosen))


def make_loop(total: int, *, background: bool = False, **options) -> Online:
    env = make_env()
    steps = GoalVecEnv(env, background=background)
    steps.seed(3)
    replay = GoalReplayBuffer(
        2000,
        steps.observation_space,
        steps.action_space,
        n_envs=4,
        goal_keys=steps.goal_keys,
        compute_reward=env.compute_reward,
        horizon=10,
    )
    numbers = {"updates_per_step": 0.5, "batch_size": 32, "warmup": 80, "tau": 0.02} | options
    sac = make_sac(steps, **numbers)
    return Online(sac, steps, replay, sac.options, total=total, seed=3)


def trained(total: int, **kwargs) -> Online:
    loop = make_loop(total, **kwargs)
    loop.run(lambda: True)
    return loop


def make_stock() -> stable_baselines3.SAC:
    env = make_env()
    stock = stable_baselines3.SAC(
        GoalPolicy,
        GoalVecEnv(env),
        buffer_size=2000,
        ent_coef="auto_0.1",
        target_entropy=-1.0,
        tau=0.02,
        replay_buffer_class=GoalReplayBuffer,
        replay_buffer_kwargs={
            "goal_keys": env.goal_keys,
            "compute_reward": env.compute_reward,
            "horizon": 10,
        },
        seed=3,
        device="cpu",
        policy_kwargs={"actor_sees": STATE, "critic_sees": STATE, "hidden": (16, 16)},
    )
    stock.set_logger(Logger(None, []))
    return stock


def test_update_is_that_of_stock_sac():
    loop, stock = trained(200), make_stock()
    mine = loop.algorithm
    mine._bounds.load({"least": torch.tensor(-1e6), "greatest": torch.tensor(1e6)})  # stock SAC bounds no targets
    batches = [loop.replay.sample(32) for _ in range(3)]
    # Loading an optimizer's state does not copy it.
    stock.policy.load_state_dict(deepcopy(mine.networks.state_dict()))
    for name in ("actor", "critic"):
        getattr(stock, name).optimizer.load_state_dict(deepcopy(mine._optimisers[name].state_dict()))
    stock.ent_coef_optimizer.load_state_dict(deepcopy(mine._optimisers["temperature"].state_dict()))
    stock.log_ent_coef.data.copy_(mine.log_temperature.data)
    remaining = iter(batches)
    stock.replay_buffer.sample = lambda *args, **kwargs: next(remaining)
    torch.manual_seed(5)
    stock.train(gradient_steps=3, batch_size=32)
    torch.manual_seed(5)
    for batch in batches:
        mine.update(batch)
    theirs = stock.policy.state_dict()
    for name, tensor in mine.networks.state_dict().items():
        assert torch.allclose(tensor, theirs[name], atol=2e-5), name
    assert torch.allclose(mine.log_temperature, stock.log_ent_coef, atol=1e-5)


def test_targets_stay_within_what_rewards_can_add_up_to():
    bounded = Returns(0.9, torch.device("cpu"))
    far = torch.tensor([-50.0, -9.5, -0.5, 3.0])
    # Before a reward other than 0 was seen no other return is known; then -1 for ever is worth -1 / (1 - 0.9).
    assert bounded(far, torch.tensor([[0.0]])).tolist() == [0, 0, 0, 0]
    assert bounded(far, torch.tensor([[-1.0], [0.0]])).tolist() == pytest.approx([-10, -9.5, -0.5, 0])
    # What was seen before still counts, and rewards may be of another kind.
    assert bounded(far, torch.tensor([[0.25]])).tolist() == pytest.approx([-10, -9.5, -0.5, 2.5])


def test_critics_that_ran_away_come_back():
    loop = trained(120, gamma=0.9)
    sac = loop.algorithm
    with torch.no_grad():
        for critic in (sac.critic, sac.critic_target):
            critic.last.bias -= 100.0
    batch = loop.replay.sample(32)
    with torch.no_grad():
        before = sac.critic.values(batch.observations, batch.actions).mean()
    sac.options = replace(sac.options, learning_rate=0.1)
    for _ in range(60):
        sac.update(loop.replay.sample(32))
    with torch.no_grad():
        after = sac.critic.values(batch.observations, batch.actions)
    assert before < -90
    assert after.mean() > -20
    assert after.min() > -40


def test_of_many_critics_two_are_believed_and_the_mean_is_followed():
    loop = trained(120, critics=5)
    sac = loop.algorithm
    rows = torch.arange(5.0)[:, None].expand(5, 3)
    believed = torch.stack([sac._lower(rows) for _ in range(200)])
    # The lower of two out of 0 to 4: never 4, and 0 in 4 of 10 pairs.
    assert sorted(believed[:, 0].unique().tolist()) == [0, 1, 2, 3]
    assert 0.25 < (believed == 0).float().mean() < 0.55
    with torch.no_grad():
        sac.critic.last.bias[4] -= 1000.0
    obs = loop.replay.sample(8).observations
    actions, log_prob = sac.actor.action_log_prob(obs)
    values = sac.critic.values(obs, actions)
    expected = (0.1 * log_prob - values.mean(0)).mean()
    sac._update_actor(obs, actions, log_prob, torch.tensor(0.1), None)
    assert sac.losses()["actor_loss"] == pytest.approx(expected.item(), rel=1e-5)


def weights_after(steps: int, **kwargs) -> dict[str, torch.Tensor]:
    return trained(steps, **kwargs).algorithm.networks.state_dict()


def test_same_seed_gives_the_same_weights_also_with_steps_in_the_background():
    once, again, behind = weights_after(200), weights_after(200), weights_after(200, background=True)
    for name, tensor in once.items():
        assert torch.equal(tensor, again[name]), name
        assert torch.equal(tensor, behind[name]), name


def test_updates_do_not_share_casts_with_other_threads(monkeypatch):
    # Autocast's cache is emptied by whichever thread leaves autocast first, so weights that are used twice in an
    # update would get gradients that depend on the timing of the frames' encoder.
    loop = trained(120)
    cached = []
    monkeypatch.setattr(
        loop.algorithm, "_update", lambda batch, rehearsal: cached.append(torch.is_autocast_cache_enabled())
    )
    for _ in range(2):
        loop.algorithm.update(loop.replay.sample(32))
    assert cached == [False, False]


@pytest.mark.parametrize("critics", [2, 5])
def test_learning_goes_on_from_a_state_to_the_bit(critics):
    whole = make_loop(200, background=True, critics=critics)
    states = []

    def rest() -> bool:
        if whole.steps == 120:
            state = {"loop": whole.state(), "algorithm": whole.algorithm.state(), "torch": torch.get_rng_state()}
            states.append(join(*cut(state)))
            frames = {key: value.clone() for key, value in whole.replay.frames.items()}
            states.append((frames, whole.replay.actions.clone()))
        return True

    whole.run(rest)
    (state, (frames, actions)) = states
    part = make_loop(200, critics=critics)
    for key, value in frames.items():
        part.replay.frames[key].copy_(value)
    part.replay.actions.copy_(actions)
    part.load(state["loop"])
    part.algorithm.load(state["algorithm"])
    torch.set_rng_state(state["torch"])
    part.run(lambda: True)
    assert part.algorithm.updates == whole.algorithm.updates == 60
    ours = part.algorithm.networks.state_dict()
    assert all(torch.equal(tensor, ours[name]) for name, tensor in whole.algorithm.networks.state_dict().items())


def test_the_next_step_is_under_way_while_an_update_runs(monkeypatch):
    loop = make_loop(120, background=True)
    under_way = []
    update = loop.algorithm.update
    monkeypatch.setattr(
        loop.algorithm, "update", lambda *args: (under_way.append(loop._env._future is not None), update(*args))
    )
    loop.run(lambda: True)
    # All but the last two, which come after the last step.
    assert under_way == [True] * 18 + [False] * 2


def test_share_of_random_actions():
    loop = trained(120)
    # Without noise in the policy, an action that differs from its mean was drawn uniformly.
    actor = loop.algorithm.actor
    actor.last.weight.data[3:] = 0
    actor.last.bias.data[3:] = -10
    loop._env.num_envs = 4000
    loop._obs = {key: np.repeat(value[:1], 4000, 0) for key, value in loop._obs.items()}
    mean = loop.algorithm.act(loop._obs)
    for share in (0.0, 0.2, 1.0):
        loop._options = SACOptions(random_actions=share, warmup=80)
        drawn = (np.abs(loop.actions() - mean) > 0.01).any(1).mean()
        assert drawn == pytest.approx(share, abs=0.03)


def test_bad_options_are_refused():
    with pytest.raises(UserError, match="random_actions must lie in"):
        SACOptions(random_actions=2.0)
    with pytest.raises(UserError, match="critics must be 2 to 100, got 1"):
        SACOptions(critics=1)
    with pytest.raises(UserError, match="warmup must be positive, got 0"):
        SACOptions(warmup=0)
    with pytest.raises(UserError, match=r"gamma must lie in \[0, 1\), got 1.0"):
        Returns(1.0, torch.device("cpu"))

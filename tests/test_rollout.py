import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from goalsight.agents.policies import POLICIES, EpisodeStreams, RandomPolicy, make_policy
from goalsight.agents.rollout import Moment, Outcome, rollout
from goalsight.base.errors import UserError
from goalsight.envs.registration import make_vector


class CountingEnv:
    """An episode seeded with s succeeds from step s % 5 on; the seed `diverges` breaks at its second step."""

    horizon = 6

    def __init__(self, num_envs: int, diverges: int = -1) -> None:
        self.num_envs, self.diverges = num_envs, diverges

    def reset(self, *, seed, options=None):
        assert len(seed) == self.num_envs
        self.asked = None if options is None else options["goal"]
        self.seeds, self.time = np.array(seed), 0
        return {"observation": self.seeds.astype(np.float32)[:, None]}, {}

    def step(self, actions):
        assert actions.shape == (self.num_envs, 2)
        self.time += 1
        success = self.time >= self.seeds % 5
        info = {"is_success": success, "diverged": (self.seeds == self.diverges) & (self.time == 2)}
        reward = np.where(success, 0.0, -1.0)
        return {"observation": self.seeds.astype(np.float32)[:, None]}, reward, None, None, info


class Still:
    def reset(self, obs, mask):
        self.mask = mask

    def act(self, obs, env):
        return np.zeros((env.num_envs, 2), np.float32)


@pytest.mark.parametrize("num_envs", [1, 2, 3, 7])
def test_an_episode_keeps_its_seed_whatever_the_batch(num_envs):
    episodes = rollout(CountingEnv(num_envs), Still(), episodes=5, seed=3)
    # Seeds 3..7 succeed from step 3, 4, 0, 1, 2 on (the first step is 1), and lose 1 a step before.
    assert episodes.index.tolist() == [0, 1, 2, 3, 4]
    assert episodes.returns.tolist() == [-2, -3, 0, 0, -1]
    assert episodes.success.all()
    assert episodes.lengths.tolist() == [6] * 5


def test_goals_are_asked_for_in_turn_whatever_the_batch():
    goals = np.array([[1.0], [2.0], [3.0]])
    env, asked = CountingEnv(2), []
    rollout(env, Still(), episodes=4, seed=0, goals=goals, after_wave=lambda _: asked.append(env.asked.tolist()))
    assert asked == [[[1], [2]], [[3], [1]]]


def test_success_is_that_of_the_last_step():
    episodes = rollout(CountingEnv(2), Still(), episodes=2, seed=3, steps=3)
    assert episodes.success.tolist() == [True, False]


def test_a_diverged_episode_ends_and_is_no_success():
    seen = []
    episodes = rollout(
        CountingEnv(2, diverges=5),
        Still(),
        episodes=2,
        seed=5,
        on_step=lambda moment, outcome: seen.append(moment.active.tolist()),
    )
    assert episodes.success.tolist() == [False, True]
    assert episodes.diverged.tolist() == [True, False]
    assert episodes.lengths.tolist() == [2, 6]
    assert seen == [[True, True]] * 2 + [[False, True]] * 4


def test_a_wave_of_diverged_episodes_ends_at_once():
    episodes = rollout(CountingEnv(1, diverges=0), Still(), episodes=1, seed=0)
    assert episodes.lengths.tolist() == [2]


def test_hooks_see_every_moment_and_surplus_environments_are_masked():
    moments: list[Moment] = []
    outcomes: list[Outcome] = []
    policy = Still()
    rollout(
        CountingEnv(2),
        policy,
        episodes=3,
        seed=0,
        before_step=moments.append,
        on_step=lambda moment, outcome: outcomes.append(outcome),
    )
    assert [moment.time for moment in moments] == [*range(6), *range(6)]
    assert moments[-1].episodes.tolist() == [2, 3]
    assert moments[-1].active.tolist() == [True, False]
    assert policy.mask.tolist() == [True, False]
    assert len(outcomes) == 12


def test_stopping_keeps_finished_waves_only():
    calls = iter(range(100))
    finished = []
    episodes = rollout(
        CountingEnv(2), Still(), episodes=6, seed=0, stop=lambda: next(calls) >= 8, after_wave=finished.append
    )
    assert episodes.index.tolist() == [0, 1]
    assert [len(wave) for wave in finished] == [2]
    assert len(rollout(CountingEnv(2), Still(), episodes=6, seed=0, stop=lambda: True)) == 0


@pytest.mark.parametrize("wrong", [{"episodes": 0}, {"seed": -1}, {"steps": 7}, {"steps": 0}])
def test_impossible_requests_are_refused(wrong):
    with pytest.raises(UserError):
        rollout(CountingEnv(2), Still(), **{"episodes": 1, "seed": 0} | wrong)


@given(seed=st.integers(0, 2**32), sizes=st.lists(st.integers(1, 5), min_size=2, max_size=2))
@settings(max_examples=20, deadline=None)
def test_streams_depend_on_the_episode_alone(seed, sizes):
    def draws(num_envs: int) -> np.ndarray:
        streams, episodes = EpisodeStreams(seed, 3), []
        for _ in range(0, 6, num_envs):
            streams.reset(np.ones(num_envs, bool))
            rows = [streams.draw(np.arange(num_envs)) for _ in range(EpisodeStreams.BLOCK + 2)]
            episodes += list(np.stack(rows, axis=1))
        return np.stack(episodes[:6])

    first, second = draws(sizes[0]), draws(sizes[1])
    assert np.array_equal(first, second)
    assert 0 <= first.min() <= first.max() < 1
    assert len(np.unique(first[:, 0, 0])) == 6


def test_unknown_policy_names_the_choices():
    with pytest.raises(UserError, match='no policy "exprt"; did you mean "expert"'):
        make_policy("exprt")


@pytest.mark.parametrize("name", POLICIES)
def test_real_episodes_do_not_depend_on_the_number_of_environments(name):
    returns = []
    for num_envs in (2, 5):
        env = make_vector("PandaPush-v1", num_envs=num_envs, max_episode_steps=15)
        returns.append(rollout(env, make_policy(name, seed=1), episodes=5, seed=20).returns)
    assert np.array_equal(returns[0], returns[1])


def test_random_actions_fill_their_range():
    env = make_vector("PandaReach-v1", num_envs=4, max_episode_steps=40)
    policy, actions = RandomPolicy(0), []
    rollout(env, policy, episodes=4, seed=0, before_step=lambda moment: actions.append(moment.action))
    drawn = np.concatenate(actions)
    assert drawn.dtype == np.float32
    assert drawn.min() < -0.95
    assert drawn.max() > 0.95
    assert abs(drawn.mean()) < 0.1

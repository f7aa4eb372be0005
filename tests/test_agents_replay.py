"""The replay: every frame once, goals as indices, hindsight within the episode, rewards recomputed."""

import numpy as np
import pytest
import torch
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st

from goalsight.agents.replay import GoalReplayBuffer
from goalsight.base import memory
from goalsight.base.errors import UserError

HORIZON = 5


def space(shape: tuple[int, ...], dtype=np.float32) -> spaces.Box:
    return spaces.Box(-np.inf, np.inf, shape, dtype)


SPACE = spaces.Dict(
    {
        "observation": space((2,)),
        "achieved_goal": space((3,)),
        "desired_goal": space((3,)),
        "features": space((4, 2), np.float16),
        "goal_features": space((4, 2), np.float16),
    }
)
ACTIONS = spaces.Box(-1, 1, (2,), np.float32)


def compute_reward(achieved, desired, info):
    return -(np.abs(achieved - desired).max(-1) > 0.5).astype(np.float32)


def make(num_envs: int, episodes: int, compute_reward=compute_reward, **kwargs) -> GoalReplayBuffer:
    return GoalReplayBuffer(
        episodes * HORIZON,
        SPACE,
        ACTIONS,
        n_envs=num_envs,
        goal_keys={"desired_goal": "achieved_goal", "goal_features": "features"},
        compute_reward=compute_reward,
        horizon=HORIZON,
        **kwargs,
    )


def frame(episode: np.ndarray, time: np.ndarray) -> dict[str, np.ndarray]:
    """Observations whose every number tells which frame of which episode they are: 10 * episode + time."""
    name = (10.0 * episode + time).astype(np.float32)
    return {
        "observation": np.stack([episode, time], -1).astype(np.float32),
        "achieved_goal": np.repeat(name[:, None], 3, 1),
        "desired_goal": np.repeat(-(episode[:, None] + 1.0), 3, 1).astype(np.float32),
        "features": np.tile(name[:, None, None], (1, 4, 2)).astype(np.float16),
        "goal_features": np.tile(-(episode[:, None, None] + 1.0), (1, 4, 2)).astype(np.float16),
    }


def play(buffer: GoalReplayBuffer, lengths: list[list[int]], diverged: frozenset[int] = frozenset()) -> None:
    """Let env i play episodes of lengths[i] steps; episodes are numbered in the order in which they begin."""
    num_envs = len(lengths)
    queues = [list(queue) for queue in lengths]
    counter = num_envs
    episode, time = np.arange(num_envs), np.zeros(num_envs, dtype=int)
    for _ in range(min(sum(queue) for queue in lengths)):
        done = np.array([time[env] + 1 == queues[env][0] for env in range(num_envs)])
        infos = [{"diverged": int(episode[env]) in diverged} for env in range(num_envs)]
        action = np.stack([episode, time], -1) / 100.0
        reward = np.full(num_envs, -1.0, np.float32)
        buffer.add(frame(episode, time), frame(episode, time + 1), action, reward, done, infos)
        time += 1
        for env in np.flatnonzero(done):
            if len(queues[env]) > 1:
                queues[env].pop(0)
            episode[env], time[env], counter = counter, 0, counter + 1


def test_a_transition_is_two_neighbouring_rows():
    buffer = make(2, 4, relabelled=0.0)
    play(buffer, [[5], [5]])
    batch = buffer._get_samples(np.array([0, 4, 5, 7]))
    # Transition 7 is the third of the second episode: frame 12 to frame 13, of the goal that episode 1 asked for.
    assert batch.observations["achieved_goal"][:, 0].tolist() == [0, 4, 10, 12]
    assert batch.next_observations["achieved_goal"][:, 0].tolist() == [1, 5, 11, 13]
    assert batch.observations["desired_goal"][:, 0].tolist() == [-1, -1, -2, -2]
    assert batch.next_observations["goal_features"][:, 0, 0].tolist() == [-1, -1, -2, -2]
    assert torch.allclose(batch.actions, torch.tensor([[0, 0], [0, 0.04], [0.01, 0], [0.01, 0.02]]))
    assert batch.rewards.tolist() == [[-1]] * 4
    assert batch.dones.tolist() == [[0]] * 4  # the end of an episode is a time limit, not an end


def test_relabelled_rewards_are_recomputed():
    buffer = make(1, 2, relabelled=1.0)
    play(buffer, [[3]])
    batch = buffer.sample(200)
    reached = batch.next_observations["achieved_goal"]
    goal = batch.observations["desired_goal"]
    assert set(goal[:, 0].tolist()) == {1.0, 2.0, 3.0}
    # Sparse reward by hand: 0 where the next frame is the goal's own frame, -1 elsewhere.
    assert torch.equal(batch.rewards, -(reached != goal).any(1, keepdim=True).float())
    assert {0.0, -1.0} == set(batch.rewards.flatten().tolist())


def test_exactly_four_goals_in_five_are_relabelled():
    buffer = make(1, 2)
    play(buffer, [[5]])
    rows = buffer.draw(250)
    assert (rows.goal != HORIZON + 1).sum() == 200


@pytest.mark.parametrize(
    "reward",
    [
        compute_reward,
        lambda achieved, desired, info: 1 + compute_reward(achieved, desired, info),  # 1 at the goal, else 0
        lambda achieved, desired, info: -np.linalg.norm(achieved - desired, axis=-1),
    ],
    ids=["-1 or 0", "0 or 1", "distance"],
)
def test_most_goals_of_hindsight_ask_for_something_where_there_are_such(reward):
    buffer = make(1, 12, reward, relabelled=1.0)
    still = np.zeros((2, HORIZON + 1), np.float32)
    moving, staying = np.arange(HORIZON + 1, dtype=np.float32), np.full(HORIZON + 1, 7.0, np.float32)
    staying[0] = 0.0  # it has come to its goal after one step
    achieved = np.repeat(np.concatenate([still, [moving, staying]])[..., None], 3, 2)
    frames = {
        "observation": np.zeros((4, HORIZON + 1, 2), np.float32),
        "achieved_goal": achieved,
        "features": np.zeros((4, HORIZON + 1, 4, 2), np.float16),
    }
    goals = {"desired_goal": np.full((4, 3), 9.0, np.float32), "goal_features": np.zeros((4, 4, 2), np.float16)}
    buffer.add_episodes(frames, goals, np.zeros((4, HORIZON, 2), np.float32))
    rows = buffer.draw(20_000)
    first = rows.block.min()
    # In half of the episodes nothing moves: a tenth of those draws is taken as drawn, of the rest 0.5 ** 4 are left.
    idle = 0.1 * 0.5 + 0.9 * 0.5**4
    assert (rows.block < first + 2).mean() == pytest.approx(idle, abs=0.01)
    # What stays where it has come to is drawn as often as what moves on.
    assert (rows.block == first + 3).mean() == pytest.approx((1 - idle) / 2, abs=0.02)
    assert (rows.goal > rows.time).all()


@settings(max_examples=60, deadline=None)
@given(
    lengths=st.lists(st.lists(st.integers(1, HORIZON), min_size=1, max_size=8), min_size=1, max_size=4),
    blocks=st.integers(2, 9),
    diverged=st.frozensets(st.integers(0, 12), max_size=4),
    seed=st.integers(0, 99),
)
def test_goals_are_future_frames_of_the_same_episode(lengths, blocks, diverged, seed):
    buffer = make(len(lengths), blocks, seed=seed)
    play(buffer, lengths, diverged)
    if not buffer.size():
        return
    batch = buffer.sample(64)
    obs, after = batch.observations, batch.next_observations
    episode, time = obs["observation"].T
    goal = obs["desired_goal"][:, 0]
    relabelled = goal >= 0
    assert (after["observation"] == torch.stack([episode, time + 1], 1)).all()
    assert (goal[~relabelled] == -(episode[~relabelled] + 1)).all()
    goal_episode, goal_time = goal[relabelled] // 10, goal[relabelled] % 10
    assert (goal_episode == episode[relabelled]).all()
    assert (goal_time > time[relabelled]).all()
    assert not {int(number) for number in episode} & diverged
    # Features tell the same story as the numbers beside them, to the bit.
    assert torch.equal(obs["features"][:, 0, 0].float(), obs["achieved_goal"][:, 0])
    assert torch.equal(after["goal_features"][:, 0, 0].float(), goal)
    assert torch.equal(batch.actions, torch.stack([episode, time], 1) / 100.0)
    expected = compute_reward(after["achieved_goal"].numpy(), obs["desired_goal"].numpy(), {})
    assert torch.equal(batch.rewards[:, 0], torch.from_numpy(expected))


def test_the_oldest_episodes_are_overwritten_as_wholes():
    buffer = make(1, 3, relabelled=0.0)  # three blocks: one is being written, two can be sampled
    play(buffer, [[5] * 4])
    batch = buffer._get_samples(np.arange(buffer.size()))
    assert buffer.size() == 10
    assert sorted(set(batch.observations["observation"][:, 0].tolist())) == [2.0, 3.0]


def test_unfinished_episodes_are_not_sampled():
    buffer = make(1, 3)
    play(buffer, [[4]])
    full = buffer.size()
    buffer.add(*(frame(np.array([7]), np.array([t])) for t in (0, 1)), np.zeros((1, 2)), np.zeros(1), [False], [{}])
    assert buffer.size() == full == 4


def test_each_frame_is_stored_once():
    buffer = make(2, 4)
    # 4 blocks of 7 rows, each of 2 + 3 floats and 8 halves, and 5 actions of 2 floats.
    assert buffer.nbytes == 4 * (7 * (5 * 4 + 8 * 2) + 5 * 2 * 4)
    assert "goal_features" not in buffer.frames
    assert "desired_goal" not in buffer.frames


def test_size_is_said_before_it_is_taken_and_refused_above_what_is_free(monkeypatch, capsys):
    monkeypatch.setattr(memory, "free_memory", lambda: 1_000_000)
    with pytest.raises(UserError, match=r"replay buffer needs 23 MB, of which 1 MB are free; store fewer"):
        make(1, 80_000)
    assert capsys.readouterr().err == "replay: 23 MB for 560,000 frames of 80,000 episodes\n"


def test_sampling_follows_the_seed():
    draws = []
    for seed in (3, 3, 4):
        buffer = make(1, 3, seed=seed)
        play(buffer, [[5]])
        draws.append(buffer.draw(32))
    assert all(np.array_equal(a, b) for a, b in zip(draws[0], draws[1], strict=True))
    assert not np.array_equal(draws[0].time, draws[2].time)


def test_wrong_use_is_refused():
    buffer = make(1, 2)
    with pytest.raises(ValueError, match="no episode has finished"):
        buffer.sample(4)
    with pytest.raises(ValueError, match="longer than the replay's horizon of 5"):
        play(buffer, [[9]])
    with pytest.raises(ValueError, match=r"relabelled must lie in \[0, 1\]"):
        make(1, 2, relabelled=1.5)


def test_free_memory_is_less_than_the_machine_has():
    assert 10_000_000 < memory.free_memory() < 2**50


def test_episodes_that_have_just_ended_stay_where_the_ring_comes_round_to_them():
    buffer = make(4, 12)
    frames = {
        "observation": np.full((6, HORIZON + 1, 2), -1, np.float32),
        "achieved_goal": np.zeros((6, HORIZON + 1, 3), np.float32),
        "features": np.zeros((6, HORIZON + 1, 4, 2), np.float16),
    }
    goals = {"desired_goal": np.zeros((6, 3), np.float32), "goal_features": np.zeros((6, 4, 2), np.float16)}
    buffer.add_episodes(frames, goals, np.zeros((6, HORIZON, 2), np.float32))  # blocks 4 to 9; two more are free
    play(buffer, [[HORIZON]] * 4)
    kept = buffer.sample(2000).observations["observation"][:, 0].unique().tolist()
    assert kept == [-1, 0, 1, 2, 3]  # of the six, two have given way
    assert buffer.size() == 8 * HORIZON

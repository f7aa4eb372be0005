"""Watching to act: what is read by hand-worked cases, that video is silent, and what is refused."""

import numpy as np
import pytest
import torch
from gymnasium import spaces

from goalsight.agents.algorithms.base import rehearsed
from goalsight.agents.algorithms.imitation import Imitation, Rehearsal, cloning_error, spread_error
from goalsight.agents.calibration import LEAST_SPREAD, scales_of
from goalsight.agents.networks.estimates import AT_ONCE, Estimates
from goalsight.agents.networks.estimator import POINTS, StateEstimator
from goalsight.agents.networks.inputs import FirstLayer, Sight
from goalsight.agents.networks.policy import GoalActor
from goalsight.agents.replay import GoalReplayBuffer
from goalsight.agents.watching.estimating import BETA, GOALS, RIDGE, Lessons, prepare, read_linearly, ridge, teach
from goalsight.agents.watching.experience import (
    EXPLORING,
    TURNING,
    Experience,
    InView,
    Noisy,
    _Books,
    gather,
    unskilled,
)
from goalsight.agents.watching.options import Watching
from goalsight.base.errors import UserError
from goalsight.base.precision import autocast
from goalsight.base.shards import SHARD
from goalsight.envs.vector import GoalVectorEnv
from goalsight.pretrain.encoders.points import SpatialSoftmax
from goalsight.pretrain.encoders.vit import random_encoder


def test_points_lie_where_a_map_peaks():
    places = SpatialSoftmax(2, 5)
    maps = torch.full((1, 2, 5, 5), -100.0)
    maps[0, 0, 1, 4] = 100.0  # second row, last column
    maps[0, 1, 2, 1] = maps[0, 1, 2, 3] = 100.0  # two peaks: between them
    assert places(maps)[0].tolist() == pytest.approx([1.0, -0.5, 0.0, 0.0], abs=1e-6)


def test_of_a_goal_image_only_what_is_achieved_is_seen():
    space = spaces.Dict({key: spaces.Box(-5, 5, (4,), np.float32) for key in ("features", "goal_features")})
    first = FirstLayer(space, Sight((), tokens=True, goal_size=2), 3)
    assert first.linear.in_features == 4 + 2 + 2
    with torch.no_grad():
        first.linear.weight.copy_(torch.eye(8)[5:])  # the goal's second number, and the way to the goal
        first.linear.bias.zero_()
    obs = {"features": torch.tensor([[1.0, 2, 3, 4]]), "goal_features": torch.tensor([[10.0, 20, 30, 40]])}
    assert first(obs).tolist() == [[20.0, 9.0, 18.0]]
    elsewhere = obs | {
        "goal_features": torch.tensor([[10.0, 20, -1, -1]])
    }  # the arm stands elsewhere in the goal image
    assert torch.equal(first(obs), first(elsewhere))


def small_estimates(kept=(0, 2, 3), points=0) -> Estimates:
    torch.manual_seed(0)
    encoder = random_encoder(image_size=16, tokeniser="local")
    if points:
        encoder.look_for_points(points, seed=0)
    return Estimates(StateEstimator(encoder, 5), kept, 1)


@pytest.mark.parametrize(("found", "points"), [(0, POINTS), (4, 4)])
def test_estimates_are_the_same_after_they_were_kept(found, points):
    features = small_estimates(points=found)
    if features.estimator.linear is not None:
        torch.nn.init.normal_(features.estimator.linear.weight)  # it begins with nothing
    frames = np.random.default_rng(0).integers(0, 255, (3, 16, 16, 3), dtype=np.uint8)
    tensors = {name: tensor.clone() for name, tensor in features.tensors().items()}
    again = Estimates.from_kept(tensors, features.describe())
    assert features(frames).shape == (3, 3) == (3, *features.space.shape)
    assert np.array_equal(features(frames), again(frames))
    assert np.array_equal(features.look(frames)[:, :3], features(frames))
    assert features.look(frames).shape == (3, 3 + 2 * points)
    assert features(frames).any()
    assert again.goal_size == 1


def test_estimates_of_older_runs_come_back():
    features = small_estimates()
    frames = np.random.default_rng(0).integers(0, 255, (3, 16, 16, 3), dtype=np.uint8)
    older = {name.replace("estimator.own.", "estimator."): tensor for name, tensor in features.tensors().items()}
    assert "estimator.maps.weight" in older
    meta = features.describe()
    del meta["encoder"]["points"]
    assert np.array_equal(features(frames), Estimates.from_kept(older, meta)(frames))


def test_an_estimator_whose_encoder_has_found_points_begins_with_their_best_linear_reading(played):
    encoder = random_encoder(image_size=16, tokeniser="local")
    encoder.look_for_points(4, seed=0)
    estimator = StateEstimator(encoder, played.targets.shape[-1])
    lessons = Lessons(played, "pixels", np.random.default_rng(0))
    prepare(estimator, lessons)
    list(teach(estimator, lessons, updates=1))  # of which one, at the start, changes next to nothing
    frames, numbers = lessons.shown()
    fresh = StateEstimator(encoder, played.targets.shape[-1])
    fresh.load_state_dict(estimator.state_dict())
    with torch.no_grad():
        read_linearly(fresh, fresh.linear, lessons, "cpu", 1)
        torch.nn.init.zeros_(fresh.read[-1].weight)
        torch.nn.init.zeros_(fresh.read[-1].bias)
        read = fresh(torch.from_numpy(frames)).numpy()
        points = fresh.points(torch.from_numpy(frames)).double()
        taught = estimator(torch.from_numpy(frames)).numpy()
    assert np.abs(taught - read).mean() < 0.1 * np.abs(read).mean()
    truth = (numbers - fresh.mean.numpy()) / fresh.spread.numpy()
    rest = slice(3, None)  # what is achieved is read off goal images as well
    by_hand = ridge(points, torch.from_numpy(truth).double()[:, rest], torch.ones(len(points), dtype=torch.double))
    assert np.allclose(read[:, rest], (points @ by_hand[:-1] + by_hand[-1]).numpy(), atol=0.03)  # of bfloat16
    assert ((read - truth) ** 2)[:, rest].mean() < ((truth - truth.mean(0)) ** 2)[:, rest].mean()


def test_ridge_regression_weighs_its_samples():
    inputs = torch.tensor([[0.0], [1.0], [1.0]], dtype=torch.double)
    numbers = torch.tensor([[1.0], [3.0], [5.0]], dtype=torch.double)
    found = ridge(inputs, numbers, torch.tensor([2.0, 1.0, 1.0], dtype=torch.double))
    # half of the weight on each side, the mean of 3 and 5 on the right; the slope of 3 shrinks by 0.25 / (0.25 + RIDGE)
    slope = 3 * 0.25 / (0.25 + RIDGE)
    assert found.flatten().tolist() == pytest.approx([slope, 2.5 - slope / 2])


def test_estimates_want_a_stem_that_makes_a_map():
    with pytest.raises(UserError, match="pretrain one by --tokeniser local"):
        StateEstimator(random_encoder(image_size=16), 5)


def make_env(**options) -> GoalVectorEnv:
    return GoalVectorEnv("push", num_envs=4, obs="pixels", image_size=16, privileged=True, **options)


@pytest.fixture(scope="module")
def played() -> Experience:
    env = make_env(max_episode_steps=6)
    found = gather(env, unskilled(env, 0), episodes=12, seed=7)
    env.close()
    return found


def test_experience_holds_every_frame_and_the_one_after_the_last_action(played):
    assert len(played) == 12
    assert played.steps == 72
    assert played.frames["pixels"].shape == (12, 7, 16, 16, 3)
    assert played.actions.shape == (12, 6, 3)
    assert played.goals["goal_pixels"].shape == (12, 16, 16, 3)
    env = make_env(max_episode_steps=6)
    obs, _ = env.reset(seed=[7, 8, 9, 10])
    assert np.array_equal(obs["pixels"], played.frames["pixels"][:4, 0])
    for step in range(6):
        obs, _, _, _, info = env.step(played.actions[:4, step])
    last = np.stack([final["state"] for final in info["final_obs"]])
    assert np.array_equal(last, played.frames["state"][:4, 6])
    env.close()


def test_targets_are_what_is_achieved_and_then_the_state(played):
    assert np.array_equal(played.targets[..., :3], played.frames["achieved_goal"])
    assert np.array_equal(played.targets[..., 3:], played.frames["state"])
    assert played.held_out.tolist() == [True] + [False] * 9 + [True, False]


def test_lessons_know_of_a_goal_image_only_what_is_achieved(played):
    lessons = Lessons(played, "pixels", np.random.default_rng(0))
    frames, numbers, known = lessons.draw()
    goals, views = slice(0, GOALS), slice(GOALS, None)
    assert known[views].min() == 1
    assert known[goals, :3].min() == 1
    assert known[goals, 3:].max() == 0
    taught = np.flatnonzero(~played.held_out)
    for image, wanted in zip(frames[goals].numpy(), numbers[goals, :3].numpy(), strict=True):
        found = [e for e in taught if np.array_equal(played.goals["goal_pixels"][e], image)]
        assert any(np.array_equal(played.goals["desired_goal"][e], wanted) for e in found)


def test_no_bit_of_what_is_learnt_and_seen_depends_on_the_threads(played):
    found = []
    for threads in (1, 2, 3):
        torch.manual_seed(0)
        encoder = random_encoder(image_size=16, seed=0, tokeniser="local")
        estimator = StateEstimator(encoder, played.targets.shape[-1])
        lessons = Lessons(played, "pixels", np.random.default_rng(0))
        prepare(estimator, lessons, threads=threads)
        losses = list(teach(estimator, lessons, updates=5, threads=threads))
        seen = Estimates(estimator, [0, 1], 1).look(played.frames["pixels"].reshape(-1, 16, 16, 3), threads=threads)
        found.append([losses, seen, *(weight.numpy() for weight in estimator.state_dict().values())])
    assert len(seen) > AT_ONCE  # more than one thread had something to do
    for other in found[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(found[0], other, strict=True))


def test_a_lesson_changes_weights_as_the_mean_error_of_the_known_numbers_does(played):
    encoder = random_encoder(image_size=16, seed=0, tokeniser="local")
    torch.manual_seed(0)
    estimator = StateEstimator(encoder, played.targets.shape[-1])
    frames, numbers, known = Lessons(played, "pixels", np.random.default_rng(0)).draw()
    mean, spread = Lessons(played, "pixels", np.random.default_rng(0)).measures()
    with torch.no_grad(), autocast("cpu"):
        wrong = torch.nn.functional.smooth_l1_loss(
            torch.cat([estimator(part) for part in frames.split(SHARD)]),
            (numbers - mean) / spread,
            beta=BETA,
            reduction="none",
        )
    lessons = Lessons(played, "pixels", np.random.default_rng(0))
    prepare(estimator, lessons)
    (loss,) = teach(estimator, lessons, updates=1, threads=2)
    assert loss == pytest.approx(float(wrong[known > 0].mean()), rel=1e-4)


def test_frames_after_the_last_action_are_each_environments_own_where_one_diverged():
    from goalsight.agents.rollout import Episodes, Moment, Outcome

    books = _Books({"goal": "seen"})
    on = np.ones(3, bool)

    def obs(time: int) -> dict:
        return {"seen": np.array([[10.0 * env + time] for env in range(3)]), "goal": np.zeros((3, 1))}

    def outcome(ended: dict) -> Outcome:
        finals = [ended.get(env) for env in range(3)]
        return Outcome(np.zeros(3), on, on, {"final_obs": finals} if ended else {})

    ends = [{1: {"seen": np.array([-1.0])}}, {env: {"seen": np.array([10.0 * env + 2])} for env in (0, 2)}]
    for time in range(2):
        moment = Moment(time, obs(time), np.zeros((3, 1), np.float32), on, np.arange(3))
        books.before_step(moment)
        books.on_step(moment, outcome(ends[time]))  # physics of the second environment breaks in the first step
    diverged = np.array([False, True, False])
    books.after_wave(Episodes(np.arange(3), on, np.zeros(3), np.array([2, 1, 2]), diverged))
    (wave,) = books.waves
    assert wave.frames["seen"][..., 0].tolist() == [[0, 1, 2], [20, 21, 22]]
    assert wave.steps == 5  # the step of the episode that was left out counts


def test_noise_is_added_and_actions_stay_in_their_bounds(played):
    class Still:
        def reset(self, obs, mask):
            pass

        def act(self, obs, env):
            return np.full((1000, 2), 0.9, np.float32)

    actions = Noisy(Still(), 0.3, 0).act({}, None)
    assert actions.max() == 1.0
    assert actions.min() < 0.3
    assert np.array_equal(Noisy(Still(), 0.0, 0).act({}, None), np.full((1000, 2), 0.9, np.float32))


def test_what_could_not_be_read_is_explored_in_half_of_the_attempts():
    class Still:
        def reset(self, obs, mask):
            pass

        def act(self, obs, env):
            return np.zeros((1000, 3), np.float32)

    policy = Noisy(Still(), 0.0, 0, explored=(2,))
    policy.reset({}, np.ones(1000, bool))
    acted = np.stack([policy.act({}, None) for _ in range(50)])  # (T, N, 3)
    assert not acted[..., :2].any()
    explores = (np.abs(acted[..., 2]) == 1).all(0)
    assert explores.mean() == pytest.approx(EXPLORING, abs=0.05)
    assert not acted[:, ~explores].any()
    turns = acted[1:, explores, 2] != acted[:-1, explores, 2]
    assert turns.mean() == pytest.approx(TURNING, abs=0.01)
    before = policy._exploring.copy()
    policy.reset({}, np.arange(1000) < 500)  # of the others the episode goes on
    assert np.array_equal(policy._exploring[500:], before[500:])
    assert not np.array_equal(policy._exploring[:500], before[:500])


def test_unskilled_play_stays_in_the_picture():
    env = GoalVectorEnv("pick_place", num_envs=16, privileged=True, training_starts=True)
    policy = unskilled(env, 0)
    assert isinstance(policy, InView)
    obs, _ = env.reset(seed=0)
    policy.reset(obs, np.ones(16, bool))
    rims = []
    for _ in range(49):
        obs, *_ = env.step(policy.act(obs, env))
        places = env.pictures.places(env.object_positions()["gripper"][:, None], "front")[:, 0]
        rims.append(np.minimum(places, 1 - places).min(-1))
    assert np.min(rims) > 0.05
    env.close()


def test_where_joints_are_moved_play_goes_where_it_likes():
    env = GoalVectorEnv("reach", num_envs=2, control="joint")
    assert not isinstance(unskilled(env, 0), InView)
    env.close()


def test_whole_episodes_in_the_replay_are_as_if_played_step_by_step():
    box = spaces.Box(-9, 9, (2,), np.float32)
    space = spaces.Dict(dict.fromkeys(("observation", "achieved_goal", "desired_goal"), box))

    def make() -> GoalReplayBuffer:
        return GoalReplayBuffer(
            40,
            space,
            spaces.Box(-1, 1, (1,), np.float32),
            n_envs=2,
            goal_keys={"desired_goal": "achieved_goal"},
            compute_reward=lambda achieved, desired, info: -(np.abs(achieved - desired).max(-1) > 1).astype(np.float32),
            horizon=4,
            seed=1,
        )

    rng = np.random.default_rng(0)
    frames = {key: rng.normal(size=(2, 5, 2)).astype(np.float32) for key in ("observation", "achieved_goal")}
    goals = {"desired_goal": rng.normal(size=(2, 2)).astype(np.float32)}
    actions = rng.uniform(-1, 1, (2, 4, 1)).astype(np.float32)
    stepped, whole = make(), make()
    for t in range(4):
        now, then = ({key: part[:, s] for key, part in frames.items()} | goals for s in (t, t + 1))
        stepped.add(now, then, actions[:, t], np.zeros(2), np.full(2, t == 3), [{}, {}])
    whole.add_episodes(frames, goals, actions)
    assert whole.size() == stepped.size() == 8
    one, other = stepped.sample(64), whole.sample(64)
    assert torch.equal(one.actions, other.actions)
    assert torch.equal(one.rewards, other.rewards)
    for key in space:
        assert torch.equal(one.observations[key], other.observations[key])
        assert torch.equal(one.next_observations[key], other.next_observations[key])
    with pytest.raises(ValueError, match="do not fit"):
        whole.add_episodes({k: np.repeat(v, 9, 0) for k, v in frames.items()}, goals, np.repeat(actions, 9, 0))


def test_cloning_is_the_squared_error_of_what_an_actor_does_without_noise():
    space = spaces.Dict({key: spaces.Box(-5, 5, (2,), np.float32) for key in ("features", "goal_features")})
    actor = GoalActor(space, spaces.Box(-1, 1, (1,), np.float32), sight=Sight((), True, 1), hidden=(4,))
    with torch.no_grad():
        actor.last.weight.zero_()
        actor.last.bias.copy_(torch.tensor([0.0, -1.0]))  # mean 0, logarithm of the spread -1
    seen = {key: torch.zeros(3, 2) for key in space}
    batch = Imitation(seen, torch.tensor([[0.5], [-0.5], [1.0]]))
    assert cloning_error(actor, batch).item() == pytest.approx((0.25 + 0.25 + 1) / 3)
    assert spread_error(actor, batch, 1.0).item() == pytest.approx(1.0)
    loss, noted = torch.tensor(3.0), {}
    assert rehearsed(loss, actor, Rehearsal(batch, 20.0), noted).item() == pytest.approx(3 + 20 * 0.5)
    assert rehearsed(loss, actor, Rehearsal(batch, 20.0, only=True), noted).item() == pytest.approx(20 * 0.5)
    assert rehearsed(loss, actor, None, {}) is loss
    assert noted["cloning_error"].item() == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("play", 5, "at least 10"),
        ("rounds", -1, "must not be negative"),
        ("attempts", 9_000, "may take 9,000 episodes, got 45,096"),
        ("last_goals", 1.5, r"lie in \[0, 1\]"),
        ("estimator_updates", 0, "must be positive"),
        ("cloning", -1.0, "must not be negative"),
    ],
)
def test_options_out_of_range_are_refused(option, value, says):
    with pytest.raises(UserError, match=f"{option}.*{says}"):
        Watching(**{option: value})


def test_with_points_found_before_an_estimator_has_less_to_learn():
    assert Watching().settled(points=False) == Watching(estimator_updates=4800)
    assert Watching(play=48).settled(points=True) == Watching(play=48, estimator_updates=1200)
    assert Watching(estimator_updates=7).settled(points=True) == Watching(estimator_updates=7)


def test_a_wave_in_which_physics_always_broke_only_costs_its_steps():
    from goalsight.agents.rollout import Episodes

    books = _Books({"goal": "seen"})
    books.after_wave(Episodes(np.arange(2), np.ones(2, bool), np.zeros(2), np.array([3, 4]), np.ones(2, bool)))
    assert (books.waves, books.steps) == ([], 7)


def test_scales_come_from_what_was_played(played):
    vectors = played.vectors
    assert set(vectors) == {*played.frames, *played.goals} - {"pixels", "goal_pixels"}
    episodes, moments = played.frames["achieved_goal"].shape[:2]
    assert vectors["achieved_goal"].shape == (episodes * moments, 3)
    centre, scale = scales_of(vectors)["desired_goal"]
    both = np.concatenate([vectors["achieved_goal"], vectors["desired_goal"]]).astype(np.float64)
    np.testing.assert_allclose(centre, both.mean(0), rtol=1e-5)
    np.testing.assert_allclose(scale, 1 / np.maximum(both.std(0), LEAST_SPREAD), rtol=1e-5)

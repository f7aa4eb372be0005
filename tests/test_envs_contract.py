"""The contracts of Gymnasium, Stable-Baselines3 and our own: determinism, goals, autoreset, divergence."""

import warnings
from dataclasses import replace
from functools import partial

import gymnasium as gym
import mujoco
import numpy as np
import pytest
from every_id import parameters
from gymnasium.utils.env_checker import check_env
from hypothesis import given, settings
from hypothesis import strategies as st

from goalsight.base.errors import UserError
from goalsight.envs import ids
from goalsight.envs.arms.catalogue import ARMS
from goalsight.envs.geometry.region import Region
from goalsight.envs.registration import env_ids, make_vector, register_task, resolve
from goalsight.envs.single import GoalEnv
from goalsight.envs.tasks import TASKS as TASKS_BY_NAME
from goalsight.envs.tasks import PickPlace, Push, Reach
from goalsight.envs.tasks.shared.world import Cube
from goalsight.envs.variation.feel import Noise
from goalsight.envs.vector import GoalVectorEnv
from goalsight.eval.contract import CONTRACT, keeps

IDS = env_ids()
TASKS = ("reach", "push", "pick_place")
LONG = {"survives extreme actions", "goal states hold", "not solved by doing nothing"}  # seconds for each id
QUICK = [name for name in CONTRACT if name not in LONG]


def run(env, seed, steps=60, action_seed=0):
    """Observations and rewards of random actions; row i takes actions of its own stream."""
    obs, _ = env.reset(seed=seed)
    rngs = [np.random.default_rng((action_seed, seed + i)) for i in range(env.num_envs)]
    seen = [obs]
    for _ in range(steps):
        actions = np.stack([rng.uniform(-1, 1, env.single_action_space.shape) for rng in rngs])
        obs, reward, _, truncated, _ = env.step(actions)
        seen.append(obs | {"reward": reward, "truncated": truncated})
    return seen


def same(a, b, row_a=slice(None), row_b=slice(None)):
    return all(np.array_equal(x[key][row_a], y[key][row_b]) for x, y in zip(a, b, strict=True) for key in x)


@pytest.mark.parametrize("env_id", parameters(IDS))
@pytest.mark.parametrize("name", QUICK)
def test_every_environment_keeps_the_contract(name, env_id):
    outcome = keeps(name, partial(make_vector, env_id, num_threads=1))
    assert outcome.passed, outcome.said


@pytest.mark.slow
@pytest.mark.parametrize("env_id", parameters(IDS))
@pytest.mark.parametrize("name", sorted(LONG))
def test_every_environment_keeps_the_long_part_of_the_contract(name, env_id):
    outcome = keeps(name, partial(make_vector, env_id))
    assert outcome.passed, outcome.said


def test_make_with_the_module_in_the_id_and_the_time_limit_of_gymnasium():
    env = gym.make("goalsight:goalsight/PandaReach-v1", max_episode_steps=7)
    env.reset(seed=0)
    ends = [env.step(env.action_space.sample())[3] for _ in range(7)]
    assert ends == [False] * 6 + [True]
    vector = gym.make_vec("goalsight/PandaReach-v1", num_envs=2, max_episode_steps=3)
    vector.reset(seed=0)
    ends = [vector.step(np.zeros((2, 3)))[3].all() for _ in range(4)]
    assert ends == [False, False, True, False]


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("obs", ["state", "pixels"])
def test_same_seed_same_bits_whatever_threads_and_batch(task, obs):
    steps = 55 if obs == "state" else 3
    batch = run(GoalVectorEnv(task, num_envs=5, obs=obs, num_threads=2), 11, steps)
    again = run(GoalVectorEnv(task, num_envs=5, obs=obs, num_threads=1), 11, steps)
    assert same(batch, again)
    alone = run(GoalVectorEnv(task, num_envs=1, obs=obs), 13, steps)
    assert same(batch, alone, row_a=2, row_b=0)


@pytest.mark.parametrize("arm", ARMS)
def test_every_arm_repeats_itself_to_the_bit(arm):
    batch = run(GoalVectorEnv("pick_place", arm, num_envs=3, num_threads=2), 11)
    alone = run(GoalVectorEnv("pick_place", arm, num_envs=1), 12)
    assert same(batch, alone, row_a=1, row_b=0)


def test_what_went_before_does_not_matter():
    env = GoalVectorEnv("push", num_envs=3)
    first = run(env, 5)
    run(env, 99, steps=17)
    assert same(first, run(env, 5))


def test_single_environment_agrees_with_the_batch_bit_for_bit():
    single, batch = gym.make("goalsight/PandaPush-v1"), GoalVectorEnv("push", num_envs=4)
    obs, _ = single.reset(seed=7)
    seen, _ = batch.reset(seed=5)
    rng = np.random.default_rng(0)
    for _ in range(50):
        assert all(np.array_equal(obs[key], seen[key][2]) for key in obs)
        actions = rng.uniform(-1, 1, (4, 3)).astype(np.float32)
        obs, reward, _, _, _ = single.step(actions[2])
        seen, rewards, _, _, info = batch.step(actions)
        assert reward == rewards[2]
    assert all(np.array_equal(obs[key], info["final_obs"][2][key]) for key in obs)


@pytest.mark.parametrize("task", TASKS)
@given(seed=st.integers(0, 10_000))
@settings(max_examples=5, deadline=None)
def test_rewards_equal_compute_reward_and_observations_lie_in_their_space(task, seed):
    for reward in ("sparse", "dense"):
        env = GoalVectorEnv(task, num_envs=4, reward=reward)
        obs, info = env.reset(seed=seed)
        assert not info["is_success"].any()
        rng = np.random.default_rng(seed)
        for _ in range(12):
            obs, rewards, terminated, _, info = env.step(rng.uniform(-1, 1, env.action_space.shape))
            expected = env.compute_reward(obs["achieved_goal"], obs["desired_goal"], info)
            assert np.array_equal(rewards, expected)
            assert rewards.dtype == np.float32
            assert env.observation_space.contains(obs)
            assert not terminated.any()
            assert env.compute_reward(obs["achieved_goal"][1], obs["desired_goal"][1], {}) == rewards[1]


@pytest.mark.parametrize("task", TASKS)
def test_goal_states_achieve_the_desired_goal_and_rest(task):
    env = GoalVectorEnv(task, num_envs=64)
    obs, _ = env.reset(seed=3)
    with env.sim.show_goal(np.arange(64)):
        reached = env.sim.reader.observe()
        np.testing.assert_allclose(reached.achieved, obs["desired_goal"], atol=1e-6)
        layout = env.state_layout()
        if task != "reach":
            assert np.abs(reached.state[:, layout["cube_velocity"]]).max() < 0.05
    back = env.sim.reader.observe()
    assert np.array_equal(back.state, obs["observation"])


@pytest.mark.parametrize("task", TASKS)
def test_goal_image_is_the_picture_of_the_goal_state(task):
    env = GoalVectorEnv(task, num_envs=3, obs="pixels")
    obs, _ = env.reset(seed=3)
    assert np.array_equal(obs["goal_pixels"], env.goal_frames(size=64))
    assert not np.array_equal(obs["goal_pixels"], obs["pixels"])
    assert np.array_equal(obs["pixels"], env.render_frames(size=64))


def test_privileged_pixels_carry_the_state_that_state_mode_observes():
    pixels = GoalVectorEnv("push", num_envs=2, obs="pixels", privileged=True)
    state = GoalVectorEnv("push", num_envs=2)
    a, b = pixels.reset(seed=1)[0], state.reset(seed=1)[0]
    assert np.array_equal(a["state"], b["observation"])
    assert np.array_equal(a["observation"], b["observation"][:, : a["observation"].shape[1]])
    assert np.array_equal(a["desired_goal"], b["desired_goal"])


def test_same_step_autoreset_gives_the_last_observation_of_the_old_episode():
    env = GoalVectorEnv("reach", num_envs=2, max_episode_steps=4)
    env.reset(seed=0)
    env.reset(options={"reset_mask": np.array([True, False])})
    for step in range(4):
        obs, _, _, truncated, info = env.step(np.zeros((2, 3)))
        assert truncated.all() == (step == 3)
    assert info["_final_obs"].all()
    assert set(info["final_obs"][0]) == set(obs)
    assert not np.array_equal(info["final_obs"][0]["desired_goal"], obs["desired_goal"][0])
    assert set(info["final_info"]) >= {"is_success", "diverged"}


def test_a_mask_resets_only_what_it_marks():
    env = GoalVectorEnv("push", num_envs=3)
    before, _ = env.reset(seed=0)
    after, _ = env.reset(seed=50, options={"reset_mask": np.array([False, True, False])})
    changed = [not np.array_equal(before["desired_goal"][i], after["desired_goal"][i]) for i in range(3)]
    assert changed == [False, True, False]


def test_diverged_physics_truncates_and_leaves_no_bad_number():
    env = GoalVectorEnv("push", num_envs=3)
    good, _ = env.reset(seed=0)
    env.batch.bind("qvel")[1] = np.nan
    obs, reward, _, truncated, info = env.step(np.zeros((3, 3)))
    assert info["diverged"].tolist() == [False, True, False]
    assert truncated.tolist() == [False, True, False]
    assert np.array_equal(info["final_obs"][1]["observation"], good["observation"][1])
    assert all(np.isfinite(value).all() for value in obs.values())
    assert np.isfinite(reward).all()
    *_, info = env.step(np.zeros((3, 3)))
    assert not info["diverged"].any()


@pytest.mark.parametrize("options", [{}, {"control": "joint", "obs": "pixels", "image_size": 16, "privileged": True}])
def test_gymnasium_has_nothing_to_remark(options):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(gym.make("goalsight/PandaPush-v1", **options).unwrapped, skip_render_check=True)


@pytest.mark.parametrize("obs", ["state", "pixels"])
@pytest.mark.parametrize("noise", [(), Noise(place=1000.0, speed=1000.0)])
def test_a_simulation_with_numbers_out_of_all_bounds_has_diverged(obs, noise):
    env = GoalVectorEnv("push", num_envs=4, num_threads=1, obs=obs, image_size=8, vary=noise)
    for space in (env.observation_space[key] for key in ("observation", "achieved_goal", "desired_goal")):
        assert (space.low == -2000).all()
        assert (space.high == 2000).all()
    assert env.reset(seed=0)[0] in env.observation_space
    cube = env.sim.reader.objects["cube"]
    env.batch.bind("qpos")[1:3, cube.qpos.start] = [990.0, -1010.0]  # [m]
    env.batch.bind("qpos")[3, cube.qpos.start + 2] = 0.5  # in the air, where nothing slows its turning
    env.batch.bind("qvel")[3, cube.qvel.stop - 1] = 1100.0  # [rad/s]
    obs, _, _, truncated, info = env.step(np.zeros((4, 3)))
    assert info["diverged"].tolist() == truncated.tolist() == [False, False, True, True]
    assert obs["achieved_goal"][1, 0] == pytest.approx(990, abs=0.1)
    assert obs in env.observation_space
    assert all(last in env.single_observation_space for last in info["final_obs"][2:])


def test_noise_that_would_leave_the_bounds_is_refused():
    with pytest.raises(UserError, match=r"noise: place and speed must be at most 1000, got 1001\.0 and 0\.02"):
        Noise(place=1001.0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: make_vector("goalsight/PandaPsh-v1"), 'did you mean "PandaPush-v1"'),
        (lambda: GoalVectorEnv("pusch"), 'did you mean "push"'),
        (lambda: GoalVectorEnv("push", "pandda"), 'did you mean "panda"'),
        (lambda: GoalVectorEnv("push", camera="frnt"), 'did you mean "front"'),
        (lambda: GoalVectorEnv("push", num_envs=0), "num_envs must be at least 1"),
        (lambda: GoalVectorEnv("push", image_size=0), "image_size"),
        (lambda: GoalVectorEnv("push", obs="pixel"), 'did you mean "pixels"'),
        (lambda: GoalVectorEnv("push", max_episode_steps=0), "max_episode_steps"),
        (lambda: GoalVectorEnv("push").step(np.zeros((1, 3))), "reset"),
        (lambda: make_vector("PandaPush-v1", nonsense=1), "nonsense"),
    ],
)
def test_mistakes_are_one_line(make, message):
    with pytest.raises(UserError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("bad", [np.full((2, 3), np.nan), np.full((2, 3), np.inf), np.zeros((2, 2)), np.zeros(3)])
def test_bad_actions_are_refused_and_change_nothing(bad):
    env = GoalVectorEnv("reach", num_envs=2)
    env.reset(seed=0)
    before = env.batch.state.copy()
    with pytest.raises(UserError, match="actions must"):
        env.step(bad)
    assert np.array_equal(before, env.batch.state)


def test_one_environment_names_the_shape_of_one_action():
    env = GoalEnv("reach")
    env.reset(seed=0)
    with pytest.raises(UserError, match=r"action must have shape \(3,\), got \(1, 3\)"):
        env.step(np.zeros((1, 3)))


def test_ids_resolve_with_and_without_namespace():
    for name in ("PandaPush-v1", "goalsight/PandaPush-v1", "goalsight:goalsight/PandaPush-v1"):
        assert resolve(name) == "goalsight/PandaPush-v1"


@pytest.fixture
def registries():
    known = [(registry, dict(registry)) for registry in (TASKS_BY_NAME, ids._ARGUMENTS, gym.registry)]
    yield
    for registry, before in known:
        registry.clear()
        registry.update(before)


@pytest.mark.usefixtures("registries")
def test_a_task_of_ones_own_is_an_id_everywhere(tmp_path, monkeypatch):
    (tmp_path / "my_tasks.py").write_text(
        "from dataclasses import dataclass, replace\n"
        "import goalsight\n"
        "from goalsight.envs.geometry.region import Region\n"
        "from goalsight.envs.tasks import Reach\n"
        "@dataclass(frozen=True)\n"
        "class ReachHigh(Reach):\n"
        "    name: str = 'reach_high'\n"
        "    goal_region: Region = Region((0.4, -0.1, 0.35), (0.5, 0.1, 0.4))\n"
        "goalsight.register_task(ReachHigh(), namespace='mine')\n"
        "goalsight.register_task(replace(ReachHigh(), name='reach_exactly', tolerance=0.01), namespace='mine')\n"
    )
    (tmp_path / "broken_tasks.py").write_text("raise RuntimeError('no such thing')")
    monkeypatch.syspath_prepend(tmp_path)
    env = make_vector("my_tasks:mine/PandaReachHigh-v1", num_envs=2)
    obs, _ = env.reset(seed=0)
    assert (obs["desired_goal"][:, 2] > 0.34).all()
    assert make_vector("mine/PandaReachExactly-v1").tolerance == 0.01
    check_env(gym.make("mine/PandaReachHigh-v1").unwrapped, skip_render_check=True)
    with pytest.raises(UserError, match=r"broken_tasks.*no such thing"):
        resolve("broken_tasks:mine/PandaOther-v1")
    # Its goals lie higher than the small arm reaches.
    assert {"mine/PandaReachHigh-v1", "mine/Ur5eReachHigh-v1", "mine/Xarm7ReachHigh-v1"} <= set(env_ids())
    assert "mine/So101ReachHigh-v2" not in env_ids()
    with pytest.raises(UserError, match='"reach_high": the arm reaches nothing of its goal_region'):
        GoalVectorEnv("reach_high", "so101")
    with pytest.raises(UserError, match="registered already"):
        register_task(TASKS_BY_NAME["reach_high"])


def test_what_lies_in_the_picture_is_known_from_the_lens():
    env = GoalVectorEnv("push", num_envs=1)
    env.reset(seed=0)
    index = env.model.camera("front").id
    eye, axes = env.batch.cam_xpos[:, index], env.batch.cam_xmat[0, index].reshape(3, 3)
    edge = 0.8 * np.tan(np.radians(env.model.cam_fovy[index]) / 2)  # 0.8 m before the lens

    def shown(right: float, up: float, ahead: float) -> bool:
        return bool(env.pictures.within(eye + axes @ [right, up, -ahead], "front")[0])

    assert shown(0, 0, 0.8)
    assert shown(0.99 * edge, -0.99 * edge, 0.8)
    assert not shown(1.01 * edge, 0, 0.8)
    assert not shown(0, -1.01 * edge, 0.8)
    assert not shown(0, 0, -0.8)


def test_success_may_have_to_be_held():
    swift, patient = (GoalVectorEnv(replace(Reach(), hold_steps=k), num_envs=4, num_threads=1) for k in (1, 4))
    for env in (swift, patient):
        env.reset(seed=0)
    there, told = np.zeros(4, int), []
    for _ in range(swift.horizon - 1):
        *_, at_once = swift.step(swift.expert_action())
        _, reward, _, _, held = patient.step(patient.expert_action())
        there = np.where(at_once["is_success"], there + 1, 0)
        np.testing.assert_array_equal(held["is_success"], there >= 4)
        np.testing.assert_array_equal(reward == 0, at_once["is_success"])  # the reward stays a matter of the moment
        told.append(held["is_success"])
    assert np.any(told)
    _, info = patient.reset(seed=0)
    assert not info["is_success"].any(), "a new episode begins anew"
    with pytest.raises(ValueError, match="hold_steps must be at least 1, got 0"):
        replace(Reach(), hold_steps=0)


@pytest.mark.parametrize(
    ("task", "arm"), [("stack2", "panda"), ("sort2", "xarm7"), ("reach_pose", "ur5e"), ("buttons", "so101")]
)
def test_experts_can_move_by_joints(task, arm):
    env = GoalVectorEnv(task, arm, num_envs=20, num_threads=1, control="joint")
    env.reset(seed=0)
    for _ in range(env.horizon):
        *_, info = env.step(env.expert_action())
    assert info["final_info"]["is_success"].mean() >= 0.9


class Watched(PickPlace):
    """PickPlace with a sensor of its own."""

    def furnish(self, spec: mujoco.MjSpec) -> None:
        spec.add_sensor(name="clock", type=mujoco.mjtSensor.mjSENS_CLOCK)


def test_success_may_take_a_grasp():
    """Cubes that are carried in the air are held; those that are pushed lie at their goals without being held."""
    told = {}
    watched = Watched(air_share=1.0, grasped="cube")  # other sensors do not get in the way
    for task in (watched, replace(Push(), grasped="cube")):
        env = GoalVectorEnv(task, num_envs=20, num_threads=1)
        env.reset(seed=0)
        there, held = np.zeros(20, bool), np.zeros(20, bool)
        for _ in range(env.horizon - 1):
            _, reward, _, _, info = env.step(env.expert_action())
            there |= reward == 0
            held |= info["is_success"]
        told[task.name] = there.mean(), held.mean()
    assert told["pick_place"] == (1, 1)
    assert told["push"][0] == 1
    assert told["push"][1] <= 0.1, "fingers of a closed hand push from one side"
    with pytest.raises(ValueError, match='task "push" has no object "egg" to be grasped'):
        replace(Push(), grasped="egg")


@pytest.mark.parametrize("names", [("tool",), ("gripper",), ("cube", "cube")])
def test_things_have_names_of_their_own(names):
    with pytest.raises(ValueError, match=f'another thing is called "{names[0]}", too'):
        replace(Push(), objects=tuple(Cube(name) for name in names))


@pytest.mark.parametrize("num_envs", [1, 300])
def test_goals_out_of_reach_are_refused_in_one_line(num_envs, capfd):
    far = replace(Reach(), goal_region=Region((1.2, -0.1, 0.0), (1.3, 0.1, 0.1)))
    env = GoalVectorEnv(far, num_envs=num_envs)
    with pytest.raises(UserError, match=r'task "reach": in 200 draws .* no start and goal that arm "panda" reaches'):
        env.reset(seed=0)
    assert "WARNING" not in capfd.readouterr().err, "an arm that cannot get there is not simulated as it lies"


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"num_envs": 0}, "num_envs must be at least 1, got 0"),
        ({"num_envs": 70_000}, "num_envs must be at most 65,536 in a process, got 70,000"),
        ({"num_envs": 10**9}, r"a batch of 1,000,000,000 needs .* MB are free; take fewer"),
        ({"num_envs": 20_000, "obs": "pixels", "image_size": 2048}, "a batch of 20,000 with pixels needs"),
    ],
)
def test_more_environments_than_memory_holds_are_refused_before_any_is_made(kwargs, message):
    with pytest.raises(UserError, match=message):
        GoalVectorEnv("push", **kwargs)

"""Goal environments of others, named where an id is taken."""

import json
import subprocess
import sys
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
from gymnasium.utils.env_checker import data_equivalence

from goalsight.agents.policies import make_policy
from goalsight.agents.rollout import rollout
from goalsight.base.errors import UserError
from goalsight.envs.registration import make_goal_envs, make_vector

HERE = Path(__file__).parent
POINT = "point_mass:theirs/Point-v0"


@pytest.fixture(autouse=True)
def _theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(HERE))


class Straight:
    """Goes straight to the goal."""

    def reset(self, obs, mask):
        """Nothing to forget."""

    def act(self, obs, env):
        """A step of at most 3 cm along each axis."""
        return np.clip((obs["desired_goal"] - obs["achieved_goal"]) / 3.0, -1, 1).astype(np.float32)


def test_the_adapter_keeps_the_contract_of_goal_environments() -> None:
    env = make_goal_envs(POINT, 3)
    obs, _ = env.reset(seed=4)
    assert obs in env.observation_space
    alone, _ = make_goal_envs(POINT, 1).reset(seed=6)
    assert np.array_equal(obs["desired_goal"][2], alone["desired_goal"][0])
    for step in range(1, 21):
        before = obs
        obs, reward, terminated, truncated, info = env.step(Straight().act(obs, env))
        assert not terminated.any()
        assert truncated.all() == truncated.any() == (step % 10 == 0)
        last = (
            info["final_obs"] if truncated.any() else [{key: value[i] for key, value in obs.items()} for i in range(3)]
        )
        for i in range(3):
            assert reward[i] == env.compute_reward(last[i]["achieved_goal"], last[i]["desired_goal"], {})
            assert info["is_success"][i] == (reward[i] == 0)
            assert data_equivalence(last[i]["desired_goal"], before["desired_goal"][i])
    assert info["is_success"].all()
    env.close()


def test_actions_spread_over_the_range_of_the_environment() -> None:
    env = make_goal_envs(POINT, 1)
    obs, _ = env.reset(seed=0)
    after, *_ = env.step(np.array([[0.5, -1.0]]))
    assert np.allclose(after["achieved_goal"] - obs["achieved_goal"], [[1.5, -3.0]], atol=1e-5)


def test_rewards_of_many_goals_are_those_of_each_even_where_the_environment_takes_one() -> None:
    rng = np.random.default_rng(0)
    achieved, desired = rng.normal(size=(2, 4, 5, 2))
    rewards = [
        make_goal_envs(f"point_mass:theirs/{name}-v0").compute_reward(achieved, desired, {})
        for name in ("Point", "PointOneByOne")
    ]
    assert rewards[0].shape == (4, 5)
    assert np.array_equal(*rewards)
    assert np.array_equal(rewards[0], -(np.linalg.norm(achieved - desired, axis=-1) > 1).astype(np.float32))


def test_rollouts_judge_them() -> None:
    env = make_goal_envs(POINT, 4)
    assert rollout(env, Straight(), episodes=10, seed=0).success.all()
    assert rollout(env, make_policy("nothing"), episodes=10, seed=0).success.mean() < 0.5


@pytest.mark.parametrize(
    ("env_id", "options", "said"),
    [
        ("point_mass:theirs/NoGoals-v0", {}, 'no goal environment: it lacks observation "observation"'),
        ("point_mass:theirs/Endless-v0", {}, "without max_episode_steps"),
        (POINT, {"obs": "pixels"}, "has no goal images; choose obs state"),
        (POINT, {"vary": ["colour"]}, "knows no vary"),
        (POINT, {"control": "joint"}, "knows no control"),
        ("point_mass:theirs/Pont-v0", {}, 'no environment "theirs/Pont-v0"'),
        ("no_such_module:theirs/Point-v0", {}, 'module "no_such_module" does not import'),
        (POINT, {"num_envs": 0}, "num_envs must be at least 1"),
    ],
)
def test_what_they_do_not_have_is_said_in_one_line(env_id: str, options: dict, said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        make_goal_envs(env_id, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"observation": np.array([np.nan, 0])}, "failed: ValueError: its observation is not finite"),
        ({"observation": np.zeros(3)}, r"its observation has shape \(3,\), its space says \(2,\)"),
        ({"achieved_goal": None}, "failed: "),
    ],
)
def test_observations_that_make_no_sense_are_blamed_on_them(monkeypatch, fault: dict, said: str) -> None:
    env = make_goal_envs(POINT, 2)
    theirs = type(env._envs[0].unwrapped)
    observe = theirs._obs
    monkeypatch.setattr(theirs, "_obs", lambda self: observe(self) | fault)
    with pytest.raises(UserError, match=said) as caught:
        env.reset(seed=0)
    assert "\n" not in str(caught.value)


def test_what_they_raise_is_said_in_one_line(monkeypatch) -> None:
    def fail(*_: object) -> None:
        raise SystemExit("two\nlines")

    env = make_goal_envs(POINT, 2)
    env.reset(seed=0)
    monkeypatch.setattr(type(env._envs[0].unwrapped), "step", fail)
    with pytest.raises(UserError, match="theirs/Point-v0 failed: SystemExit: two lines"):
        env.step(np.zeros((2, 2)))


def test_options_of_reset_are_refused() -> None:
    env = make_goal_envs(POINT, 2)
    for options in ({"goal": "middle"}, {"layout": 3}):
        with pytest.raises(UserError, match=f"draws its own goals; it takes no {next(iter(options))}"):
            env.reset(seed=0, options=options)


def test_what_needs_our_own_environments_says_so() -> None:
    with pytest.raises(UserError, match="was made elsewhere"):
        make_vector(POINT)
    with pytest.raises(UserError, match="brings no expert"):
        make_goal_envs(POINT).expert_action()


def cli(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "goalsight", *arguments], cwd=cwd, capture_output=True, text=True, check=False
    )


@pytest.mark.slow
def test_an_agent_learns_is_judged_and_filmed_there(tmp_path: Path) -> None:
    (tmp_path / "point_mass.py").write_text((HERE / "point_mass.py").read_text())
    train = ["train", "--env", POINT, "--obs", "state", "--steps", "6000", "--warmup", "800"]
    trained = cli(*train, "--eval-every", "2000", "--eval-episodes", "20", "--out", "run", cwd=tmp_path)
    assert trained.returncode == 0, trained.stderr[-2000:]
    judged = cli("eval", "run", "--import", "point_mass", "--episodes", "40", "--json", cwd=tmp_path)
    assert judged.returncode == 0, judged.stderr[-2000:]
    result = json.loads(judged.stdout)
    assert result["success"]["rate"] > 0.9
    assert set(result["baselines"]) == {"nothing", "random"}
    filmed = cli("record", "run", "--import", "point_mass", "--episodes", "2", "--size", "64", cwd=tmp_path)
    assert filmed.returncode == 0, filmed.stderr[-2000:]
    frames = iio.imread(next((tmp_path / "run" / "videos").glob("*.mp4")))
    assert frames.std() > 10
    expert = cli("eval", "--policy", "expert", "--env", POINT, cwd=tmp_path)
    assert expert.returncode == 2
    assert "brings no expert" in expert.stderr


def test_an_agent_acts_from_the_images_that_others_draw_in_one_thread(tmp_path: Path) -> None:
    (tmp_path / "point_mass.py").write_text((HERE / "point_mass.py").read_text())
    env = "point_mass:theirs/SightedPoint-v0"
    train = ["train", "--env", env, "--num-envs", "8", "--steps", "240", "--warmup", "80", "--eval-every", "240"]
    blind = cli(*train, "--eval-episodes", "2", "--out", "run", cwd=tmp_path)
    assert blind.returncode == 2
    assert blind.stderr.strip() == f"goalsight: {env} shows no state beside its images; choose critic pixels"
    trained = cli(*train, "--critic", "pixels", "--eval-episodes", "2", "--out", "run", cwd=tmp_path)
    assert trained.returncode == 0, trained.stderr[-2000:]
    unasked = cli("record", "run", "--episodes", "1", "--size", "64", cwd=tmp_path)
    assert unasked.returncode == 2
    assert unasked.stderr.strip().endswith("if you trust it: --import point_mass")
    filmed = cli("record", "run", "--import", "point_mass", "--episodes", "1", "--size", "64", cwd=tmp_path)
    assert filmed.returncode == 0, filmed.stderr[-2000:]


def test_what_cannot_be_drawn_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    env = make_goal_envs(POINT, 1)
    env.reset(seed=0)

    def broken() -> None:
        raise RuntimeError("no\nwindow")

    monkeypatch.setattr(env._envs[0], "render", broken)
    with pytest.raises(UserError, match=f"{POINT} cannot be drawn: RuntimeError: no window"):
        env.render_frames(size=64)


@pytest.mark.parametrize("name", ["FetchReach", "FetchPush"])
def test_environments_of_gymnasium_robotics_are_adapted(name: str) -> None:
    env = make_goal_envs(f"gymnasium_robotics:{name}-v4", 2)
    first, _ = env.reset(seed=0)
    again, _ = env.reset(seed=0)
    assert all(np.array_equal(first[key], again[key]) for key in first)
    for _ in range(3):
        obs, reward, *_ = env.step(np.ones(env.action_space.shape))
    assert np.linalg.norm(obs["observation"] - first["observation"], axis=1).min() > 0.01
    assert np.array_equal(reward, env.compute_reward(obs["achieved_goal"], obs["desired_goal"], {}))
    env.close()


def test_environments_of_panda_gym_are_adapted() -> None:
    pytest.importorskip("panda_gym")
    env = make_goal_envs("panda_gym:PandaReach-v3", 2)
    first, _ = env.reset(seed=0)
    again, _ = env.reset(seed=0)
    assert all(np.array_equal(first[key], again[key]) for key in first)
    obs, reward, *_ = env.step(np.zeros(env.action_space.shape))
    assert np.array_equal(reward, env.compute_reward(obs["achieved_goal"], obs["desired_goal"], {}))
    assert env.render_frames(size=64).std() > 5
    env.close()


def test_goals_of_ogbench_are_reached_as_it_would_have_them():
    pytest.importorskip("ogbench")
    envs = make_goal_envs("ogbench.manipspace:cube-single-v0", num_envs=2)
    obs, _ = envs.reset(seed=0)
    assert {key: value.shape for key, value in obs.items()} == {
        "observation": (2, 28),
        "achieved_goal": (2, 3),
        "desired_goal": (2, 3),
    }
    *_, info = envs.step(np.zeros((2, 5)))
    assert not info["is_success"].any()
    off = np.array([[0.0, 0, 0], [0, 0.39, 0], [0, 0, 0.41]], np.float32)  # in tenths of a metre; 4 cm are allowed
    goals = np.tile(obs["desired_goal"][:1], (3, 1))
    np.testing.assert_array_equal(envs.compute_reward(goals + off, goals, {}), [0, 0, -1])
    envs.close()

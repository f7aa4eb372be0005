"""Factors of variation and visual aids: what they change, and what they leave alone."""

from typing import Any

import mujoco
import numpy as np
import pytest

from goalsight.base.errors import UserError
from goalsight.envs.registration import make_vector
from goalsight.envs.variation import FACTORS, Factor, Latency, Mass, Noise, Size, factors_of
from goalsight.envs.variation.engine import hashed

PUSH = "goalsight/PandaPush-v1"
RED, GREEN = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0)


@pytest.mark.parametrize("factor", FACTORS)
def test_each_factor_leaves_starts_and_goals_of_episodes_as_they_are(factor: str) -> None:
    plain, varied = make_vector(PUSH, num_envs=3), make_vector(PUSH, num_envs=3, vary=factor)
    (ours, _), (theirs, _) = plain.reset(seed=5), varied.reset(seed=5)
    assert np.abs(ours["desired_goal"] - theirs["desired_goal"]).max() < 0.005  # smaller cubes lie a little lower
    assert np.abs(ours["achieved_goal"] - theirs["achieved_goal"]).max() < 0.005


@pytest.mark.parametrize("factor", FACTORS)
def test_each_factor_differs_between_environments_and_between_episodes(factor: str) -> None:
    env = make_vector(PUSH, num_envs=6, vary=factor)
    variation = env.sim.variation
    assert variation is not None
    seen = []
    for _ in range(4):
        env.reset(seed=1 if not seen else None)
        seen.append(np.concatenate([each.reshape(6, -1) for each in variation.snapshot().values()], axis=1))
    drawn = np.concatenate(seen)
    assert len(np.unique(drawn, axis=0)) > (2 if factor == "latency" else 10)


def test_varied_environments_do_not_depend_on_the_batch_around_them() -> None:
    options = {"vary": "all", "obs": "pixels", "image_size": 16, "max_episode_steps": 4}
    batch = make_vector("goalsight/PandaPickPlace-v1", num_envs=3, **options)
    alone = make_vector("goalsight/PandaPickPlace-v1", num_envs=1, num_threads=1, **options)
    ours, theirs = batch.reset(seed=7)[0], alone.reset(seed=9)[0]
    rng = np.random.default_rng(0)
    for _ in range(10):  # past the end of two episodes
        for key, value in theirs.items():
            assert np.array_equal(ours[key][2], value[0]), key
        moves = rng.uniform(-1, 1, (3, batch.sim.action_size))
        ours, theirs = batch.step(moves)[0], alone.step(moves[2:])[0]


@pytest.mark.parametrize(
    ("factor", "values"),
    [
        (Mass, {"span": (-1.0, 1.0)}),
        (Mass, {"span": (2.0, 1.0)}),
        (Mass, {"span": (1.0, float("inf"))}),
        (Latency, {"most": -1}),
        (Noise, {"place": float("nan")}),
        (Noise, {"levels": 256}),
    ],
)
def test_ranges_that_make_no_sense_are_refused(factor: type[Factor], values: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=f"^{factor.name}: "):
        factor(**values)


def test_noise_of_all_levels_is_even() -> None:
    env = make_vector(PUSH, num_envs=1, num_threads=1, vary=Noise(levels=200))
    env.reset(seed=0)
    grey = np.full((1, 64, 64, 3), 128, np.uint8)
    noisy = env.sim.variation.filmed(grey, np.array([0]), np.array([1])).astype(int)
    assert abs(noisy.mean() - 128) < 3
    assert (noisy.min(), noisy.max()) == (0, 255)


def test_a_factor_that_is_given_takes_the_place_of_that_of_all() -> None:
    vary = ("all", Mass(span=(3.0, 3.0)), Size(span=(1.0, 1.0)))
    assert {one.name for one in factors_of(vary)} == set(FACTORS)
    env = make_vector(PUSH, num_envs=4, num_threads=1, vary=vary)
    env.reset(seed=0)
    cube = env.model.body("cube").id
    np.testing.assert_allclose(env.batch.expand("body_mass")[:, cube], 3 * env.model.body_mass[cube])


def test_a_snapshot_of_varied_environments_goes_on_to_the_bit() -> None:
    env = make_vector(PUSH, num_envs=2, vary="all", aids="goal_markers", obs="pixels", image_size=16)
    env.reset(seed=3)
    moves = np.random.default_rng(1).uniform(-1, 1, (60, 2, 3))
    for move in moves[:4]:
        env.step(move)
    kept = env.snapshot()
    first = [env.step(move)[0] for move in moves]
    env.restore(kept)
    for obs, move in zip(first, moves, strict=True):
        again = env.step(move)[0]
        assert all(np.array_equal(obs[key], again[key]) for key in obs)


def test_the_goal_image_is_the_picture_of_the_goal_state() -> None:
    env = make_vector(PUSH, num_envs=3, vary="all", obs="pixels", image_size=32)
    obs, _ = env.reset(seed=2)
    assert np.array_equal(obs["goal_pixels"], env.goal_frames(size=32))


def test_hues_turn_by_the_angle_that_was_drawn() -> None:
    env = make_vector(PUSH, num_envs=2, vary="colour")
    env.reset(seed=0)
    variation = env.sim.variation
    assert variation is not None
    rgba, cube = variation.values["geom_rgba"], env.model.geom("cube").id
    rgba[:, cube, :3] = RED
    FACTORS["colour"].apply(variation, np.arange(2), np.array([[1 / 3], [2 / 3]]))
    assert np.allclose(rgba[0, cube, :3], GREEN)
    assert np.allclose(rgba[1, cube, :3], (0, 0, 1))


@pytest.mark.parametrize("factor", ["mass", "size"])
def test_what_follows_from_mass_and_size_is_what_mujoco_derives(factor: str) -> None:
    env = make_vector("goalsight/PandaStack2-v1", num_envs=3, vary=factor)
    env.reset(seed=4)
    for sim in range(3):
        model = env.batch.get_model(sim)
        bodies = [model.body(thing.name).id for thing in env.task.objects]
        dofs = [dof for body in bodies for dof in range(model.body_dofadr[body], model.body_dofadr[body] + 6)]
        ours = [model.body_subtreemass[bodies], model.body_invweight0[bodies], model.dof_invweight0[dofs]]
        ours = [each.copy() for each in ours]
        assert not np.allclose(model.body_inertia[bodies], env.model.body_inertia[bodies], rtol=1e-3)
        mujoco.mj_setConst(model, mujoco.MjData(model))
        derived = [model.body_subtreemass[bodies], model.body_invweight0[bodies], model.dof_invweight0[dofs]]
        for a, b in zip(ours, derived, strict=True):
            assert np.allclose(a, b, rtol=1e-6)


def test_smaller_cubes_stand_on_the_table_and_on_each_other() -> None:
    env = make_vector("goalsight/PandaStack4-v1", num_envs=4, vary="size")
    env.reset(seed=0)
    variation = env.sim.variation
    assert variation is not None
    share = variation.share
    assert share.min() < 0.97
    heights = np.sort(env.sim.desired.reshape(4, 4, 3)[:, :, 2], axis=1)
    half = env.model.geom(env.task.objects[0].name).size[0]
    assert np.allclose(heights, share[:, None] * half * np.array([1, 3, 5, 7]), atol=0.002)


def test_late_actions_arrive_when_they_should() -> None:
    env = make_vector(PUSH, num_envs=3, vary=[Latency(most=2)])
    env.reset(seed=0)
    variation = env.sim.variation
    assert variation is not None
    variation.delay[:] = [0, 1, 2]
    arrived = [variation.late(np.full((3, 3), step))[:, 0] for step in (1.0, 2.0, 3.0)]
    assert np.array_equal(arrived, [[1, 0, 0], [2, 1, 0], [3, 2, 1]])


def test_noise_is_bounded_and_leaves_goals_and_the_true_state_alone() -> None:
    noisy, plain = (
        make_vector(PUSH, num_envs=4, vary=vary, obs="pixels", image_size=16, privileged=True) for vary in ("noise", ())
    )
    ours, theirs = noisy.reset(seed=0)[0], plain.reset(seed=0)[0]
    for key in ("achieved_goal", "desired_goal", "goal_pixels", "state"):
        assert np.array_equal(ours[key], theirs[key])
    off = np.abs(ours["observation"] - theirs["observation"])
    assert 0.001 < off[:, :3].max() <= 0.00301  # of the tool's place [m]
    levels = ours["pixels"].astype(int) - theirs["pixels"]
    assert np.abs(levels).max() <= 12
    assert abs(levels.mean()) < 0.5
    assert set(range(-9, 10)) <= set(np.unique(levels))


def test_hashed_words_are_evenly_spread() -> None:
    words = hashed(np.arange(100, dtype=np.uint64), np.zeros(100, np.int64), 100) * 2.0**-64
    assert abs(words.mean() - 0.5) < 0.01
    assert abs(words.std() - 12**-0.5) < 0.01
    assert len(np.unique(words)) == words.size


def test_both_renderers_show_what_varies() -> None:
    looks = {"vary": ["colour", "size", "table", "light", "camera", "distractors"], "obs": "pixels", "image_size": 32}
    pictures = []
    for renderer in ("raytrace", "opengl"):
        try:
            env = make_vector(PUSH, num_envs=4, renderer=renderer, **looks)
            pictures.append(env.reset(seed=6)[0]["pixels"].astype(int))
        except UserError as error:
            pytest.skip(str(error))
        finally:
            env.close()
    plain = make_vector(PUSH, num_envs=4, obs="pixels", image_size=32).reset(seed=6)[0]["pixels"]
    between_renderers = np.abs(pictures[0] - pictures[1]).mean()
    assert between_renderers < 4
    assert np.abs(pictures[0] - plain).mean() > 3 * between_renderers


def test_a_transparent_arm_lets_the_cube_show_through() -> None:
    frames = {}
    for aids in ((), ("transparent_arm",)):
        env = make_vector(PUSH, num_envs=1, aids=aids)
        env.reset(seed=0)
        frames[aids] = env.render_frames(size=64)[0].astype(int)
    differ = np.abs(frames[()] - frames["transparent_arm",]).max(axis=-1) > 20
    assert 0.03 < differ.mean() < 0.5  # the arm, and nothing beside it
    assert not differ[:, :8].any()


def test_goal_markers_stand_at_the_goals() -> None:
    env = make_vector("goalsight/PandaDrawer-v1", num_envs=3, aids="goal_markers")
    env.reset(seed=0)
    env.step(np.zeros((3, env.sim.action_size)))
    marker = env.batch.geom_xpos[:, env.model.geom("goal_marker_0").id]
    assert np.allclose(marker[:, 1], 0.11 - env.sim.desired[:, 0], atol=1e-6)  # the handle when shut, less the opening


@pytest.mark.parametrize(
    ("env_id", "options", "said"),
    [
        (PUSH, {"vary": "color"}, 'did you mean "colour"'),
        (PUSH, {"vary": ["mass", "mass"]}, '"mass" is named twice'),
        ("goalsight/PandaReach-v1", {"vary": ["mass"]}, '"mass" has nothing to change'),
        (PUSH, {"aids": "goal_marker"}, 'did you mean "goal_markers"'),
        ("goalsight/PandaButtons-v1", {"aids": "goal_markers"}, "no places to mark"),
    ],
)
def test_wrong_names_are_said_in_one_line(env_id: str, options: dict[str, object], said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        make_vector(env_id, **options)
    assert "\n" not in str(caught.value)


def test_ranges_are_data() -> None:
    env = make_vector(PUSH, num_envs=8, vary=[Mass(span=(3.0, 3.0))])
    env.reset(seed=0)
    masses = env.batch.expand("body_mass")[:, env.model.body("cube").id]
    assert np.allclose(masses, 3 * env.model.body("cube").mass)

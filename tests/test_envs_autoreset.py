"""Autoreset as Gymnasium's own vector environments do it, and what is handed out is not what is kept."""

import copy
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers.vector import FlattenObservation

from goalsight.base.errors import UserError
from goalsight.envs.config import EnvConfig
from goalsight.envs.making import make, make_goal_envs
from goalsight.envs.vector import GoalVectorEnv

N, HORIZON = 3, 4
MODES = ("same_step", "next_step", "disabled")
REACH, POINT = "goalsight/PandaReach-v1", "point_mass:theirs/Point-v0"
Made = Callable[[], Any]


def own(mode: Any) -> Any:
    return make_goal_envs(
        REACH, N, num_threads=1, max_episode_steps=HORIZON, obs="pixels", image_size=8, autoreset_mode=mode
    )


def adapted(mode: Any) -> Any:
    return make_goal_envs(POINT, N, max_episode_steps=HORIZON, autoreset_mode=mode)


def gymnasiums(mode: Any) -> SyncVectorEnv:
    options: dict[str, Any] = {"max_episode_steps": HORIZON, "obs": "pixels", "image_size": 8}
    return SyncVectorEnv([lambda: gym.make(REACH, **options)] * N, autoreset_mode=mode)


def equal(ours: Any, theirs: Any) -> None:
    """The same keys, types, shapes and numbers, however deep."""
    assert type(ours) is type(theirs)
    if isinstance(ours, dict):
        assert set(ours) == set(theirs)
        for key in ours:
            equal(ours[key], theirs[key])
    elif ours.dtype == object:
        for one, other in zip(ours, theirs, strict=True):
            assert (one is None) == (other is None)
            if one is not None:
                equal(one, other)
    else:
        np.testing.assert_array_equal(ours, theirs)
        assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)


def reset_alike(env: Any, other: SyncVectorEnv, mask: np.ndarray) -> None:
    """Both begin the marked episodes anew and say the same."""
    answers = zip(
        env.reset(options={"reset_mask": mask}), other.reset(options={"reset_mask": mask.copy()}), strict=True
    )
    for ours, theirs in answers:
        equal(ours, theirs)


@pytest.mark.parametrize("mode", MODES)
def test_episodes_end_and_begin_as_with_gymnasiums_own_vector_environment(mode: str) -> None:
    env, other = own(mode), gymnasiums(AutoresetMode[mode.upper()])
    assert env.autoreset_mode == other.autoreset_mode == env.metadata["autoreset_mode"]
    first, theirs = env.reset(seed=5), other.reset(seed=5)
    equal(first[0], theirs[0])
    equal(first[1], theirs[1])
    # Two are begun anew before the others, so that episodes end at different times.
    mask = np.array([True, False, True])
    for one in (env, other):
        one.step(np.zeros((N, 3), np.float32))
    for ours, theirs in zip(
        env.reset(options={"reset_mask": mask}), other.reset(options={"reset_mask": mask.copy()}), strict=True
    ):
        equal(ours, theirs)
    rng, ends = np.random.default_rng(0), 0
    for _ in range(3 * HORIZON):
        actions = rng.uniform(-1, 1, (N, 3)).astype(np.float32)
        obs, reward, terminated, truncated, info = env.step(actions)
        their_obs, their_reward, their_terminated, their_truncated, their_info = other.step(actions)
        equal(obs, their_obs)
        np.testing.assert_array_equal(reward, their_reward)
        equal(terminated, their_terminated)
        equal(truncated, their_truncated)
        if mode == "same_step":  # theirs has the next episode's there; ours stays with the step that was taken
            for key in ("is_success", "diverged"):
                info[key] = info[key] & ~truncated
        equal(info, their_info)
        ends += int(truncated.sum())
        if mode == "disabled" and truncated.any():
            reset_alike(env, other, truncated)
    assert ends >= 2 * N
    env.close()
    other.close()


@pytest.mark.parametrize("mode", ["next_step", "disabled"])
def test_an_environment_of_others_ends_and_begins_likewise(mode: str) -> None:
    env = adapted(mode)
    env.reset(seed=2)
    alone = make_goal_envs(POINT, N, max_episode_steps=HORIZON)
    alone.reset(seed=2)
    rng = np.random.default_rng(0)
    for episode in range(3):
        for step in range(HORIZON):
            actions = rng.uniform(-1, 1, (N, 2))
            obs, _, _, truncated, info = env.step(actions)
            begun, _, _, _, said = alone.step(actions)
            assert truncated.all() == (step == HORIZON - 1)
            expected = said["final_obs"][1] if truncated[1] else {key: value[1] for key, value in begun.items()}
            assert all(np.array_equal(obs[key][1], expected[key]) for key in obs), (episode, step)
            assert "final_obs" not in info
        if mode == "next_step":
            obs, reward, _, truncated, _ = env.step(rng.uniform(-1, 1, (N, 2)))
            assert not reward.any()
            assert not truncated.any()
        else:
            with pytest.raises(UserError, match=r"episodes have ended in environments \[0, 1, 2\]"):
                env.step(actions)
            obs, _ = env.reset(options={"reset_mask": np.ones(N, bool)})
        assert all(np.array_equal(obs[key], begun[key]) for key in obs)


@pytest.mark.parametrize("made", [own, adapted])
def test_modes_are_named_as_gymnasium_does(made: Made) -> None:
    for mode in ("next_step", "NextStep", AutoresetMode.NEXT_STEP):
        assert made(mode).autoreset_mode is AutoresetMode.NEXT_STEP
    assert GoalVectorEnv().autoreset_mode is AutoresetMode.SAME_STEP
    with pytest.raises(UserError, match='no autoreset mode "nextstep"; did you mean "next_step"'):
        made("nextstep")
    for wrong in ({}, None, 3):
        with pytest.raises(UserError, match="no autoreset mode"):
            GoalVectorEnv("reach", autoreset_mode=wrong)
    assert make(EnvConfig(REACH), autoreset_mode="disabled").autoreset_mode is AutoresetMode.DISABLED


def test_without_autoreset_an_episode_that_has_ended_is_not_stepped() -> None:
    env = own("disabled")
    env.reset(seed=0)
    env.reset(options={"reset_mask": np.array([True, False, False])})
    for _ in range(HORIZON):
        *_, truncated, _ = env.step(np.zeros((N, 3)))
    assert truncated.all()
    env.reset(options={"reset_mask": np.array([True, False, True])})
    with pytest.raises(UserError, match=r"episodes have ended in environments \[1\]; reset them"):
        env.step(np.zeros((N, 3)))


@pytest.mark.parametrize("mode", ["next_step", "disabled"])
def test_gymnasiums_vector_wrappers_of_observations_work(mode: str) -> None:
    env = gym.make_vec(REACH, num_envs=N, num_threads=1, max_episode_steps=HORIZON, autoreset_mode=mode)
    flat = FlattenObservation(env)
    obs, _ = flat.reset(seed=1)
    assert obs.shape == (N, 8 + 3 + 3)
    for _ in range(HORIZON):
        obs, *_ = flat.step(env.action_space.sample())
    inner = env.unwrapped._obs
    np.testing.assert_array_equal(obs, np.concatenate([inner[key] for key in sorted(inner)], axis=1))


def test_diverged_physics_begins_anew_in_the_next_step() -> None:
    env = GoalVectorEnv("push", num_envs=3, num_threads=1, autoreset_mode="next_step")
    good, _ = env.reset(seed=0)
    env.batch.bind("qvel")[1] = np.nan
    obs, _, _, truncated, info = env.step(np.zeros((3, 3)))
    assert truncated.tolist() == info["diverged"].tolist() == [False, True, False]
    assert np.array_equal(obs["observation"][1], good["observation"][1])
    obs, reward, _, truncated, info = env.step(np.zeros((3, 3)))
    assert not truncated.any()
    assert not info["diverged"].any()
    assert reward[1] == 0
    assert not np.array_equal(obs["desired_goal"][1], good["desired_goal"][1])
    assert all(np.isfinite(value).all() for value in obs.values())


# --- what is handed out is not what is kept ---------------------------------------------------------------------------


def scribble(thing: Any) -> None:
    """Write over all that can be written, however deep."""
    if isinstance(thing, np.ndarray):
        if thing.dtype == object:
            for one in thing:
                scribble(one)
        elif thing.dtype == bool:
            thing[...] = ~thing
        elif thing.flags.writeable:
            torch.from_numpy(thing).add_(7)
    elif isinstance(thing, dict):
        for value in thing.values():
            scribble(value)
        if all(isinstance(key, str) for key in thing):
            thing["scribbled"] = True
    elif isinstance(thing, list | tuple):
        for value in thing:
            scribble(value)


def handed_out(env: Any, obs: Any, *others: Any) -> list[Any]:
    """Everything that a batch of environments gives away at a moment."""
    things: list[Any] = [obs, *others, env.compute_reward(obs["achieved_goal"], obs["desired_goal"], {})]
    if isinstance(env, GoalVectorEnv):
        things += [env.expert_action(), env.state_observation(), env.state_layout(), env.object_positions()]
        things += [env.render_frames(size=16), env.goal_frames(size=16), env.goal_keys]
        things += [env.pictures.within(next(iter(env.object_positions().values())), "front")]
    return things


def trail(env: Any, meddle: Callable[[Any], None]) -> list[Any]:
    """What a batch shows in a few episodes with masked resets, where `meddle` gets all that is handed out."""
    seen: list[Any] = []

    def take(*things: Any) -> None:
        seen.append(copy.deepcopy(things))
        meddle(handed_out(env, *things))

    mask = np.array([False, True, False])
    take(*env.reset(seed=3))
    rng = np.random.default_rng(1)
    for step in range(3 * HORIZON):
        actions = rng.uniform(-1, 1, env.action_space.shape).astype(np.float32)
        given = actions.copy()
        obs, reward, terminated, truncated, info = env.step(given)
        meddle(given)
        take(obs, reward, terminated, truncated, info)
        if step in (1, 6) or (env.autoreset_mode is AutoresetMode.DISABLED and seen[-1][3].any()):
            marked = seen[-1][3].copy() if seen[-1][3].any() else mask.copy()
            result = env.reset(options={"reset_mask": marked})
            meddle(marked)
            take(*result)
    return seen


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "options",
    [{}, {"obs": "pixels", "image_size": 16, "privileged": True}, {"vary": ("mass", "noise", "latency")}],
    ids=["state", "pixels", "varied"],
)
def test_scribbling_over_what_is_handed_out_changes_nothing(options: dict[str, Any], mode: str) -> None:
    def fresh() -> GoalVectorEnv:
        return GoalVectorEnv(
            "push", num_envs=N, num_threads=1, max_episode_steps=HORIZON, autoreset_mode=mode, **options
        )

    calm, meddled = trail(fresh(), lambda things: None), trail(fresh(), scribble)
    for ours, theirs in zip(calm, meddled, strict=True):
        for one, other in zip(ours, theirs, strict=True):
            equal(one, other)


def test_scribbling_over_what_environments_of_others_hand_out_changes_nothing() -> None:
    calm, meddled = trail(adapted("same_step"), lambda things: None), trail(adapted("same_step"), scribble)
    for ours, theirs in zip(calm, meddled, strict=True):
        for one, other in zip(ours, theirs, strict=True):
            equal(one, other)


def test_a_snapshot_is_nobodys_and_a_goal_that_was_given_is_the_callers() -> None:
    env = GoalVectorEnv("push", num_envs=2, num_threads=1, vary="mass")
    goal = np.array([[0.5, 0.1, 0.025], [0.45, -0.1, 0.025]])
    env.reset(seed=0, options={"goal": goal})
    goal += 1
    kept, clean = env.snapshot(), env.snapshot()
    moves = np.random.default_rng(0).uniform(-1, 1, (5, 2, 3))
    first = [copy.deepcopy(env.step(move)[:2]) for move in moves]

    def goes_on() -> bool:
        pairs = zip(moves, first, strict=True)
        return all(np.array_equal(env.step(move)[0]["observation"], obs["observation"]) for move, (obs, _) in pairs)

    scribble(env.restore(kept))
    assert goes_on()
    # A snapshot that someone has written over is theirs alone: the environment goes on as before.
    env.restore(clean)
    for array in (kept.obs, kept.goals, kept.elapsed, kept.simulator.state, kept.simulator.desired, kept.kind):
        scribble(array)
    assert goes_on()

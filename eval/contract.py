"""The contract of an environment: what each must keep, in checks that `goalsight check-task` and the tests both run.

A check takes what makes environments of one id, says figures, and raises where something does not hold.
"""

import contextlib
import io
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from goalsight.envs.goals import BOUND

if TYPE_CHECKING:
    from goalsight.envs.tasks import Task
    from goalsight.envs.vector import GoalVectorEnv

EXPERT_SUCCESS = 0.85  # what an expert must reach to be one
SEED = 10_000
HOLD_STEPS = 25  # control steps for which goal states must stay achieved, one second
VARIANTS: tuple[dict[str, Any], ...] = ({}, {"control": "joint"}, {"reward": "dense"}, {"obs": "pixels"})


@dataclass(frozen=True)
class Outcome:
    """What came of one check."""

    check: str
    passed: bool
    said: str  # figures, or why it failed


def check(kind: Callable[..., "GoalVectorEnv"], task: "Task", arm: str, *, episodes: int = 100) -> list[Outcome]:
    """The outcomes of all checks of a task with an arm, for tests of plug-ins.

    Args:
        kind: `GoalVectorEnv`.
        task: the task.
        arm: name of the arm.
        episodes: for the expert.
    """
    return list(checks(lambda **kwargs: kind(task, arm, **kwargs), episodes))


def checks(make: Callable[..., "GoalVectorEnv"], episodes: int) -> Iterator[Outcome]:
    """Run one check after the other; when no environment can be made, that is the only one."""
    for name in CONTRACT:
        outcome = keeps(name, make)
        yield outcome
        if name == FIRST and not outcome.passed:
            return
    yield _outcome(f"expert, {episodes} episodes", _expert_succeeds, make, episodes)


def keeps(name: str, make: Callable[..., "GoalVectorEnv"]) -> Outcome:
    """What comes of the check of that name, one of `CONTRACT`."""
    return _outcome(name, CONTRACT[name], make)


def _outcome(name: str, act: Callable[..., str], *arguments: Any) -> Outcome:
    """Run a check; whatever it raises is its failure, since a stranger's task may raise anything."""
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")  # checkers talk of what is as it must be, such as endless spaces
            return Outcome(name, True, act(*arguments))
    except Exception as error:
        why = " ".join(str(error).split()) or "it does not hold"
        return Outcome(name, False, why if isinstance(error, CheckError) else f"{type(error).__name__}: {why}")


class CheckError(Exception):
    """A check does not hold; says why."""


def _must(holds: Any, why: str) -> None:
    if not holds:
        raise CheckError(why)


@contextlib.contextmanager
def _made(make: Callable[..., "GoalVectorEnv"], count: int, **kwargs: Any) -> Iterator["GoalVectorEnv"]:
    env = make(num_envs=count, **kwargs)
    with contextlib.closing(env):
        yield env


def _resets(make: Callable[..., "GoalVectorEnv"]) -> str:
    with _made(make, 64) as env:
        obs, info = env.reset(seed=SEED)
        _must(obs in env.observation_space, f"observations lie outside their space, which ends at {BOUND:g}")
        _must(not info["is_success"].any(), "an episode is solved at its start")
        return f"{env.arm.name}, {env.task.name}: {env.sim.action_size} actions, goals of {env.task.goal_size}"


def _arrays_agree(make: Callable[..., "GoalVectorEnv"]) -> str:
    """The pure functions must use only what NumPy and torch share."""
    import torch

    with _made(make, 1) as env:
        task = env.task
    u = np.random.default_rng(SEED).random((200, task.numbers))
    ours, theirs = task.lay_out(u, False), task.lay_out(torch.as_tensor(u), False)
    worlds = ours.start.world(), theirs.start.world()
    achieved = task.achieved(worlds[0]), task.achieved(worlds[1])
    moves = zip(task.expert(worlds[0], ours.goal), task.expert(worlds[1], theirs.goal), strict=True)
    pairs = [
        ("draw", ours.goal, theirs.goal),
        ("draw", ours.start.tool, theirs.start.tool),
        ("valid", task.valid(ours, achieved[0]), task.valid(theirs, achieved[1])),
        ("achieved", *achieved),
        ("goal_placement", task.goal_placement(ours).tool, task.goal_placement(theirs).tool),
        *(("expert", *move) for move in moves),
    ]
    for name, a, b in pairs:
        off = float(np.abs(np.asarray(a, float) - np.asarray(b, float)).max())
        kinds = f"{a.dtype} by NumPy, {str(b.dtype).removeprefix('torch.')} by torch"
        hint = "what is written out, as in xp.where(c, -1.0, 1.0), is float32 in torch, and xp.full_like's is not"
        _must(off < 1e-9, f"{name} differs by up to {off:.2g} ({kinds}); {hint}")
    return ", ".join(dict.fromkeys(name for name, _, _ in pairs))


def _single(make: Callable[..., "GoalVectorEnv"], **options: Any) -> Any:
    from goalsight.envs.single import GoalEnv

    with _made(make, 1) as env:
        return GoalEnv(env.task, env.arm, **options)


def _gymnasium_checks(make: Callable[..., "GoalVectorEnv"]) -> str:
    from gymnasium.utils.env_checker import check_env

    for options in VARIANTS:
        with contextlib.closing(_single(make, **options)) as env:
            check_env(env, skip_render_check=True)
    return f"passed in {len(VARIANTS)} variants"


def _sb3_checks(make: Callable[..., "GoalVectorEnv"]) -> str:
    from stable_baselines3.common.env_checker import check_env

    for options in VARIANTS:
        with contextlib.closing(_single(make, **options)) as env:
            check_env(env, warn=False, skip_render_check=True)
    return f"passed in {len(VARIANTS)} variants"


def _rewards_agree(make: Callable[..., "GoalVectorEnv"]) -> str:
    for kind in ("sparse", "dense"):
        with _made(make, 16, reward=kind) as env:
            env.reset(seed=SEED)
            rng = np.random.default_rng(SEED)
            for _ in range(min(20, env.horizon - 1)):
                obs, reward, *_ = env.step(rng.uniform(-1, 1, (16, env.sim.action_size)))
                again = env.compute_reward(obs["achieved_goal"], obs["desired_goal"], {})
                one = env.compute_reward(obs["achieved_goal"][0], obs["desired_goal"][0], {})
                _must(np.array_equal(reward, again), f"the {kind} reward of a step is not compute_reward's")
                _must(one == again[0], f"the {kind} reward of one differs from that in a batch")
                _must(again.dtype == np.float32, f"the {kind} reward is {again.dtype}, not float32")
    return "sparse and dense, one and many"


def _deterministic(make: Callable[..., "GoalVectorEnv"]) -> str:
    def trail(count: int, threads: int) -> Any:
        with _made(make, count, num_threads=threads) as env:
            env.reset(seed=SEED + 7)
            env.step(np.full((count, env.sim.action_size), 0.3))
            obs, _ = env.reset(seed=SEED)
            trace = [obs["observation"][0], obs["desired_goal"][0]]
            rng = np.random.default_rng(SEED)
            for _ in range(min(20, env.horizon - 1)):
                action = np.repeat(rng.uniform(-1, 1, (1, env.sim.action_size)), count, axis=0)
                trace.append(env.step(action)[0]["observation"][0])
            return np.concatenate(trace)

    first = trail(1, 1)
    for count, threads in ((1, 1), (3, 1), (3, 2)):
        same = np.array_equal(first, trail(count, threads))
        _must(same, f"{count} environments on {threads} threads give other numbers than one on one")
    return "again, in a batch, on two threads"


def _survives(make: Callable[..., "GoalVectorEnv"]) -> str:
    with _made(make, 64) as env:
        env.reset(seed=SEED)
        rng, diverged = np.random.default_rng(SEED), 0
        for _ in range(2 * env.horizon):
            obs, reward, _, _, info = env.step(rng.choice([-1.0, 1.0], (64, env.sim.action_size)))
            finite = all(np.isfinite(value).all() for value in obs.values()) and np.isfinite(reward).all()
            _must(finite, "an observation or a reward is not finite")
            diverged += int(info["diverged"].sum())
    _must(not diverged, f"physics diverged {diverged} times in {128 * env.horizon} steps")
    return f"{128 * env.horizon} steps"


def _goals_hold(make: Callable[..., "GoalVectorEnv"]) -> str:
    with _made(make, 32) as env:
        env.reset(seed=SEED)
        asked = env.sim.desired.copy()
        everyone = np.arange(32)
        with env.sim.show_goal(everyone):
            shown = env.sim.reader.observe().achieved
            _must(np.array_equal(shown, asked), "the goal asked for is not what the goal state achieves")
            still = np.zeros((32, env.sim.action_size))
            if env.task.uses_gripper:
                still[:, -1] = -1.0  # what is held stays held
            for _ in range(HOLD_STEPS):
                env.sim.step(still)
            off = env.task.error(env.sim.reader.observe().achieved, asked)
    share = float((off <= env.task.tolerance).mean())
    _must(share >= 0.95, f"only {share:.0%} of the goal states are still achieved after one second")
    return f"{share:.0%} are still achieved after one second"


def _goals_are_shown(make: Callable[..., "GoalVectorEnv"]) -> str:
    """Of each goal channel: a goal is what is observed in the goal state, and a frame is as a goal is."""
    with _made(make, 3, obs="pixels", image_size=32) as env:
        obs, _ = env.reset(seed=SEED)
        everyone = np.arange(3)
        with env.sim.show_goal(everyone):
            seen = env.sim.reader.observe()
            shown = {one.goal: one.as_goal(one.observe(seen, everyone)) for one in env.channels}
        for key, goals in shown.items():
            _must(np.array_equal(goals, obs[key]), f"{key} is not what is observed in the goal state")
        again = env.sim.reader.observe()
        for channel in env.channels:
            same = np.array_equal(channel.observe(again, everyone), obs[channel.frame])
            _must(same, f"{channel.frame} is another after a look at the goal state")
        return ", ".join(shown)


def _named_goals(make: Callable[..., "GoalVectorEnv"]) -> str:
    with _made(make, 1) as env:
        for name in env.task.goals:
            env.reset(seed=SEED, options={"goal": name})
        return ", ".join(env.task.goals) or "none"


def _success(make: Callable[..., "GoalVectorEnv"], name: str, episodes: int) -> float:
    from goalsight.agents.policies import make_policy
    from goalsight.agents.rollout import rollout

    with _made(make, min(50, episodes)) as env:
        return float(rollout(env, make_policy(name, seed=SEED), episodes=episodes, seed=SEED).success.mean())


def _nothing_fails(make: Callable[..., "GoalVectorEnv"]) -> str:
    share = _success(make, "nothing", 50)
    _must(share <= 0.1, f"doing nothing succeeds in {share:.0%} of 50 episodes")
    return f"{share:.0%} of 50 episodes"


def _expert_succeeds(make: Callable[..., "GoalVectorEnv"], episodes: int) -> str:
    share = _success(make, "expert", episodes)
    _must(share >= EXPERT_SUCCESS, f"{share:.0%} succeed, at least {EXPERT_SUCCESS:.0%} must")
    return f"{share:.0%} succeed"


# By name, in the order in which they run.
CONTRACT: dict[str, Callable[[Callable[..., "GoalVectorEnv"]], str]] = {
    "makes and resets": _resets,
    "NumPy and torch agree": _arrays_agree,
    "Gymnasium's check_env": _gymnasium_checks,
    "stable-baselines3's check_env": _sb3_checks,
    "reward is compute_reward": _rewards_agree,
    "same seed, same bits": _deterministic,
    "survives extreme actions": _survives,
    "goal states hold": _goals_hold,
    "goals are what their states show": _goals_are_shown,
    "named goals": _named_goals,
    "not solved by doing nothing": _nothing_fails,
}
FIRST = next(iter(CONTRACT))  # without which no other means anything

"""`goalsight check-task`: whether an environment keeps the whole contract, check by check."""

import contextlib
import io
import json
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import tyro

from goalsight.base.errors import UserError
from goalsight.base.files import writing

if TYPE_CHECKING:
    from goalsight.envs.tasks import Task
    from goalsight.envs.vector import GoalVectorEnv

PICTURES = (".png", ".jpg", ".jpeg")
EXPERT_SUCCESS = 0.85  # what an expert must reach to be one
SEED = 10_000
HOLD_STEPS = 25  # control steps for which goal states must stay achieved, one second


@dataclass(frozen=True)
class CheckTask:
    """Run the whole contract on an environment, and say what fails and why."""

    env: Annotated[str, tyro.conf.Positional]
    """Environment, such as mine/PandaTurn-v1 or my_module:mine/PandaTurn-v1."""
    episodes: int = 100
    """Episodes for the expert."""
    picture: Path | None = None
    """Where to write starts and goals; by default <env>.png here."""
    json: bool = False
    """Print the outcome as JSON."""

    def __post_init__(self) -> None:
        if self.episodes < 1:
            raise UserError(f"episodes must be at least 1, got {self.episodes}")


@dataclass(frozen=True)
class Outcome:
    """What came of one check."""

    check: str
    passed: bool
    said: str  # figures, or why it failed


def check_task(config: CheckTask) -> int:
    """Check, draw the picture, print the outcomes; returns 1 when something fails.

    Raises:
        UserError: no such environment, or the picture cannot be written.
    """
    from goalsight.envs.ids import resolve
    from goalsight.envs.making import make_vector

    env_id = resolve(config.env)

    def make(**kwargs: Any) -> "GoalVectorEnv":
        return make_vector(env_id, **kwargs)

    picture = config.picture or Path(f"{env_id.replace('/', '_')}.png")
    _check_picture(picture)
    outcomes = []
    for outcome in checks(make, config.episodes):
        outcomes.append(outcome)
        if not config.json:
            print(f"{'ok    ' if outcome.passed else 'FAILED'} {outcome.check}: {outcome.said}", flush=True)
    drawn = draw(make, picture) if outcomes[0].passed else None
    failed = sum(not outcome.passed for outcome in outcomes)
    if config.json:
        result = {"env": env_id, "checks": [asdict(outcome) for outcome in outcomes], "picture": drawn and str(drawn)}
        print(json.dumps(result, indent=2))
    else:
        print(
            f"{len(outcomes) - failed} of {len(outcomes)} checks passed"
            + (f"; starts (above) and goals (below): {drawn}" * bool(drawn))
        )
    return int(failed > 0)


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
    made = _outcome("makes and resets", _resets, make)
    yield made
    if not made.passed:
        return
    yield _outcome("NumPy and torch agree", _arrays_agree, make)
    yield _outcome("Gymnasium's check_env", _gymnasium_checks, make)
    yield _outcome("stable-baselines3's check_env", _sb3_checks, make)
    yield _outcome("reward is compute_reward", _rewards_agree, make)
    yield _outcome("same seed, same bits", _deterministic, make)
    yield _outcome("survives extreme actions", _survives, make)
    yield _outcome("goal states hold", _goals_hold, make)
    yield _outcome("named goals", _named_goals, make)
    yield _outcome("not solved by doing nothing", _nothing_fails, make)
    yield _outcome(f"expert, {episodes} episodes", _expert_succeeds, make, episodes)


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
        _must(obs in env.observation_space, "observations lie outside their space")
        _must(not info["is_success"].any(), "an episode is solved at its start")
        return f"{env.arm.name}, {env.task.name}: {env.sim.action_size} actions, goals of {env.task.goal_size}"


def _arrays_agree(make: Callable[..., "GoalVectorEnv"]) -> str:
    """The pure functions must use only what NumPy and torch share."""
    import torch

    with _made(make, 1) as env:
        task = env.task
    u = np.random.default_rng(SEED).random((200, task.numbers))
    ours, theirs = task.lay_out(u, False), task.lay_out(torch.as_tensor(u), False)
    pairs = [(ours.goal, theirs.goal), (ours.start.tool, theirs.start.tool)]
    worlds = ours.start.world(), theirs.start.world()
    pairs += [(task.achieved(worlds[0]), task.achieved(worlds[1]))]
    pairs += [(task.valid(ours, pairs[2][0]), task.valid(theirs, pairs[2][1]))]
    pairs += list(zip(task.expert(worlds[0], ours.goal), task.expert(worlds[1], theirs.goal), strict=True))
    pairs += [(task.goal_placement(ours).tool, task.goal_placement(theirs).tool)]
    off = max(float(np.abs(np.asarray(a, float) - np.asarray(b, float)).max()) for a, b in pairs)
    _must(off < 1e-9, f"draw, achieved, valid, goal_placement or expert differ by up to {off:.2g}")
    return "draw, valid, achieved, goal_placement, expert"


def _single(make: Callable[..., "GoalVectorEnv"]) -> Any:
    from goalsight.envs.single import GoalEnv

    with _made(make, 1) as env:
        return GoalEnv(env.task, env.arm)


def _gymnasium_checks(make: Callable[..., "GoalVectorEnv"]) -> str:
    from gymnasium.utils.env_checker import check_env

    check_env(_single(make), skip_render_check=True)
    return "passed"


def _sb3_checks(make: Callable[..., "GoalVectorEnv"]) -> str:
    from stable_baselines3.common.env_checker import check_env

    check_env(_single(make), warn=False)
    return "passed"


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
            shown = env.sim.senses.observe().achieved
            _must(np.array_equal(shown, asked), "the goal asked for is not what the goal state achieves")
            still = np.zeros((32, env.sim.action_size))
            if env.task.uses_gripper:
                still[:, -1] = -1.0  # what is held stays held
            for _ in range(HOLD_STEPS):
                env.sim.step(still)
            off = env.task.error(env.sim.senses.observe().achieved, asked)
    share = float((off <= env.task.tolerance).mean())
    _must(share >= 0.95, f"only {share:.0%} of the goal states are still achieved after one second")
    return f"{share:.0%} are still achieved after one second"


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


def draw(make: Callable[..., "GoalVectorEnv"], path: Path) -> Path:
    """Write a picture of four starts, above, and their goals, below; returns where it is."""
    import imageio.v3 as iio

    with _made(make, 4) as env:
        env.reset(seed=SEED)
        rows = [
            np.concatenate(list(frames), axis=1) for frames in (env.render_frames(size=320), env.goal_frames(size=320))
        ]
    partial = path.with_name(f".{path.stem}.partial{path.suffix}")
    with writing(path):
        try:
            iio.imwrite(partial, np.concatenate(rows, axis=0))
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    return path


def _check_picture(path: Path) -> None:
    """Make the folder of the picture, or say before the checks why it cannot be written.

    Raises:
        UserError: it is no kind of picture, or its place cannot be.
    """
    if path.suffix.lower() not in PICTURES:
        raise UserError(f"the picture's name must end with one of {', '.join(PICTURES)}, got {path}")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise UserError(f"{path} is a folder; choose another --picture")

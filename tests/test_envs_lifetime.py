"""Where and how long environments can be used: not in a forked process that lacks their threads, not when closed."""

import gc
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from goalsight.base.errors import UserError
from goalsight.envs.vector import GoalVectorEnv

Use = Callable[[GoalVectorEnv], Any]
DONE, REFUSED, HANGS = "done", "refused", "hangs"
PATIENCE = 20.0  # [s]
ACTIONS = np.zeros((3, 3))

USES: dict[str, Use] = {
    "step": lambda env: env.step(ACTIONS),
    "reset": lambda env: env.reset(seed=1),
    "masked reset": lambda env: env.reset(options={"reset_mask": np.array([True, False, False])}),
    "restore": lambda env: env.restore(env.snapshot()),
    "render": lambda env: env.render(),
    "frames": lambda env: env.render_frames(size=32),
    "goal frames": lambda env: env.goal_frames(size=32),
    "jac": lambda env: env.batch.jac(1, np.zeros(3)),
}


def made(num_threads: int, **kwargs: Any) -> GoalVectorEnv:
    env = GoalVectorEnv(num_envs=3, num_threads=num_threads, obs="pixels", image_size=16, **kwargs)
    env.reset(seed=0)
    env.step(ACTIONS)
    return env


@pytest.fixture(scope="module")
def threaded() -> Iterator[GoalVectorEnv]:
    env = made(2, render_mode="rgb_array")
    env.render()
    yield env
    env.close()


def in_child(use: Callable[[], Any]) -> str:
    """What becomes of a call in a forked process: done, refused in one line about another process, or hangs."""
    process = os.fork()
    if process == 0:
        code = 2
        try:
            use()
            code = 0
        except UserError as error:
            code = 1 if "another process" in str(error) and "\n" not in str(error) else 3
        finally:
            os._exit(code)
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        ended, status = os.waitpid(process, os.WNOHANG)
        if ended:
            return {0: DONE, 1: REFUSED}.get(os.waitstatus_to_exitcode(status), "something else")
        time.sleep(0.02)
    os.kill(process, 9)
    os.waitpid(process, 0)
    return HANGS


@pytest.mark.parametrize("use", USES)
def test_threads_do_not_come_along_into_a_forked_process(threaded: GoalVectorEnv, use: str) -> None:
    assert in_child(lambda: USES[use](threaded)) == REFUSED


def test_what_needs_no_threads_works_in_a_forked_process(threaded: GoalVectorEnv) -> None:
    def read() -> None:
        threaded.expert_action()
        threaded.state_observation()
        threaded.snapshot()
        threaded.close()

    assert in_child(read) == DONE
    assert in_child(lambda: made(2).close()) == DONE
    single = made(1)
    before = single.snapshot()
    assert in_child(lambda: [single.step(ACTIONS), single.reset(), single.render_frames(size=32)]) == DONE
    np.testing.assert_array_equal(single.snapshot().simulator.state, before.simulator.state)
    single.close()


def test_a_forked_process_may_forget_environments(threaded: GoalVectorEnv) -> None:
    held = [made(2)]

    def forget() -> None:
        held.clear()
        gc.collect()

    assert in_child(forget) == DONE
    held[0].close()


def test_opengl_does_not_come_along_into_a_forked_process() -> None:
    try:
        env = made(1, renderer="opengl")
    except UserError as error:
        pytest.skip(str(error))
    assert in_child(lambda: env.step(ACTIONS)) == REFUSED
    assert in_child(env.close) == DONE
    env.close()


@pytest.mark.parametrize("use", USES)
def test_closed_environments_are_refused_in_one_line(use: str) -> None:
    env = made(1, render_mode="rgb_array")
    env.close()
    env.close()
    with pytest.raises(UserError, match=r"^these environments are closed; make new ones$"):
        USES[use](env)


def test_a_closed_single_environment_is_refused_in_one_line() -> None:
    env = gym.make("goalsight/PandaReach-v1")
    env.reset(seed=0)
    env.close()
    for use in (lambda: env.step(np.zeros(3)), lambda: env.reset()):
        with pytest.raises(UserError, match="these environments are closed"):
            use()

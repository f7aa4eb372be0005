"""The description of how an environment is made, and what ids stand for: known without building anything."""

import gymnasium as gym
import pytest

from goalsight.agents.collecting.collect import PlayEnv
from goalsight.base.errors import UserError
from goalsight.envs import vector
from goalsight.envs.config import CONTROL_MODES, EnvConfig
from goalsight.envs.ids import env_ids, horizon_of, resolved, spec_of
from goalsight.envs.making import make, make_own
from goalsight.envs.simulation.control import CONTROLS
from goalsight.envs.single import GoalEnv
from goalsight.envs.vector import GoalVectorEnv


def test_what_a_constructor_is_told_is_what_matters_and_what_is_unusual() -> None:
    assert EnvConfig("a").arguments() == {"obs": "state"}
    seen = EnvConfig("a", obs="pixels", vary=("mass",), control="joint")
    images = {"image_size": 64, "camera": "front", "renderer": "raytrace"}
    assert seen.arguments() == {"obs": "pixels", **images, "vary": ["mass"], "control": "joint"}
    assert EnvConfig("a", image_size=32).arguments() == {"obs": "state"}
    assert seen.unseen().arguments() == {"obs": "state", "vary": ["mass"], "control": "joint"}
    assert EnvConfig.of("a", seen.arguments()) == seen
    assert PlayEnv("a").arguments()["obs"] == "pixels"


def test_records_of_runs_are_read_also_those_of_older_ones() -> None:
    from goalsight.base.files import to_json

    config = EnvConfig("a", obs="pixels", image_size=32, vary=("mass",))
    assert EnvConfig.recorded({"env": to_json(config), "seed": 3}) == config
    flat = {"env": "a", "obs": "pixels", "image_size": 32, "vary": ["mass"], "seed": 3, "camera": "front"}
    assert EnvConfig.recorded(flat) == config
    assert EnvConfig.recorded({"seed": 3}) is None
    assert EnvConfig.recorded({"env": {"id": "a", "vary": "mass"}}) == EnvConfig("a", vary=("mass",))


@pytest.mark.parametrize(
    ("env", "says"),
    [
        ({"obs": "state"}, "config.json: env has no id"),
        ({"id": 3}, "id cannot be 3"),
        (7, "id cannot be 7"),
        ({"id": "a", "obs": None}, "obs cannot be None"),
        ({"id": "a", "control": 1.5}, "control cannot be 1.5"),
        ({"id": "a", "channels": 0}, "channels cannot be 0"),
        ({"id": "a", "max_episode_steps": "x"}, "max_episode_steps cannot be 'x'"),
        ({"id": "a", "image_size": [64]}, r"image_size cannot be \[64\]"),
        ({"id": "a", "camera": {}}, "camera cannot be {}"),
        ({"id": "a", "contrl": "ee"}, 'did you mean "control"'),
    ],
)
def test_a_record_that_no_environment_fits_is_one_line(env: object, says: str) -> None:
    with pytest.raises(UserError, match=says):
        EnvConfig.recorded({"env": env})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"obs": "pixel"}, 'no observation mode "pixel"; did you mean "pixels"'),
        ({"control": "joints"}, 'did you mean "joint"'),
        ({"reward": "spares"}, 'did you mean "sparse"'),
        ({"renderer": "opngl"}, 'did you mean "opengl"'),
        ({"image_size": 4}, r"image_size must lie in \[8, 4096\], got 4"),
        ({"max_episode_steps": 0}, "max_episode_steps must be at least 1, got 0"),
        ({"horizon": 3}, 'no option of an environment "horizon"'),
    ],
)
def test_mistakes_are_one_line_before_anything_is_built(options: dict, message: str) -> None:
    for build in (EnvConfig.of, lambda env_id, options: EnvConfig(env_id).change(**options)):
        with pytest.raises(UserError, match=message):
            build("goalsight/PandaPush-v1", options)


def test_every_choice_of_the_description_exists() -> None:
    assert set(CONTROL_MODES) == set(CONTROLS)


def test_an_id_says_what_it_stands_for_without_an_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vector, "GoalSimulator", None)
    spec = spec_of("PandaPickPlace-v1")
    assert (spec.id, spec.name, spec.task, spec.arm) == (
        "goalsight/PandaPickPlace-v1",
        "pick_place",
        "pick_place",
        "panda",
    )
    assert (spec.horizon, spec.has_expert, spec.own) == (50, True, True)
    assert resolved(EnvConfig("PandaPush-v1", obs="pixels")) == EnvConfig("goalsight/PandaPush-v1", obs="pixels")
    assert horizon_of(EnvConfig("PandaPush-v1", max_episode_steps=7)) == 7
    theirs = spec_of("point_mass:theirs/Point-v0")
    assert (theirs.name, theirs.task, theirs.horizon) == ("Point-v0", None, 10)
    assert (theirs.has_expert, theirs.own) == (False, False)
    with pytest.raises(UserError, match='did you mean "PandaPush-v1"'):
        spec_of("PandaPsh-v1")


@pytest.mark.parametrize("env_id", [env_id for env_id in env_ids() if "So101" in env_id or "Reach" in env_id])
def test_what_an_id_says_is_what_its_environment_has(env_id: str) -> None:
    spec, env = spec_of(env_id), make_own(EnvConfig(env_id), num_threads=1)
    assert (spec.name, spec.horizon, spec.goals) == (env.task.name, env.horizon, env.task.goals)
    assert (spec.arm, spec.has_expert, env.config.id) == (env.arm.name, env.has_expert, env_id)
    env.close()


def test_the_description_makes_what_it_says() -> None:
    config = EnvConfig("PandaPush-v1", obs="pixels", image_size=16, control="joint", reward="dense", vary=("mass",))
    env = make(config, 3, num_threads=1, max_episode_steps=9)
    assert isinstance(env, GoalVectorEnv)
    assert env.config == config.change(id="goalsight/PandaPush-v1", max_episode_steps=9)
    assert (env.num_envs, env.horizon, env.image_size) == (3, 9, 16)
    assert env.single_action_space.shape == (7,)
    env.close()
    single = gym.make("goalsight/PandaReach-v1", obs="pixels", image_size=8).unwrapped
    assert isinstance(single, GoalEnv)
    assert single.vector.config.change(max_episode_steps=None) == EnvConfig(
        "goalsight/PandaReach-v1", obs="pixels", image_size=8
    )


def test_what_needs_the_simulation_refuses_environments_of_others() -> None:
    with pytest.raises(UserError, match="was made elsewhere"):
        make_own(EnvConfig("point_mass:theirs/Point-v0"))

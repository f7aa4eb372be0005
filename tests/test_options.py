"""Options of a command come back from a run's config.json as they were."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from goalsight.agents.algorithms.sac import SACOptions
from goalsight.agents.collecting.collect import Collect, PlayEnv
from goalsight.agents.train import Train
from goalsight.base.errors import UserError
from goalsight.base.files import to_json
from goalsight.base.options import options_from
from goalsight.envs.config import EnvConfig
from goalsight.pretrain.train import Pretrain


@dataclass(frozen=True)
class Inner:
    low: float = 0.5


@dataclass(frozen=True)
class Everything:
    data: tuple[Path, ...]
    inner: Inner = field(default_factory=Inner)
    pair: tuple[int, str] = (1, "a")
    rates: dict[str, float] = field(default_factory=dict)
    choice: Literal["a", "b"] = "a"
    out: Path | None = None
    steps: int | None = None
    json: bool = False


@pytest.mark.parametrize(
    "options",
    [
        Everything((Path("a"), Path("b")), Inner(2.0), (7, "x"), {"x": 0.25}, "b", Path("c"), 3, True),
        Everything(()),
        Collect(env=PlayEnv(camera="wrist", vary=("colour", "mass")), frames=100, out=Path("run")),
        Pretrain(data=(Path("play"),), flops=1e14, seconds=None),
        Train(env=EnvConfig("goalsight/PandaPush-v1", max_episode_steps=9), steps=1000),
    ],
)
def test_options_come_back_from_json(options) -> None:
    config = json.loads(json.dumps(to_json(asdict(options)))) | {"preset": {"horizon": 50}}
    assert options_from(type(options), config) == options


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"choice": "c"}, "choice cannot be 'c'"),
        ({"steps": 1.5}, "steps cannot be 1.5"),
        ({"steps": True}, "steps cannot be True"),
        ({"data": "a"}, "data cannot be 'a'"),
        ({"pair": [1]}, "pair cannot be"),
        ({"inner": {"low": "x"}}, "low cannot be 'x'"),
    ],
)
def test_what_does_not_fit_is_named(changed, why: str) -> None:
    with pytest.raises(UserError, match=f"^config.json: {why}"):
        options_from(Everything, to_json(Everything(())) | changed)


def test_no_number_is_no_width() -> None:
    with pytest.raises(UserError, match="hidden must hold at least one number, got none"):
        SACOptions(hidden=())


def test_what_is_missing_takes_its_default_or_is_named() -> None:
    assert options_from(Everything, {"data": []}) == Everything(())
    with pytest.raises(UserError, match="data is missing"):
        options_from(Everything, {})

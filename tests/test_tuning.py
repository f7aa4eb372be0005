"""`goalsight sweep`: what it may vary, what it refuses, and that it goes on as if it had not been stopped."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from goalsight.agents.algorithms.sac import SACOptions
from goalsight.agents.checking import CHECK_SEED
from goalsight.agents.learning import PLAY_SEED, TRAIN_SEED
from goalsight.agents.train import Train
from goalsight.base.errors import UserError
from goalsight.commands import cli
from goalsight.envs.config import EnvConfig
from goalsight.eval.evaluate import Eval
from goalsight.eval.tuning.judging import MOST_EPISODES, TUNING_SEED
from goalsight.eval.tuning.ranges import Range, ranges_of, with_values
from goalsight.eval.tuning.search import Search

SAC = Train(EnvConfig("goalsight/PandaReach-v1"), options=SACOptions())
WORDS = ["--env", "PandaReach-v1", "--obs", "state", "--steps", "400", "--num-envs", "8", "--warmup", "320"]
FEW = [*WORDS, "--eval-every", "400", "--eval-episodes", "4", "--episodes", "5", "--seeds", "100"]


def test_what_is_varied_is_read_as_it_is_written() -> None:
    said = ("learning_rate=1e-4..1e-2:log", "batch-size=64..256", "gamma=0.9,0.95", "critic=state,pixels")
    assert ranges_of(said, SAC) == [
        Range("learning_rate", low=1e-4, high=1e-2, log=True),
        Range("batch_size", low=64, high=256, whole=True),
        Range("gamma", (0.9, 0.95)),
        Range("critic", ("state", "pixels")),
    ]


def test_values_go_to_the_training_or_to_its_algorithm() -> None:
    varied = with_values(SAC, {"steps": 100, "gamma": 0.5})
    assert varied == replace(SAC, steps=100, options=replace(SAC.options, gamma=0.5))


@pytest.mark.parametrize(
    ("said", "says"),
    [
        ((), "name what to vary"),
        (("learning_rat=1..2",), 'did you mean "learning_rate"?'),
        (("gamma",), "--over gamma says no values"),
        (("gamma=0.9",), "needs two different values or more"),
        (("gamma=0.9..0.8",), "0.9 is not below 0.8"),
        (("gamma=0.9..1.5",), r"gamma must lie in \[0, 1\), got 1.5"),
        (("gamma=0..0.9:log",), "a scale of logarithms begins above 0"),
        (("gamma=0.1..0.9:lin",), "a scale is log, or left out"),
        (("gamma=0.1..nan",), "nan is not finite"),
        (("batch_size=a..b",), '"a" is no int'),
        (("critic=state,eyes",), 'no critic "eyes"'),
        (("gamma=0.8,0.9", "gamma=0.7,0.6"), "vary each option once"),
    ],
)
def test_what_cannot_be_varied_is_one_line(said: tuple[str, ...], says: str) -> None:
    with pytest.raises(UserError, match=says):
        ranges_of(said, SAC)


def test_trials_are_judged_on_episodes_that_nothing_else_plays() -> None:
    tuning = range(TUNING_SEED, TUNING_SEED + MOST_EPISODES)
    assert not {Eval.seed, CHECK_SEED, TRAIN_SEED, PLAY_SEED} & set(tuning)
    assert CHECK_SEED + MOST_EPISODES < TUNING_SEED
    assert tuning.stop <= TRAIN_SEED


def test_a_search_that_was_left_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    """A trial's values depend on the seed, its number, and what came of those before."""
    ranges = [Range("gamma", low=0.5, high=0.9), Range("batch_size", low=1, high=9, whole=True)]

    def tried(folder: Path, *, leaves: bool) -> list[dict[str, object]]:
        folder.mkdir()
        search = Search(folder, ranges, seed=3)
        for _ in range(15):  # ten are random, then what came of them counts
            trial = search.ask()
            search.tell(trial.number, float(trial.values["gamma"]))
            search = Search(folder, ranges, seed=3) if leaves else search
        return [dict(trial.values) for trial in search.trials]

    whole = tried(tmp_path / "whole", leaves=False)
    assert tried(tmp_path / "left", leaves=True) == whole
    assert len({json.dumps(values) for values in whole}) == 15


def test_a_trial_that_failed_is_no_success(tmp_path: Path) -> None:
    search = Search(tmp_path, [Range("gamma", (0.5, 0.9))], seed=0)
    search.tell(search.ask().number, None)
    assert [(trial.status, trial.success) for trial in search.trials] == [("failed", None)]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--over", "gamma=0.9,0.95", "--trials", "0"], "trials must be positive, got 0"),
        (["--over", "gamma=0.9..1.5"], "gamma must lie in [0, 1), got 1.5"),
        (["--over", "gamma=0.9,0.95", "--workers", "roy"], 'did you mean "ray"?'),
        (["--over", "num_envs=0,8"], "num_envs must be positive, got 0"),
    ],
)
def test_a_sweep_that_does_not_fit_makes_nothing(
    words: list[str], says: str, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["sweep", *FEW, *words]) == 2
    said = capsys.readouterr().err
    assert says in said
    assert said.count("\n") == 1
    assert not list(workplace.iterdir())


@pytest.mark.slow
def test_a_sweep_tries_judges_and_goes_on(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["sweep", *FEW, "--over", "gamma=0.9,0.95", "--out", "group", "--json"]
    assert cli.run([*command, "--trials", "1"]) == 0
    first = json.loads(capsys.readouterr().out)
    assert cli.run([*command, "--trials", "2"]) == 0
    second = json.loads(capsys.readouterr().out)
    assert second["trials"][0] == first["trials"][0]
    assert [trial["status"] for trial in second["trials"]] == ["finished"] * 2
    best = max(second["trials"], key=lambda trial: trial["success"])
    assert second["best"]["success"] == best["success"]
    assert f"--gamma {best['values']['gamma']}" in second["best"]["command"]
    judged = json.loads((workplace / "group/trials/0000/seed-100/tuning.json").read_text())
    assert (judged["seed"], judged["success"]["total"]) == (TUNING_SEED, 5)
    assert cli.run([*command, "--trials", "2", "--episodes", "6"]) == 2
    assert "have episodes 5, now it is 6" in capsys.readouterr().err

"""`goalsight train --seeds`: runs that differ in their seed alone, wherever they are made."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from goalsight.agents.many import seeds_of, train_seeds
from goalsight.agents.train import Train
from goalsight.base.command_lines import words_of
from goalsight.base.errors import UserError
from goalsight.base.files import read_json
from goalsight.base.run_groups import run_group
from goalsight.base.runs import Run
from goalsight.base.workers import workers_of
from goalsight.base.workers.job import Job
from goalsight.commands import cli
from goalsight.envs.config import EnvConfig

WORDS = [
    "--env",
    "PandaReach-v1",
    "--obs",
    "state",
    "--steps",
    "600",
    "--num-envs",
    "8",
    "--warmup",
    "320",
    "--eval-every",
    "320",
    "--eval-episodes",
    "4",
]


def config(*words: str) -> Train:
    shown = cli._parse(Train.for_command_line(list(words)), "goalsight train", list(words))
    return Train(**{name: getattr(shown, name) for name in Train.__dataclass_fields__})


def weights(run: Path) -> bytes:
    return (Run.open(run).checkpoint("last") / "model.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("words", "seeds"), [(("3",), [3]), (("0", "2"), [0, 2]), (("0-3",), [0, 1, 2, 3]), (("5-5", "1-2"), [5, 1, 2])]
)
def test_seeds_are_numbers_and_ranges(words: tuple[str, ...], seeds: list[int]) -> None:
    assert seeds_of(words) == seeds


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("a",), 'seeds are numbers, or ranges such as 0-4, got "a"'),
        (("4-0",), 'ranges such as 0-4, got "4-0"'),
        (("-1",), 'got "-1"'),
        (("0-2", "1"), "name each seed once, got 0-2 1"),
        (("0-1000",), "at most 1,000 seeds, got 0-1000"),
    ],
)
def test_other_seeds_are_one_line(words: tuple[str, ...], says: str) -> None:
    with pytest.raises(UserError, match=says):
        seeds_of(words)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--workers", "2"], "--workers 2 is for several runs; name their --seeds"),
        (["--seeds", "0-1", "--seed", "3"], "choose --seed 3, or --seeds 0-1"),
        (["--seeds", "0-1", "--workers", "roy"], 'no kind of workers "roy"; did you mean "ray"? choices: pool, ray'),
        (["--seeds", "0-1", "--env", "PandaRaech-v1"], '"PandaRaech-v1"'),
        (["--seeds", "0-1", "--num-envs", "0"], "num_envs must be positive, got 0"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_made(
    words: list[str], says: str, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["train", *WORDS, *words]) == 2
    said = capsys.readouterr().err
    assert says in said
    assert said.count("\n") == 1
    assert not list(workplace.iterdir())


def test_a_group_goes_on_with_what_was_asked_for_and_nothing_else(tmp_path: Path) -> None:
    group = tmp_path / "group"
    with (
        run_group(group, "seeds", {"steps": 10, "options": {"gamma": 0.9}}),
        pytest.raises(UserError, match="another process is writing"),
        run_group(group, "seeds", {}),
    ):
        pass
    with run_group(group, "seeds", {"steps": 10, "options": {"gamma": 0.9, "new": 1}}):
        pass
    other = {"steps": 10, "options": {"gamma": 0.95}}
    with (
        pytest.raises(UserError, match=r"have options\.gamma 0\.9, now it is 0\.95; choose another --out"),
        run_group(group, "seeds", other),
    ):
        pass
    with pytest.raises(UserError, match="is not empty and holds no sweep"), run_group(group, "sweep", {}):
        pass
    begun = tmp_path / "begun"
    begun.mkdir()
    (begun / ".seeds.json.4711.tmp").touch()  # of a process that was killed while it wrote
    with run_group(begun, "seeds", {}):
        assert read_json(begun / "seeds.json") == {"asked": {}}


@pytest.mark.parametrize(
    "words",
    [
        [],
        [*WORDS, "--gamma", "0.5", "--hidden", "64", "32", "--target-entropy", "-2.5", "--track", "tensorboard"],
        ["--env", "PandaPush-v1", "--camera", "front", "wrist", "--vary", "colour", "--out", "a folder", "--json"],
        ["--algorithm", "bc", "--data", "a", "b", "--weight-decay", "0.1", "--critic", "pixels"],
        ["--video", "a.mp4", "--watching.play", "70", "--encoder", "random"],
    ],
)
def test_a_config_says_the_words_that_ask_for_it(words: list[str]) -> None:
    asked = config(*words)
    said = words_of(asked)
    assert config(*said) == asked
    assert len(said) <= len(words)


@pytest.mark.slow
def test_seeds_are_ordinary_runs_and_what_is_finished_stays(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    alone = Train(EnvConfig("PandaReach-v1"), steps=600, num_envs=8, eval_every=320, eval_episodes=4, seed=1)
    assert cli.run(["train", *WORDS, "--seed", "1", "--out", "alone"]) == 0
    capsys.readouterr()
    command = ["train", *WORDS, "--seeds", "0-1", "--workers", "2", "--out", "group", "--json"]
    assert cli.run(command) == 0
    first = json.loads(capsys.readouterr().out)
    assert [(row["seed"], row["status"], row["env_steps"]) for row in first["runs"]] == [
        (0, "finished", 600),
        (1, "finished", 600),
    ]
    assert weights(workplace / "group/seed-1") == weights(workplace / "alone")
    assert weights(workplace / "group/seed-0") != weights(workplace / "alone")
    run = Run.open("group/seed-1")
    assert (run.manifest["seed"], run.config["threads"], run.config["steps"]) == (1, 1, alone.steps)
    (workplace / "group/seed-0/summary.json").write_text('{"best_success": 0.25}')
    # A run that fails is one line, and the others are there.
    (workplace / "group/seed-2").mkdir()
    (workplace / "group/seed-2/mine.txt").touch()
    assert cli.run([*command[:-1], "--seeds", "0-2"]) == 1
    printed = capsys.readouterr()
    assert "25%" in printed.out
    assert printed.err.count("goalsight: group/seed-2 failed: group/seed-2 is not empty") == 1


@pytest.mark.slow
def test_seeds_that_were_stopped_go_on_to_the_bit(workplace: Path) -> None:
    words = [*WORDS, "--steps", "1600"]
    command = [sys.executable, "-m", "goalsight", "train", *words, "--seeds", "0-1", "--workers", "2", "--out"]
    assert subprocess.run([*command, "whole"], check=False, capture_output=True).returncode == 0
    process = subprocess.Popen([*command, "group"], stderr=subprocess.PIPE, text=True)
    # Either seed may be the first to begin: the other may still be starting its Python.
    while not all((workplace / f"group/seed-{seed}/checkpoints/last").exists() for seed in (0, 1)):
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    assert "train was stopped by SIGTERM" in process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert {Run.open(f"group/seed-{seed}").status for seed in (0, 1)} <= {"interrupted", "finished"}
    assert subprocess.run([*command, "group"], check=False, capture_output=True).returncode == 0
    for seed in (0, 1):
        assert weights(workplace / f"group/seed-{seed}") == weights(workplace / f"whole/seed-{seed}")


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed")
def test_a_pool_and_a_ray_cluster_of_two_nodes_make_the_same_bits(workplace: Path) -> None:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    asked = config(*WORDS)
    _, pooled = train_seeds(replace(asked, out=Path("pool")), [0, 1], "2")
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        cluster.add_node(num_cpus=1)
        ray = f"ray:{cluster.address}"
        _, far = train_seeds(replace(asked, out=Path("ray")), [0, 1], ray)
        nodes = [one.result for one in workers_of(ray).run([Job(name, "jobs:node") for name in "ab"])]
    finally:
        cluster.shutdown()
    assert len(set(nodes)) == 2
    assert [row["status"] for row in (*pooled, *far)] == ["finished"] * 4
    for seed in (0, 1):
        assert weights(Path(f"pool/seed-{seed}")) == weights(Path(f"ray/seed-{seed}"))
    assert weights(Path("pool/seed-0")) != weights(Path("pool/seed-1"))
    assert read_json(Path("pool/seeds.json")) == read_json(Path("ray/seeds.json"))
    print(f"two seeds by a pool and on nodes {', '.join(nodes)}: the same bits")

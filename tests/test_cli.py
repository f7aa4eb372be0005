"""The command line: finding commands, one line for each mistake, exit codes."""

import errno
import json
import os
import signal
import subprocess
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

import goalsight
from goalsight.base.errors import UserError
from goalsight.base.interruption import interrupted
from goalsight.commands import cli


@dataclass(frozen=True)
class Config:
    """A command made for these tests."""

    steps: int = 3
    """Steps to take."""
    obs: Literal["state", "pixels"] = "state"
    """What is seen."""
    json: bool = False
    """Print JSON."""
    names: tuple[str, ...] = field(default_factory=tuple)
    """Anything."""
    most: int | None = None
    """Or nothing."""

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise UserError(f"steps must be at least 1, got {self.steps}")


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Config], object]], None]:
    """Install a function as the command `goalsight try`."""

    def install(function: Callable[[Config], object]) -> None:
        module = types.ModuleType("goalsight_trial_command")
        module.Config, module.act = Config, function
        monkeypatch.setitem(sys.modules, module.__name__, module)
        monkeypatch.setitem(cli.COMMANDS, "try", cli.Command(module.__name__, "Config", "act", "try"))

    return install


def one_line(text: str) -> str:
    assert text.count("\n") == 1, text
    return text.strip()


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"], ["help"]])
def test_the_overview_names_every_command(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(arguments) == 0
    printed = capsys.readouterr().out
    for name in ("demo", "envs", "collect", "pretrain", "train", "eval", "record", "probe", "report", "bench"):
        assert f"\n  {name} " in printed
    assert max(map(len, printed.splitlines())) <= 100


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["--version"]) == 0
    assert capsys.readouterr().out == f"goalsight {goalsight.__version__}\n"


def test_an_unknown_command_suggests_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["pretran"]) == 2
    line = one_line(capsys.readouterr().err)
    assert line.startswith('goalsight: no command "pretran"; did you mean "pretrain"? choices: bench, ')


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run([*name.split(), "--help"]) == 0
    assert f"usage: goalsight {name}" in capsys.readouterr().out


def test_options_reach_the_command(command, capsys: pytest.CaptureFixture[str]) -> None:
    seen = []
    command(seen.append)
    assert cli.run(["try", "--steps", "7", "--obs", "pixels", "--json", "--names", "a", "b"]) == 0
    assert seen == [Config(steps=7, obs="pixels", json=True, names=("a", "b"))]
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("words", "option"),
    [(["--names", "a", ""], "a"), (["--obs", ""], "--obs"), (["--obs="], "--obs"), (["", "--json"], "try")],
)
def test_an_empty_word_is_one_line(words: list[str], option: str, command, capsys: pytest.CaptureFixture[str]) -> None:
    command(lambda config: pytest.fail("it was called"))
    assert cli.run(["try", *words]) == 2
    assert one_line(capsys.readouterr().err) == f"goalsight: {option} is given an empty word"


@pytest.mark.parametrize(
    ("word", "number"), [("1e5", 100_000), ("2.5E3", 2500), ("3.0", 3), ("12345678901234567890", 12345678901234567890)]
)
def test_whole_floats_are_integers(word: str, number: int, command) -> None:
    seen = []
    command(seen.append)
    assert cli.run(["try", "--steps", word, "--most", word]) == 0
    assert seen == [Config(steps=number, most=number)]
    assert type(seen[0].steps) is int


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            ["--stesp", "7"],
            "Unrecognized options: --stesp, 7; did you mean --steps?; see `goalsight try --help`",
        ),
        (["--steps", "many"], "Error parsing --steps: many is no whole number; see"),
        (["--steps", "1.5"], "Error parsing --steps: 1.5 is no whole number; see"),
        (["--steps", "1e400"], "Error parsing --steps: 1e400 is no whole number; see"),
        (["--most", "many"], "--most takes a whole number, got many; see"),
        (["--names", "--lr", "3"], "Unrecognized options: --lr, 3; see"),
        (["--total_timesteps=7"], "Unrecognized options: --total_timesteps=7; here --total-timesteps is --steps; see"),
        (
            ["--obs", "pixel"],
            "invalid choice 'pixel' for argument '--obs'. Expected one of ('state', 'pixels'); see",
        ),
        (["--steps"], "Missing value for argument '--steps'. Expected 1 values; see"),
        (["--steps", "0"], "steps must be at least 1, got 0; see `goalsight try --help`"),
        (["stray"], "Unrecognized options: stray; see `goalsight try --help`"),
    ],
)
def test_wrong_options_are_one_line(
    arguments: list[str], expected: str, command, capsys: pytest.CaptureFixture[str]
) -> None:
    command(lambda config: pytest.fail("the command ran"))
    assert cli.run(["try", *arguments]) == 2
    assert one_line(capsys.readouterr().err).startswith(f"goalsight: {expected}")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["train", "--seed", "-1"], "seed must lie in [0, 2,147,483,648), got -1"),
        (["eval", "--seed", "99999999999999999999999"], "seed must lie in"),
        (["train", "--learning-rate", "nan"], "learning-rate must be a finite number, got nan"),
        (["bench", "--seconds", "inf"], "seconds must be a finite number, got inf"),
        (["bench", "--num-threads", "-1"], "num-threads must be at least 1, or 0 for every CPU, got -1"),
        (["collect", "--mix.push", "inf"], "mix.push must be a finite number, got inf"),
    ],
)
def test_numbers_that_no_command_can_use_are_one_line(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(arguments) == 2
    assert capsys.readouterr().err.startswith(f"goalsight: {said}")


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_wrong_options_are_one_line_on_any_terminal(encoding: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "goalsight", "bench", "--num-env", "3"],
        env={**os.environ, "PYTHONIOENCODING": encoding, "COLUMNS": "40"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    expected = "goalsight: Unrecognized options: --num-env, 3; did you mean --num-envs?; see"
    assert one_line(done.stderr).startswith(expected)


def raises(error: BaseException) -> Callable[[Config], object]:
    def act(config: Config) -> object:
        raise error

    return act


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (UserError("no arm\n  here"), 2, "goalsight: no arm here"),
        (KeyboardInterrupt(), 130, "goalsight: interrupted"),
        (
            OSError(errno.ENOSPC, "No space left on device", "/runs/a"),
            2,
            "goalsight: the disk refuses: No space left on device: /runs/a",
        ),
        (
            PermissionError(errno.EACCES, "Permission denied", "a"),
            2,
            "goalsight: the disk refuses: Permission denied: a",
        ),
    ],
)
def test_what_a_user_can_mend_is_one_line(
    error: BaseException, code: int, line: str, command, capsys: pytest.CaptureFixture[str]
) -> None:
    command(raises(error))
    assert cli.run(["try"]) == code
    assert one_line(capsys.readouterr().err) == line


@pytest.mark.parametrize("error", [ValueError("ours"), OSError(errno.EBADF, "Bad file descriptor")])
def test_our_own_mistakes_keep_their_traceback(error: Exception, command) -> None:
    command(raises(error))
    with pytest.raises(type(error)):
        cli.run(["try"])


def test_a_command_that_was_stopped_and_saved_exits_130(command, capsys: pytest.CaptureFixture[str]) -> None:
    def act(config: Config) -> None:
        with interrupted() as stop:
            signal.raise_signal(signal.SIGTERM)
            assert stop.requested

    command(act)
    assert cli.run(["try"]) == 130
    assert "goalsight: try was stopped by SIGTERM and saved what it had" in capsys.readouterr().err


def test_a_stop_does_not_colour_the_next_command(command) -> None:
    with interrupted():
        signal.raise_signal(signal.SIGINT)
    command(lambda config: None)
    assert cli.run(["try"]) == 0


def test_a_verdict_becomes_the_exit_code(command) -> None:
    command(lambda config: 1)
    assert cli.run(["try"]) == 1


def test_a_reader_that_leaves_is_no_error() -> None:
    pipeline = f"{sys.executable} -m goalsight envs --json | head -n 1"
    done = subprocess.run(["bash", "-c", pipeline], capture_output=True, text=True, check=True)
    assert done.stdout == "{\n"
    assert done.stderr == ""


def test_envs_lists_what_can_be_made(capsys: pytest.CaptureFixture[str]) -> None:
    import gymnasium

    assert cli.run(["envs", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert {f"goalsight/Panda{task}-v1" for task in ("Reach", "Push", "PickPlace")} <= set(listed["ids"])
    assert set(listed["ids"]) <= set(gymnasium.registry)
    assert listed["tasks"]["push"]["tolerance"] > 0
    assert listed["tasks"]["door"]["unit"] == "rad"
    assert "middle" in listed["tasks"]["push"]["goals"]
    assert cli.run(["envs"]) == 0
    assert "goalsight/PandaPush-v1" in capsys.readouterr().out


def test_bench_reports_the_median_with_machine_and_command(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["bench", "env", "--env", "PandaReach-v1", "--num-envs", "2", "--seconds", "0.05", "--json"]
    monkeypatch.setattr(sys, "argv", ["goalsight", *arguments])
    assert cli.run([*arguments, "--windows", "3"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["steps_per_second"] == sorted(result["of_windows"])[1] > 0
    assert result["machine"]["cores"] >= 1
    assert result["command"] == ["goalsight", *arguments]


@pytest.mark.usefixtures("workplace")
def test_doctor_finds_the_machine_and_says_what_it_cannot_do(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from goalsight.commands import doctor
    from goalsight.envs import fingerprints
    from goalsight.envs.rendering import report

    states = [
        {"name": "raytrace", "ok": True, "detail": "mujoco_warp on 2 threads", "fps": 1234.0},
        {"name": "opengl", "ok": False, "detail": "no OpenGL here", "fps": 0.0},
    ]
    monkeypatch.setattr(report, "renderer_report", lambda: states)
    monkeypatch.setattr(doctor, "MATRIX_SECONDS", 0.01)
    assert cli.run(["doctor", "--json"]) == 0
    findings = json.loads(capsys.readouterr().out)
    assert findings["matrix"]["gflops"]["float32"] > 0
    assert findings["matrix"]["training_uses"] in findings["matrix"]["gflops"]
    assert findings["renderers"] == states
    assert findings["runs"]["writable"]
    assert not Path("runs").exists()
    assert cli.run(["doctor", "/proc/runs"]) == 0
    text = capsys.readouterr().out
    assert "1,234 frames/s at 64x64 (mujoco_warp on 2 threads)" in text
    assert "does not work here: no OpenGL here" in text
    assert "/proc/runs CANNOT be written: " in text
    for found, code in (([], 0), (["its goal"], 1)):
        monkeypatch.setattr(fingerprints, "compare", lambda ids, found=found: {"PandaReach-v1": found})
        assert cli.run(["doctor", "--fingerprints"]) == code
        assert ("PandaReach-v1 differs" in capsys.readouterr().out) == bool(found)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["bench", "--env", "PandaPusch-v1"], 'no environment "PandaPusch-v1"; did you mean "PandaPush-v1"?'),
        (["bench", "--num-envs", "0"], "num_envs must be positive, got 0"),
        (["eval", "runs/absent"], "run runs/absent does not exist"),
        (["record", "runs/absent"], "run runs/absent does not exist"),
        (["report", "runs/absent"], "run runs/absent does not exist"),
        (["probe", "runs/absent", "--data", "absent"], "absent"),
        (["eval", "--policy", "exprt", "--env", "PandaPush-v1"], 'did you mean "expert"?'),
        (["collect", "--env", "PandaPsh-v1"], 'no environment "PandaPsh-v1"; did you mean "PandaPush-v1"?'),
        (["train", "--env", "PandaPsh-v1"], 'no environment "PandaPsh-v1"; did you mean "PandaPush-v1"?'),
        (["pretrain", "--data", "absent.mp4"], "absent.mp4"),
    ],
)
@pytest.mark.usefixtures("workplace")
def test_bad_input_is_one_line_and_leaves_nothing(
    arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(arguments) == 2
    assert expected in one_line(capsys.readouterr().err)
    assert not list(Path().iterdir())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["eval", "run", "--n-eval-episodes", "3"], "here --n-eval-episodes is --episodes"),
        (["train", "--n-eval-episodes", "3"], "here --n-eval-episodes is --eval-episodes"),
        (["pretrain", "--data", "x", "--learning-rate", "1"], "here --learning-rate is --lr"),
        (["pretrain", "--data", "x", "--batch_size", "1"], "here --batch-size is --batch"),
        (["collect", "--total-timesteps", "3"], "here --total-timesteps is --frames"),
        (["train", "--wandb"], "here --wandb is --track wandb"),
        (["train", "--capture-video"], "here --capture-video is goalsight record RUN"),
    ],
)
def test_what_others_call_an_option_is_said_as_the_command_calls_it(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(words) == 2
    assert said in one_line(capsys.readouterr().err)


def test_nothing_is_suggested_that_the_command_does_not_have(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["record", "run", "--n-timesteps", "3"]) == 2
    assert "here" not in one_line(capsys.readouterr().err)

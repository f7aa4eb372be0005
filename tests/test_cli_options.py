"""Options from a file, and their completion by a shell."""

import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from test_cli import Config, command, one_line  # noqa: F401 (a fixture)

from goalsight.base.command_lines import words_for, words_of
from goalsight.commands import cli


@dataclass(frozen=True)
class Inner:
    loud: bool = True


@dataclass(frozen=True)
class Outer:
    inner: Inner = field(default_factory=Inner)


def test_options_of_parts_are_switched_off_by_their_last_name():
    assert words_of(Outer(Inner(loud=False))) == ["--inner.no-loud"]
    assert words_for("inner.loud", True) == ["--inner.loud"]
    assert words_for("eval_every", 5) == ["--eval-every", "5"]


def test_a_file_gives_options_and_the_command_line_counts_more(command, tmp_path: Path):  # noqa: F811
    seen: list[Config] = []
    command(seen.append)
    file = tmp_path / "mine.toml"
    file.write_text('steps = 100_000\nobs = "pixels"\njson = true\nnames = ["a", "b"]\n')
    assert cli.run(["try", "--config", str(file)]) == 0
    assert cli.run(["try", "--steps", "7", f"--config={file}", "--no-json", "--names", "c"]) == 0
    assert seen == [Config(100_000, "pixels", True, ("a", "b")), Config(7, "pixels", False, ("c",))]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("stps = 3\n", "Unrecognized options: --stps"),
        ("steps = 0\n", "steps must be at least 1, got 0"),
        ("steps =\n", "mine.toml is no TOML file of options: Invalid value (at line 1, column 8)"),
        ("names = [[1]]\n", "mine.toml: names must be text, a number, true, false or a list of such"),
        ("[names]\nsteps = 2026-01-01\n", "mine.toml: names.steps must be text"),
        (None, "mine.toml: No such file or directory"),
    ],
)
def test_a_wrong_file_of_options_is_one_line(text, said, command, tmp_path: Path, monkeypatch, capsys):  # noqa: F811
    command(lambda config: pytest.fail("the command ran"))
    monkeypatch.chdir(tmp_path)
    if text is not None:
        Path("mine.toml").write_text(text)
    assert cli.run(["try", "--config", "mine.toml"]) == 2
    assert said in one_line(capsys.readouterr().err)


def test_a_file_of_options_must_be_named(command, capsys):  # noqa: F811
    command(lambda config: pytest.fail("the command ran"))
    assert cli.run(["try", "--config"]) == 2
    assert one_line(capsys.readouterr().err) == "goalsight: --config needs a file"


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash_completes_commands_and_options(capsys, tmp_path: Path):
    assert cli.run(["completion", "bash"]) == 0
    (tmp_path / "script").write_text(capsys.readouterr().out)
    for words, expected in ((["goalsight", "pretr"], "pretrain"), (["goalsight", "collect", "--fra"], "--frames")):
        place = f"COMP_WORDS=({' '.join(words)}); COMP_CWORD={len(words) - 1}"
        ask = f'source ./script; {place}; _tyro_goalsight; echo "${{COMPREPLY[@]}}"'
        said = subprocess.run(["bash", "-c", ask], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
        assert expected in said.split()

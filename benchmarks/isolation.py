"""Other libraries in virtual environments of their own, and commands run there."""

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TIMEOUT = 300.0  # of one command [s]
INSTALL_TIMEOUT = 900.0  # [s]


class CommandError(Exception):
    """A command failed; the message is the last line of what it complained."""


@dataclass(frozen=True)
class Library:
    """A library to measure, and what it needs."""

    name: str
    packages: tuple[str, ...]  # whose versions are reported
    pins: tuple[str, ...] = ()  # installed in its own virtual environment; none: it is in this one


def python_of(library: Library, venvs: Path) -> Path:
    """Return the interpreter that has the library, installing it at first and when its pins have changed.

    Raises:
        CommandError: when it cannot be installed.
    """
    if not library.pins:
        return Path(sys.executable)
    folder = venvs.absolute() / library.name
    python, marker, pins = folder / "bin" / "python", folder / "pins.txt", "\n".join(library.pins)
    if not marker.exists() or marker.read_text() != pins:
        print(f"installing {library.name} into {folder}", file=sys.stderr)
        _run([sys.executable, "-m", "venv", "--clear", str(folder)])
        _run([str(python), "-m", "pip", "install", "--quiet", *library.pins])
        marker.write_text(pins)
    return python


def run_together(commands: list[list[str]], env: dict[str, str]) -> list[dict[str, Any]]:
    """Run commands at the same time; return the JSON that each prints on its last line.

    Raises:
        CommandError: when one fails, takes too long or prints something else.
    """
    with tempfile.TemporaryDirectory() as folder:
        # Errors go to files: a pipe that nobody reads would stop a talkative command.
        logs = [Path(folder) / f"{number}.log" for number in range(len(commands))]
        started = [_start(command, log, env) for command, log in zip(commands, logs, strict=True)]
        try:
            outputs = [process.communicate(timeout=TIMEOUT)[0] for process in started]
        except subprocess.TimeoutExpired as error:
            raise CommandError(f"took longer than {TIMEOUT:.0f} s") from error
        finally:
            for process in started:
                process.kill()
        for process, log in zip(started, logs, strict=True):
            _check(process.returncode, log.read_text())
    try:
        return [json.loads(output.splitlines()[-1]) for output in outputs]
    except (ValueError, IndexError) as error:
        raise CommandError(f"printed no result: {error}") from error


def _start(command: list[str], log: Path, env: dict[str, str]) -> "subprocess.Popen[str]":
    with log.open("w") as errors:
        # In the temporary folder, where a library may leave log files.
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, env=env, cwd=log.parent)


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_TIMEOUT, check=False)
    except subprocess.TimeoutExpired as error:
        raise CommandError(f"installing took longer than {INSTALL_TIMEOUT:.0f} s") from error
    _check(done.returncode, done.stderr)


def _check(status: int, complaint: str) -> None:
    if status != 0:
        lines = [line.strip() for line in complaint.splitlines() if line.strip()]
        raise CommandError(lines[-1] if lines else f"exit code {status}")

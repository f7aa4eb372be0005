"""What kill -9 costs: commands are killed at random moments, and gone on with or started again.

A killed collect, pretrain or train is gone on with by `goalsight resume`, or started anew where nothing had begun; eval
and record are started again. What comes out must equal what was never killed, what was published before must still be
there, and no half-written file may stay. Kills that the result already holds are skipped, and it is written after each.
"""

import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from reporting import RESULTS, Rows, provenance

from goalsight.base.files import atomic_write_json, read_json
from goalsight.base.run_folders import MANIFEST
from goalsight.base.runs import Run
from goalsight.base.video import describe_video

REACH = ("--env", "goalsight/PandaReach-v1")
COMMANDS = {
    "collect": ("collect", *REACH, "--frames", "600", "--steps", "10", "--num-envs", "8", "--image-size", "32"),
    "pretrain": ("pretrain", "--data", "play", "--steps", "15", "--batch", "8", "--threads", "1", "--image-size", "32",
                 "--save-every", "0.5"),
    "train": ("train", *REACH, "--obs", "state", "--steps", "1200", "--eval-every", "300", "--eval-episodes", "5"),
    "eval": ("eval", "agent", "--episodes", "50"),
    "record": ("record", "agent", "--episodes", "2", "--size", "96"),
}  # fmt: skip
RESUMED = ("collect", "pretrain", "train")  # kinds of runs, each with a folder of its own
HALF_WRITTEN = (".*.tmp", ".*.old", ".*.partial.*", ".frames-*", ".begun")
LATEST = 1.05  # kills fall between the start and so many times the length of what was never killed


@dataclass(frozen=True)
class Kills:
    """Kill commands at random moments, and count what is lost."""

    kills: int = 200
    """How many, in turn over all commands."""
    commands: tuple[str, ...] = tuple(COMMANDS)
    """Which to kill."""
    seed: int = 0
    """Seed of the moments."""
    workshop: Path = Path("runs/kills")
    """Where the runs are; made on the first call and used again."""
    out: Path = RESULTS / "kills.json"
    """The result."""


def goalsight(config: Kills, *arguments: str) -> "subprocess.Popen[str]":
    """Start the command in the workshop."""
    return subprocess.Popen(
        [sys.executable, "-m", "goalsight", *arguments],
        cwd=config.workshop,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(config: Kills, *arguments: str) -> tuple[int, str]:
    """Run a command to its end; return its exit code and the last line that it said."""
    process = goalsight(config, *arguments)
    _, said = process.communicate()
    return process.returncode, (said.strip().splitlines() or [""])[-1]


def prepare(config: Kills) -> dict[str, float]:
    """Make what was never killed; return how long each command takes [s]."""
    config.workshop.mkdir(parents=True, exist_ok=True)
    kept = config.workshop / "seconds.json"
    seconds = read_json(kept) if kept.exists() else {}
    for name, out in (("collect", "play"), ("train", "agent"), ("pretrain", "encoder"), ("eval", ""), ("record", "")):
        if name in seconds:
            continue
        began = time.monotonic()
        code, said = finish(config, *COMMANDS[name], *(("--out", out) if out else ()))
        if code:
            sys.exit(f"{name} failed: {said}")
        seconds[name] = time.monotonic() - began
        atomic_write_json(kept, seconds)
    return seconds


WHOLE = {"collect": "play", "train": "agent", "pretrain": "encoder"}


def outcome_of(path: Path) -> Any:
    """What must be equal: the hash of recorded frames, or the bytes of the last weights."""
    run = Run.open(path)
    return run.summary["data"] if run.kind == "collect" else (run.checkpoint() / "weights.safetensors").read_bytes()


def published(path: Path) -> set[str]:
    """The checkpoints that are there."""
    return {folder.name for folder in path.glob("checkpoints/[0-9]*")}


def kill_run(config: Kills, name: str, number: int, moment: float) -> dict[str, Any]:
    """Kill a run and go on with it."""
    out = f"{name}-{number}"
    path = config.workshop / out
    code = kill(goalsight(config, *COMMANDS[name], "--out", out), moment)
    before = published(path)
    how = "had finished"
    if code and not ((path / MANIFEST).exists() and Run.open(path).status == "finished"):
        begun = (path / MANIFEST).exists()
        how = "resumed" if begun else "started anew"
        code, said = finish(config, "resume", out) if begun else finish(config, *COMMANDS[name], "--out", out)
        if code:
            return {"how": "refused" if code == 2 else "failed", "said": said}
    lost = sorted(before - published(path))
    equal = outcome_of(path) == outcome_of(config.workshop / WHOLE[name])
    return {"how": how, "equal": equal, "lost": lost, "left": leftovers(path)}


def kill_reader(config: Kills, name: str, moment: float) -> dict[str, Any]:
    """Kill a command that writes into a finished run, and start it again."""
    path = config.workshop / "agent"
    kept = path / "eval.json"
    before = read_json(kept)["success"]
    code = kill(goalsight(config, *COMMANDS[name]), moment)
    whole = read_json(kept)["success"] == before and all(map(is_film, path.glob("videos/[!.]*.mp4")))
    how = "started again" if code else "had finished"
    if code:
        code, said = finish(config, *COMMANDS[name])
        if code:
            return {"how": "failed", "said": said}
    equal = whole and read_json(kept)["success"] == before
    return {"how": how, "equal": equal, "lost": [], "left": leftovers(path)}


def is_film(path: Path) -> bool:
    """Whether a film is whole."""
    try:
        return describe_video(path).frames > 0
    except (OSError, ValueError):  # what av raises is both or either
        return False


def leftovers(path: Path) -> list[str]:
    """What only a killed process leaves: files and folders that it had not finished."""
    found = (entry for ending in HALF_WRITTEN for entry in path.rglob(ending))
    return sorted(str(entry.relative_to(path)) for entry in found)


def kill(process: "subprocess.Popen[str]", moment: float) -> int:
    """Kill a process after so many seconds; return its exit code, 0 if it had ended well before."""
    try:
        process.communicate(timeout=moment)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
    return process.returncode


def summarise(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Count, by command, how the kills ended."""
    good = [row for row in rows if row.get("equal") and not row["lost"] and not row["left"]]
    return {
        "kills": len(rows),
        "equal_and_nothing_lost_or_left": len(good),
        "refused_in_one_line": sum(row["how"] == "refused" for row in rows),
        "by_command": {name: dict(Counter(row["how"] for row in rows if row["command"] == name)) for name in COMMANDS},
    }


def main(config: Kills) -> None:
    """Make the kills that the result lacks."""
    kept = Rows(config.out)
    seconds = prepare(config)
    for number in range(config.kills):
        name = config.commands[number % len(config.commands)]
        if not kept.lacks({"number": number, "command": name}, "number"):
            continue
        rng = np.random.default_rng((config.seed, number))
        moment = float(rng.uniform(0, LATEST * seconds[name]))
        ended = kill_run(config, name, number, moment) if name in RESUMED else kill_reader(config, name, moment)
        row = {"number": number, "command": name, "killed_after": round(moment, 2), **ended}
        print(row, file=sys.stderr)
        kept.beside = {**provenance(), "summary": summarise([*kept.rows, row])}
        kept.put(row)
    print(summarise(kept.rows))


if __name__ == "__main__":
    main(tyro.cli(Kills, description=__doc__))

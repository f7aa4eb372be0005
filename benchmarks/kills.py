"""What kill -9 costs: commands are killed at random moments, and gone on with or started again.

A collect, pretrain or train is killed once its run has begun, and gone on with by `goalsight resume`; eval and record
are killed at any time, and started again. A command that had finished before its moment is tried again with half of it.
What comes out must equal what was never killed, what was published before must still be there, and no half-written file
may stay. Kills that the result already holds are skipped, and it is written after each.
"""

import shutil
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from reporting import RESULTS, Rows, provenance, start

from goalsight.base.checkpoints import PASSING
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
WHOLE = {"collect": "play", "train": "agent", "pretrain": "encoder"}  # each run's folder that was never killed
HALF_WRITTEN = (".*.tmp", ".*.old", ".*.partial.*", ".frames-*", ".begun")
HAD_FINISHED = "had finished"
LOOK_EVERY = 0.01  # whether a run has begun [s]


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


def end(process: "subprocess.Popen[str]", moment: float | None = None) -> tuple[int, str]:
    """Wait for a command's end, or kill it after so many seconds.

    Returns:
        its exit code, negative if it was killed, and the last line that it said.
    """
    try:
        _, said = process.communicate(timeout=moment)
    except subprocess.TimeoutExpired:
        process.kill()
        _, said = process.communicate()
    return process.returncode, (said.strip().splitlines() or [""])[-1]


def wait_until_begun(process: "subprocess.Popen[str]", path: Path) -> None:
    """Wait until the folder holds a run that a process writes, or the process has ended."""
    while process.poll() is None and not (path / MANIFEST).exists():
        time.sleep(LOOK_EVERY)


def prepare(config: Kills) -> dict[str, float]:
    """Make what was never killed; return how long each command takes, a run from when it has begun [s]."""
    config.workshop.mkdir(parents=True, exist_ok=True)
    kept = config.workshop / "lengths.json"
    lengths = read_json(kept) if kept.exists() else {}
    for name in (*WHOLE, *(name for name in COMMANDS if name not in WHOLE)):
        if name in lengths:
            continue
        process = goalsight(config, *COMMANDS[name], *(("--out", WHOLE[name]) if name in WHOLE else ()))
        if name in WHOLE:
            wait_until_begun(process, config.workshop / WHOLE[name])
        began = time.monotonic()
        code, said = end(process)
        if code:
            sys.exit(f"{name} failed: {said}")
        lengths[name] = time.monotonic() - began
        atomic_write_json(kept, lengths)
    return lengths


def outcome_of(path: Path) -> Any:
    """What must be equal: the hash of recorded frames, or the bytes of the last weights."""
    run = Run.open(path)
    return run.summary["data"] if run.kind == "collect" else (run.checkpoint() / "model.safetensors").read_bytes()


def published(path: Path) -> set[str]:
    """The checkpoints that are there to stay: others go as training goes on."""
    return {folder.name for folder in path.glob("checkpoints/[0-9]*") if not (folder / PASSING).exists()}


def kill_run(config: Kills, name: str, number: int, moment: float) -> dict[str, Any]:
    """Kill a run so long after it has begun, and go on with it."""
    out = f"{name}-{number}"
    path = config.workshop / out
    shutil.rmtree(path, ignore_errors=True)  # of a kill that was cut off itself
    process = goalsight(config, *COMMANDS[name], "--out", out)
    wait_until_begun(process, path)
    code, said = end(process, moment)
    if not (path / MANIFEST).exists():
        return {"begun": False, "how": "failed", "said": said}
    before, begun = published(path), Run.open(path).status == "killed"
    if begun:
        code, said = end(goalsight(config, "resume", out))
    if Run.open(path).status != "finished":
        return {"begun": begun, "how": "refused" if code == 2 else "failed", "said": said}
    lost = sorted(before - published(path))
    equal = outcome_of(path) == outcome_of(config.workshop / WHOLE[name])
    how = "resumed" if begun else HAD_FINISHED
    return {"begun": begun, "how": how, "equal": equal, "lost": lost, "left": leftovers(path)}


def kill_reader(config: Kills, name: str, moment: float) -> dict[str, Any]:
    """Kill a command that writes into a finished run, and start it again."""
    path = config.workshop / "agent"
    kept = path / "eval.json"
    before = read_json(kept)["success"]
    code, _ = end(goalsight(config, *COMMANDS[name]), moment)
    whole = read_json(kept)["success"] == before and all(map(is_film, path.glob("videos/[!.]*.mp4")))
    how = "started again" if code else HAD_FINISHED
    if code:
        code, said = end(goalsight(config, *COMMANDS[name]))
        if code:
            return {"how": "failed", "said": said}
    equal = whole and read_json(kept)["success"] == before
    return {"how": how, "equal": equal, "lost": [], "left": leftovers(path)}


def kill(config: Kills, name: str, number: int, moment: float) -> dict[str, Any]:
    """Kill a command after so many seconds, and say what that cost."""
    return kill_run(config, name, number, moment) if name in WHOLE else kill_reader(config, name, moment)


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


def summarise(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Count, by command, how the kills ended."""
    good = [row for row in rows if row.get("equal") and not row["lost"] and not row["left"]]
    return {
        "kills": len(rows),
        "into_begun_runs": sum(row.get("begun", False) for row in rows),
        "equal_and_nothing_lost_or_left": len(good),
        "refused_in_one_line": sum(row["how"] == "refused" for row in rows),
        "by_command": {name: dict(Counter(row["how"] for row in rows if row["command"] == name)) for name in COMMANDS},
    }


def main(config: Kills) -> None:
    """Make the kills that the result lacks."""
    kept = Rows(config.out)
    lengths = prepare(config)
    for number in range(config.kills):
        name = config.commands[number % len(config.commands)]
        asked = {"number": number, "command": name, "seed": config.seed}
        if not kept.lacks(asked, "number"):
            continue
        moment = float(np.random.default_rng((config.seed, number)).uniform(0, lengths[name]))
        while (outcome := kill(config, name, number, moment))["how"] == HAD_FINISHED:
            moment /= 2
        row = asked | {"killed_after": round(moment, 2)} | outcome
        print(row, file=sys.stderr)
        kept.beside = {**provenance(), "summary": summarise([*kept.rows, row])}
        kept.put(row)
    print(summarise(kept.rows))


if __name__ == "__main__":
    start(Kills, main)

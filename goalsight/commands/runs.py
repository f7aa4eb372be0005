"""`goalsight runs`: what was run, how far it is, and what came of it."""

import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from goalsight.base.errors import UserError, in_one_line

if TYPE_CHECKING:
    from goalsight.base.runs import Run

# Any of these makes a folder one that a command began as a run.
MARKS = ("config.json", "manifest.json", "metrics.jsonl", "checkpoints")
SUCCESS = "eval/success"


@dataclass(frozen=True)
class Runs:
    """List the runs in a folder, newest first, and those in folders below it, such as a demo's."""

    folder: Annotated[Path, tyro.conf.Positional] = Path("runs")
    """Where to look."""
    json: bool = False
    """Print them as JSON."""


@dataclass(frozen=True)
class Row:
    """A run, or a folder that was one.

    Attributes:
        name: its folder's, below the one that was listed.
        kind: collect, pretrain or train; "damaged" where the folder cannot be read.
        about: environment and algorithm, objective, or what is wrong.
        status: as `Run.status`; empty where it cannot be read.
        headline: the best thing to say of it in a few words.
        steps: so far; frames of a recording.
        seconds: for how long it has worked [s].
        started: date and time with its zone.
    """

    name: str
    kind: str
    about: str
    status: str
    headline: str
    steps: int | None
    seconds: float | None
    started: str


def list_runs(config: Runs) -> list[Row]:
    """Print and return the runs in a folder; damaged ones are listed with a word on why.

    Raises:
        UserError: there is no such folder.
    """
    if not config.folder.is_dir():
        raise UserError(f"{config.folder} is no folder; name one that holds runs")
    rows = [_row(path, str(path.relative_to(config.folder))) for path in _folders(config.folder)]
    rows.sort(key=lambda row: (_instant(row.started), row.name), reverse=True)
    print(json.dumps([asdict(row) for row in rows], indent=2) if config.json else _text(rows, config.folder))
    return rows


def _folders(folder: Path) -> Iterator[Path]:
    """Folders of runs, in `folder` or one below; a run's own folders are not looked into."""
    for path in sorted(folder.iterdir()):
        if _marked(path):
            yield path
        elif path.is_dir():
            try:
                yield from (below for below in sorted(path.iterdir()) if _marked(below))
            except OSError:
                yield path


def _marked(path: Path) -> bool:
    try:
        return path.is_dir() and any((path / mark).exists() for mark in MARKS)
    except OSError:
        return False


def _row(path: Path, name: str) -> Row:
    from goalsight.base.runs import Run

    try:
        run = Run.open(path)
        manifest = run.manifest
        steps, seconds = _length(run)
        return Row(name, run.kind, _about(run), run.status, _headline(run), steps, seconds, str(manifest["started"]))
    except UserError as error:
        why = str(error).partition("; newest runs")[0].partition("; there are no runs")[0]
    except KeyError as error:
        why = f"manifest.json has no {error.args[0]}"
    except Exception as error:  # whatever a folder holds, the others are listed
        why = in_one_line(error)
    return Row(name, "damaged", why.replace(f"{path}/", "").removeprefix(f"{path} is "), "", "", None, None, "")


def _instant(started: str) -> float:
    try:
        return datetime.fromisoformat(started).timestamp()
    except ValueError:  # damaged runs come last
        return 0.0


def _about(run: "Run") -> str:
    env: Any = run.config.get("env")
    env = env.get("id") if isinstance(env, dict) else env
    if run.kind == "pretrain":
        return str(run.config.get("objective", "masked"))
    if run.kind == "collect":
        return str(env)
    return f"{env}, {run.config.get('algorithm', 'sac')}"


def _length(run: "Run") -> tuple[int | None, float | None]:
    """How far a run is, and for how long it has worked."""
    last, summary = (run.metrics() or [{}])[-1], run.summary
    steps = last.get("step", summary.get("steps" if run.kind == "pretrain" else "frames"))
    seconds = last.get("wall_s", summary.get("seconds"))
    return None if steps is None else int(steps), None if seconds is None else float(seconds)


def _headline(run: "Run") -> str:
    if run.status == "failed":
        return str(run.manifest.get("error", ""))[:60]
    if run.kind == "collect":
        moved = run.summary.get("moved_share")
        return "" if moved is None else f"object moved in {moved:.0%}"
    if run.kind == "pretrain":
        alarms = run.summary.get("alarms", {})
        rows = [row for row in run.metrics() if "pretrain/loss" in row]
        loss = f"loss {rows[-1]['pretrain/loss']:.3g}" if rows else ""
        return ", ".join([*([loss] if loss else []), *(f"alarm: {name}" for name in alarms)])
    rates = [row[SUCCESS] for row in run.metrics() if math.isfinite(row.get(SUCCESS, math.nan))]
    return f"best {max(rates):.0%}, last {rates[-1]:.0%}" if rates else ""


def _text(rows: list[Row], folder: Path) -> str:
    from goalsight.base.tables import duration, text_table

    if not rows:
        return f"no runs in {folder}"
    head = ["run", "kind", "about", "status", "headline", "steps", "time", "started"]
    lines = [
        [
            row.name,
            row.kind,
            row.about,
            row.status,
            row.headline,
            "" if row.steps is None else f"{row.steps:,}",
            "" if row.seconds is None else duration(row.seconds),
            row.started[:16].replace("T", " "),
        ]
        for row in rows
    ]
    return text_table(head, lines, numbers=(5, 6))

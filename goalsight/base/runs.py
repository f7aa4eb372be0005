"""Run folders: what a command did, from what, and what came out, in files that are whole or absent.

A run is a folder::

    config.json       what was asked for
    manifest.json     kind, status, seed, versions, machine, command line, and the sources with their hashes
    metrics.jsonl     one line a measurement, also under tensorboard/
    checkpoints/      NNNNNN/{weights.safetensors, meta.json}, and the pointers last and best
    pictures/, videos/, summary.json

Weights are safetensors and everything else is JSON, so loading a stranger's run executes nothing.
"""

import contextlib
import itertools
import json
import sys
import time
from dataclasses import is_dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from goalsight.base import checkpoints
from goalsight.base.checkpoints import read_checkpoint
from goalsight.base.errors import UserError, choose
from goalsight.base.files import (
    atomic_write_bytes,
    atomic_write_json,
    atomic_write_text,
    read_json,
    to_json,
    writing,
)
from goalsight.base.interruption import Stop, interrupted, stopped_by
from goalsight.base.machine import describe_machine, versions

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray
    from torch.utils.tensorboard import SummaryWriter

__all__ = [
    "KINDS",
    "Run",
    "Stop",
    "atomic_write_bytes",
    "atomic_write_json",
    "atomic_write_text",
    "interrupted",
    "read_checkpoint",
    "stopped_by",
    "writing",
]

KINDS = ("collect", "pretrain", "train")


class Run:
    """One run folder; made by `Run.create`, read by `Run.open`.

    Attributes:
        path: the folder.
        kind: one of `KINDS`.
        config: what was asked for.
        manifest: status, seed, versions, machine, command line and sources.
    """

    def __init__(self, path: Path, config: dict[str, Any], manifest: dict[str, Any]) -> None:
        self.path = path
        self.kind: str = manifest["kind"]
        self.config = config
        self.manifest = manifest
        self._started = time.monotonic()
        self._wall_before: float | None = None
        self._board: SummaryWriter | None = None

    @classmethod
    def create(
        cls,
        kind: str,
        config: Any,
        *,
        out: Path | None = None,
        seed: int,
        sources: dict[str, str] | None = None,
        name: str = "",
    ) -> "Run":
        """Make a new run folder.

        Args:
            kind: one of `KINDS`.
            config: a dataclass or dictionary: what was asked for.
            out: the folder to make; by default `runs/<kind>-<name>-<date>-<time>`.
            seed: the seed that all randomness of the run comes from.
            sources: what it was made from, such as {"data": hash, "encoder": hash}.
            name: goes into the default folder's name.

        Raises:
            UserError: if the folder holds a run already or cannot be written.
        """
        choose("kind of run", kind, KINDS)
        if not (isinstance(config, dict) or is_dataclass(config)):
            raise TypeError(f"config must be a dataclass or a dictionary, got {type(config).__name__}")
        path = Path(out) if out is not None else _fresh_folder(kind, name)
        if (path / "config.json").exists():
            raise UserError(f"{path} holds a run already; choose another folder")
        with writing(path):
            if path.is_dir() and any(path.iterdir()):
                raise UserError(f"{path} is not empty; choose another folder")
        manifest = {
            "kind": kind,
            "status": "running",
            "seed": seed,
            "started": datetime.now().astimezone().isoformat(timespec="seconds"),
            "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
            "versions": versions(),
            "machine": describe_machine(),
            "sources": dict(sources or {}),
        }
        with writing(path):
            path.mkdir(parents=True, exist_ok=True)
        run = cls(path, to_json(config), to_json(manifest))
        # The manifest comes last: a folder without it is no run yet.
        atomic_write_json(path / "config.json", run.config)
        atomic_write_json(path / "manifest.json", run.manifest)
        return run

    @classmethod
    def open(cls, path: Path | str) -> "Run":
        """Read a run folder.

        Raises:
            UserError: if it is missing, not a run, or was left half-written.
        """
        path = Path(path)
        if not path.is_dir():
            what = "is not a run folder" if path.exists() else "does not exist"
            raise UserError(f"run {path} {what}; {_runs_near(path)}")
        missing = [name for name in ("config.json", "manifest.json") if not (path / name).is_file()]
        if missing:
            raise UserError(f"{path} is not a run, or half-written: no {missing[0]}; {_runs_near(path)}")
        manifest = read_json(path / "manifest.json")
        if manifest.get("kind") not in KINDS:
            raise UserError(f"{path}/manifest.json names no kind of run; kinds: {', '.join(KINDS)}")
        return cls(path, read_json(path / "config.json"), manifest)

    @property
    def pictures(self) -> Path:
        """The folder of pictures, made when first asked for."""
        return self._folder("pictures")

    @property
    def videos(self) -> Path:
        """The folder of videos, made when first asked for."""
        return self._folder("videos")

    def _folder(self, name: str) -> Path:
        with writing(self.path / name):
            (self.path / name).mkdir(exist_ok=True)
        return self.path / name

    def log(self, step: int, metrics: dict[str, float]) -> None:
        """Append one measurement to metrics.jsonl and to TensorBoard.

        Args:
            step: the run's own step count.
            metrics: plain numbers by name. "step" and "wall_s" are added [s since the run began; time
                between an interruption and a resumption does not count].
        """
        if self._wall_before is None:
            self._wall_before = self._mend_metrics()
        wall = self._wall_before + time.monotonic() - self._started
        numbers = {name: float(value) for name, value in metrics.items()}
        line = json.dumps(to_json({"step": int(step), "wall_s": round(wall, 3), **numbers}))
        with writing(self.path / "metrics.jsonl"):
            with (self.path / "metrics.jsonl").open("a") as file:
                file.write(line + "\n")
            for name, value in numbers.items():
                self._tensorboard().add_scalar(name, value, step)

    def _mend_metrics(self) -> float:
        """End a line that a crash cut off, and return the seconds that were logged before."""
        path = self.path / "metrics.jsonl"
        if path.exists() and path.read_bytes()[-1:] not in (b"", b"\n"):
            with writing(path), path.open("a") as file:
                file.write("\n")
        past = self.metrics()
        return past[-1]["wall_s"] if past else 0.0

    def log_image(self, step: int, name: str, image: "NDArray[np.uint8]") -> Path:
        """Keep a picture as pictures/<name>-<step>.png and in TensorBoard.

        Args:
            step: the run's own step count.
            name: what it shows.
            image: (H, W, 3) uint8.

        Returns:
            the file.
        """
        from PIL import Image

        path = self.pictures / f"{name.replace('/', '-')}-{step:06d}.png"
        with writing(path):
            Image.fromarray(image).save(path)
            self._tensorboard().add_image(name, image, step, dataformats="HWC")
        return path

    def _tensorboard(self) -> "SummaryWriter":
        if self._board is None:
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(self.path / "tensorboard"))
        return self._board

    def metrics(self) -> list[dict[str, float]]:
        """Return what was logged, oldest first; a line cut off by a crash is left out."""
        path = self.path / "metrics.jsonl"
        rows: list[dict[str, float]] = []
        for line in path.read_text(errors="replace").splitlines() if path.exists() else []:
            try:
                row = json.loads(line)
            except ValueError:
                continue
            rows.append({key: float("nan") if value is None else value for key, value in row.items()})
        return rows

    def publish(
        self, step: int, tensors: "dict[str, torch.Tensor]", meta: dict[str, Any], *, best: bool = False
    ) -> Path:
        """Publish a checkpoint: it appears whole under its name, or not at all.

        Args:
            step: names the checkpoint; publishing the same step again replaces it.
            tensors: weights by name, on any device.
            meta: what is needed to rebuild the model, in JSON's own types.
            best: point `best` to it too. `last` always is.

        Returns:
            the checkpoint's folder.

        Raises:
            UserError: if the disk refuses; the checkpoints from before are then untouched.
        """
        folder = checkpoints.publish(self.path / "checkpoints", step, tensors, meta)
        for pointer in ("last", "best") if best else ("last",):
            atomic_write_text(folder.parent / pointer, folder.name + "\n")
        return folder

    def checkpoint(self, which: str | int = "last") -> Path:
        """Return a checkpoint's folder.

        Args:
            which: "last", "best" (the last one where none was marked), or a step.

        Raises:
            UserError: if there is no such checkpoint, naming those there are.
        """
        folder = self.path / "checkpoints"
        steps = checkpoints.published_steps(folder)
        if not steps:
            raise UserError(f"run {self.path} has no checkpoint yet (its status: {self.manifest['status']})")
        if which in ("last", "best"):
            return folder / checkpoints.step_name(self._pointed_at(str(which), steps))
        if not str(which).isdigit() or int(which) not in steps:
            known = ", ".join(map(str, steps))
            raise UserError(f'run {self.path} has no checkpoint "{which}"; choices: last, best, {known}')
        return folder / checkpoints.step_name(int(which))

    def _pointed_at(self, pointer: str, steps: list[int]) -> int:
        """Return the step that `last` or `best` names; the newest one where the file is absent or wrong.

        A crash between a checkpoint's rename and the pointer's leaves the pointer one behind, or absent.
        """
        for name in (pointer, "last"):
            file = self.path / "checkpoints" / name
            named = file.read_text(errors="replace").strip() if file.exists() else ""
            if named.isdigit() and int(named) in steps:
                return int(named)
        return steps[-1]

    def load(self, which: str | int = "last") -> "tuple[dict[str, torch.Tensor], dict[str, Any]]":
        """Return a checkpoint's tensors (on the CPU) and meta; see `checkpoint` for `which`."""
        return read_checkpoint(self.checkpoint(which))

    def finish(self, summary: dict[str, Any], *, status: Literal["finished", "interrupted"] = "finished") -> None:
        """Write summary.json and the final status; close TensorBoard's file."""
        if self._board is not None:
            with writing(self.path / "tensorboard"):
                self._board.close()
            self._board = None
        atomic_write_json(self.path / "summary.json", summary)
        self.set_status(status)

    def set_status(self, status: Literal["running", "finished", "interrupted"]) -> None:
        """Record in the manifest how far the run is."""
        self.manifest["status"] = status
        atomic_write_json(self.path / "manifest.json", self.manifest)

    @property
    def summary(self) -> dict[str, Any]:
        """What `finish` wrote; empty while the run has not finished."""
        path = self.path / "summary.json"
        return read_json(path) if path.exists() else {}


def _fresh_folder(kind: str, name: str) -> Path:
    """Make a folder under runs/; two runs that begin in the same second get one each."""
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    stem = "-".join(part for part in (kind, name.replace("/", "-"), stamp) if part)
    for count in itertools.count(1):
        path = Path("runs") / (stem if count == 1 else f"{stem}-{count}")
        with writing(path), contextlib.suppress(FileExistsError):
            path.mkdir(parents=True)
            break
    return path


def _runs_near(path: Path) -> str:
    """Return the names of the newest runs beside `path`, or under runs/, as part of a sentence."""
    for folder in (path.parent, path, Path("runs")):
        found = sorted(folder.glob("*/manifest.json"), key=lambda file: file.stat().st_mtime, reverse=True)
        if found:
            return f"newest runs: {', '.join(str(file.parent) for file in found[:5])}"
    return "there are no runs nearby"

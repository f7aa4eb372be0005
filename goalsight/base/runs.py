"""Run folders: what a command did, from what, and what came out, in files that are whole or absent.

A run is a folder::

    config.json       what was asked for
    manifest.json     kind, status, seed, versions, machine, command line, and the sources with their hashes
    metrics.jsonl     one line a measurement; trackers show it elsewhere too
    checkpoints/      NNNNNN/{model.safetensors, meta.json, sums.json}, and the pointers last and best
    pictures/, videos/, summary.json

Weights are safetensors and everything else is JSON, so loading a stranger's run executes nothing.
"""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from goalsight.base import checkpoints, run_folders
from goalsight.base.checkpoints import read_checkpoint
from goalsight.base.errors import UserError, choose, in_one_line
from goalsight.base.files import atomic_write_json, read_json, to_json, writing
from goalsight.base.interruption import Stop, interrupted
from goalsight.base.life import FolderLock, is_same_process_alive, is_written, this_process
from goalsight.base.machine import describe_machine, versions
from goalsight.base.measurements import Measurements
from goalsight.base.provenance import now, provenance
from goalsight.base.records import check_has
from goalsight.base.run_forms import NEEDED, Asked, Manifest, Status, Summary
from goalsight.base.trackers import check_trackers
from goalsight.base.training_state import State, restoring

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

KINDS = ("collect", "pretrain", "train")


class Run:
    """One run folder; written inside `with Run.start(...)` or `with Run.resume(...)`, read by `Run.open`.

    Attributes:
        path: the folder.
        kind: one of `KINDS`.
        config: what was asked for.
        manifest: status, process, seed, versions, machine, command line and sources.
        stop: whether someone asked this process to stop; a loop that sees it saves and finishes.
        differences: what has changed since a resumed run was started, one sentence each.
    """

    def __init__(self, path: Path, config: dict[str, Any], manifest: dict[str, Any]) -> None:
        self.path = path
        self.kind: str = manifest["kind"]
        self.config = config
        self.manifest = manifest
        self.stop = Stop()
        self.differences: list[str] = []
        identity = str(manifest.get("id", path.resolve().name))
        self._measured = Measurements(path, self.kind, identity, config)

    @classmethod
    @contextmanager
    def start(
        cls,
        kind: str,
        config: Any,
        *,
        out: Path | None = None,
        seed: int,
        sources: dict[str, str] | None = None,
        name: str = "",
    ) -> "Iterator[Run]":
        """Make a new run folder and hold it: the body works, calls `finish`, and heeds `stop`.

        Ctrl-C, SIGTERM and SIGHUP set `stop`. A body that raises leaves the status "failed", or "interrupted" where
        someone had asked to stop.

        Args:
            kind: one of `KINDS`.
            config: a dataclass or dictionary: what was asked for.
            out: the folder to make; by default `runs/<kind>-<name>-<date>-<time>`.
            seed: the seed that all randomness of the run comes from.
            sources: what it was made from, such as {"data": hash, "encoder": hash}.
            name: goes into the default folder's name.

        Raises:
            UserError: if the folder holds a run already, another process makes it, or it cannot be written.
        """
        with interrupted() as stop:
            run, lock = cls._make(kind, config, out=out, seed=seed, sources=sources, name=name)
            with run._living(stop, lock):
                yield run

    @classmethod
    def create(cls, kind: str, config: Any, **options: Any) -> "Run":
        """Make a new run folder that no process holds; arguments are those of `start`."""
        run, lock = cls._make(kind, config, **options)
        lock.release()
        return run

    @classmethod
    def _make(
        cls,
        kind: str,
        config: Any,
        *,
        out: Path | None = None,
        seed: int,
        sources: dict[str, str] | None = None,
        name: str = "",
    ) -> "tuple[Run, FolderLock]":
        choose("kind of run", kind, KINDS)
        if not (isinstance(config, dict) or is_dataclass(config)):
            raise TypeError(f"config must be a dataclass or a dictionary, got {type(config).__name__}")
        config = to_json(config)
        check_trackers(config.get("track", ()))
        about = provenance()
        manifest = {
            "kind": kind,
            "id": uuid.uuid4().hex,
            "status": "running",
            "seed": seed,
            "started": about.pop("date"),
            **about,
            "sources": dict(sources or {}),
            "process": this_process(),
            "asked": config,  # as it was, should someone edit config.json
        }
        path = Path(out) if out is not None else run_folders.fresh_folder(kind, name)
        with run_folders.claimed(path) as lock:
            run = cls(path, config, to_json(manifest))
            # The manifest comes last: a folder without it is no run yet.
            atomic_write_json(path / run_folders.CONFIG, run.config)
            atomic_write_json(path / run_folders.MANIFEST, run.manifest)
        return run, lock

    @classmethod
    @contextmanager
    def resume(cls, path: Path | str) -> "Iterator[Run]":
        """Hold a run that was stopped, failed, or whose process died, to go on with it.

        The body makes what the run needs from `config`, gives it what `load_state` returns, and works as in `start`.
        Metrics and the clock go on. What has changed since the run was started is in `differences`.

        Raises:
            UserError: it is no run, a process still writes it, or it is finished.
        """
        path = cls.open(path).path
        with interrupted() as stop:
            with writing(path):
                lock = FolderLock(path)
            try:
                run = cls.open(path)
                process = run.manifest.get("process", {})
                if not lock.held and run.manifest["status"] == "running" and is_same_process_alive(process):
                    raise UserError(f"run {path} still runs, as process {process['pid']} on {process['host']}")
                if run.manifest["status"] == "finished":
                    raise UserError(f"run {path} is finished: there is nothing to go on with")
                run._take_up()
            except BaseException:
                lock.release()
                raise
            with run._living(stop, lock):
                yield run

    def _take_up(self) -> None:
        """Note that this process goes on with the run, and what has changed; clear what the last one left."""
        asked = self.manifest.get("asked", self.config)
        self.differences = [
            *_differences("config.json: {}", asked, self.config),
            *_differences("version of {}", self.manifest.get("versions", {}), versions()),
            *_differences("the machine's {}", self.manifest.get("machine", {}), describe_machine()),
        ]
        run_folders.clear_leftovers(self.path)
        checkpoints.remove_leftovers(self._checkpoints)
        self.manifest.setdefault("resumed", []).append({"date": now(), "differences": self.differences})
        self.manifest.pop("error", None)
        self.manifest["process"] = this_process()
        self.set_status("running")

    @contextmanager
    def _living(self, stop: Stop, lock: FolderLock) -> "Iterator[None]":
        """Hold the run while the body works, and record how it ended."""
        self.stop = stop
        try:
            yield
            self._end("interrupted" if stop.requested else "finished")
        except BaseException as error:
            wanted = stop.requested or isinstance(error, KeyboardInterrupt | GeneratorExit)
            if not wanted:
                self.manifest["error"] = in_one_line(error)
            with suppress(UserError):  # the disk that refused the work may refuse this too; a lost lock says enough
                self._end("interrupted" if wanted else "failed")
            raise
        finally:
            lock.release()

    def _end(self, status: Status) -> None:
        self._measured.close(status)
        if self.manifest["status"] == "running":  # `finish` has not been called
            self.set_status(status)

    @classmethod
    def open(cls, path: Path | str) -> "Run":
        """Read a run folder.

        Raises:
            UserError: if it is missing, not a run, or was left half-written.
        """
        path = Path(path)
        run_folders.check_is_run(path)
        manifest = read_json(path / run_folders.MANIFEST, form=Manifest)
        if manifest.get("kind") not in KINDS:
            raise UserError(f"{path}/manifest.json names no kind of run; kinds: {', '.join(KINDS)}")
        check_has(manifest, NEEDED)
        return cls(path, read_json(path / run_folders.CONFIG, form=Asked), manifest)

    @property
    def status(self) -> str:
        """How far the run is: running, finished, interrupted, failed, or killed, when its process is gone."""
        status = str(self.manifest["status"])
        if status == "running" and not is_written(self.path, self.manifest.get("process", {})):
            return "killed"
        return status

    @property
    def stopped(self) -> bool:
        """Whether someone asked this process to stop."""
        return self.stop.requested

    @property
    def seconds(self) -> float:
        """For how long the run has worked [s]; the time between a stop and going on does not count."""
        return self._measured.seconds

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
        """Append one measurement to metrics.jsonl, and hand it to the trackers that `config` names as "track".

        Args:
            step: the run's own step count.
            metrics: plain numbers by name. "step" and "wall_s" are added; see `seconds`.
        """
        self._measured.log(step, metrics)

    def log_image(self, step: int, name: str, image: "NDArray[np.uint8]") -> Path:
        """Keep a picture as pictures/<name>-<step>.png, and hand it to the trackers.

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
        self._measured.show(step, name, image)
        return path

    def metrics(self) -> list[dict[str, float]]:
        """Return what was logged, oldest first; a line cut off by a crash is left out."""
        return self._measured.rows()

    def publish(
        self,
        step: int,
        tensors: "dict[str, torch.Tensor]",
        meta: dict[str, Any],
        *,
        state: State | None = None,
        best: bool = False,
        keep: bool = True,
    ) -> Path:
        """Publish a checkpoint: it appears whole under its name, or not at all.

        Args:
            step: names the checkpoint; publishing the same step again replaces it. Log this step's metrics first:
                a run that goes on from here keeps what was logged up to this step.
            tensors: weights by name, on any device.
            meta: what is needed to rebuild the model, in JSON's own types.
            state: what training goes on from (see `training_state`); older checkpoints then lose theirs, so that a
                run holds one. Weights are not read back from `tensors`: a state holds whatever it needs.
            best: point `best` to it too. `last` always is.
            keep: otherwise it goes once a newer one is published, unless it is the best.

        Returns:
            the checkpoint's folder.

        Raises:
            UserError: if the disk refuses; the checkpoints from before are then untouched.
        """
        whole = None if state is None else {"step": step, "seconds": self.seconds, "training": state}
        self._measured.flush()
        return checkpoints.publish(self._checkpoints, step, tensors, meta, whole, best=best, keep=keep)

    @property
    def _checkpoints(self) -> Path:
        return self.path / "checkpoints"

    def load_state(self) -> State | None:
        """Return the newest training state, and go back to it: what was logged after it is dropped.

        Returns:
            what `publish` was given, or None where nothing has been published: the run then begins anew.

        Raises:
            UserError: the run has checkpoints, but none from which training can go on.
        """
        found = checkpoints.newest_state(self._checkpoints)
        if found is not None:
            step, whole = found
            with restoring(f"run {self.path}"):
                seconds, training = float(whole["seconds"]), dict(whole["training"])
            self._measured.go_back(step, seconds)
            return training
        if checkpoints.published_steps(self._checkpoints):
            raise UserError(f"run {self.path} keeps no training state, so it cannot go on; train anew")
        self._measured.go_back(-1, 0.0)
        return None

    def checkpoint(self, which: str | int = "last") -> Path:
        """Return a checkpoint's folder.

        Args:
            which: "last", "best" (the last one where none was marked), or a step.

        Raises:
            UserError: if there is no such checkpoint, naming those there are.
        """
        found = checkpoints.look_up(self._checkpoints, which)
        if found is not None:
            return found
        known = ", ".join(map(str, checkpoints.published_steps(self._checkpoints)))
        if not known:
            raise UserError(f"run {self.path} has no checkpoint yet (its status: {self.status})")
        raise UserError(f'run {self.path} has no checkpoint "{which}"; choices: last, best, {known}')

    def load(self, which: str | int = "last") -> "tuple[dict[str, torch.Tensor], dict[str, Any]]":
        """Return a checkpoint's tensors (on the CPU) and meta; see `checkpoint` for `which`."""
        return read_checkpoint(self.checkpoint(which))

    def finish(self, summary: dict[str, Any], *, status: Status | None = None) -> None:
        """Write summary.json and the final status: "interrupted" if `stopped`, else "finished", unless given."""
        status = status or ("interrupted" if self.stopped else "finished")
        self._measured.close(status)
        atomic_write_json(self.path / "summary.json", summary)
        self.set_status(status)

    def set_status(self, status: Status) -> None:
        """Record in the manifest how far the run is."""
        self.manifest["status"] = status
        atomic_write_json(self.path / run_folders.MANIFEST, self.manifest)

    @property
    def summary(self) -> dict[str, Any]:
        """What `finish` wrote; empty while the run has not finished."""
        path = self.path / "summary.json"
        return read_json(path, form=Summary) if path.exists() else {}


def _differences(what: str, before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Say which entries differ, one sentence each."""
    names = [*before, *(name for name in now if name not in before)]
    return [
        f"{what.format(name)} was {before.get(name, 'absent')}, is {now.get(name, 'absent')}"
        for name in names
        if before.get(name) != now.get(name)
    ]

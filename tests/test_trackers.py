"""Trackers: each is told the same, by the calls of its client, and none of them ends a training."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from goalsight.agents.train import Train
from goalsight.base import trackers
from goalsight.base.errors import UserError
from goalsight.base.runs import Run
from goalsight.base.trackers import TRACKERS, check_trackers
from goalsight.pretrain.train import Pretrain

IMAGE = np.zeros((4, 6, 3), np.uint8)


class Client:
    """Stands in for a client's module: notes every call."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
        self.found: list[Any] = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)

        def call(*args: Any, **options: Any) -> Any:
            self.calls.append((name, args, options))
            return {"init": self, "search_runs": self.found, "Image": "a picture"}.get(name)

        return call

    def named(self, name: str) -> list[tuple[tuple[Any, ...], dict[str, Any]]]:
        return [(args, options) for called, args, options in self.calls if called == name]


def stand_in(monkeypatch: pytest.MonkeyPatch, package: str) -> Client:
    client = Client()
    monkeypatch.setitem(sys.modules, package, client)
    monkeypatch.setattr(trackers.importlib.util, "find_spec", lambda name: SimpleNamespace())
    return client


def short_run(path: Path, *names: str, stop: bool = False) -> Run:
    with Run.start("train", {"steps": 3, "env": {"id": "a/B-v1"}, "track": names}, out=path, seed=0) as run:
        run.log(1, {"loss": 0.5, "eval/success": 1})
        run.log_image(2, "seen", IMAGE)
        run.publish(2, {}, {}, state={})
        run.stop.requested = stop
        run.finish({})
    return run


def test_wandb_is_told_of_numbers_pictures_and_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = stand_in(monkeypatch, "wandb")
    run = short_run(tmp_path / "mine", "wandb", stop=True)
    options = client.named("init")[0][1]
    assert (options["project"], options["name"], options["id"]) == ("goalsight", "mine", run.manifest["id"])
    assert options["config"]["steps"] == 3
    assert client.named("log") == [
        (({"loss": 0.5, "eval/success": 1.0},), {"step": 1}),
        (({"seen": "a picture"},), {"step": 2}),
    ]
    assert client.named("finish") == [((), {"exit_code": 1})]
    with Run.resume(run.path) as again:
        again.load_state()
        again.log(3, {"loss": 0.25})
        again.finish({})
    assert client.named("init")[1][1]["id"] == run.manifest["id"]
    assert client.named("finish")[1] == ((), {"exit_code": 0})


def test_mlflow_is_told_of_options_numbers_pictures_and_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = stand_in(monkeypatch, "mlflow")
    run = short_run(tmp_path / "mine", "mlflow", stop=True)
    assert client.named("start_run")[0][1]["tags"]["goalsight_run"] == run.manifest["id"]
    assert client.named("log_params")[0][0][0] == {"steps": "3", "env.id": "a/B-v1", "track": "['mlflow']"}
    assert client.named("log_metrics") == [(({"loss": 0.5, "eval/success": 1.0},), {"step": 1})]
    assert client.named("log_image")[0][1] == {"key": "seen", "step": 2}
    assert client.named("end_run") == [((), {"status": "KILLED"})]
    client.found = [SimpleNamespace(info=SimpleNamespace(run_id="77"))]
    with Run.resume(run.path) as again:
        again.log(3, {"loss": 0.25})
    assert client.named("start_run")[1][1] == {"run_id": "77"}


def test_trackio_is_told_of_numbers_and_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = stand_in(monkeypatch, "trackio")
    short_run(tmp_path / "mine", "trackio")
    assert client.named("init")[0][1]["project"] == "goalsight"
    assert client.named("log")[0] == (({"loss": 0.5, "eval/success": 1.0},), {"step": 1})
    assert len(client.named("finish")) == 1


def test_tensorboard_holds_what_was_logged_and_drops_what_a_resumed_run_does_again(tmp_path: Path) -> None:
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    with Run.start("train", {"track": ["tensorboard"]}, out=tmp_path / "run", seed=0) as run:
        for step in (1, 2, 3):
            run.log(step, {"loss": 1.0 / step})
            if step == 2:
                run.publish(2, {"w": torch.ones(1)}, {}, state={})
        run.log_image(3, "seen", IMAGE)
        run.stop.requested = True
    with Run.resume(run.path) as again:
        again.load_state()
        again.log(3, {"loss": 7.0})
        again.finish({})
    read = events.EventAccumulator(str(run.path / "tensorboard")).Reload()
    assert [(event.step, round(event.value, 3)) for event in read.Scalars("loss")] == [(1, 1.0), (2, 0.5), (3, 7.0)]


def test_several_trackers_at_once_and_none_unless_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = stand_in(monkeypatch, "wandb")
    short_run(tmp_path / "both", "tensorboard", "wandb")
    assert list((tmp_path / "both" / "tensorboard").iterdir())
    assert client.named("log")
    short_run(tmp_path / "none")
    assert sorted(path.name for path in (tmp_path / "none").iterdir()) == [
        "checkpoints", "config.json", "manifest.json", "metrics.jsonl", "pictures", "summary.json",
    ]  # fmt: skip


@pytest.mark.parametrize("broken", ["init", "log", "finish"])
def test_a_tracker_that_fails_is_one_line_and_ends_no_training(
    broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    client = stand_in(monkeypatch, "wandb")

    def fail(*_: Any, **__: Any) -> None:
        print("noise of a client")
        raise ConnectionError("no route\nto host")

    client.__dict__[broken] = fail
    run = short_run(tmp_path / "run", "wandb")
    said = capsys.readouterr()
    lines = [line for line in said.err.splitlines() if line.startswith("goalsight:")]
    assert lines == ["goalsight: tracker wandb failed and is left out: ConnectionError: no route to host"]
    assert said.out == ""
    assert Run.open(run.path).status == "finished"
    assert json.loads((run.path / "metrics.jsonl").read_text())["loss"] == 0.5


def test_unknown_and_absent_trackers_are_one_line_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match='no tracker "tensorbord"; did you mean "tensorboard"'):
        Train(track=("tensorbord",))
    monkeypatch.setattr(trackers.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="--track mlflow needs the package mlflow: pip install mlflow"):
        Pretrain(data=(Path("play"),), track=("mlflow",))
    with pytest.raises(UserError, match=r"pip install 'goalsight\[tensorboard\]'"):
        Run.create("train", {"track": ["tensorboard"]}, out=tmp_path / "run", seed=0)
    assert not (tmp_path / "run").exists()
    check_trackers(())


def test_a_tracker_of_someone_else_s_is_one_class_and_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    class Mine:
        package, install = "json", "json"

        def __init__(self, about: Any) -> None:
            seen.append((about.name, about.kind, about.step))

        def log(self, step: int, values: dict[str, float]) -> None:
            seen.append((step, values))

        def log_image(self, step: int, name: str, image: np.ndarray) -> None:
            seen.append((step, name, image.shape))

        def finish(self, status: str) -> None:
            seen.append(status)

    monkeypatch.setitem(sys.modules, "my_tracker", SimpleNamespace(Mine=Mine))
    monkeypatch.setattr(TRACKERS, "_parts", dict(TRACKERS))
    TRACKERS.add("mine", "my_tracker:Mine")
    short_run(tmp_path / "run", "mine")
    assert seen == [
        ("run", "train", None), (1, {"loss": 0.5, "eval/success": 1.0}), (2, "seen", (4, 6, 3)), "finished",
    ]  # fmt: skip

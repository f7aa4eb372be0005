"""Workers: jobs in processes of their own, none of which outlives its parent or takes another with it."""

import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import jobs
import pytest

from goalsight.base.errors import UserError
from goalsight.base.workers import job as job_module
from goalsight.base.workers import workers_of
from goalsight.base.workers.following import follow
from goalsight.base.workers.job import Job, prepare

WITHOUT_RAY = importlib.util.find_spec("ray") is None
KINDS = ["2", pytest.param("ray:local", marks=pytest.mark.skipif(WITHOUT_RAY, reason="ray is not installed"))]
DRIVER = """
import json, sys
from goalsight.base.interruption import interrupting, stopped_by
from goalsight.base.workers import workers_of
from goalsight.base.workers.job import Job
asked = [Job(name, "jobs:work_until_stopped", {"file": name, "stubborn": sys.argv[2] == "stubborn"}) for name in "abc"]
with interrupting():
    for outcome in workers_of(sys.argv[1]).run([Job("first", "jobs:add", {"a": 1, "b": 2}), *asked]):
        print(outcome.job.name, outcome.result, flush=True)
print("stopped by", stopped_by())
"""


@pytest.mark.parametrize("kind", KINDS)
def test_what_fails_is_one_line_and_loses_nothing_else(
    kind: str, workplace: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    asked = [
        Job("sum", "jobs:add", {"a": 2, "b": 3}),
        Job("misuse", "jobs:misuse"),
        Job("divide", "jobs:divide", log="divide.log"),
        Job("die", "jobs:die"),
        Job("gone", "jobs:nothing_of_that_name"),
        Job("large", "jobs:add", {"a": "x" * 200_000, "b": "y"}),
    ]
    outcomes = {one.job.name: one for one in follow(workers_of(kind), asked, total=6, what="try")}
    assert {name: one.error for name, one in outcomes.items()} == {
        "sum": "",
        "misuse": "no such thing; choices: none",
        "divide": "ZeroDivisionError: division by zero",
        "die": "its process was ended by SIGKILL",
        "gone": "AttributeError: module 'jobs' has no attribute 'nothing_of_that_name'",
        "large": "",
    }
    assert outcomes["sum"].result == 5
    assert outcomes["large"].result == "x" * 200_000 + "y"
    assert "in divide\n" in (workplace / "divide.log").read_text()
    lines = capfd.readouterr().err.splitlines()
    ended = [line.split(": ", 1) for line in lines if line.startswith("try ")]  # in a log, where no bar is seen
    assert [head for head, _ in ended] == [f"try {number}/6" for number in range(1, 7)]
    assert {name for _, name in ended} == set(outcomes)
    said = [line for line in lines if line.startswith("goalsight: ")]
    assert sorted(said) == [
        "goalsight: die failed: its process was ended by SIGKILL",
        "goalsight: divide failed: ZeroDivisionError: division by zero; see divide.log",
        f"goalsight: gone failed: {outcomes['gone'].error}",
        "goalsight: misuse failed: no such thing; choices: none",
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_a_job_has_a_process_with_one_thread_and_what_was_prepared(
    kind: str, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(job_module, "_prepared", [])
    monkeypatch.setattr(jobs, "registered", [])
    prepare("jobs:register", name="a task")
    assert jobs.registered == ["a task"]
    first, second = (one.result for one in workers_of(kind).run([Job(name, "jobs:about_here") for name in "ab"]))
    assert first.pop("pid") != second.pop("pid") != os.getpid()
    assert first == second == {"threads": 1, "folder": str(workplace), "registered": ["a task"]}


def test_results_come_as_they_are_ready_and_jobs_are_asked_for_as_there_is_room() -> None:
    seen: list[str] = []

    def asked() -> Iterator[Job]:
        for name, seconds in (("slow", 3.0), ("quick", 0.0), ("last", 0.0)):
            seen.append(f"take {name}")
            yield Job(name, "jobs:nap", {"seconds": seconds})

    for outcome in workers_of("2").run(asked()):
        seen.append(f"get {outcome.job.name}")
    assert seen == ["take slow", "take quick", "get quick", "take last", "get last", "get slow"]


def test_jobs_that_cannot_travel_are_refused() -> None:
    with pytest.raises(ValueError, match=r'named "module:qualname", got "os\.getpid"'):
        Job("bad", "os.getpid")
    for value in ((1, 2), {3}, float("nan"), Path("a")):
        with pytest.raises(ValueError, match="arguments of bad are not in JSON's own types"):
            Job("bad", "jobs:add", {"a": value})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("rey", 'no kind of workers "rey"; did you mean "ray"\\? choices: pool, ray'),
        ("0", 'a pool has a number of processes, at least 1, got "0"'),
        ("pool:many", 'a pool has a number of processes, at least 1, got "many"'),
        ("", 'no kind of workers "";'),
    ],
)
def test_workers_that_do_not_exist_are_one_line(text: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        workers_of(text)


def test_ray_that_is_not_installed_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"workers ray needs the package ray: pip install 'goalsight\[ray\]'"):
        workers_of("ray:10.0.0.1:6379")


def driver(kind: str, how: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", DRIVER, kind, how],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    wait_until(lambda: all(Path(f"{name}.pid").exists() and Path(f"{name}.pid").read_text() for name in "ab"))
    return process


def wait_until(holds, seconds: float = 120.0) -> None:  # type: ignore[no-untyped-def]
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


def lives(name: str) -> bool:
    try:
        os.kill(int(Path(f"{name}.pid").read_text()), 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_jobs_save_and_begins_no_others(kind: str, number: signal.Signals, workplace: Path) -> None:
    process = driver(kind, "gentle")
    # To the whole group, as a terminal does it.
    os.killpg(process.pid, number)
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    said = out.splitlines()
    assert said[0] == "first 3"
    assert said[-1] == f"stopped by {number.name}"
    if kind == "2":
        assert sorted(said[1:-1]) == ["a saved", "b saved"]
    assert {name for name in "abc" if Path(name).exists()} == {"a", "b"}
    assert not any(map(lives, "ab"))
    assert not Path("c.pid").exists()


def test_a_second_signal_ends_jobs_at_once(workplace: Path) -> None:
    process = driver("2", "stubborn")
    process.send_signal(signal.SIGINT)
    time.sleep(1.0)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode not in (None, 0)
    assert not any(map(lives, "ab"))
    assert not Path("a").exists()


@pytest.mark.parametrize("kind", KINDS)
def test_no_job_outlives_a_parent_that_was_killed(kind: str, workplace: Path) -> None:
    process = driver(kind, "gentle")
    process.kill()
    process.communicate()
    wait_until(lambda: not any(map(lives, "ab")))
    if kind == "2":  # Ray ends the children of a worker that it ends
        assert Path("a").read_text() == Path("b").read_text() == "saved"
    assert not Path("c.pid").exists()


def test_jobs_end_when_nobody_listens_any_more(workplace: Path) -> None:
    asked = [Job("quick", "jobs:add", {"a": 0, "b": 0}), Job("a", "jobs:work_until_stopped", {"file": "a"})]
    running = workers_of("2").run(asked)
    assert next(running).job.name == "quick"
    wait_until(lambda: Path("a.pid").exists() and Path("a.pid").read_text() != "")
    running.close()
    assert Path("a").read_text() == "saved"
    assert not lives("a")

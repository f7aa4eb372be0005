"""Functions for workers' jobs, which are named by where they lie."""

import os
import signal
import time
from pathlib import Path
from typing import Any

from goalsight.base.errors import UserError
from goalsight.base.interruption import interrupted

registered: list[str] = []


def add(a: int, b: int) -> int:
    print("this is not the result")
    return a + b


def about_here() -> dict[str, Any]:
    import torch

    return {"threads": torch.get_num_threads(), "pid": os.getpid(), "folder": os.getcwd(), "registered": registered}


def register(name: str) -> None:
    registered.append(name)


def misuse() -> None:
    raise UserError("no such thing;\nchoices: none")


def divide() -> float:
    return 1 / 0


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def nap(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def work_until_stopped(file: str, stubborn: bool = False) -> str:
    """Say in a file which process works, and once it was asked to stop that it has saved."""
    with interrupted() as stop:
        Path(f"{file}.pid").write_text(str(os.getpid()))
        while stubborn or not stop.requested:
            time.sleep(0.02)
        time.sleep(1.0)  # saving takes a while
        Path(file).write_text("saved")
    return "saved"


def node() -> str:
    """The node of a Ray cluster that this job is on, by its raylet; long enough for another job to need another."""
    time.sleep(3.0)
    return os.environ["RAY_RAYLET_PID"]

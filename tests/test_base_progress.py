"""Bars: on a terminal as tqdm draws them, in a log a line now and then."""

import io
import sys

import pytest

from goalsight.base import progress as bars
from goalsight.base.progress import progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch):
    """Time that stands still unless it is moved."""
    import tqdm.std

    now = [0.0]
    monkeypatch.setattr(tqdm.std, "time", lambda: now[0])
    return now


def test_a_log_gets_a_line_each_half_minute(clock, monkeypatch):
    log = io.StringIO()
    monkeypatch.setattr(sys, "stderr", log)
    with progress(total=100, desc="work", unit="job") as bar:
        for _ in range(100):
            clock[0] += 1.0
            bar.update()
    lines = log.getvalue().split("\n")
    assert [line[:9] for line in lines] == ["work:  30", "work:  60", "work:  90", "work: 100", ""]
    assert "\r" not in log.getvalue()


def test_short_work_says_nothing_in_a_log(clock, monkeypatch):
    log = io.StringIO()
    monkeypatch.setattr(sys, "stderr", log)
    with progress(total=2) as bar:
        for _ in range(2):
            clock[0] += bars.LINE_EVERY / 3
            bar.update()
    assert log.getvalue() == ""


def test_a_terminal_sees_the_bar_at_once_and_at_one_place(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with progress(total=2, desc="work") as bar:
        bar.update()
    assert "work:   0%" in terminal.getvalue()
    assert "\r" in terminal.getvalue()

"""What all tests share: one thread, reproducible property tests, and a folder of their own to run commands in."""

import os
from pathlib import Path

# Before torch is loaded, and for whatever the tests start: their networks are so small that more threads wait for each
# other most of the time, where tests run side by side ten times as long as one would take.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from hypothesis import settings

# Shared and slow machines make wall-clock deadlines flaky; the examples are the same in every run.
settings.register_profile("goalsight", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("goalsight")


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that is the current one, so that runs/ appears there."""
    monkeypatch.chdir(tmp_path)
    return tmp_path

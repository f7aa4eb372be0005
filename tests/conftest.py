"""What all tests share: reproducible property tests, and a folder of their own to run commands in."""

from pathlib import Path

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

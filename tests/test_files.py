"""Files are written whole or not at all, and hold plain values."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import goalsight.base.files
from goalsight.base.errors import UserError
from goalsight.base.files import atomic_write_json, to_json


def test_an_atomic_write_keeps_the_old_file_when_it_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(sibling: Path, target: Path) -> None:
        raise OSError(5, "Input/output error")

    path = tmp_path / "a.json"
    atomic_write_json(path, {"old": 1})
    with monkeypatch.context() as patched:
        patched.setattr(goalsight.base.files.os, "replace", crash)
        with pytest.raises(UserError, match=r"cannot write .*a\.json: Input/output error"):
            atomic_write_json(path, {"new": 2})
    assert json.loads(path.read_text()) == {"old": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.json"]


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=30)
@given(plain)
def test_plain_values_survive_json(value: object) -> None:
    assert json.loads(json.dumps(to_json(value), allow_nan=False)) == value


def test_arrays_paths_and_infinities_become_plain() -> None:
    value = {"a": np.arange(2), "b": np.float32(0.5), "c": Path("x"), 1: float("inf"), "t": torch.ones(1)}
    assert to_json(value) == {"a": [0, 1], "b": 0.5, "c": "x", "1": None, "t": [1.0]}

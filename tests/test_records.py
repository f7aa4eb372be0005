"""JSON that was read from a file: what is missing or of another kind is one line that names the file."""

import copy
import json
import math
import pickle
from pathlib import Path
from typing import Any, Literal, TypedDict

import pytest

from goalsight.base.errors import UserError
from goalsight.base.files import read_json
from goalsight.base.metrics import drop_after, read_rows
from goalsight.base.records import Record, check_form, is_number


class Form(TypedDict, total=False):
    count: int
    share: float | None
    kind: Literal["a", "b"]
    names: list[str]
    inner: dict[str, float]


GOOD: dict[str, Any] = {"count": 3, "share": 1, "kind": "a", "names": ["x"], "inner": {"y": 0.5}, "note": [None]}


def test_what_fits_is_read_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"count": 3, "share": null, "kind": "b", "names": [], "inner": {"y": 1}}')
    read = read_json(tmp_path / "a.json", form=Form)
    assert read == {"count": 3, "share": None, "kind": "b", "names": [], "inner": {"y": 1}}
    check_form(GOOD, Form, "a.json")
    check_form({}, Form, "a.json")


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("count", "3", "a.json: count cannot be '3'"),
        ("count", True, "a.json: count cannot be True"),
        ("count", 3.0, "a.json: count cannot be 3.0"),
        ("share", [], r"a.json: share cannot be \[\]"),
        ("share", 10**400, "a.json: share cannot be 10000"),
        ("share", math.nan, "a.json: share cannot be nan"),
        ("kind", "c", "a.json: kind cannot be 'c'"),
        ("kind", [], r"a.json: kind cannot be \[\]"),
        ("names", ["x", 1], "a.json: names: 1 cannot be 1"),
        ("names", {}, r"a.json: names cannot be \{\}"),
        ("inner", {"y": None}, "a.json: inner: y cannot be None"),
        ("inner", 0.5, "a.json: inner cannot be 0.5"),
    ],
)
def test_what_does_not_fit_is_named(name: str, value: Any, says: str) -> None:
    with pytest.raises(UserError, match=says):
        check_form(GOOD | {name: value}, Form, "a.json")


def test_an_entry_that_is_missed_is_named_wherever_it_lies(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"rows": [{"b": {}}]}')
    read = read_json(tmp_path / "a.json")
    for ask in (lambda: read["x"], lambda: read["rows"][0]["b"]["x"]):
        with pytest.raises(UserError, match=r"a\.json has no x"):
            ask()
    assert read.get("x") is None
    assert "x" not in read
    for same in (copy.deepcopy(read), pickle.loads(pickle.dumps(read))):
        assert same == read
        assert isinstance(same, Record)


@pytest.mark.parametrize("text", ['{"a": NaN}', '{"a": 1e999}', '{"a": -Infinity}', "[]", "", '{"a": 1', "[" * 100_000])
def test_what_is_no_json_of_finite_numbers_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(UserError, match=r"cannot read .*a\.json") as caught:
        read_json(tmp_path / "a.json")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("line", ['{"step": "x"}', '{"step": 1, "loss": [1]}', '{"step": 1, "wall_s": {}}'])
def test_a_measurement_that_is_no_number_is_named_with_its_line(tmp_path: Path, line: str) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(f'{{"step": 0, "loss": null}}\n{line}\n')
    for read in (read_rows, lambda path: drop_after(path, 0)):
        with pytest.raises(UserError, match=r"metrics\.jsonl: line 2: \w+ cannot be"):
            read(path)
    path.write_text('{"loss": 1}\n{"step": 1, "lo')
    (row,) = read_rows(path)
    with pytest.raises(UserError, match=r"metrics\.jsonl: line 1 has no step"):
        row["step"]


def test_numbers() -> None:
    assert [is_number(value) for value in (1, 0.5, -(10**300))] == [True] * 3
    assert not any(map(is_number, (True, None, "1", math.inf, math.nan, 10**400)))


def test_what_would_steer_a_terminal_is_shown_as_a_sign(tmp_path):
    said = {"name": "\x1b[31mred\x07", "lines": ["one\ntwo\tthree", "\x9b2J"], "\x1bkey": {"deep": "\x00"}, "n": 3}
    path = tmp_path / "said.json"
    expected = {
        "name": "\ufffd[31mred\ufffd",
        "lines": ["one\ntwo\tthree", "\ufffd2J"],
        "\ufffdkey": {"deep": "\ufffd"},
        "n": 3,
    }
    for ascii_only in (True, False):
        path.write_text(json.dumps(said, ensure_ascii=ascii_only))
        assert read_json(path) == expected


def test_integers_that_nobody_means_are_refused(tmp_path):
    path = tmp_path / "said.json"
    path.write_text(f'{{"n": {10**400}}}')
    with pytest.raises(UserError, match="an integer of 401 digits"):
        read_json(path)
    path.write_text(f'{{"n": {2**127}}}')  # as in the state of a generator
    assert read_json(path) == {"n": 2**127}

    class Counted(TypedDict):
        n: int

    with pytest.raises(UserError, match=f"n cannot be {2**127}"):
        read_json(path, form=Counted)

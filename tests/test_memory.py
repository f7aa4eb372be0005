"""How much memory is free, by what a control group says of itself."""

import pytest

from goalsight.base.errors import UserError
from goalsight.base.memory import _available_to_group, check_memory


@pytest.mark.parametrize(
    ("limit", "left"),
    [("8000", 6200), ("max", None), ("what", None)],
)
def test_files_that_are_merely_cached_count_as_free(tmp_path, limit, left):
    (tmp_path / "memory.max").write_text(f"{limit}\n")
    (tmp_path / "memory.current").write_text("7800\n")
    (tmp_path / "memory.stat").write_text("anon 1800\ninactive_file 6000\n")
    assert _available_to_group(tmp_path) == left


def test_without_a_group_there_is_no_limit(tmp_path):
    assert _available_to_group(tmp_path) is None


def test_what_does_not_fit_is_said_with_both_sizes():
    with pytest.raises(UserError, match=r"^a store needs 1,000,000,000 MB, of which .* MB are free; take fewer$"):
        check_memory("a store", 10**15, "take fewer")

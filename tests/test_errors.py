"""What a wrong name is answered with."""

import pytest

from goalsight.base.errors import MOST_LISTED, UserError, blaming, choose


def test_a_name_that_exists_is_returned() -> None:
    assert choose("arm", "panda", ["ur5e", "panda"]) == "panda"


def test_few_choices_are_all_named() -> None:
    with pytest.raises(UserError) as caught:
        choose("arm", "pandda", ["ur5e", "panda"])
    assert str(caught.value) == 'no arm "pandda"; did you mean "panda"? choices: panda, ur5e'
    with pytest.raises(UserError, match=r'^no arm "q"; choices: panda, ur5e$'):
        choose("arm", "q", ["ur5e", "panda"])


def test_strangers_are_blamed_for_whatever_they_raise() -> None:
    for raised, said in (
        (RuntimeError("two\nlines"), "it failed: RuntimeError: two lines"),
        (SystemExit(), "it failed: SystemExit"),
        (UserError("no arm here"), "it failed: no arm here"),
    ):
        with pytest.raises(UserError) as caught, blaming("it failed"):
            raise raised
        assert str(caught.value) == said
    with pytest.raises(KeyboardInterrupt), blaming("it failed"):
        raise KeyboardInterrupt


def test_of_very_many_choices_the_nearest_are_named() -> None:
    many = [f"task_{i:02d}" for i in range(MOST_LISTED + 6)]
    with pytest.raises(UserError) as caught:
        choose("task", "tsk_07", many)
    line = str(caught.value)
    assert line.startswith('no task "tsk_07"; did you mean "task_07"? choices: task_07, ')
    assert line.endswith(f" and {MOST_LISTED + 6 - 5} more")
    assert len(line) < 150

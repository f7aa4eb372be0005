"""Signals ask a loop to end."""

import os
import signal
import threading

import pytest

from goalsight.base.interruption import interrupted, stopped_by


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_asks_the_loop_to_end_and_a_second_one_ends_it(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with interrupted() as stop:
        assert not stop.requested
        os.kill(os.getpid(), number)
        assert stop.requested
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
    assert stopped_by() == number.name
    assert signal.getsignal(number) is before
    with interrupted():
        assert stopped_by() == ""


def test_outside_the_main_thread_signals_are_left_alone() -> None:
    seen = []

    def loop() -> None:
        with interrupted() as stop:
            seen.append((stop.requested, signal.getsignal(signal.SIGTERM)))

    thread = threading.Thread(target=loop)
    before = signal.getsignal(signal.SIGTERM)
    thread.start()
    thread.join()
    assert seen == [(False, before)]

"""Rounds of watching: which is best, and when the last one is still to be judged."""

from goalsight.agents.watching.rounds import Rounds


def test_nothing_is_known_of_no_round():
    none = Rounds()
    assert (bool(none), none.env_steps, none.last, none.best) == (False, 0, None, None)
    assert not none.awaits_judgement(0)


def test_the_last_round_is_judged_once_and_before_any_trial():
    rounds = Rounds([{"env_steps": 100, "success": 0.6}, {"env_steps": 180, "success": 0.4}, {"env_steps": 260}])
    assert (rounds.env_steps, rounds.last, rounds.best) == (260, None, 0.6)
    assert not rounds.awaits_judgement(300), "trial has begun"
    rounds.judge(300, 1.0)
    assert rounds.last is None
    assert rounds.awaits_judgement(260)
    rounds.judge(260, 0.5)
    rounds.judge(260, 0.9)
    assert (rounds.last, rounds.best) == (0.5, 0.6)

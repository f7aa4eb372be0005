"""How an arm learns from silent video."""

from dataclasses import dataclass, replace
from typing import Self

from goalsight.base.errors import UserError
from goalsight.base.options import check_not_negative, check_positive, check_share

LEAST_PLAY = 10  # episodes
MOST_EPISODES = 9_000  # so many seeds are each run's own
# What is asked for unless something else is: of an encoder that has to learn from play alone where things are, and of
# one that has found points in video before.
UNTAUGHT = {"play": 192, "attempts": 128, "estimator_updates": 4800, "inverse_updates": 3000}
TAUGHT = {"play": 48, "attempts": 48, "estimator_updates": 1200, "inverse_updates": 1000}


@dataclass(frozen=True)
class Watching:
    """Options of learning from silent video: play, read, label, imitate, attempt, and rehearse."""

    play: int | None = None
    """Episodes of unskilled play at the start, from which everything below is learnt first; their steps count. 192, or
    48 with an encoder that finds points, unless given."""
    rounds: int = 3
    """Rounds of attempts: the arm does what it has imitated, learns from that, and labels the video anew."""
    attempts: int | None = None
    """Episodes of each round; their steps count. 128, or 48 with an encoder that finds points, unless given."""
    noise: float = 0.3
    """Standard deviation of the noise on the actions of attempts; actions lie in [-1, 1]."""
    estimator_updates: int | None = None
    """Gradient steps of the state estimator on play; half as many after each round of attempts. 4,800, or 1,200 with an
    encoder that finds points, unless given."""
    inverse_updates: int | None = None
    """Gradient steps of the inverse model, on play and after each round. 3,000, or 1,000 with an encoder that finds
    points, unless given."""
    imitation_updates: int = 6000
    """Gradient steps by which the actor imitates the labelled video, after play and after each round."""
    last_goals: float = 0.5
    """Share of the imitated goals that are the last frame of the video's episode; the others are any later one."""
    cloning: float = 20.0
    """Weight of imitating the labelled video in the actor's loss while it learns by trial."""
    hold: int = 3_000
    """Environment steps at the start of trial in which the actor only imitates, while the critics learn its values."""
    least_explained: float = 0.5
    """Labels are believed where the inverse model explains at least this share of the variance of the arm's own
    actions, in held-out play (R2)."""
    most_doubt: float = 2.0
    """Labels are believed where the members of the inverse model disagree on the video at most so many times as much
    as on held-out play."""

    def __post_init__(self) -> None:
        given = [name for name in UNTAUGHT if getattr(self, name) is not None]
        check_positive(self, *given, "imitation_updates")
        check_not_negative(self, "rounds", "noise", "cloning", "hold", "most_doubt")
        check_share(self, "last_goals", "least_explained")
        if self.play is not None and self.play < LEAST_PLAY:
            raise UserError(f"play must be at least {LEAST_PLAY} episodes, of which one is held out, got {self.play}")
        if (episodes := (self.play or 0) + self.rounds * (self.attempts or 0)) > MOST_EPISODES:
            raise UserError(f"play and all attempts may take {MOST_EPISODES:,} episodes, got {episodes:,}")

    def settled(self, *, points: bool) -> Self:
        """Return the same with numbers where none were given.

        Args:
            points: whether the encoder finds points.

        Raises:
            UserError: if play and attempts are too many.
        """
        usual = TAUGHT if points else UNTAUGHT
        return replace(self, **{name: usual[name] for name in usual if getattr(self, name) is None})

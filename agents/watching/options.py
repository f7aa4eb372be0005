"""How an arm learns from silent video."""

from dataclasses import dataclass, replace
from typing import Self

from goalsight.base.errors import UserError
from goalsight.base.options import check_not_negative, check_positive, check_share

LEAST_PLAY = 10  # episodes
MOST_EPISODES = 9_000  # so many seeds are each run's own
ESTIMATOR_UPDATES, WITH_POINTS = 4800, 1200  # from nothing, and from points that the encoder has found before


@dataclass(frozen=True)
class Watching:
    """Options of learning from silent video: play, read, label, imitate, attempt, and rehearse."""

    play: int = 96
    """Episodes of unskilled play at the start, from which everything below is learnt first; their steps count."""
    rounds: int = 5
    """Rounds of attempts: the arm does what it has imitated, learns from that, and labels the video anew."""
    attempts: int = 64
    """Episodes of each round; their steps count."""
    noise: float = 0.3
    """Standard deviation of the noise on the actions of attempts; actions lie in [-1, 1]."""
    estimator_updates: int | None = None
    """Gradient steps of the state estimator on play; half as many after each round of attempts. 4,800, or 1,200 with an
    encoder that finds points, unless given."""
    inverse_updates: int = 1000
    """Gradient steps of the inverse model, on play and after each round."""
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
    actions, in the middle one of the episodes of play held out."""
    most_doubt: float = 1.6
    """Labels are believed where the members of the inverse model disagree on the video at most so many times as much
    as on held-out play."""

    def __post_init__(self) -> None:
        given = () if self.estimator_updates is None else ("estimator_updates",)
        check_positive(self, "play", "attempts", *given, "inverse_updates", "imitation_updates")
        check_not_negative(self, "rounds", "noise", "cloning", "hold", "most_doubt")
        check_share(self, "last_goals", "least_explained")
        if self.play < LEAST_PLAY:
            raise UserError(f"play must be at least {LEAST_PLAY} episodes, of which one is held out, got {self.play}")
        if (episodes := self.play + self.rounds * self.attempts) > MOST_EPISODES:
            raise UserError(f"play and all attempts may take {MOST_EPISODES:,} episodes, got {episodes:,}")

    def settled(self, *, points: bool) -> Self:
        """Return the same with the estimator's updates, where none were given.

        Args:
            points: whether the encoder finds points.
        """
        usual = WITH_POINTS if points else ESTIMATOR_UPDATES
        return replace(self, estimator_updates=self.estimator_updates or usual)

"""How an arm learns from silent video."""

from dataclasses import dataclass

from goalsight.base.errors import UserError
from goalsight.base.options import check_not_negative, check_positive, check_share

LEAST_PLAY = 10  # episodes
MOST_EPISODES = 9_000  # so many seeds are each run's own


@dataclass(frozen=True)
class Watching:
    """Options of learning from silent video: play, read, label, imitate, attempt, and rehearse."""

    play: int = 192
    """Episodes of play without skill, before anything is known; their steps count."""
    rounds: int = 2
    """Times that the arm attempts what it imitates, and reads the video anew by what that taught it."""
    attempts: int = 128
    """Episodes of each of those rounds; their steps count."""
    noise: float = 0.3
    """Standard deviation of the noise on the actions of attempts."""
    lessons: int = 4800
    """Updates of the state estimator by play; half as many after each round of attempts."""
    inverse_updates: int = 3000
    """Updates of the inverse model, each time."""
    imitation_updates: int = 6000
    """Updates of the actor by the labelled video, each time."""
    last_goals: float = 0.5
    """Share of the imitated goals that are the last frame of the video's episode; the others are any later one."""
    cloning: float = 20.0
    """Weight of the video's actions in the actor's loss while it learns by trial, beside values."""
    hold: int = 3_000
    """First environment steps by trial in which the actor only rehearses, while the critics learn to judge it."""
    least_explained: float = 0.5
    """Share of the variance of the arm's own actions, in play held out, that must be read for labels to be believed."""
    most_doubt: float = 2.0
    """Disagreement of the inverse model's members on the video, over that on play held out, up to which they are."""

    def __post_init__(self) -> None:
        check_positive(self, "play", "attempts", "lessons", "inverse_updates", "imitation_updates")
        check_not_negative(self, "rounds", "noise", "cloning", "hold", "most_doubt")
        check_share(self, "last_goals", "least_explained")
        if self.play < LEAST_PLAY:
            raise UserError(f"play must be at least {LEAST_PLAY} episodes, of which one is held out, got {self.play}")
        if (episodes := self.play + self.rounds * self.attempts) > MOST_EPISODES:
            raise UserError(f"play and all attempts may take {MOST_EPISODES:,} episodes, got {episodes:,}")

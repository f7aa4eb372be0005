"""The agents that are compared in what watching is worth: what each watches, how, and for how long it learns."""

from dataclasses import dataclass, replace
from typing import Literal

from watching_doses import DOSES

from goalsight.agents.algorithms.sac import SACOptions
from goalsight.agents.watching.options import Watching

Length = Literal["watching", "with trial", "alone", "half alone", "few", "few with trial", "often"]
# What was registered first: since 2026-11-29 a third of the inverse model's updates is usual, since 2026-11-30 OFTEN.
USUAL = Watching(play=192, attempts=128, rounds=3, estimator_updates=4800, inverse_updates=3000)
# Few steps of its own: the estimator of a random encoder gets four times the updates, as many as pretraining takes.
FEW = Watching(play=48, attempts=48, rounds=2, estimator_updates=1200, inverse_updates=3000)
FEW_RANDOM = replace(FEW, estimator_updates=4800)
# Half as much play before the first labels, and attempts by halves: the labels are read anew twice as often.
OFTEN = Watching(play=96, attempts=64, rounds=5, estimator_updates=4800)
FEWER, FEWER_RANDOM = (replace(how, inverse_updates=1000) for how in (FEW, FEW_RANDOM))
PRETRAINING = 800  # steps
LOOKS = ("colour", "light", "camera", "distractors")


@dataclass(frozen=True)
class Arm:
    """Agents that are alike but for their seed."""

    shows: Literal["nothing", "expert", "aimless", "shuffled"] = "nothing"  # the video
    episodes: int = 0  # of it
    length: Length = "with trial"
    obs: Literal["state", "pixels"] = "pixels"
    labels: Literal["read", "true", "random"] = "read"  # the actions that the video is imitated by
    task: str = ""  # of the video, where it is another
    robot: str = "panda"  # in the video
    encoder: Literal["random", "points"] = "random"  # points: pretrained on the video, before it is imitated
    watching: Watching = USUAL
    vary: tuple[str, ...] = ()  # what looks otherwise in every episode: of the video, of training, and when judged
    frozen: bool = False  # sees the encoder's frozen tokens or points; the video is for the encoder alone
    critics: int = SACOptions.critics

    @property
    def recording(self) -> tuple[str, int, str, str, tuple[str, ...]]:
        """What is recorded for it: arms that are alike in this watch the same recording."""
        return ("expert" if self.shows == "shuffled" else self.shows, self.episodes, self.task, self.robot, self.vary)


ARMS = {
    "expert-2500": Arm("expert", 2500),
    "expert-500": Arm("expert", 500),
    "expert-2500-often": Arm("expert", 2500, "often", watching=OFTEN),
    "no-video": Arm(length="alone"),
    "no-video-ten": Arm(length="alone", critics=10),
    "state": Arm(length="alone", obs="state"),
    "shuffled-500": Arm("shuffled", 500, "watching"),
    "aimless-500": Arm("aimless", 500, "watching"),
    "true-2500": Arm("expert", 2500, "watching", labels="true"),
    "random-labels-500": Arm("expert", 500, "watching", labels="random"),
    "expert-100": Arm("expert", 100, "watching"),
    "expert-25": Arm("expert", 25, "watching"),
    "other-task-500": Arm("expert", 500, "watching", task="reach"),
    "other-arm-2500": Arm("expert", 2500, "watching", robot="ur5e"),
    "expert-10000": Arm("expert", 10_000, "watching"),
    "points-1000": Arm("expert", 1000, "few", encoder="points", watching=FEW),
    "random-1000": Arm("expert", 1000, "few", watching=FEW_RANDOM),
    "points-1000-varied": Arm("expert", 1000, "few", encoder="points", watching=FEWER, vary=LOOKS),
    "random-1000-varied": Arm("expert", 1000, "few", watching=FEWER_RANDOM, vary=LOOKS),
    "frozen-points-1000": Arm("expert", 1000, "half alone", encoder="points", frozen=True),
    "frozen-random": Arm(length="half alone", frozen=True),
    "points-1000-true": Arm("expert", 1000, "few", encoder="points", watching=FEW, labels="true"),
    "points-1000-random-labels": Arm("expert", 1000, "few", encoder="points", watching=FEW, labels="random"),
    "points-1000-shuffled": Arm("shuffled", 1000, "few", encoder="points", watching=FEW),
    "points-1000-aimless": Arm("aimless", 1000, "few", encoder="points", watching=FEW),
    "points-1000-other-task": Arm("expert", 1000, "few", encoder="points", watching=FEW, task="reach"),
    "points-1000-ur5e": Arm("expert", 1000, "few", encoder="points", watching=FEWER, robot="ur5e"),
    **{
        arm: Arm("expert", episodes, "few with trial", encoder="points", watching=FEWER)
        for arm, episodes in DOSES.items()
    },
    **{f"random-{episodes}": Arm("expert", episodes, "few", watching=FEWER_RANDOM) for episodes in (100, 500, 2_500)},
}
# Environment steps in all. Watching alone takes 192 + 3 x 128 episodes, of 40 steps each in Push, 50 in PickPlace and
# Drawer, 150 in Stack2; few are 3 x 48 episodes, often is 96 + 5 x 64.
LENGTHS: dict[str, dict[Length, int]] = {
    "push": {
        "watching": 23_200,
        "with trial": 40_000,
        "alone": 100_000,
        "half alone": 50_000,
        "few": 5_800,
        "few with trial": 20_000,
        "often": 17_000,
    },
    "pick_place": {
        "watching": 29_000,
        "with trial": 45_000,
        "alone": 150_000,
        "half alone": 75_000,
        "few": 7_300,
        "few with trial": 25_000,
        "often": 21_000,
    },
    "drawer": {
        "watching": 29_000,
        "with trial": 45_000,
        "alone": 60_000,
        "half alone": 30_000,
        "few": 7_300,
        "few with trial": 25_000,
        "often": 21_000,
    },
    "stack2": {
        "watching": 87_000,
        "with trial": 120_000,
        "alone": 120_000,
        "half alone": 60_000,
        "few": 22_000,
        "few with trial": 60_000,
        "often": 63_000,
    },
}

"""What watching has come to after a round, as it is used and as a run keeps it to go on from."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import torch

from goalsight.agents.networks.estimates import Estimates
from goalsight.agents.networks.policy import GoalActor
from goalsight.agents.recordings import Recording
from goalsight.agents.watching.experience import Experience
from goalsight.base.training_state import State


@dataclass
class Watched:
    """What watching came to.

    Attributes:
        experience: all that the arm has played itself.
        features: how it sees.
        recording: the labelled video as the actor sees it; None where nothing can be learnt of it.
        actor: imitates the video; None where there is none.
        rounds: what each round measured.
        unread: which of an action's numbers could not be read off the video.
    """

    experience: Experience
    features: Estimates
    recording: Recording | None
    actor: GoalActor | None
    rounds: list[dict[str, Any]]
    unread: tuple[int, ...] = ()

    def state(self) -> State:
        """All of it, for `restored`, where there is something to imitate."""
        assert self.recording is not None, "there is nothing to go on from"
        assert self.actor is not None
        return {
            "experience": self.experience.state(),
            **self.features.state(),
            "recording": self.recording.whole(),
            "draws": self.recording.state(),
            "actor": self.actor.state_dict(),
            "rounds": self.rounds,
            "unread": list(self.unread),
        }

    @classmethod
    def restored(
        cls, state: State, make_actor: Callable[[Estimates, Experience], GoalActor], device: torch.device | str
    ) -> Self:
        """Make again what `state` gave.

        Args:
            state: as it was kept.
            make_actor: makes an actor whose weights are replaced.
            device: where networks compute.
        """
        experience = Experience.restored(state["experience"])
        features = Estimates.from_kept(**state["estimates"]).to(device)
        recording = Recording.restored(state["recording"])
        recording.load(state["draws"])
        actor = make_actor(features, experience)
        actor.load_state_dict(state["actor"])
        return cls(experience, features, recording, actor, list(state["rounds"]), tuple(state["unread"]))

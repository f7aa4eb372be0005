"""What algorithms have in common whose actor follows critics."""

import torch
from torch import Tensor

from goalsight.agents.algorithms.base import Algorithm
from goalsight.agents.networks.averaging import Average
from goalsight.agents.networks.policy import Critics, GoalActor
from goalsight.base.errors import UserError
from goalsight.base.training_state import State


class Returns:
    """Keeps targets within what the rewards seen so far could add up to (Andrychowicz et al. 2017, appendix A).

    Nothing else holds them there: a value that bootstrapping has carried below the least possible return is
    bootstrapped in turn, and the critics run away.

    Args:
        gamma: discount, in [0, 1).
        device: of the targets.

    Raises:
        UserError: on another discount.
    """

    def __init__(self, gamma: float, device: torch.device) -> None:
        if not 0.0 <= gamma < 1.0:
            raise UserError(f"gamma must lie in [0, 1), got {gamma}")
        self._gamma = gamma
        self._least = self._greatest = torch.zeros((), device=device)  # rewards seen, and what follows an end

    def __call__(self, target: Tensor, rewards: Tensor) -> Tensor:
        """Targets (B,), within bounds that `rewards` (B, 1) count for too."""
        low, high = rewards.aminmax()
        self._least, self._greatest = torch.minimum(self._least, low), torch.maximum(self._greatest, high)
        return target.clamp(self._least / (1 - self._gamma), self._greatest / (1 - self._gamma))

    def state(self) -> State:
        """The least and the greatest reward."""
        return {"least": self._least.clone(), "greatest": self._greatest.clone()}

    def load(self, state: State) -> None:
        """Go back to a state."""
        device = self._least.device
        self._least, self._greatest = state["least"].to(device), state["greatest"].to(device)


class ActorCritic(Algorithm):
    """Learns while the arm plays; what is evaluated is an average of the actor's latest weights."""

    online = True
    critic: Critics
    critic_target: Critics
    _bounds: Returns
    _average: Average

    @property
    def judged(self) -> GoalActor:
        """See `Algorithm`."""
        return self._average.network

    def state(self) -> State:
        """See `Algorithm`."""
        return super().state() | {"bounds": self._bounds.state(), "average": self._average.state()}

    def load(self, state: State) -> None:
        """See `Algorithm`."""
        super().load(state)
        self._bounds.load(state["bounds"])
        self._average.load(state.get("average"))

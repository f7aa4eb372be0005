"""A network's running mean: steadier than the latest weights, which follow every batch."""

import copy
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

from goalsight.base.training_state import State

Network = TypeVar("Network", bound=nn.Module)


class Average(Generic[Network]):
    """The mean of a network's weights over its updates (Polyak and Juditsky 1992), which forgets old ones evenly.

    The plain mean at first; once it has seen `span` updates, each further one counts 1 / span.

    Args:
        network: whose weights are averaged; stays as it is.
        span: how many updates the mean reaches back, at least 1; with 1 it is the network itself.
    """

    def __init__(self, network: Network, span: int) -> None:
        self._own, self._mean = network, copy.deepcopy(network).requires_grad_(False)
        self._span, self._seen = span, 0
        self._latest: list[Tensor] = [p.detach() for p in network.parameters()]
        self._averaged: list[Tensor] = [p.detach() for p in self._mean.parameters()]

    @property
    def network(self) -> Network:
        """The mean; the network itself until the first update."""
        return self._mean if self._seen else self._own

    def update(self) -> None:
        """Count what the network's weights are now; what they were before the first update counts for nothing."""
        self._seen += 1
        torch._foreach_lerp_(self._averaged, self._latest, max(1 / self._seen, 1 / self._span))

    def state(self) -> State:
        """The mean, and how many updates it has seen."""
        return {"seen": self._seen, "mean": [part.clone() for part in self._averaged]}

    def load(self, state: State | None) -> None:
        """Go back to a state; the network's own, buffers among them, must be back already.

        None, of runs from before there were means, begins anew.
        """
        self._mean.load_state_dict(self._own.state_dict())
        self._seen = 0 if state is None else state["seen"]
        with torch.no_grad():
            for own, part in zip(self._averaged, [] if state is None else state["mean"], strict=state is not None):
                own.copy_(part)

"""The averaged actor: by hand, and as agents are judged and kept by it."""

import pytest
import torch
from torch import nn

from goalsight.agents.networks.averaging import Average


def with_weight(value: float) -> nn.Linear:
    """A layer whose one weight is `value`."""
    layer = nn.Linear(1, 1, bias=False)
    set_weight(layer, value)
    return layer


def set_weight(layer: nn.Linear, value: float) -> None:
    with torch.no_grad():
        layer.weight.fill_(value)


def test_the_mean_of_the_first_updates_is_theirs_and_later_ones_replace_it() -> None:
    """Of 2, 4 and 9 with a span of two: 2, then 3, then half of 3 and half of 9."""
    layer = with_weight(7.0)
    average = Average(layer, 2)
    found = []
    for value in (2.0, 4.0, 9.0):
        set_weight(layer, value)
        average.update()
        found.append(average.network.weight.item())
    assert found == [2.0, 3.0, 6.0]


def test_until_the_first_update_it_is_the_network_itself() -> None:
    """What was set and not learnt, as by imitation, is acted by."""
    layer = with_weight(1.0)
    average = Average(layer, 5)
    set_weight(layer, 3.0)
    assert average.network is layer


def test_with_a_span_of_one_it_is_the_latest() -> None:
    """Nothing of what was before stays."""
    layer = with_weight(1.0)
    average = Average(layer, 1)
    for value in (5.0, -2.0):
        set_weight(layer, value)
        average.update()
    assert average.network.weight.item() == -2.0


def test_a_state_goes_on_as_if_it_had_not_been_left() -> None:
    """Buffers come back with the network's own."""
    layer = nn.BatchNorm1d(1)
    average = Average(layer, 3)
    average.update()
    layer.running_mean.fill_(4.0)  # type: ignore[union-attr]
    kept = average.state()
    other = nn.BatchNorm1d(1)
    again = Average(other, 3)
    other.load_state_dict(layer.state_dict())
    again.load(kept)
    for one in (average, again):
        with torch.no_grad():
            one._latest[0].fill_(2.5)
        one.update()
    assert again.network.weight.item() == average.network.weight.item() == pytest.approx(1.75)
    assert again.network.running_mean.item() == 4.0  # type: ignore[union-attr, operator]


def test_a_run_from_before_there_were_means_goes_on_with_the_network() -> None:
    """Its buffers are those of the run too."""
    layer = nn.BatchNorm1d(1)
    average = Average(layer, 3)
    layer.running_mean.fill_(4.0)  # type: ignore[union-attr]
    average.load(None)
    assert average.network is layer
    average.update()
    assert average.network.running_mean.item() == 4.0  # type: ignore[union-attr, operator]

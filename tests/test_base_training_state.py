"""Parts by name, and states that come back to the bit without pickle."""

import json

import numpy as np
import pytest
import torch

from goalsight.base.errors import UserError
from goalsight.base.registry import Registry
from goalsight.base.training_state import cut, join, load_optimiser, load_rng, optimiser_state, restoring, rng_state


def test_a_registry_imports_only_what_is_chosen() -> None:
    parts = Registry("queue", {"ordered": "collections:OrderedDict", "absent": "no_such_module:Nothing"})
    assert parts.load("ordered").__name__ == "OrderedDict"
    assert list(parts) == ["ordered", "absent"]
    with pytest.raises(UserError, match='no queue "orderd"; did you mean "ordered"'):
        parts.load("orderd")
    with pytest.raises(UserError, match=r'no queue "mine"; .* one of your own is added by a module: --import MODULE'):
        parts.load("mine")
    parts.add("count", "collections:Counter")
    assert parts.load("count").__name__ == "Counter"
    with pytest.raises(ValueError, match="already"):
        parts.add("count", "a:b")


def remembered(otherwise, group=None):
    """An optimiser that has made a step, and its state with something else in it; None leaves it out."""
    weights = [torch.nn.Parameter(torch.zeros(2)) for _ in range(2)]
    optimiser = torch.optim.Adam(weights)
    sum(weights).sum().backward()
    optimiser.step()
    state = optimiser_state(optimiser)
    load_optimiser(optimiser, state)  # its own fits
    for part, changes in ((state["weights"]["0"], otherwise), (state["groups"][0], group or {})):
        part |= changes
        for name in [name for name, value in part.items() if value is None and name in changes]:
            del part[name]
    return optimiser, state


@pytest.mark.parametrize(
    "put_back",
    [
        lambda: {}["actor"],
        lambda: int([]),
        lambda: torch.nn.Linear(2, 2).load_state_dict({"weight": torch.zeros(3, 3)}),
        lambda: load_optimiser(*remembered({"exp_avg": {}})),
        lambda: load_optimiser(*remembered({"exp_avg_sq": torch.zeros(3)})),
        lambda: load_optimiser(*remembered({"step": -1.0})),
        lambda: load_optimiser(*remembered({"exp_avg": None})),
        lambda: load_optimiser(*remembered({}, {"lr": "x"})),
        lambda: load_optimiser(*remembered({}, {"lr": None})),
        lambda: load_rng(np.random.default_rng(0), {"bit_generator": "PCG64"}),
        lambda: "x".items(),
    ],
)
def test_a_state_that_does_not_fit_is_one_line(put_back) -> None:
    says = r"run a keeps a training state that does not fit: .*; train anew"
    with pytest.raises(UserError, match=says) as caught, restoring("run a"):
        put_back()
    assert "\n" not in str(caught.value)


def test_an_optimiser_keeps_what_it_was_made_with_but_for_its_rate():
    optimiser, state = remembered({}, {"lr": 0.5, "maximize": True, "betas": []})
    load_optimiser(optimiser, state)
    (group,) = optimiser.param_groups
    assert (group["lr"], group["maximize"], group["betas"]) == (0.5, False, (0.9, 0.999))


def test_a_state_comes_back_from_json_and_tensors() -> None:
    rng = np.random.default_rng(3)
    state = {"a": {"w": torch.arange(3.0)}, "b": [np.array([True, False]), 7, None, "x"], "rng": rng_state(rng)}
    tensors, tree = cut(state)
    back = join(tensors, json.loads(json.dumps(tree)))
    expected = rng.random(5)
    again = np.random.default_rng(0)
    load_rng(again, back["rng"])
    assert np.array_equal(again.random(5), expected)
    assert torch.equal(back["a"]["w"], torch.arange(3.0))
    assert back["b"][0].tolist() == [True, False]
    assert back["b"][1:] == [7, None, "x"]
    with pytest.raises(TypeError, match="b is a set"):
        cut({"b": {1}})


def test_an_optimiser_goes_on_to_the_bit() -> None:
    def fresh() -> tuple[torch.nn.Linear, torch.optim.Optimizer]:
        torch.manual_seed(0)
        layer = torch.nn.Linear(3, 2)
        return layer, torch.optim.AdamW([{"params": [layer.weight]}, {"params": [layer.bias]}], lr=0.1)

    def step(layer: torch.nn.Linear, optimiser: torch.optim.Optimizer) -> None:
        layer(torch.ones(4, 3)).square().mean().backward()
        optimiser.step()
        optimiser.zero_grad()

    layer, optimiser = fresh()
    step(layer, optimiser)
    tensors, tree = cut({"layer": layer.state_dict(), "optimiser": optimiser_state(optimiser)})
    back = join(tensors, json.loads(json.dumps(tree)))
    step(layer, optimiser)
    other, resumed = fresh()
    other.load_state_dict(back["layer"])
    load_optimiser(resumed, back["optimiser"])
    step(other, resumed)
    assert torch.equal(layer.weight, other.weight)
    assert torch.equal(layer.bias, other.bias)

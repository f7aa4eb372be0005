from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch.nn import functional as F

from goalsight.agents.costs import COUNTED, Costs
from goalsight.base.flops import count_flops, for_threads

ONE = 2 * 2 * 3 * 4  # operations of a (2, 3) by (3, 4) product


def product(rows: int = 2) -> torch.Tensor:
    return torch.ones(rows, 3) @ torch.ones(3, 4)


def test_operations_of_a_product_are_counted_for_each_call_and_its_result_comes_back():
    costs = Costs()
    for _ in range(COUNTED + 5):  # the last five are not looked at any more
        assert torch.equal(costs.spend("learning", product), torch.full((2, 4), 3.0))
    assert costs.operations == {"learning": (COUNTED + 5) * ONE}
    assert costs.flops == (COUNTED + 5) * ONE
    assert costs.seconds["learning"] > 0


def test_work_that_every_other_call_leaves_out_costs_half_on_average():
    costs, calls = Costs(), iter(range(1000))
    for _ in range(2 * COUNTED):
        costs.spend("learning", lambda: product() if next(calls) % 2 else None)
    assert costs.flops == COUNTED * ONE


def test_later_calls_cost_as_many_units_as_they_have():
    costs = Costs()
    for _ in range(COUNTED):
        costs.spend("encoding", lambda: product(2), units=2)
    costs.spend("encoding", lambda: product(10), units=10)
    assert costs.flops == COUNTED * ONE + 5 * ONE


def test_kinds_of_one_stage_are_counted_apart():
    costs = Costs()
    for _ in range(COUNTED + 1):
        costs.spend("learning", lambda: product(2), kind="small")
        costs.spend("learning", lambda: product(20), kind="large")
    assert costs.flops == (COUNTED + 1) * 11 * ONE


def test_costs_that_went_on_are_as_if_they_had_not_been_stopped():
    whole, first, second = Costs(), Costs(), Costs()
    for costs, times in ((whole, 30), (first, 7)):
        for _ in range(times):
            costs.spend("learning", product)
    second.load(first.state())
    for _ in range(23):
        second.spend("learning", product)
    assert second.operations == whole.operations
    assert second.seconds["learning"] > first.seconds["learning"]


def test_time_is_added_also_when_the_work_fails():
    costs = Costs()
    with pytest.raises(ZeroDivisionError), costs.timed("saving"):
        _ = 1 / 0
    assert costs.seconds["saving"] >= 0


def test_fused_attention_counts_as_its_products_do_forward_and_backward():
    query = torch.randn(2, 2, 5, 4, requires_grad=True)

    def attend() -> None:
        F.scaled_dot_product_attention(query, query, query).sum().backward()

    forward = 2 * 2 * 2 * (5 * 5 * 4) * 2  # batch x heads, two products, a multiplication and an addition each
    assert count_flops(attend) == 3 * forward


def test_operations_of_other_threads_count_where_they_were_asked_for():
    with ThreadPoolExecutor(2) as pool:
        assert count_flops(lambda: list(pool.map(for_threads(product), [2, 4, 6]))) == 6 * ONE
        assert count_flops(lambda: list(pool.map(product, [2, 4, 6]))) == 0  # what is not prepared is not seen


def test_counting_changes_no_bit():
    layer = torch.nn.Conv2d(3, 8, 3)
    frames = torch.rand(2, 3, 9, 9, generator=torch.Generator().manual_seed(0))
    plain = layer(frames)
    counted: list[torch.Tensor] = []
    count_flops(lambda: counted.append(layer(frames)))
    assert torch.equal(plain, counted[0])

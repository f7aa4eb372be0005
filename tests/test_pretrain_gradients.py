"""Gradients from shards: those of the whole batch, the same whichever number of threads works them out."""

import numpy as np
import pytest
import torch
from torch import nn

from goalsight.base.errors import UserError
from goalsight.base.shards import SHARD, Shards
from goalsight.pretrain import gradients as module
from goalsight.pretrain.data.clips import Clips
from goalsight.pretrain.encoders.vit import EncoderConfig, VideoEncoder, random_encoder
from goalsight.pretrain.gradients import Gradients
from goalsight.pretrain.objectives.base import Objective
from goalsight.pretrain.objectives.masked import MaskedPrediction

CPU = torch.device("cpu")


class Distance(Objective):
    """The squared distance of one weight from the mean of each clip; its gradient is known by hand."""

    def __init__(self):
        super().__init__(encoder())
        self.encoder.requires_grad_(False)
        self.weight = nn.Parameter(torch.zeros(()))

    def reads(self, max_gap):
        return Clips()

    def loss(self, batch, generator):
        clip = batch["pixels"]
        means = clip.float().mean((1, 2, 3, 4))
        loss = (self.weight - means).square().mean()
        metrics = {"loss": float(loss.detach())}
        return loss, metrics if len(clip) < SHARD else metrics | {"of whole shards": 2.0}

    def visualise(self, batch, generator):
        return {"frame t": batch["pixels"][:, 0]}

    def headline(self, metrics):
        return "one weight"


class Spread(Distance):
    """The largest distance between two clips of a batch, which shards cannot tell."""

    whole_batch = True

    def loss(self, batch, generator):
        means = batch["pixels"].float().mean((1, 2, 3, 4))
        spread = float(means.max() - means.min())
        return self.weight * spread, {"loss": spread}


class Drawing(Distance):
    """Draws one number to learn by and one to monitor, and keeps them."""

    def __init__(self):
        super().__init__()
        self.drawn = {"to learn": [], "to monitor": []}

    def loss(self, batch, generator):
        self.drawn["to learn"].append(float(torch.rand((), generator=generator)))
        return super().loss(batch, generator)

    def monitor(self, batch, generator):
        self.drawn["to monitor"].append(float(torch.rand((), generator=generator)))
        assert not torch.is_grad_enabled()
        return {"clips": float(len(batch["pixels"])), "drawn": self.drawn["to monitor"][-1]}


def encoder():
    return VideoEncoder(EncoderConfig(image_size=16, width=16, depth=1, heads=2))


def clips(batch):
    rng = np.random.default_rng(0)
    return {"pixels": torch.from_numpy(rng.integers(256, size=(batch, 2, 16, 16, 3), dtype=np.uint8))}


@pytest.mark.parametrize("batch", [1, SHARD, SHARD + 5, 3 * SHARD])
def test_shards_make_up_the_gradient_of_the_whole_batch(batch):
    objective, seen = Distance(), clips(batch)
    means = seen["pixels"].float().mean((1, 2, 3, 4))
    with Gradients(objective, batch=batch, device=CPU, threads=2, seed=0) as gradients:
        metrics = gradients(seen, 0)
    # d/dw mean (w - m)^2 = -2 mean m at w = 0
    assert objective.weight.grad.item() == pytest.approx(-2 * means.mean().item(), rel=1e-5)
    assert metrics["loss"] == pytest.approx(means.square().mean().item(), rel=1e-5)
    assert metrics.get("of whole shards") == (None if batch < SHARD else 2.0)


def test_threads_do_not_change_a_bit():
    def after(threads):
        objective = MaskedPrediction(encoder())
        with Gradients(objective, batch=40, device=CPU, threads=threads, seed=3) as gradients:
            metrics = [gradients(clips(40), step) for step in range(3)][-1]
        return metrics, [weight.grad for weight in objective.parameters()]

    (metrics, ours), (others_metrics, others) = after(1), after(3)
    assert metrics == others_metrics
    assert len(ours) > 20
    assert all(torch.equal(one, other) for one, other in zip(ours, others, strict=True))


def test_each_shard_hides_something_else_and_the_seed_decides_what(monkeypatch):
    monkeypatch.setattr(module, "SHARD", 4)
    same = {"pixels": clips(4)["pixels"].repeat(2, 1, 1, 1, 1)}  # two shards of the same clips

    def drawn(seed):
        objective = MaskedPrediction(encoder())
        losses = []
        loss = objective.loss

        def noted(*arguments):
            losses.append(loss(*arguments)[1]["pretrain/loss"])
            return loss(*arguments)

        monkeypatch.setattr(objective, "loss", noted)
        nn.init.normal_(objective.out.weight, generator=torch.Generator().manual_seed(0))
        with Gradients(objective, batch=8, device=CPU, threads=1, seed=seed) as gradients:
            gradients(same, 0)
        return losses

    first = drawn(0)
    assert len(set(first)) == 2
    assert drawn(0) == first
    assert set(drawn(1)).isdisjoint(first)


def test_torch_gets_its_threads_back_and_mistakes_are_told():
    before = torch.get_num_threads()
    with Gradients(MaskedPrediction(encoder()), batch=4, device=CPU, threads=2, seed=0) as gradients:
        assert torch.get_num_threads() == 1
        with pytest.raises(UserError, match="this encoder takes frames"):
            gradients({"pixels": torch.zeros(4, 2, 8, 8, 3, dtype=torch.uint8)}, 0)
    assert torch.get_num_threads() == before


def test_a_batch_that_must_stay_whole_is_not_cut_whatever_the_threads():
    batch = clips(3 * SHARD)
    means = batch["pixels"].float().mean((1, 2, 3, 4))
    objective = Spread()
    with Gradients(objective, batch=3 * SHARD, device=CPU, threads=2, seed=0) as gradients:
        assert torch.get_num_threads() == 2
        metrics = gradients(batch, 0)
    assert metrics["loss"] == pytest.approx(float(means.max() - means.min()))
    assert objective.weight.grad.item() == pytest.approx(metrics["loss"])


def test_what_is_drawn_depends_on_the_step_and_on_nothing_before():
    objective = MaskedPrediction(encoder())
    nn.init.normal_(objective.out.weight, generator=torch.Generator().manual_seed(0))
    with Gradients(objective, batch=40, device=CPU, threads=2, seed=3) as gradients:
        first, second = gradients(clips(40), 0), gradients(clips(40), 1)
    with Gradients(objective, batch=40, device=CPU, threads=2, seed=3) as others:
        assert others(clips(40), 1) == second != first


def test_what_is_monitored_has_draws_of_its_own_and_is_a_mean_over_shards():
    objective, batch = Drawing(), clips(SHARD + 4)
    with Gradients(objective, batch=SHARD + 4, device=CPU, threads=1, seed=3) as gradients:
        assert Distance.monitor(objective, batch, torch.Generator()) == {}, "nothing, unless an objective says so"
        gradients(batch, 7)
        alone, gradient = list(objective.drawn["to learn"]), objective.weight.grad.clone()
        metrics = gradients.monitor(batch, 7)
        gradients(batch, 7)
    assert objective.drawn["to learn"] == alone * 2, "monitoring draws nothing of what is learnt by"
    assert torch.equal(objective.weight.grad, gradient)
    first, second = objective.drawn["to monitor"]
    assert len({first, second, *alone}) == 4
    assert metrics["clips"] == pytest.approx((SHARD * SHARD + 4 * 4) / (SHARD + 4))
    assert metrics["drawn"] == pytest.approx((SHARD * first + 4 * second) / (SHARD + 4))


@pytest.mark.parametrize("tokeniser", ["conv", "patches", "local"])
def test_a_fused_step_by_shards_is_that_of_plain_backpropagation(tokeniser):
    """Convolutions give gradients in another layout than their weights', which fused optimisers do not look at."""
    after = []
    for sharded in (True, False):
        made = random_encoder(image_size=16, size="nano", seed=0, tokeniser=tokeniser)
        weights = [weight for weight in made.parameters() if weight.requires_grad]
        optimiser = torch.optim.AdamW(weights, lr=1e-2, fused=True)
        frames = clips(2)["pixels"][:, 0]

        def loss(part, made=made):
            return made(part).float().square().mean()

        if sharded:
            with Shards(weights, threads=2) as shards:
                shards.backward([lambda part=part: (0.5 * loss(part), None) for part in frames.split(1)])
        else:
            loss(frames).backward()
        optimiser.step()
        after.append(weights)
    for one, other in zip(*after, strict=True):  # each weight goes up or down by 0.01; where it is next to even, either
        assert (torch.abs(one - other) > 1e-3).float().mean() < 0.02

"""Time as distance: values, expectiles and rank correlations by hand, and the alarms."""

import math

import pytest
import torch

from goalsight.base.errors import UserError
from goalsight.base.flops import count_flops
from goalsight.pretrain.encoders.vit import EncoderConfig, VideoEncoder
from goalsight.pretrain.objectives.temporal import Temporal, TemporalDistance, distances, rank_correlation

WIDTH, BATCH, SIDE, TOKENS = 16, 4, 16, 64
FINE = {"rank_correlation": 0.9, "places_told": 0.9}


def draws(seed=0):
    return torch.Generator().manual_seed(seed)


def clips(batch=BATCH):
    pixels = torch.randint(0, 256, (batch, 5, SIDE, SIDE, 3), dtype=torch.uint8, generator=draws())
    return {"pixels": pixels}


def objective(**options):
    options = {"features": 6, "token_features": 4, **options}
    return TemporalDistance(VideoEncoder(EncoderConfig(SIDE, WIDTH, 2, 2)), Temporal(**options))


@pytest.mark.parametrize(("max_gap", "gaps"), [(8, (1, 2, 4, 8)), (1, (1, 1, 1, 1)), (5, (1, 1, 2, 5))])
def test_goals_lie_at_known_steps(max_gap, gaps):
    assert objective().reads(max_gap).gaps == tuple((gap, gap) for gap in gaps)


def test_distances_by_hand():
    one, others = torch.tensor([[0.0, 0.0], [1.0, 1.0]]), torch.tensor([[[3.0, 4.0], [1.0, 1.0]]])
    torch.testing.assert_close(distances(one, others), torch.tensor([[5.0, 0.001]]))


def test_rank_correlations_by_hand():
    rows = torch.tensor([[0.1, 0.2, 0.3, 0.4], [4.0, 3.0, 2.0, 1.0], [1.0, 3.0, 2.0, 4.0]])
    assert [round(float(rank_correlation(row[None])), 6) for row in rows] == [1.0, -1.0, 0.8]  # 1 - 6 * 2 / 60
    assert float(rank_correlation(rows)) == pytest.approx(0.8 / 3)


def test_the_loss_by_hand(monkeypatch):
    """One clip whose frames lie on a line, one step from each other; the other clip's goal is its own last frame."""
    module = objective(discount=0.5, expectile=0.8)
    line = torch.tensor([0.0, 1.0, 2.0, 3.0, 4.0])[:, None] * torch.eye(6)[0]
    monkeypatch.setattr(module, "place", lambda frames: line)
    slower = line.clone()
    slower[1, 0] = 3.0  # the slower self thinks that frame t+1 is where the second last goal is
    monkeypatch.setattr(module.slower[1], "forward", lambda *_: slower)
    loss, parts = module.loss(clips(batch=1), draws())
    # Goals t+1, three later ones, and the last once more. Values -1, -2, -3, -4, -4; the slower self's of frame t+1:
    # -0, -1, -0, -1, -1, so that targets are -1, -1.5, -1, -1.5, -1.5. All that is surplus lies above: 0.8.
    surplus = [0.0, 0.5, 2.0, 2.5, 2.5]
    assert loss.item() == pytest.approx(0.8 * sum(one**2 for one in surplus) / 5, rel=2e-3)
    assert parts["pretrain/rank_correlation"] == 1.0
    assert parts["pretrain/distance_other"] == pytest.approx(4.0, rel=1e-3)

    monkeypatch.setattr(module, "place", lambda frames: line / 10)  # values -0.1 to -0.4: what is surplus lies below
    loss, _ = module.loss(clips(batch=1), draws())
    surplus = [-0.9, -1.3, -0.7, -1.1, -1.1]
    assert loss.item() == pytest.approx(0.2 * sum(one**2 for one in surplus) / 5, rel=2e-3)


def test_the_slower_self_follows_and_takes_no_gradients():
    module = objective(momentum=0.75)
    with torch.no_grad():
        for weight in module.parameters():
            weight.fill_(1.0 if weight.requires_grad else 5.0)
    module.after_step(0.5)  # 0.75 * 5 + 0.25 * 1
    assert all(torch.equal(weight, torch.full_like(weight, 4.0)) for weight in module.slower.parameters())
    module = objective()
    module.loss(clips(), draws())[0].backward()
    assert all(weight.grad is None for weight in module.slower.parameters())
    # Distances do not depend on what is added to all vectors alike.
    learning = {name: weight for name, weight in module.named_parameters() if weight.requires_grad}
    del learning["summary.read.bias"]
    assert all(weight.grad.abs().sum() > 0 for weight in learning.values())


def test_who_sees_places_is_not_blind(monkeypatch):
    module = objective()
    clip = clips(batch=100)["pixels"] // 8
    clip[:, -1] = clip[:, 0]
    monkeypatch.setattr(module, "place", lambda frames: frames.flatten(1).float())
    assert module.places_told(clip, draws()) > 0.95
    told = module.places_told(clip, draws(7))
    assert module.monitor({"pixels": clip}, draws(7)) == {"pretrain/places_told": told}
    monkeypatch.setattr(module, "place", lambda frames: torch.ones(len(frames), 1))
    assert module.places_told(clip, draws()) == 0.0


def test_alarms_ring_for_what_they_are_named_after():
    module = objective()
    assert module.alarms(FINE) == ()
    (timeless,) = module.alarms(FINE | {"rank_correlation": 0.41})
    assert (timeless.name, timeless.sentence[-7:]) == ("timeless", "is 0.41")
    (blind,) = module.alarms(FINE | {"places_told": 0.5})
    assert blind.name == "blind"
    assert "50% are right" in blind.sentence
    assert "rank correlation of 0.90" in module.headline(FINE)


def linear(tokens, inner, outer):
    return 2 * tokens * inner * outer


def block(tokens, width):
    return 4 * linear(tokens, width, width) + 4 * tokens**2 * width + 2 * linear(tokens, width, 4 * width)


def test_all_operations_are_counted():
    """Image 16: a stem of 12 inputs. Backward costs twice the forward, the stem's once; the slower self has none."""
    read = 2 * block(TOKENS, WIDTH) + linear(TOKENS, WIDTH, 4) + linear(1, TOKENS * 4, 6)
    stem = linear(TOKENS, 12, WIDTH)
    learning, slower = 5 * (3 * read + 2 * stem), 5 * (read + stem)
    counted = count_flops(lambda: objective().loss(clips(), draws())[0].backward())
    assert counted == BATCH * (learning + slower)
    assert count_flops(lambda: objective().monitor(clips(), draws())) == BATCH * 3 * (read + stem)


def test_values_follow_a_square_that_walks():
    """It walks one pixel a step, from somewhere to the right; frames look alike, wherever it is."""

    def videos(seed):
        first = torch.randint(0, 6, (16,), generator=draws(seed)).tolist()
        rows = torch.randint(0, 13, (16,), generator=draws(seed + 500)).tolist()
        pixels = torch.full((16, 5, SIDE, SIDE, 3), 90, dtype=torch.uint8)
        for clip, (left, top) in enumerate(zip(first, rows, strict=True)):
            for frame, step in enumerate((0, 1, 3, 5, 7)):
                pixels[clip, frame, top : top + 3, left + step : left + step + 3] = 255
        return {"pixels": pixels}

    module = objective()
    _, untrained = module.loss(videos(1000), draws())
    optimiser = torch.optim.Adam([weight for weight in module.parameters() if weight.requires_grad], 3e-3)
    for step in range(80):
        optimiser.zero_grad()
        loss, _ = module.loss(videos(step), draws(step))
        loss.backward()
        optimiser.step()
        module.after_step(0.0)
    _, parts = module.loss(videos(1000), draws())
    assert parts["pretrain/rank_correlation"] > max(0.6, untrained["pretrain/rank_correlation"] + 0.2)
    shown = module.visualise(videos(1000), draws())
    assert list(shown) == ["frame t", "t+1", "later 1", "later 2", "later 3", "another clip's"]
    bars = [(shown[name][:, -1, :, 2] == 0).sum(1).float().mean() for name in ("t+1", "later 3")]
    assert 0 < bars[0] < bars[1] <= SIDE


@pytest.mark.parametrize("options", [{"discount": 1.0}, {"expectile": 0.0}, {"momentum": math.inf}])
def test_options_out_of_range_are_refused(options):
    with pytest.raises(UserError, match=f"{next(iter(options))} must lie in"):
        Temporal(**options)

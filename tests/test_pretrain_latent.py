"""Masked features of an averaged teacher: the average, the targets and the effective rank worked by hand."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from goalsight.base.errors import UserError
from goalsight.base.flops import count_flops
from goalsight.pretrain.encoders.vit import EncoderConfig, VideoEncoder
from goalsight.pretrain.masking import hide_tokens
from goalsight.pretrain.objectives.latent import Latent, LatentPrediction, hidden_mean
from goalsight.pretrain.objectives.rank import effective_rank
from goalsight.pretrain.objectives.teaching import targets

WIDTH, BATCH = 16, 4


def masks(seed=0):
    return torch.Generator().manual_seed(seed)


def clips(seed=0):
    return {"pixels": torch.randint(0, 256, (BATCH, 2, 16, 16, 3), dtype=torch.uint8, generator=masks(seed))}


def objective(**options):
    options = {"decoder_width": 8, "decoder_depth": 1, **options}
    return LatentPrediction(VideoEncoder(EncoderConfig(16, WIDTH, 2, 2)), Latent(**options))


def fill(module, value):
    with torch.no_grad():
        for weight in module.parameters():
            weight.fill_(value)


def test_the_teacher_is_a_moving_average_whose_pace_falls_with_the_budget():
    module = objective(momentum=0.9, last_momentum=0.99)
    fill(module.teacher, 1.0)
    fill(module.encoder, 3.0)
    module.after_step(0.0)  # 0.9 * 1 + 0.1 * 3
    assert all(torch.allclose(weight, torch.tensor(1.2)) for weight in module.teacher.parameters())
    module.after_step(0.5)  # momentum 0.945: 1.2 + 0.055 * 1.8
    assert all(torch.allclose(weight, torch.tensor(1.299)) for weight in module.teacher.parameters())
    module.after_step(1.4)  # beyond the budget the momentum stays 0.99: 1.299 + 0.01 * 1.701
    assert all(torch.allclose(weight, torch.tensor(1.31601)) for weight in module.teacher.parameters())
    assert all(torch.equal(weight, torch.full_like(weight, 3.0)) for weight in module.encoder.parameters())


def test_the_teacher_starts_as_the_encoder_and_gradients_leave_it_alone():
    module = objective()
    for ours, theirs in zip(module.encoder.parameters(), module.teacher.parameters(), strict=True):
        assert torch.equal(ours, theirs)
        assert ours is not theirs
    with torch.no_grad():
        module.out.weight.normal_(generator=masks())
    module.loss(clips(), masks())[0].backward()
    assert all(weight.grad is None for weight in module.teacher.parameters())
    learning = [weight for name, weight in module.named_parameters() if not name.startswith("teacher.")]
    assert all(weight.grad.abs().sum() > 0 for weight in learning)


def test_targets_by_hand():
    # Each token to mean 0 and variance 1: +-(-1, 0, 1) r with r^2 = 3/2, all but for 1e-5 of the norm.
    up, down = [1.0, 2.0, 3.0], [3.0, 2.0, 1.0]
    features = torch.tensor([[up, up], [up, down]])  # (2, 2 positions, 3)
    # At the first position all are alike, so nothing is left; at the second the mean is 0. The mean square of what is
    # left is 1/2, so it is multiplied by the root of 2.
    side = math.sqrt(2) * math.sqrt(3 / 2)
    expected = torch.tensor([[[0.0] * 3, [-side, 0, side]], [[0.0] * 3, [side, 0, -side]]])
    torch.testing.assert_close(targets(features), expected, atol=1e-4, rtol=0)
    assert targets(features).square().mean().item() == pytest.approx(1.0, abs=1e-4)
    # Where only the first clip's second token counts, it is its position's mean; what does not count is zero.
    there = torch.tensor([[True, True], [True, False]])
    assert torch.equal(targets(features, there), torch.zeros(2, 2, 3))
    three, counts = torch.tensor([[up], [down], [down]]), torch.tensor([[True], [True], [False]])
    torch.testing.assert_close(targets(three, counts)[:2].square().mean(), torch.tensor(1.0), atol=1e-4, rtol=0)
    assert torch.equal(targets(three, counts)[2], torch.zeros(1, 3))


@given(st.integers(0, 1000))
def test_targets_do_not_say_where_a_token_lies(seed):
    features, places = torch.randn(5, 4, 8, generator=masks(seed)), torch.randn(4, 8, generator=masks(seed + 1))
    found = targets(features + 10 * places)
    torch.testing.assert_close(found.mean(0), torch.zeros(4, 8), atol=1e-5, rtol=0)


def test_only_hidden_tokens_count():
    hidden = hide_tokens(2, 4, 0.5, masks())
    errors = torch.arange(8.0).view(2, 4, 1).expand(2, 4, 3)
    expected = errors[..., 0][hidden.mask].sum() / 4
    assert hidden_mean(errors, hidden).item() == pytest.approx(expected.item())


def test_the_first_loss_is_that_of_saying_zero():
    """Zeros against targets whose mean square is 1 over all tokens: their squares where they are hidden."""
    module, batch = objective(), clips()
    loss, parts = module.loss(batch, masks(5))
    draws = masks(5)
    hidden = [hide_tokens(BATCH, 64, share, draws) for share in (0.75, 0.95)]
    both = targets(module.teacher(batch["pixels"].transpose(0, 1).flatten(0, 1))).chunk(2)
    expected = 0.0
    for wanted, hid, name in zip(both, hidden, ("error_self", "error_next"), strict=True):
        size = wanted.abs()
        expected += torch.where(size < 1, size.square() / 2, size - 0.5).mean(2)[hid.mask].mean().item()
        assert parts[f"pretrain/{name}"] == pytest.approx(wanted.square().mean(2)[hid.mask].mean().item(), rel=0.01)
        assert parts[f"pretrain/{name}"] == pytest.approx(1.0, abs=0.05)
    assert loss.item() == pytest.approx(expected, rel=0.01)


def test_what_is_hidden_is_seen_by_the_teacher_alone():
    module, batch = objective(), clips()
    with torch.no_grad():
        module.out.weight.normal_(generator=masks())
    seen = module.fill_in(batch, masks(3))
    pieces = torch.where(seen.hidden_later.mask.unsqueeze(2), seen.later.flip(0), seen.later)
    frames = module.encoder.tokeniser.put_together(pieces)
    changed = {"pixels": torch.stack([batch["pixels"][:, 0], frames], 1)}
    assert torch.equal(module.fill_in(changed, masks(3)).predicted, seen.predicted)
    assert not torch.equal(module.teach(pieces), module.teach(seen.later))


def test_effective_ranks_of_known_matrices():
    corners = torch.tensor([[1.0, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]])
    assert effective_rank(corners[:, None]) == pytest.approx(3.0, rel=1e-3)  # (6, 1, 3): three directions alike
    assert effective_rank(corners[:4, None]) == pytest.approx(2.0, rel=1e-3)
    # One singular value three times the other: shares 3/4 and 1/4.
    uneven = torch.tensor([[3.0, 0], [-3, 0], [0, 1], [0, -1]])
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert effective_rank(uneven[:, None]) == pytest.approx(math.exp(entropy), rel=1e-3)
    # What only says where it is has collapsed, however different the positions are.
    same = torch.randn(1, 9, 5, generator=masks()).expand(7, 9, 5)
    assert effective_rank(same) == 1.0
    # So have features that differ by rounding only, which all directions share alike.
    assert effective_rank((same + 1e-4 * torch.randn(7, 9, 5, generator=masks())).bfloat16()) == 1.0


def test_the_alarm_rings_for_collapsed_features_and_for_no_others():
    module = objective()

    def measured():
        parts = module.loss(clips(), masks())[1] | module.monitor(clips(), masks())
        return {name.removeprefix("pretrain/"): value for name, value in parts.items()}

    means = measured() | {"error_self": 0.9}
    assert means["effective_rank"] > 0.1 * WIDTH
    assert module.alarms(means) == ()
    (unsaid,) = module.alarms(means | {"error_self": 1.0})
    assert unsaid.name == "unsaid"
    with torch.no_grad():
        module.teacher.norm.weight.zero_()
        module.teacher.norm.weight[0] = 1.0
    means = measured() | {"error_self": 0.9}
    assert means["effective_rank"] == pytest.approx(1.0, abs=1e-3)
    (alarm,) = module.alarms(means)
    assert alarm.name == "collapse"
    assert alarm.sentence == "the features have collapsed: an effective rank of 1.0, their width is 16"
    assert "effective rank 1.0 of 16" in module.headline(means)


def linear(tokens, inner, outer):
    return 2 * tokens * inner * outer


def block(queries, memory, width):
    projections = 2 * linear(queries, width, width) + 2 * linear(memory, width, width)
    return projections + 4 * queries * memory * width + 2 * linear(queries, width, 4 * width)


def test_the_teachers_operations_are_counted():
    """Image 16: a stem of 12 inputs. Backward costs twice the forward, the teacher has none; no rank is counted."""
    encoder = sum(2 * block(n, n, WIDTH) for n in (64, 16, 3))
    decoder = block(64, 16, 8) + block(64, 67, 8) + 2 * linear(64, 8, WIDTH)
    learning = 3 * (encoder + linear(83, WIDTH, 8) + decoder) + 2 * linear(83, 12, WIDTH)
    teacher = 2 * (2 * block(64, 64, WIDTH) + linear(64, 12, WIDTH))
    module = objective()
    counted = count_flops(lambda: module.loss(clips(), masks())[0].backward())
    assert counted == BATCH * (learning + teacher)


def test_the_picture_shows_features_as_colours():
    columns = objective().visualise(clips(), masks())
    assert [frames.shape for frames in columns.values()] == [(BATCH, 16, 16, 3)] * 6
    assert all(frames.dtype == torch.uint8 for frames in columns.values())
    shown = columns["t+k by teacher"]
    assert torch.equal(shown[:, ::2, ::2], shown[:, 1::2, 1::2])  # one colour in each token's 2x2 pixels
    assert len(shown.flatten(0, 2).unique(dim=0)) > BATCH


@pytest.mark.parametrize("options", [{"momentum": 1.5}, {"last_momentum": -0.1}, {"hide_self": 1.0}])
def test_options_out_of_range_are_refused(options):
    with pytest.raises(UserError, match=f"{next(iter(options))} must lie in"):
        Latent(**options)

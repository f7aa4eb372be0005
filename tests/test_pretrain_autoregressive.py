"""Frames to come: nothing of them is seen, what changes weighs more, by hand; and all that it costs."""

import pytest
import torch

from goalsight.base.errors import UserError
from goalsight.base.flops import count_flops
from goalsight.pretrain.encoders.vit import EncoderConfig, VideoEncoder
from goalsight.pretrain.objectives.autoregressive import Autoregressive, AutoregressivePrediction
from goalsight.pretrain.tokenisers.codes import Codes

WIDTH, BATCH, SIDE, TOKENS, NARROW = 16, 4, 16, 64, 8
SMALL = {"decoder_width": NARROW, "decoder_depth": 1, "decoder_heads": 1}


def draws(seed=0):
    return torch.Generator().manual_seed(seed)


def clips(frames, batch=BATCH):
    pixels = torch.randint(0, 256, (batch, frames, SIDE, SIDE, 3), dtype=torch.uint8, generator=draws())
    return {"pixels": pixels}


def objective(tokeniser="conv", tokeniser_options=None, **options):
    encoder = VideoEncoder(EncoderConfig(SIDE, WIDTH, 2, 2, tokeniser, tokeniser_options))
    return AutoregressivePrediction(encoder, Autoregressive(**(SMALL | options)))


def stirred(module):
    """Give weight to what begins at zero, so that all that is seen shows."""
    with torch.no_grad():
        for weight in (module.out.weight, module.frame_mark, module.blank):
            weight.normal_(generator=draws(5))
    return module


def test_what_is_read_are_frames_in_a_row():
    assert objective(frames=2).reads(3).gaps == ((1, 1),) * 4


def test_no_frame_after_the_one_that_is_predicted_from_is_seen():
    module, clip = stirred(objective(frames=3)), clips(6)["pixels"]
    ahead = torch.tensor([1, 2, 3, 1])
    said, now, later = module.predict(clip, ahead, draws(1))
    assert said.shape == (3 * BATCH, TOKENS, 12)
    cut = module.encoder.embedding.cut
    assert torch.equal(now, torch.cat([cut(clip[:, frame]) for frame in range(3)]))
    by_hand = [cut(clip[None, row, frame + ahead[row]]) for frame in range(3) for row in range(BATCH)]
    assert torch.equal(later, torch.cat(by_hand))
    for changed in range(6):
        other = clip.clone()
        other[:, changed] = 255 - other[:, changed]
        moved = (module.predict(other, ahead, draws(1))[0] != said).any(2).any(1).unflatten(0, (3, BATCH)).all(1)
        assert moved.tolist() == [changed <= frame for frame in range(3)]


def test_dropped_tokens_are_not_seen():
    module, clip = stirred(objective(frames=1, drop=0.75)), clips(2)["pixels"]
    said, *_ = module.predict(clip, torch.ones(BATCH, dtype=torch.long), draws(1))
    seen = []
    for token in range(TOKENS):
        pieces = module.encoder.embedding.cut(clip[:, 0])
        pieces[:, token] = 255 - pieces[:, token]
        other = clip.clone()
        other[:, 0] = module.encoder.tokeniser.put_together(pieces)
        changed, *_ = module.predict(other, torch.ones(BATCH, dtype=torch.long), draws(1))
        seen.append((changed != said).any(2).any(1))
    assert torch.stack(seen).sum(0).tolist() == [TOKENS // 4] * BATCH


def test_it_is_told_how_far_to_look_ahead():
    module, clip = stirred(objective(frames=1)), clips(3)["pixels"]
    near, far = (module.predict(clip, torch.full((BATCH,), ahead), draws(1))[0] for ahead in (1, 2))
    assert (near != far).any()
    told = module.told(torch.tensor([0, 3]))
    assert told[0].tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    by_hand = torch.tensor([0.1411, 0.8126, -0.9900, 0.5828])  # of 3 and of 3 / 100^(1/4)
    torch.testing.assert_close(told[1, [0, 1, 4, 5]], by_hand, atol=1e-4, rtol=0)


def test_tokens_that_change_weigh_more_by_hand(monkeypatch):
    module = objective(frames=1, still=0.25)
    now = torch.full((1, TOKENS, 12), 51, dtype=torch.uint8)
    later = now.clone()
    later[0, :4] = 102
    said = torch.full((1, TOKENS, 12), 0.3)
    monkeypatch.setattr(module, "predict", lambda clip, ahead, generator: (said, now, later))
    loss, parts = module.loss(clips(3, batch=1), draws())
    # Four tokens changed, from 0.2 to 0.4; all are said to be 0.3.
    assert loss.item() == pytest.approx(0.01)
    said[0, :4] = 0.2
    loss, parts = module.loss(clips(3, batch=1), draws())
    assert loss.item() == pytest.approx((4 * 0.04 + 60 * 0.25 * 0.01) / (4 + 60 * 0.25))
    assert parts["pretrain/psnr_next_changed"] == pytest.approx(parts["pretrain/psnr_copy_changed"])
    plain = {name.removeprefix("pretrain/"): value for name, value in parts.items()}
    assert [alarm.name for alarm in module.alarms(plain)] == ["copying"]


def test_codes_of_a_square_that_walks_are_foretold():
    """It walks a token a step; copying knows nothing of where it goes."""

    def videos(seed):
        rows = torch.randint(0, 4, (16,), generator=draws(seed)).tolist()
        pixels = torch.full((16, 4, SIDE, SIDE, 3), 40, dtype=torch.uint8)
        for clip, row in enumerate(rows):
            for frame in range(4):
                pixels[clip, frame, 4 * row : 4 * row + 4, 4 * frame : 4 * frame + 4] = 255
        return {"pixels": pixels}

    module = objective("codes", Codes(side=4), frames=2, drop=0.2)
    assert module.headline({}) == "no code changes in these clips"
    optimiser = torch.optim.Adam(module.parameters(), 3e-3)
    for step in range(100):
        optimiser.zero_grad()
        loss, _ = module(videos(step), draws(step))
        loss.backward()
        optimiser.step()
    _, parts = module.loss(videos(1000), draws(3))
    plain = {name.removeprefix("pretrain/"): value for name, value in parts.items()}
    assert plain["bits_next_changed"] < plain["bits_copy_changed"] / 3
    assert module.alarms(plain) == ()
    shown = module.visualise(videos(1000), draws())
    assert list(shown) == ["t-1", "frame t", "t+1 predicted", "t+1 true", "t+2 predicted", "t+2 true"]


def linear(tokens, inner, outer):
    return 2 * tokens * inner * outer


def test_all_operations_are_counted():
    """Two frames are looked at, half of each. Backward costs twice the forward, the stem's once."""
    half = TOKENS // 2
    block = 4 * linear(half, WIDTH, WIDTH) + 4 * half**2 * WIDTH + 2 * linear(half, WIDTH, 4 * WIDTH)
    looks = 2 * (3 * (2 * block + linear(half, WIDTH, NARROW)) + 2 * linear(half, 12, WIDTH))

    def decode(memory):
        attention = (
            2 * linear(TOKENS, NARROW, NARROW) + linear(memory, NARROW, 2 * NARROW) + 4 * TOKENS * memory * NARROW
        )
        return 3 * (attention + 2 * linear(TOKENS, NARROW, 4 * NARROW) + linear(TOKENS, NARROW, 12))

    told = 2 * linear(1, NARROW, NARROW)  # what is said needs no gradient, its matrix does
    counted = count_flops(lambda: objective(frames=2, drop=0.5).loss(clips(4), draws())[0].backward())
    assert counted == BATCH * (looks + decode(half) + decode(2 * half) + told)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"drop": 1.0}, r"drop must lie in \(0, 1\)"),
        ({"frames": 0}, "frames"),
        ({"still": 0.0}, "still"),
        ({"decoder_width": 6}, "decoder_width must divide by 4 x decoder_heads"),
    ],
)
def test_options_out_of_range_are_refused(options, says):
    with pytest.raises(UserError, match=says):
        Autoregressive(**options)

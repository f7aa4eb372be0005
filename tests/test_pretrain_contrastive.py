"""Contrast in time: the loss by hand, what is compared with what, and the alarm for frames without places."""

import math

import pytest
import torch
from torch.nn.functional import normalize

from goalsight.base.errors import UserError
from goalsight.base.flops import count_flops
from goalsight.pretrain.encoders.vit import EncoderConfig, VideoEncoder
from goalsight.pretrain.masking import hide_tokens
from goalsight.pretrain.objectives.contrastive import Contrast, Contrastive

WIDTH, BATCH, SIDE, TOKENS = 16, 4, 16, 64


def draws(seed=0):
    return torch.Generator().manual_seed(seed)


def clips(frames=4, batch=BATCH):
    pixels = torch.randint(0, 256, (batch, frames, SIDE, SIDE, 3), dtype=torch.uint8, generator=draws())
    return {"pixels": pixels}


def objective(**options):
    options = {"features": 12, "token_features": 4, **options}
    return Contrast(VideoEncoder(EncoderConfig(SIDE, WIDTH, 2, 2)), Contrastive(**options))


def test_what_is_read_lies_near_and_then_far():
    assert objective(near=2, negatives=3).reads(8).gaps == ((1, 2), (8, 16), (8, 16), (8, 16))


def test_the_loss_by_hand(monkeypatch):
    """Two clips of three frames; similarities are 1 or 0, at a temperature of one half."""
    module = objective(negatives=1, temperature=0.5)
    right, up = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    # Frame t looks right in the first clip and up in the second; so do frames t+k; the later frames are the other way.
    seen = torch.stack([right, up, right, up, up, right])
    monkeypatch.setattr(module, "directions", lambda pieces, generator=None: seen[: len(pieces)])
    loss, parts = module.loss(clips(3, batch=2), draws())
    # Of four candidates two are alike, the right one and a later frame of the other clip: 2 / 0.5 = 4 and 0.
    assert loss.item() == pytest.approx(-math.log(math.e**2 / (2 * math.e**2 + 2)))
    assert parts["pretrain/loss_guessing"] == pytest.approx(math.log(4))
    assert parts["pretrain/found_in_own"] == 1.0

    seen = torch.stack([right, up, up, right, right, up])  # now the later frames are those that are alike
    loss, parts = module.loss(clips(3, batch=2), draws())
    # From t to t+k: the right one is unlike, the other's t+k and the own later frame alike. The same the other way
    # round but for the later frames, of which the other clip's is alike.
    assert loss.item() == pytest.approx(-math.log(1 / (2 * math.e**2 + 2)))
    assert parts["pretrain/found"] == 0.0
    assert parts["pretrain/found_in_own"] == 0.0


def test_directions_have_length_one_and_tell_where_tokens_lie():
    module = objective()
    pieces = module.encoder.embedding.cut(clips()["pixels"][:, 0])
    found = module.directions(pieces)
    assert found.shape == (BATCH, 12)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.norm(dim=1), torch.ones(BATCH))
    # The same tokens in other places are another direction, as no mean over tokens would be.
    with torch.no_grad():
        tokens = module.summary.narrow(module.encoder.encode(pieces))
        moved = normalize(module.summary.read(tokens.roll(1, 1).flatten(1)), dim=1)
    assert (found * moved).sum(1).max() < 0.99


def test_hidden_tokens_are_not_seen():
    module = objective(hide=0.75)
    pieces = module.encoder.embedding.cut(clips()["pixels"][:, 0])
    hidden = hide_tokens(BATCH, TOKENS, 0.75, draws(3)).mask
    changed = torch.where(hidden.unsqueeze(2), pieces.flip(0), pieces)
    assert torch.equal(module.directions(changed, draws(3)), module.directions(pieces, draws(3)))
    assert not torch.equal(module.directions(changed), module.directions(pieces))


def test_who_sees_places_tells_squares_apart_and_who_sees_the_mean_does_not(monkeypatch):
    module = objective()
    clip = clips(batch=200)["pixels"] // 8  # dark, so that squares count
    clip[:, 1] = clip[:, 0]
    monkeypatch.setattr(module, "directions", lambda pieces: normalize(pieces.float().flatten(1) - 0.1, dim=1))
    assert module.places_told(clip, draws()) > 0.95
    told = module.places_told(clip, draws(7))
    assert module.monitor({"pixels": clip}, draws(7)) == {"pretrain/places_told": told}
    monkeypatch.setattr(module, "directions", lambda pieces: torch.ones(len(pieces), 1))
    assert module.places_told(clip, draws()) == 0.0
    metrics = {"loss_guessing": math.log(96), "found": 0.5, "found_in_own": 0.9, "places_told": 0.52}
    (alarm,) = module.alarms(metrics)
    assert alarm.name == "placeless"
    assert "52% are told apart" in alarm.sentence
    assert module.alarms(metrics | {"places_told": 0.9}) == ()
    assert module.headline(metrics).startswith("the next frame is chosen among 96 in 50% of cases")


def test_squares_are_put_in_two_places_of_the_later_frame(monkeypatch):
    module, seen = objective(), []

    def directions(pieces):
        seen.append(module.encoder.tokeniser.put_together(pieces))
        return torch.ones(len(pieces), 1)

    monkeypatch.setattr(module, "directions", directions)
    clip = torch.zeros(5, 2, SIDE, SIDE, 3, dtype=torch.uint8)
    module.places_told(clip, draws(1))
    now, same, moved = seen[0].chunk(3)
    assert torch.equal(now, same)
    lit = [(frames > 0).any(3) for frames in (same, moved)]
    assert all(one.flatten(1).sum(1).tolist() == [4] * 5 for one in lit), "an eighth of the side, squared"
    assert not (lit[0] & lit[1]).any()


def linear(tokens, inner, outer):
    return 2 * tokens * inner * outer


def block(tokens, width):
    return 4 * linear(tokens, width, width) + 4 * tokens**2 * width + 2 * linear(tokens, width, 4 * width)


def test_all_operations_are_counted():
    """Image 16: a stem of 12 inputs. Backward costs twice the forward, the stem's once; who is found costs nothing."""

    def read(tokens):
        return 2 * block(tokens, WIDTH) + linear(tokens, WIDTH, 4) + linear(1, TOKENS * 4, 12)

    seen = 4 * BATCH * (3 * read(TOKENS // 2) + 2 * linear(TOKENS // 2, 12, WIDTH))
    alike = linear(BATCH, 12, 3 * BATCH)
    counted = count_flops(lambda: objective().loss(clips(), draws())[0].backward())
    assert counted == seen + 2 * 3 * alike
    places = 3 * BATCH * (read(TOKENS) + linear(TOKENS, 12, WIDTH))
    assert count_flops(lambda: objective().monitor(clips(), draws())) == places


def test_frames_that_follow_are_soon_found():
    """Each video is a square that stays; its negatives have it elsewhere."""

    def videos(seed):
        places = torch.randint(0, 7, (16, 2, 2), generator=draws(seed))
        pixels = torch.full((16, 3, SIDE, SIDE, 3), 90, dtype=torch.uint8)
        for clip, frame in ((clip, frame) for clip in range(16) for frame in range(3)):
            down, across = 2 * places[clip, frame // 2]
            pixels[clip, frame, down : down + 3, across : across + 3] = 255
        return {"pixels": pixels}

    module = objective(negatives=1, hide=0.1)
    optimiser = torch.optim.Adam(module.parameters(), 3e-3)
    for step in range(60):
        optimiser.zero_grad()
        loss, _ = module.loss(videos(step), draws(step))
        loss.backward()
        optimiser.step()
    _, parts = module.loss(videos(1000), draws())
    assert parts["pretrain/found"] > 0.3  # by chance 1 / 32; some squares lie in one place
    assert parts["pretrain/found_in_own"] > 0.8
    shown = module.visualise(videos(1000), draws())
    assert list(shown) == ["frame t", "chosen", "t+k", "later 1"]


@pytest.mark.parametrize(
    ("options", "says"),
    [({"hide": 1.0}, r"hide must lie in \(0, 1\)"), ({"near": 0}, "near"), ({"temperature": 0.0}, "temperature")],
)
def test_options_out_of_range_are_refused(options, says):
    with pytest.raises(UserError, match=says):
        Contrastive(**options)

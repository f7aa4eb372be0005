"""Replaced tokens: drawn from what the generator says, told apart by the encoder; by hand, and all that it costs."""

import math

import pytest
import torch

from goalsight.base.errors import UserError
from goalsight.base.flops import count_flops
from goalsight.pretrain.encoders.vit import EncoderConfig, VideoEncoder
from goalsight.pretrain.masking import Hidden
from goalsight.pretrain.objectives.replaced import Replaced, ReplacedDetection, area_under_curve
from goalsight.pretrain.tokenisers.codes import Codes

WIDTH, BATCH, SIDE, TOKENS, BOOK = 16, 4, 16, 16, 6


def draws(seed=0):
    return torch.Generator().manual_seed(seed)


def clips(batch=BATCH):
    return {"pixels": torch.randint(0, 256, (batch, 1, SIDE, SIDE, 3), dtype=torch.uint8, generator=draws())}


def objective(**options):
    encoder = VideoEncoder(EncoderConfig(SIDE, WIDTH, 2, 2, "codes", Codes(side=4, levels=(3, 2))))
    return ReplacedDetection(encoder, Replaced(**options))


def hiding(rows):
    mask = torch.tensor(rows, dtype=torch.bool)
    return Hidden(visible=torch.empty(0), restore=torch.empty(0), mask=mask)


def test_hidden_codes_are_drawn_by_their_scores_and_others_stay():
    module = objective()
    codes = torch.zeros(1000, 3, dtype=torch.long)
    scores = torch.tensor([0.1, 0.2, 0.7]).log().expand(1000, 3, 3)
    hidden = hiding([[True, False, True]])
    filled = module.fill(codes, scores, hidden, draws())
    assert (filled[:, 1] == 0).all()
    shares = torch.bincount(filled[:, [0, 2]].flatten(), minlength=3) / 2000
    torch.testing.assert_close(shares, torch.tensor([0.1, 0.2, 0.7]), atol=0.04, rtol=0)
    assert torch.equal(filled, module.fill(codes, scores, hidden, draws()))


def test_the_generator_sees_nothing_of_what_is_hidden():
    module = objective()
    torch.nn.init.normal_(module.out.weight, generator=draws())
    codes = torch.randint(BOOK, (1, TOKENS), generator=draws())
    hidden = hiding([[index < 4 for index in range(TOKENS)]])
    scores = module.guess(codes, hidden)
    assert scores.shape == (1, TOKENS, BOOK)
    other = codes.clone()
    other[0, :4] = (other[0, :4] + 1) % BOOK
    assert torch.equal(module.guess(other, hidden), scores)
    other[0, 7] = (other[0, 7] + 1) % BOOK
    assert not torch.equal(module.guess(other, hidden), scores)


def test_the_loss_by_hand(monkeypatch):
    """One frame of 16 tokens, 4 hidden; two are drawn as they were, so two are replaced."""
    module = objective(weight=10.0)
    codes = module.encoder.tokeniser.targets(module.encoder.embedding.cut(clips(1)["pixels"][:, 0]))
    seen = {}

    def fill(given, scores, hidden, generator):
        filled, places = given.clone(), hidden.mask[0].nonzero().flatten()
        filled[0, places[:2]] = (filled[0, places[:2]] + 1) % BOOK
        seen["replaced"] = places[:2]
        return filled

    def judged(filled):
        logits = torch.full((1, TOKENS), -math.log(3))  # replaced to a quarter
        logits[0, seen["replaced"][0]] = math.log(3)
        return logits

    monkeypatch.setattr(module, "fill", fill)
    monkeypatch.setattr(module, "judged", judged)
    loss, parts = module.loss(clips(1), draws())
    assert codes.shape == (1, TOKENS)
    telling = -(15 * math.log(0.75) + math.log(0.25)) / 16
    assert parts["pretrain/loss_filling"] == pytest.approx(math.log(BOOK)), "before anything is learnt"
    assert loss.item() == pytest.approx(math.log(BOOK) + 10 * telling)
    assert parts["pretrain/replaced_share"] == pytest.approx(2 / 16)
    assert parts["pretrain/auroc"] == pytest.approx((1 + 0.5) / 2)  # one above all, one like all others


def test_the_area_under_the_curve_by_hand():
    scores = torch.tensor([3.0, 1.0, 2.0, 2.0, 0.0])
    assert area_under_curve(scores, torch.tensor([True, False, True, False, False])) == pytest.approx(5.5 / 6)


def test_alarms_ring_for_what_they_are_named_after():
    module = objective()
    assert module.alarms({"auroc": 0.8}) == module.alarms({}) == ()
    (guessing,) = module.alarms({"auroc": 0.55})
    assert guessing.sentence == "replaced tokens are not told from others: an AUROC of 0.550"
    (easy,) = module.alarms({"auroc": 0.99})
    assert "so easily that nothing is left to learn" in easy.sentence
    assert module.headline({}) == "the generator has replaced nothing"


def test_tokens_out_of_place_are_soon_told():
    """Frames of which the left half is dark and the right half bright, or the other way round."""

    def frames(seed):
        bright = torch.randint(0, 2, (16, 1), generator=draws(seed)) * 200 + 20
        pixels = torch.zeros(16, 1, SIDE, SIDE, 3, dtype=torch.uint8)
        pixels[..., : SIDE // 2, :] = bright[:, :, None, None, None]
        pixels[..., SIDE // 2 :, :] = 240 - bright[:, :, None, None, None]
        return {"pixels": pixels}

    module = objective(hide=0.3)
    optimiser = torch.optim.Adam(module.parameters(), 3e-3)
    for step in range(60):
        optimiser.zero_grad()
        loss, _ = module(frames(step), draws(step))
        loss.backward()
        optimiser.step()
    # A generator that has learnt nothing is easily found out.
    torch.nn.init.zeros_(module.out.weight)
    torch.nn.init.zeros_(module.out.bias)
    _, parts = module.loss(frames(1000), draws())
    assert parts["pretrain/auroc"] > 0.9
    shown = module.visualise(frames(1000), draws())
    assert list(shown) == ["frame t", "as codes", "some replaced", "replaced", "taken for so"]


def linear(tokens, inner, outer):
    return 2 * tokens * inner * outer


def block(tokens, width):
    return 4 * linear(tokens, width, width) + 4 * tokens**2 * width + 2 * linear(tokens, width, 4 * width)


def test_all_operations_are_counted():
    """Backward costs twice the forward; cutting into codes has none, and looking codes up costs nothing."""
    encode = 2 * block(TOKENS, WIDTH) + linear(TOKENS, WIDTH, 1)
    guess = 2 * block(TOKENS, 4) + linear(TOKENS, WIDTH, 4) + linear(TOKENS, 4, BOOK)
    cut = linear(TOKENS, 48, 128) + linear(TOKENS, 128, 2)
    counted = count_flops(lambda: objective().loss(clips(), draws())[0].backward())
    assert counted == BATCH * (3 * (encode + guess) + cut)


@pytest.mark.parametrize("tokeniser", ["conv", "patches", "local", "values"])
def test_where_there_are_no_codes_one_line_says_so(tokeniser):
    with pytest.raises(UserError, match=f'replaced samples codes, and the tokeniser "{tokeniser}" has none'):
        ReplacedDetection(VideoEncoder(EncoderConfig(32, WIDTH, 1, 2, tokeniser)))


@pytest.mark.parametrize(
    ("options", "says"), [({"hide": 0.0}, r"hide must lie in \(0, 1\)"), ({"narrower": 0}, "narrower")]
)
def test_options_out_of_range_are_refused(options, says):
    with pytest.raises(UserError, match=says):
        Replaced(**options)


def test_an_encoder_too_narrow_for_a_generator_is_refused():
    with pytest.raises(UserError, match="width 16 leaves no generator 8 times narrower"):
        objective(narrower=8)

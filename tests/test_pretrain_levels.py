"""Levels of abstraction: codes by hand, what they cost and keep; values of which none is hidden and seen."""

import math

import pytest
import torch

from goalsight.base.errors import UserError
from goalsight.base.flops import count_flops
from goalsight.pretrain.encoders.vit import EncoderConfig, VideoEncoder, random_encoder
from goalsight.pretrain.masking import hide_tokens
from goalsight.pretrain.objectives.masked import MaskedPrediction
from goalsight.pretrain.objectives.saying import Codes as SaidCodes
from goalsight.pretrain.objectives.saying import Pixels as SaidPixels
from goalsight.pretrain.tokenisers.codes import HIDDEN, Codes, CodeTokeniser, Quantiser
from goalsight.pretrain.tokenisers.patches import Patches, PatchTokeniser
from goalsight.pretrain.tokenisers.values import Values


def draws(seed=0):
    return torch.Generator().manual_seed(seed)


def frames(count, size=16, seed=0):
    return torch.randint(0, 256, (count, size, size, 3), dtype=torch.uint8, generator=draws(seed))


def test_more_codes_than_can_be_learnt_are_refused():
    with pytest.raises(UserError, match="levels make 1,000,000,000 codes, which is more than 65,536"):
        Codes(levels=(1000, 1000, 1000))
    assert Codes(levels=(256, 256)).levels == (256, 256)


def test_numbers_are_rounded_to_their_levels_by_hand():
    quantiser = Quantiser((3, 4))
    # Three levels -1, 0, 1; of an even number none more lies on the side of what is positive: -1, -0.5, 0, 0.5.
    levels = quantiser(torch.tensor([[-9.0, -9.0], [0.0, 0.0], [9.0, 9.0], [0.4, -0.6]]))
    assert levels[:3].tolist() == [[-1, -1], [0, 0], [1, 0.5]]
    # tanh(0.4) x 1.001 = 0.38 is nearer to 0; tanh(-0.6 + atanh(0.5 / 1.5015)) x 1.5015 - 0.5 = -0.86 is nearer to -1.
    assert levels[3].tolist() == [0, -0.5]
    assert quantiser.index(levels).tolist() == [0, 1 + 2 * 3, 2 + 3 * 3, 1 + 1 * 3]


@pytest.mark.parametrize("levels", [(2,), (8, 5, 5, 5), (3, 2, 4)])
def test_every_code_stands_for_levels_and_comes_back(levels):
    quantiser = Quantiser(levels)
    codes = torch.arange(math.prod(levels))
    assert quantiser.index(quantiser.levels_of(codes)).tolist() == codes.tolist()
    reached = quantiser.codes(1.5 * torch.randn(50_000, len(levels), generator=draws()))
    assert sorted(set(reached.tolist())) == codes.tolist(), "each is reached by some numbers"


def test_gradients_pass_as_if_nothing_was_rounded():
    numbers = torch.tensor([[0.3, -0.2]], requires_grad=True)
    Quantiser((5, 4))(numbers).sum().backward()
    reach, shift = torch.tensor([4, 3]) * 1.001 / 2, torch.atanh(torch.tensor([0, 0.5 / (3 * 1.001 / 2)]))
    by_hand = (1 - torch.tanh(numbers.detach() + shift) ** 2) * reach / torch.tensor([2, 2])
    torch.testing.assert_close(numbers.grad, by_hand)


def test_looks_that_repeat_count_by_the_root():
    tokeniser = CodeTokeniser(16, Codes(side=8))
    one, other = frames(2)
    with torch.no_grad():
        tokeniser.decode[0].weight.zero_()  # what comes back is grey, whatever the code
        tokeniser.decode[2].weight.zero_()
        tokeniser.decode[2].bias.zero_()
    plain = torch.full_like(one, 204)
    loss, _ = tokeniser.loss(torch.stack([one, plain, plain, plain, plain]))
    error = (one.float() / 255 - 0.5).square().mean().item()
    # Four looks of one frame, each once; 16 patches of the other, which look alike: the root of 16.
    assert loss.item() == pytest.approx((4 * error + 4 * 0.3**2) / (4 + 4))
    errors = (torch.stack([one, other]).float() / 255 - 0.5).square().mean().item()
    assert tokeniser.loss(torch.stack([one, other]))[0].item() == pytest.approx(errors)


def test_codes_learn_what_a_patch_shows():
    tokeniser = CodeTokeniser(16, Codes(side=8))
    images = torch.zeros(32, 16, 16, 3, dtype=torch.uint8)
    for i in range(32):  # one of four colours in each patch
        shown = torch.randint(0, 2, (2, 2, 2), generator=draws(i)) * 255
        images[i, ..., :2] = shown.repeat_interleave(8, 0).repeat_interleave(8, 1)
    optimiser = torch.optim.AdamW(tokeniser.parameters(), lr=3e-3)
    for _ in range(150):
        loss, parts = tokeniser.loss(images)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert parts["pretrain/psnr_codes"] > 30
    assert 3 < parts["pretrain/codes_used"] < 5
    back = tokeniser.frames(tokeniser.targets(tokeniser.cut(images)))
    assert (back.int() - images.int()).abs().float().mean() < 10


def test_a_code_tells_of_its_own_patch_and_nothing_else():
    encoder = random_encoder("nano", 16, tokeniser="codes", tokeniser_options=Codes(side=4))
    image = frames(1)
    changed = image.clone()
    changed[:, :4, 4:8] = 255 - changed[:, :4, 4:8]
    assert encoder.tokeniser.cut(image).shape == (1, 16, 1)
    different = (encoder.tokeniser.cut(image) != encoder.tokeniser.cut(changed))[0, :, 0]
    assert different.nonzero().flatten().tolist() in ([1], []), "another code, unless both are coded alike"
    assert encoder.tokeniser.vocabulary == 1000


def test_pixels_of_hidden_cells_are_seen_by_no_token_and_all_others_by_each():
    encoder = random_encoder("nano", 16, tokeniser="values", tokeniser_options=Values(4, features=16, heads=2))
    pieces = encoder.embedding.cut(frames(2))
    hidden = hide_tokens(2, 16, 0.5, draws())
    tokens = encoder.embedding.embed(pieces, hidden.visible)
    unseen = torch.where(hidden.mask.unsqueeze(2), 255 - pieces, pieces)
    assert torch.equal(encoder.embedding.embed(unseen, hidden.visible), tokens)
    one = pieces.clone()
    one[0, hidden.visible[0, 0]] = 255 - one[0, hidden.visible[0, 0]]
    moved = (encoder.embedding.embed(one, hidden.visible) != tokens).any(2)
    assert moved[0].all()
    assert not moved[1].any()


def test_where_a_value_lies_counts():
    encoder = random_encoder("nano", 16, tokeniser="values", tokeniser_options=Values(4, features=16, heads=2))
    images = torch.zeros(2, 16, 16, 3, dtype=torch.uint8)
    images[0, 5, 6] = images[1, 6, 5] = 255  # in the same cell
    first, second = encoder.embedding(images)
    assert (first != second).any()
    everywhere = torch.arange(16).expand(2, -1)
    pieces = encoder.embedding.cut(images)
    torch.testing.assert_close(encoder.embedding.embed(pieces, everywhere), encoder.embedding.embed(pieces))


def test_bits_by_hand():
    said = SaidCodes(CodeTokeniser(16, Codes(side=8, levels=(2, 2))))
    now, later = torch.tensor([[[0], [1], [2], [3]]]), torch.tensor([[[0], [1], [2], [0]]])
    scores = torch.zeros(1, 4, 4)  # all four codes alike: 2 bits
    scores[0, 3, 0] = math.log(3)  # but for this one: a half
    parts = said.metrics(torch.tensor(1.0), scores, now, later)
    assert parts["pretrain/bits_next"] == pytest.approx((3 * 2 + 1) / 4)
    assert parts["pretrain/bits_next_changed"] == pytest.approx(1)
    # A quarter changes, to one of three others: log2(3 / (1/4)); the rest stays: -log2(3/4).
    assert parts["pretrain/bits_copy_changed"] == pytest.approx(math.log2(12))
    assert parts["pretrain/bits_copy"] == pytest.approx(math.log2(12) / 4 - 0.75 * math.log2(0.75))
    plain = {name.removeprefix("pretrain/"): value for name, value in parts.items()}
    assert said.alarms(plain) == ()
    (alarm,) = said.alarms(plain | {"bits_next_changed": 3.6})
    assert alarm.sentence == "what changes in the next frame takes 3.6 bits per token, no fewer than copying (3.6)"
    still = said.metrics(torch.tensor(1.0), scores, now, now)
    assert said.headline({name.removeprefix("pretrain/"): value for name, value in still.items()}) == (
        "no code changes in these clips"
    )
    torch.testing.assert_close(said.errors(scores, later), torch.tensor([[2, 2, 2, 1]]) * math.log(2))


def test_a_token_moves_where_a_pixel_changes():
    tokeniser = PatchTokeniser(16, Patches(8))
    said = SaidPixels(tokeniser)
    now = torch.full((1, 16, 16, 3), 100, dtype=torch.uint8)
    later = now.clone()
    later[0, 3, 12, 1] += 20
    later[0, 12, 3] += 5  # too little
    moved = said.moved(tokeniser.cut(now), tokeniser.cut(later))
    assert moved.tolist() == [[False, True, False, False]]


def test_what_codes_cost_to_learn_is_counted():
    encoder = VideoEncoder(EncoderConfig(16, 16, 1, 2, "codes", Codes(side=8)))
    module = MaskedPrediction(encoder)
    batch = {"pixels": torch.stack([frames(3), frames(3, seed=1)], 1)}
    alone = count_flops(lambda: module.loss(batch, draws())[0].backward())
    with_codes = count_flops(lambda: module(batch, draws())[0].backward())
    patches, size, numbers = 6 * 4, 192, 4
    forward = 2 * patches * (2 * size * HIDDEN + 2 * numbers * HIDDEN)
    # Backward costs twice as much, but for the first layer, whose input needs no gradient.
    assert with_codes - alone == 3 * forward - 2 * patches * size * HIDDEN


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("codes", {"levels": [1, 5]}), "levels must be one or more numbers of at least 2"),
        (("codes", {"side": 5}), "choices: 1, 2, 4, 8, 16"),
        (("values", {"features": 20, "heads": 4}), "features must divide by 4 x heads, got 20 and 4"),
        (("values", {"side": 3}), "choices: 1, 2, 4, 8, 16"),
    ],
)
def test_what_does_not_fit_is_one_line(options, words):
    with pytest.raises(UserError, match=words):
        EncoderConfig(16, 16, 1, 2, *options)

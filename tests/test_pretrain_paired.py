"""Images and what belongs to them: the loss and retrieval by hand, words, what is painted out, and what it costs."""

import math

import pytest
import torch
from torch.nn.functional import normalize

from goalsight.base.errors import UserError
from goalsight.base.flops import count_flops
from goalsight.pretrain.data.wordings import LONGEST, as_bytes
from goalsight.pretrain.encoders.vit import EncoderConfig, VideoEncoder
from goalsight.pretrain.objectives.paired import Paired, PairedComparison, painted_out, retrieval

WIDTH, BATCH, SIDE, TOKENS = 16, 4, 16, 64
SMALL = {"features": 12, "token_features": 4, "text_width": 8, "text_depth": 1}


def draws(seed=0):
    return torch.Generator().manual_seed(seed)


def objective(**options):
    return PairedComparison(VideoEncoder(EncoderConfig(SIDE, WIDTH, 2, 2)), Paired(**(SMALL | options)))


def told(meanings=(0, 1, 2, 0)):
    count = len(meanings)
    words = torch.stack([torch.from_numpy(as_bytes(f"Push thing {meaning}.")) for meaning in meanings])
    return {
        "pixels": torch.randint(0, 256, (count, 2, SIDE, SIDE, 3), dtype=torch.uint8, generator=draws()),
        "instruction": words.unsqueeze(1).expand(-1, 2, -1),
        "instruction.unheard": words.unsqueeze(1).expand(-1, 2, -1),
        "instruction.meaning": torch.tensor(meanings).unsqueeze(1).expand(-1, 2),
    }


def felt(batch=BATCH, numbers=5):
    pixels = torch.randint(0, 256, (batch, 1, SIDE, SIDE, 3), dtype=torch.uint8, generator=draws())
    return {"pixels": pixels, "proprioception": torch.randn(batch, 1, numbers, generator=draws())}


def test_what_is_read():
    assert objective().reads(8).ends
    assert "instruction" in objective().reads(8).columns
    assert objective(partner="proprioception").reads(8).columns == ("pixels", "proprioception")
    assert objective(partner="proprioception").reads(8).frames == 1


def test_the_loss_by_hand(monkeypatch):
    """Three images, the last of which means the same as the first: two questions each, of which one is to be yes."""
    module = objective()
    right, up = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    images = torch.stack([right, up, up])
    texts = torch.stack([right, up, right])
    monkeypatch.setattr(module, "see", lambda frames: images[: len(frames)])
    monkeypatch.setattr(module, "hear", lambda batch, column: texts[: len(batch["pixels"])])
    batch = told((0, 1, 0))
    with torch.no_grad():
        module.log_temperature.fill_(math.log(4))
        module.bias.fill_(-1)
    loss, parts = module.loss(batch, draws())

    def yes(logit):
        return math.log1p(math.exp(-logit))

    # Alike is 4 - 1 = 3, unlike -1. The last image is taken for the second text, and not for the first.
    by_hand = 2 * (yes(3) + yes(1)) + yes(-1) + yes(-3)
    assert loss.item() == pytest.approx(by_hand / 3, rel=1e-5)
    assert parts == {"pretrain/loss": loss.item()}
    parts = module.monitor(batch, draws())
    assert parts["pretrain/among"] == 2
    assert parts["pretrain/r1"] == 1.0


def test_retrieval_by_hand():
    alike = torch.tensor([[0.9, 0.1, 0.2], [0.5, 0.4, 0.6], [0.3, 0.1, 0.2]])
    assert retrieval(alike) == {"r1": pytest.approx(1 / 3), "r5": 1.0}
    assert retrieval(torch.zeros(10, 10)) == {"r1": pytest.approx(0.1), "r5": pytest.approx(0.5)}, "any will do"
    assert retrieval(-torch.eye(6)) == {"r1": 0.0, "r5": 0.0}


def test_what_a_sentence_says_does_not_depend_on_what_it_is_filled_up_with():
    module = objective()
    text = told()["instruction"][:, 0]
    heard = module.partner(text)
    assert heard.shape == (BATCH, 12)
    assert torch.equal(heard[0], heard[3])
    assert not torch.equal(heard[0], heard[1])
    assert text.shape == (BATCH, LONGEST)


def test_numbers_of_any_size_count_alike():
    module, batch = objective(partner="proprioception"), felt()
    plain = module.hear(batch, "proprioception")
    batch["proprioception"] = batch["proprioception"] * torch.tensor([1.0, 1000.0, 1e-3, 5.0, 1.0]) + 70
    torch.testing.assert_close(module.hear(batch, "proprioception"), plain, atol=1e-3, rtol=0)
    with pytest.raises(UserError, match="proprioception has 65 numbers, at most 64"):
        module.loss(felt(numbers=65), draws())


def test_things_are_painted_out_and_the_gripper_stays():
    frames = torch.zeros(1, 2, 16, 16, 3, dtype=torch.uint8)
    frames[:, :, 8:, :] = 100
    place = torch.tensor([[[0.5, 0.25], [math.nan, math.nan]]])
    batch = {"pixels": frames, "place.cube": place, "place.gripper": place + 0.5}
    painted = painted_out(batch)
    changed = (painted != frames).any(4)
    # An eighth of 16 pixels to all sides of column 8 and row 4, in the mean of black and 100.
    assert changed[0, 0].nonzero().tolist() == [[row, column] for row in range(2, 6) for column in range(6, 10)]
    assert painted[0, 0, 3, 8].tolist() == [50, 50, 50]
    assert not changed[0, 1].any(), "what lies outside the picture is nowhere"
    assert painted_out({"pixels": frames, "place.gripper": place}) is None


def test_alarms_ring_for_what_they_are_named_after():
    module = objective()
    fine = {"among": 10.0, "r1": 0.8, "r5": 1.0, "r1_painted": 0.3, "r1_unheard": 0.7}
    assert module.alarms(fine) == ()
    (unpaired,) = module.alarms(fine | {"r1": 0.15})
    assert unpaired.sentence == "images are found in 15% of cases, by chance in 10%"
    (blind,) = module.alarms(fine | {"r1_painted": 0.75})
    assert blind.sentence == "images are found as well with the object painted out: 75% against 80%"
    assert module.alarms({"among": 10.0, "r1": 0.8, "r5": 1.0}) == (), "where no place is known nothing is painted"
    assert "by words it never heard in 70%" in module.headline(fine)


def test_the_colour_that_is_named_is_soon_found():
    """The last frame shows one of four colours, of which the sentence names the number."""

    def batch(seed):
        meanings = torch.randint(0, 4, (16,), generator=draws(seed))
        made = told(meanings.tolist())
        colours = torch.tensor([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0]], dtype=torch.uint8)
        made["pixels"][:, 1] = colours[meanings][:, None, None]
        made["place.object"] = torch.full((16, 2, 2), 0.5)
        return made

    module = objective()
    optimiser = torch.optim.Adam(module.parameters(), 3e-3)
    for step in range(60):
        optimiser.zero_grad()
        loss, _ = module.loss(batch(step), draws())
        loss.backward()
        optimiser.step()
    parts = module.monitor(batch(1000), draws())
    assert parts["pretrain/r1"] == 1.0
    assert parts["pretrain/r1_unheard"] == 1.0
    shown = module.visualise(batch(1000), draws())
    names = ["early frame", "late frame", "told", "found: early frame", "found: late frame", "painted out"]
    assert list(shown) == names
    words = batch(1000)["instruction"][:, 0]
    alike = (words[:, None] == words).all(2)
    assert torch.equal((shown["told"][:, None] == shown["told"]).flatten(2).all(2), alike), "the same words look alike"
    assert not alike.all()
    assert torch.equal(shown["found: late frame"], shown["late frame"])


def linear(tokens, inner, outer):
    return 2 * tokens * inner * outer


def block(tokens, width):
    return 4 * linear(tokens, width, width) + 4 * tokens**2 * width + 2 * linear(tokens, width, 4 * width)


def test_all_operations_are_counted():
    """Backward costs twice the forward, the stem's once; three of four mean something else."""
    stem = linear(TOKENS, 12, WIDTH)
    look = 2 * block(TOKENS, WIDTH) + linear(TOKENS, WIDTH, 4) + linear(1, TOKENS * 4, 12)
    see, syllables = 2 * look + linear(1, 24, 12), LONGEST // 4
    hear = linear(syllables, 4 * 8, 8) + block(syllables, 8) + linear(1, 8, 12)
    asked = linear(BATCH, 12, 3)
    counted = count_flops(lambda: objective().loss(told(), draws())[0].backward())
    assert counted == BATCH * (3 * see + 2 * 2 * stem + 3 * hear) + 3 * asked
    found = 3 * (see + 2 * stem + 2 * hear) + 2 * linear(3, 12, 3)
    assert count_flops(lambda: objective().monitor(told(), draws())) == found


def test_directions_have_length_one():
    batch, module = told(), objective()
    for found in (module.see(batch["pixels"]), module.hear(batch, "instruction")):
        torch.testing.assert_close(found, normalize(found, dim=1))


@pytest.mark.parametrize(
    ("options", "says"),
    [({"partner": "smell"}, 'no partner "smell"'), ({"features": 0}, "features"), ({"text_width": 12}, "divide by 8")],
)
def test_options_out_of_range_are_refused(options, says):
    with pytest.raises(UserError, match=says):
        Paired(**options)

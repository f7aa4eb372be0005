"""One trunk for all modalities: what is shown and what is asked for, errors by hand, and what each is good for."""

import pytest
import torch

from goalsight.base.errors import UserError
from goalsight.base.flops import count_flops
from goalsight.pretrain.data.wordings import as_bytes
from goalsight.pretrain.encoders.vit import EncoderConfig, VideoEncoder
from goalsight.pretrain.objectives.fused import (
    BYTES,
    DONE,
    FELT,
    IMAGE,
    MODALITIES,
    NUMBERS,
    THINGS,
    WORDS,
    Fused,
    FusedPrediction,
    Missing,
    exchanged,
)
from goalsight.pretrain.objectives.syllables import SYLLABLES, spoken

WIDTH, BATCH, SIDE = 16, 6, 16
SMALL = {"decoder_width": 8, "decoder_depth": 1, "decoder_heads": 1}
FINE = {f"without_{name}": 1.2 for name in MODALITIES}


def draws(seed=0):
    return torch.Generator().manual_seed(seed)


def objective(**options):
    module = FusedPrediction(VideoEncoder(EncoderConfig(SIDE, WIDTH, 2, 2)), Fused(**(SMALL | options)))
    for part in (module.out, *module.says.values()):
        torch.nn.init.normal_(part.weight, std=0.1, generator=draws(1))  # at zero nothing comes through
    return module


def a_batch(count=BATCH):
    words = torch.stack(
        [torch.from_numpy(as_bytes(f"Push it {'left' if row % 2 else 'right'}.")) for row in range(count)]
    )
    return {
        "pixels": torch.randint(0, 256, (count, 3, SIDE, SIDE, 3), dtype=torch.uint8, generator=draws()),
        "proprioception": torch.randn(count, 3, 5, generator=draws()),
        "action": torch.randn(count, 3, 2, generator=draws(2)),
        "instruction": words.unsqueeze(1).expand(-1, 3, -1),
        "instruction.meaning": (torch.arange(count) % 2).unsqueeze(1).expand(-1, 3),
        "place.object": torch.rand(count, 3, 2, generator=draws()),
    }


def looked_at(module, batch, missing):
    """What is said, and whose gradient says it: of every input whether it came through."""
    pieces = [module.encoder.embedding.cut(frames).float() / 255 for frames in batch["pixels"].unbind(1)]
    for one in pieces:
        one.requires_grad_()
    numbers = {name: module.numbers(batch, name).requires_grad_() for name in (FELT, DONE)}
    said = module.say(batch, pieces, numbers, missing)
    sum(value.square().sum() for value in (*said.frames, *said.rest.values())).backward()
    return pieces, numbers


def nothing_missing(module, batch):
    missing = module.draw_missing(batch, draws())
    return Missing(
        missing.hidden, torch.zeros(len(batch["pixels"]), SYLLABLES, dtype=torch.bool), dict.fromkeys(MODALITIES, yes())
    )


def yes(count=BATCH):
    return torch.ones(count, dtype=torch.bool)


def test_what_is_hidden_or_left_out_is_not_looked_at():
    module, batch = objective(), a_batch()
    missing = nothing_missing(module, batch)
    first = yes()
    first[0] = False
    missing.kept[FELT] = missing.kept[IMAGE] = first
    pieces, numbers = looked_at(module, batch, missing)
    assert not numbers[FELT].grad[0].any()
    assert numbers[FELT].grad[1].any()
    assert numbers[DONE].grad[0].any()
    for one, hidden in zip(pieces, missing.hidden, strict=True):
        seen = one.grad.abs().sum(2) > 0
        assert not seen[0].any(), "the image of the first clip is left out"
        assert torch.equal(seen[1:], ~hidden.mask[1:])


def test_every_modality_is_looked_at_by_what_is_said_of_the_others():
    module, batch = objective(), a_batch()
    missing = nothing_missing(module, batch)

    def said(**other):
        changed = batch | other
        pieces = [module.encoder.embedding.cut(frames) for frames in batch["pixels"].unbind(1)]
        numbers = {name: module.numbers(changed, name) for name in (FELT, DONE)}
        return module.say(changed, pieces, numbers, missing).frames[1]

    usual = said()
    assert not torch.allclose(said(proprioception=batch["proprioception"].flip(0)), usual)
    assert not torch.allclose(said(action=batch["action"].flip(0)), usual)
    assert not torch.allclose(said(instruction=batch["instruction"].flip(0)), usual)


def test_the_loss_is_made_of_its_parts_by_hand(monkeypatch):
    """All is left out and nothing known: numbers scaled to a variance of 1 cost 1 where zero is said."""
    module, batch = objective(weight=0.5), a_batch()
    for part in (module.out, *module.says.values()):
        torch.nn.init.zeros_(part.weight)
        torch.nn.init.zeros_(part.bias)
    nowhere = ~yes()
    hidden = module.draw_missing(batch, draws()).hidden
    everything = Missing(
        hidden,
        torch.ones(BATCH, SYLLABLES, dtype=torch.bool),
        {IMAGE: yes(), FELT: nowhere, DONE: nowhere, WORDS: yes()},
    )
    monkeypatch.setattr(module, "draw_missing", lambda batch, generator: everything)
    loss, parts = module.loss(batch, draws())
    seen = batch["pixels"].float() / 255
    image = (seen - 0.5).square().mean((0, 2, 3, 4)).sum().item()  # of three frames, grey being said
    scaled = (BATCH - 1) / BATCH  # the variance of a sample, of which the spread is unbiased
    letters, fits = torch.log(torch.tensor(256.0)).item(), torch.log(torch.tensor(2.0)).item()
    assert loss.item() == pytest.approx(image + 0.5 * (2 * scaled + letters + fits), rel=1e-4)
    assert parts["pretrain/felt_explained"] == pytest.approx(1 - scaled, rel=1e-4)
    assert parts["pretrain/bits_of_letter"] == pytest.approx(8)
    assert module.monitor(batch, draws())["pretrain/without_image"] == pytest.approx(1), (
        "who says nothing loses nothing"
    )


def test_half_of_the_instructions_are_exchanged_and_some_fit_all_the_same():
    batch = a_batch(200)
    told, fits = exchanged(batch, draws())
    own = (told == batch["instruction"]).all(2).all(1)
    assert torch.equal(own, fits), "two sentences, each with its meaning"
    assert 0.65 < fits.float().mean() < 0.85, "half stay, and half of the others are given the same words"


def test_syllables_that_hold_anything():
    text = torch.from_numpy(as_bytes("abcde"))[None]
    assert spoken(text)[0, :3].tolist() == [True, True, False]


def test_places_are_asked_for_where_they_are_known():
    _, parts = objective(places=True).loss(a_batch(), draws())
    assert 0 < parts["pretrain/place_error"] < 2
    assert objective(places=True).reads(8).also == "place."
    blind = a_batch()
    del blind["place.object"]
    with pytest.raises(UserError, match="knows no places"):
        objective(places=True).loss(blind, draws())
    wide = a_batch() | {"proprioception": torch.zeros(BATCH, 3, NUMBERS + 1)}
    with pytest.raises(UserError, match="65 numbers"):
        objective().loss(wide, draws())


def test_the_alarm_names_what_is_not_used():
    module = objective()
    assert module.alarms(FINE) == ()
    (unused,) = module.alarms(FINE | {"without_action": 1.004, "without_instruction": 0.995})
    assert unused.name == "unused"
    assert unused.sentence == "errors are the same without action and without instruction"


def test_it_learns_which_move_led_here():
    """Frames whose brightness says what was done."""
    module = FusedPrediction(VideoEncoder(EncoderConfig(SIDE, WIDTH, 2, 2)), Fused(weight=1.0, **SMALL))
    optimiser = torch.optim.Adam(module.parameters(), 3e-3)
    generator = draws()
    for _ in range(60):
        batch = a_batch(32)
        done = torch.rand(32, 3, 2, generator=generator)
        batch["action"] = done
        bright = (done[:, 0, 0] * 255).to(torch.uint8)
        batch["pixels"] = bright.view(-1, 1, 1, 1, 1).expand(-1, 3, SIDE, SIDE, 3).contiguous()
        loss, parts = module.loss(batch, generator)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert parts["pretrain/done_explained"] > 0.25, "one of its two numbers shows"


def test_pictures():
    module, batch = objective(), a_batch()
    shown = module.visualise(batch, draws())
    assert list(shown)[:3] == ["frame t", "visible of t", "t filled"]
    assert all(value.shape == (BATCH, SIDE, SIDE, 3) for value in shown.values())


def linear(tokens, inner, outer):
    return 2 * tokens * inner * outer


def test_all_operations_are_counted():
    """A quarter of three frames goes through the trunk with what is felt, done and told.

    Backward costs twice the forward, that of first layers once; nothing is learnt of places, which are said all the
    same. What each modality is good for is not counted.
    """
    narrow, shown = SMALL["decoder_width"], 3 * 16 + 2 + SYLLABLES
    asked = 3 * 64 + 3 + SYLLABLES + THINGS
    block = 4 * linear(shown, WIDTH, WIDTH) + 4 * shown**2 * WIDTH + 2 * linear(shown, WIDTH, 4 * WIDTH)
    heard = linear(SYLLABLES, 4 * BYTES, WIDTH)
    decode = 2 * linear(asked, narrow, narrow) + linear(shown, narrow, 2 * narrow) + 4 * asked * shown * narrow
    decode += 2 * linear(asked, narrow, 4 * narrow)
    said = linear(3 * 64, narrow, 12) + linear(SYLLABLES, narrow, 4 * 256) + linear(1, narrow, 2 * NUMBERS + 1)
    learning = 2 * block + heard + linear(shown, WIDTH, narrow) + decode + said
    first = linear(3 * 16, 12, WIDTH) + 2 * linear(1, NUMBERS, WIDTH)
    counted = count_flops(lambda: objective().loss(a_batch(), draws())[0].backward())
    assert counted == BATCH * (3 * learning + 2 * first + linear(THINGS, narrow, 2))


def test_what_each_modality_is_good_for_is_measured_apart_from_the_loss():
    module, batch = objective(), a_batch()
    assert not [name for name in module.loss(batch, draws())[1] if "without" in name]
    assert set(module.monitor(batch, draws())) == {f"pretrain/without_{name}" for name in MODALITIES}


def test_shares_that_cannot_be():
    for options, words in (
        ({"hide": 1.0}, "hide must lie"),
        ({"leave_out": 0.0}, "leave_out must lie"),
        ({"weight": 0.0}, "weight"),
    ):
        with pytest.raises(UserError, match=words):
            Fused(**options)

"""Both at once: what is seen once serves both parts, their sum and their gradients by hand, and all that it costs."""

import pytest
import torch

from goalsight.base.errors import UserError
from goalsight.base.flops import count_flops
from goalsight.pretrain.encoders.vit import EncoderConfig, VideoEncoder
from goalsight.pretrain.objectives.joint import Joint, JointPrediction

WIDTH, BATCH, SIDE, TOKENS, NARROW = 16, 4, 16, 64, 8
FINE = {
    "gradient_filling": 1e-4,
    "gradient_telling": 1e-4,
    "psnr_next": 30.0,
    "psnr_copy": 20.0,
    "loss_guessing": 4.5,
    "found": 0.5,
    "found_in_own": 0.9,
    "places_told": 0.9,
}


def draws(seed=0):
    return torch.Generator().manual_seed(seed)


def clips(frames=3, batch=BATCH):
    pixels = torch.randint(0, 256, (batch, frames, SIDE, SIDE, 3), dtype=torch.uint8, generator=draws())
    return {"pixels": pixels}


def objective(**options):
    small = {"decoder_width": NARROW, "decoder_depth": 1, "decoder_heads": 1, "features": 12, "token_features": 4}
    return JointPrediction(
        VideoEncoder(EncoderConfig(SIDE, WIDTH, 2, 2)), Joint(**(small | {"negatives": 1} | options))
    )


def test_the_loss_is_the_sum_of_its_parts():
    module = objective(weight=0.5)
    loss, parts = module.loss(clips(), draws())
    assert loss.item() == pytest.approx(parts["pretrain/loss_filling"] + 0.5 * parts["pretrain/loss_telling"])
    assert parts["pretrain/loss"] == pytest.approx(loss.item())
    # Before anything is learnt all is grey: the error of filling in is that of both frames.
    seen = clips()["pixels"][:, :2].float() / 255
    assert parts["pretrain/loss_filling"] == pytest.approx(2 * (seen - 0.5).square().mean().item())


def test_gradients_of_both_parts_add_up():
    """What is measured of filling in is the whole gradient with respect to the tokens where contrast weighs nothing."""
    module, passed = objective(weight=0.5), {}
    encode = module.encoder.encode

    def remembered(pieces, visible=None):
        tokens = encode(pieces, visible)
        if tokens.requires_grad:
            number = len(passed)
            passed[number] = None
            tokens.register_hook(lambda gradient: passed.update({number: gradient}))
        return tokens

    def gradients(weight):
        """Of the last backward pass: the norm over frames t and t+k."""
        passed.clear()
        object.__setattr__(module.options, "weight", weight)
        module.loss(clips(), draws())[0].backward()
        return torch.stack([passed[0], passed[1]]).norm().item(), module.monitor(clips(), draws())

    module.encoder.encode = remembered
    torch.nn.init.normal_(module.out.weight, generator=draws(3))  # at zero nothing comes through
    whole, parts = gradients(0.5)
    filling, telling = parts["pretrain/gradient_filling"], parts["pretrain/gradient_telling"]
    assert abs(filling - telling) < whole < filling + telling
    alone, parts = gradients(0.0)
    assert alone == pytest.approx(filling, rel=1e-4)
    assert parts["pretrain/gradient_telling"] == 0.0


def test_what_is_hidden_of_a_frame_is_seen_by_neither_part():
    module = objective()
    torch.nn.init.normal_(module.out.weight, generator=draws(3))
    batch = clips()
    _, parts = module.loss(batch, draws())
    telling, seen = parts["pretrain/loss_telling"], 0
    for token in range(TOKENS):
        pieces = module.encoder.embedding.cut(batch["pixels"][:, 0])
        pieces[0, token] = 255 - pieces[0, token]
        other = batch["pixels"].clone()
        other[:, 0] = module.encoder.tokeniser.put_together(pieces)
        seen += module.loss({"pixels": other}, draws())[1]["pretrain/loss_telling"] != telling
    assert seen == TOKENS // 2


def test_alarms_ring_for_what_they_are_named_after():
    module = objective()
    assert module.alarms(FINE) == ()
    (weak,) = module.alarms(FINE | {"gradient_telling": 5e-7})
    assert weak.name == "imbalance"
    assert weak.sentence == "the gradient of the contrast is 0.0050 of that of the filling in"
    (weak,) = module.alarms(FINE | {"gradient_telling": 1.0})
    assert "gradient of the filling in is 0.0001 of that of the contrast" in weak.sentence
    assert [alarm.name for alarm in module.alarms(FINE | {"places_told": 0.5})] == ["placeless"]
    copied = {"psnr_next_changed": 11.0, "psnr_copy_changed": 12.0}
    assert [alarm.name for alarm in module.alarms(FINE | copied)] == ["copying"]
    assert module.headline(FINE).startswith("next frame 30.0 dB; no pixel")


def test_pictures_show_both_parts():
    shown = objective().visualise(clips(), draws())
    names = ["frame t", "visible of t", "t filled", "frame t+k", "visible of t+k", "t+k filled", "chosen for t"]
    assert list(shown) == names


def linear(tokens, inner, outer):
    return 2 * tokens * inner * outer


def test_all_operations_are_counted():
    """Three frames are seen, half of each, and what is seen is counted once for both parts."""
    half = TOKENS // 2

    def blocks(tokens):
        block = 4 * linear(tokens, WIDTH, WIDTH) + 4 * tokens**2 * WIDTH + 2 * linear(tokens, WIDTH, 4 * WIDTH)
        return 2 * block

    def summary(tokens):
        return linear(tokens, WIDTH, 4) + linear(1, TOKENS * 4, 12)

    def decode(memory):
        attention = (
            2 * linear(TOKENS, NARROW, NARROW) + linear(memory, NARROW, 2 * NARROW) + 4 * TOKENS * memory * NARROW
        )
        return attention + 2 * linear(TOKENS, NARROW, 4 * NARROW) + linear(TOKENS, NARROW, 12)

    looks = 3 * (3 * blocks(half) + 2 * linear(half, 12, WIDTH))
    compared = 3 * 3 * summary(half)
    filled = 3 * (decode(half) + decode(2 * half) + 2 * linear(half, WIDTH, NARROW))
    alike = 2 * 3 * linear(BATCH, 12, 2 * BATCH)
    counted = count_flops(lambda: objective(weight=1.0).loss(clips(), draws())[0].backward())
    assert counted == BATCH * (looks + compared + filled) + alike


def test_what_is_monitored_needs_gradients_and_leaves_none():
    module = objective()
    torch.nn.init.normal_(module.out.weight, generator=draws(3))
    with torch.no_grad():  # as the trainer asks
        parts = module.monitor(clips(), draws())
    assert set(parts) == {f"pretrain/{name}" for name in ("gradient_filling", "gradient_telling", "places_told")}
    assert parts["pretrain/gradient_filling"] > 0
    assert all(weight.grad is None for weight in module.parameters())


@pytest.mark.parametrize(("options", "says"), [({"hide": 0.0}, "hide must lie"), ({"weight": 0.0}, "weight")])
def test_options_out_of_range_are_refused(options, says):
    with pytest.raises(UserError, match=says):
        Joint(**options)

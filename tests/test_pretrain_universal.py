"""One rule for all kinds of data: targets and losses by hand, what is hidden, the teacher, and who stands beside it."""

import pytest
import torch
from torch.nn.functional import layer_norm

from goalsight.base.errors import UserError
from goalsight.base.flops import count_flops
from goalsight.pretrain.data.samplers import ClipSampler
from goalsight.pretrain.data.store import FrameStore, FrameStoreWriter
from goalsight.pretrain.data.wordings import as_bytes
from goalsight.pretrain.encoders.vit import EncoderConfig, VideoEncoder
from goalsight.pretrain.masking import hide_tokens
from goalsight.pretrain.objectives.syllables import SYLLABLES, spoken
from goalsight.pretrain.objectives.teaching import targets
from goalsight.pretrain.objectives.universal import (
    BYTES,
    LENGTH,
    MODALITIES,
    READ,
    Universal,
    UniversalPrediction,
    _summary,
    linear_error,
)

WIDTH, BATCH, SIDE = 16, 6, 16
SMALL = {"decoder_width": 8, "decoder_depth": 1, "decoder_heads": 1}


def draws(seed=0):
    return torch.Generator().manual_seed(seed)


def objective(**options):
    return UniversalPrediction(VideoEncoder(EncoderConfig(SIDE, WIDTH, 2, 2)), Universal(**(SMALL | options)))


def a_batch(count=BATCH):
    words = torch.stack([torch.from_numpy(as_bytes(f"Push it {row}.")) for row in range(count)])
    return {
        "pixels": torch.randint(0, 256, (count, 1, SIDE, SIDE, 3), dtype=torch.uint8, generator=draws()),
        "proprioception": torch.randn(count, LENGTH, 5, generator=draws()),
        "action": torch.randn(count, LENGTH, 2, generator=draws(2)),
        "instruction": words.unsqueeze(1).expand(-1, LENGTH, -1),
        "instruction.meaning": torch.arange(count).unsqueeze(1).expand(-1, LENGTH),
    }


def test_the_teacher_says_the_mean_of_its_last_blocks():
    module = objective(averaged=2)
    tokens = module.senses.tokens("action", torch.randn(BATCH, LENGTH, 64, generator=draws()))
    first = module.encoder.blocks[0](tokens)
    second = module.encoder.blocks[1](first)
    expected = (layer_norm(first, (WIDTH,)) + layer_norm(second, (WIDTH,))) / 2
    assert torch.allclose(module.senses.layers(tokens, 2), expected, atol=1e-6)
    assert torch.allclose(module.senses.layers(tokens, 1), layer_norm(second, (WIDTH,)), atol=1e-6)


@pytest.mark.parametrize("name", MODALITIES)
def test_every_kind_goes_by_the_same_rule(name):
    """Nothing is said yet: the error is the targets' square where they are hidden, and of words where there are any."""
    module, batch = objective(modalities=(name,), hide=0.5, masks=1), a_batch()
    _, parts = module.loss(batch, draws())
    value = module.values(batch)[name]
    whole = module.teacher.layers(module.teacher.tokens(name, value), 2)
    there = spoken(value) if name == "instruction" else torch.ones(whole.shape[:2], dtype=torch.bool)
    wanted = targets(whole, there)
    asked = hide_tokens(BATCH, wanted.shape[1], 0.5, draws()).mask & there
    expected = wanted.square().mean(2)[asked].mean().item()
    assert expected == pytest.approx(1.0, abs=0.4)
    assert parts[f"pretrain/error_{name}"] == pytest.approx(expected, rel=1e-2)
    assert parts["pretrain/loss"] == pytest.approx(expected, rel=1e-2)


def test_what_is_hidden_is_not_seen_and_the_rest_is():
    module = objective(modalities=("action",), hide=0.5, masks=1)
    torch.nn.init.normal_(module.out.weight, generator=draws(3))
    value = torch.randn(BATCH, LENGTH, 64, generator=draws()).requires_grad_()
    module._say_hidden("action", value, torch.zeros(BATCH, LENGTH, WIDTH), None, draws()).backward()
    assert (value.grad.abs().sum(2) > 0).sum(1).tolist() == [LENGTH // 2] * BATCH


@pytest.mark.parametrize("tokeniser", ["conv", "local", "patches", "values"])
def test_nothing_of_hidden_pixels_is_seen_whatever_cuts_them(tokeniser):
    encoder = VideoEncoder(EncoderConfig(SIDE, WIDTH, 2, 2, tokeniser))
    module = UniversalPrediction(encoder, Universal(modalities=("pixels",), hide=0.5, masks=1, **SMALL))
    torch.nn.init.normal_(module.out.weight, generator=draws(3))
    pieces = module.values(a_batch())["pixels"].float().div(255).requires_grad_()
    hidden = hide_tokens(BATCH, encoder.tokens, 0.5, draws())
    module.encoder.think(module.senses.tokens("pixels", pieces, hidden.visible)).square().sum().backward()
    assert torch.equal(pieces.grad.flatten(2).abs().sum(2) == 0, hidden.mask)


def test_the_teacher_follows_and_what_has_learnt_nothing_stays():
    module = objective(momentum=0.5, last_momentum=0.5)
    before = module.teacher.felt.weight.clone()
    with torch.no_grad():
        module.senses.felt.weight.add_(1.0)
        module.encoder.norm.weight.add_(1.0)
    module.after_step(0.3)
    assert torch.allclose(module.teacher.felt.weight, before + 0.5)
    assert torch.allclose(module.untrained.felt.weight, before)
    assert torch.allclose(module.teacher.encoder.norm.weight, torch.full((WIDTH,), 1.5))
    assert not any(weight.requires_grad for weight in module.teacher.parameters())


def test_a_linear_reading_by_hand():
    x = torch.randn(400, 3, generator=draws())
    noise = torch.randn(400, 1, generator=draws(1))
    assert linear_error(x, x @ torch.tensor([[1.0], [2.0], [0.0]])) < 0.01
    assert linear_error(x, x[:, :1] + noise) == pytest.approx(0.5, abs=0.1), "half of the variance is noise"
    assert linear_error(x, noise) == pytest.approx(1.0, abs=0.1)


def test_linear_readings_are_made_as_often_as_there_are_clips_enough():
    module = objective(modalities=("pixels", "action"))
    errors = {"pretrain/error_pixels", "pretrain/error_action"}
    assert module.loss(a_batch(), draws())[1].keys() == {"pretrain/loss"} | errors
    enough = -(-READ // BATCH)
    assert all(module.monitor(a_batch(), draws()) == {} for _ in range(enough - 1))
    read = module.monitor(a_batch(), draws())
    kinds = ("pixels", "action")
    assert set(read) == {f"pretrain/read_{name}_{who}" for name in kinds for who in ("learnt", "untrained")}
    assert read["pretrain/read_action_learnt"] == read["pretrain/read_action_untrained"], "nothing has been learnt yet"
    assert read["pretrain/read_pixels_learnt"] < 0.1, "it is the same clips again and again"
    with torch.no_grad():
        module.teacher.encoder.blocks[0].mlp[0].weight.mul_(3)
    assert all(module.monitor(a_batch(), draws()) == read for _ in range(enough - 1)), "until there are as many more"
    again = module.monitor(a_batch(), draws())
    assert again["pretrain/read_action_untrained"] == read["pretrain/read_action_untrained"]
    assert again["pretrain/read_action_learnt"] != read["pretrain/read_action_learnt"], "the teacher has changed"


def test_what_is_kept_to_be_read_is_kept_with_the_state():
    module, other = objective(modalities=("action",)), objective(modalities=("action",))
    for _ in range(-(-READ // BATCH) + 2):
        read = module.monitor(a_batch(), draws())
    other.load_state_dict(module.state_dict())
    assert len(read) == 2
    while module._kept["action"][0].shape[0] + BATCH < READ:
        assert module.monitor(a_batch(), draws()) == other.monitor(a_batch(), draws()) == read
    assert module.monitor(a_batch(), draws()) == other.monitor(a_batch(), draws())
    assert module._kept == other._kept == {}


def test_what_is_not_recorded_is_not_read_off():
    batch = a_batch()
    del batch["proprioception"]
    assert set(objective(modalities=("pixels", "action", "instruction")).wanted(batch)) == {"instruction"}
    del batch["instruction.meaning"]
    module = objective(modalities=("pixels", "action"))
    assert module.monitor(batch, draws()) == {}
    assert "pixels" in module.headline({"error_pixels": 0.5, "error_action": 0.5})


def test_silent_video_is_enough_for_pixels(tmp_path):
    with FrameStoreWriter(tmp_path / "silent", image_size=SIDE) as writer:
        writer.add_episode(torch.zeros(3, SIDE, SIDE, 3, dtype=torch.uint8).numpy())
    store = FrameStore.open(tmp_path / "silent")
    batch = ClipSampler(store, objective(modalities=("pixels",)).reads(8), batch=4, seed=0).sample()
    assert {name: tuple(values.shape) for name, values in batch.items()} == {"pixels": (4, 1, SIDE, SIDE, 3)}
    with pytest.raises(UserError, match="proprioception"):
        ClipSampler(store, objective(modalities=("proprioception",)).reads(8), batch=4, seed=0)


def linear(tokens, inner, outer):
    return 2 * tokens * inner * outer


def blocks(tokens):
    return 2 * (4 * linear(tokens, WIDTH, WIDTH) + 4 * tokens**2 * WIDTH + 2 * linear(tokens, WIDTH, 4 * WIDTH))


def test_all_operations_are_counted():
    """Backward costs twice the forward, the first layer's once; the teacher has none, and readings do not count."""
    narrow, counted = SMALL["decoder_width"], {}
    for name, length, inner in (("pixels", 64, 12), ("action", LENGTH, 64), ("instruction", SYLLABLES, 4 * BYTES)):
        seen = hide_tokens(1, length, 0.6, draws()).visible.shape[1]
        first = linear(length, inner, WIDTH)
        decode = 2 * linear(length, narrow, narrow) + linear(seen, narrow, 2 * narrow) + 4 * length * seen * narrow
        decode += 2 * linear(length, narrow, 4 * narrow) + linear(length, narrow, WIDTH)
        said = blocks(seen) + linear(seen, WIDTH, narrow) + decode
        made = linear(seen, inner, WIDTH) if name == "pixels" else first  # of pixels those that are seen alone
        counted[name] = first + blocks(length) + 2 * (3 if name == "instruction" else 2) * made + 2 * 3 * said
        module = objective(modalities=(name,), masks=2)
        assert count_flops(lambda m=module: m.loss(a_batch(), draws())[0].backward()) == BATCH * counted[name]
    module = objective(modalities=tuple(counted))
    assert count_flops(lambda: module.loss(a_batch(), draws())[0].backward()) == BATCH * sum(counted.values())


def test_a_sequence_is_summed_up_by_its_parts():
    features = torch.arange(8.0).view(1, 8, 1)
    assert _summary(features).tolist() == [[0.5, 2.5, 4.5, 6.5]]


def test_the_alarm_names_what_has_not_been_learnt():
    module = objective()
    fine = {f"read_{name}_{who}": error for name in MODALITIES for who, error in (("learnt", 0.3), ("untrained", 0.5))}
    assert module.alarms(fine) == ()
    (worse,) = module.alarms(fine | {"read_action_learnt": 0.6})
    assert module.alarms(fine | {"read_action_learnt": 0.54}) == (), "as well as chance lets it"
    assert module.alarms(fine | {"read_action_learnt": 1.4, "read_action_untrained": 1.1}) == (), "off neither"
    assert worse.name == "unlearnt"
    assert worse.sentence.endswith("of action")
    errors = {f"error_{name}": 0.25 for name in MODALITIES}
    assert "action 0.75 (a linear reading's error 0.30, untrained 0.50)" in module.headline(fine | errors)


def test_what_is_read_and_what_cannot_be():
    assert objective(modalities=("instruction",)).reads(8).columns == ("pixels", "instruction", "instruction.meaning")
    assert objective(modalities=("action",)).reads(8).columns == ("pixels", "action")
    assert objective(modalities=("action",)).reads(8).also == ("proprioception", "action")
    assert objective(modalities=("pixels", "instruction")).reads(8).frames == 1
    assert objective().reads(8).frames == LENGTH
    assert objective().reads(8).seen == 1
    for options, words in (
        ({"modalities": ("smell",)}, 'no kind of data "smell"'),
        ({"modalities": ()}, "at least one"),
        ({"hide": 0.0}, "hide must lie"),
        ({"momentum": 1.5}, "momentum must lie"),
    ):
        with pytest.raises(UserError, match=words):
            Universal(**options)

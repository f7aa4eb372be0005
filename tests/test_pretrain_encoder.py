"""Patches, positions and the encoder: shapes worked out by hand, and nothing leaks from hidden patches."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from goalsight.base.errors import UserError
from goalsight.base.runs import Run
from goalsight.pretrain.encoders.features import EncoderFeatures
from goalsight.pretrain.encoders.transformer import attend, grid_positions
from goalsight.pretrain.encoders.vit import (
    ENCODERS,
    EncoderConfig,
    VideoEncoder,
    encoder_of,
    load_encoder,
    random_encoder,
    shape_of,
)
from goalsight.pretrain.masking import hide_tokens, take
from goalsight.pretrain.tokenisers import TOKENISERS
from goalsight.pretrain.tokenisers.conv import patch_side, patchify, unpatchify

SMALL = EncoderConfig(image_size=32, width=16, depth=3, heads=2)


def frames(count, size=32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, size, size, 3), dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize("tokeniser", TOKENISERS)
def test_frames_of_any_array_are_taken(tokeniser):
    encoder = random_encoder(tokeniser=tokeniser).eval()
    bytes_ = frames(3, 64)
    tokens = encoder(bytes_)
    floats = bytes_.numpy() / 255
    assert floats.dtype == np.float64
    assert torch.allclose(encoder(floats), tokens, atol=1e-4)
    mirrored = bytes_.numpy()[:, ::-1]  # of negative strides
    assert torch.equal(encoder(mirrored), encoder(bytes_.flip(1)))
    assert encoder(bytes_[:0]).shape == (0, *tokens.shape[1:])


@pytest.mark.parametrize(
    ("given_", "got"),
    [
        (np.zeros((64, 64, 3), np.uint8), r"\(64, 64, 3\)"),
        (np.zeros((1, 3, 64, 64), np.uint8), r"\(1, 3, 64, 64\)"),
        (np.zeros((1, 64, 64, 3), np.int64), "int64"),
        (np.zeros((1, 64, 64, 3), bool), "bool"),
        (np.full((1, 64, 64, 3), 255.0), r"floats in \[255, 255\]"),
        (np.full((1, 64, 64, 3), -1.0), r"floats in \[-1, -1\]"),
        (np.full((1, 64, 64, 3), np.nan), "floats in"),
    ],
)
def test_what_are_no_such_frames_is_refused(given_, got):
    encoder = random_encoder(tokeniser="local")
    encoder.look_for_points(4, seed=0)
    for look in (encoder, encoder.embedding, encoder.places):
        with pytest.raises(UserError, match=rf"takes frames \(B, 64, 64, 3\), uint8 or floats in \[0, 1\], got {got}"):
            look(given_)


@given(levels=st.integers(1, 4), batch=st.integers(1, 3))
@settings(max_examples=10, deadline=None)
def test_patches_can_be_put_back(levels, batch):
    images = frames(batch, 8 << levels)
    patches = patchify(images, 8)
    assert patches.shape == (batch, 64, 3 * 4**levels)
    assert torch.equal(unpatchify(patches, 8), images)


def test_patches_stand_in_quad_tree_order():
    rows, columns = torch.meshgrid(torch.arange(32), torch.arange(32), indexing="ij")
    image = torch.stack([rows, columns, rows * 0], -1)[None]
    patch = patchify(image, 8)[0, 10].view(16, 3)  # row 1, column 2 of the grid: pixels 4..7, 8..11
    assert patch[:4, :2].tolist() == [[4, 8], [4, 9], [5, 8], [5, 9]]
    assert patch[4:8, :2].tolist() == [[4, 10], [4, 11], [5, 10], [5, 11]]
    assert patch[8, :2].tolist() == [6, 8]


@pytest.mark.parametrize("size", [0, 8, 48, 60, 65, 100])
def test_image_sizes_that_do_not_fit_name_those_that_do(size):
    with pytest.raises(UserError, match="choices: 16, 32, 64, 128"):
        patch_side(size, 8)


@pytest.mark.parametrize(("share", "visible"), [(0.75, 16), (0.95, 3), (0.99, 1), (0.01, 63)])
def test_hiding_leaves_the_same_number_visible_in_every_row(share, visible):
    hidden = hide_tokens(5, 64, share, torch.Generator().manual_seed(0))
    assert hidden.visible.shape == (5, visible)
    assert (~hidden.mask).sum(1).tolist() == [visible] * 5
    assert not hidden.mask.gather(1, hidden.visible).any()
    assert (hidden.restore.gather(1, hidden.visible) == torch.arange(visible)).all()
    assert len({tuple(row.tolist()) for row in hidden.mask}) > 1


@pytest.mark.parametrize("share", [0, 1, -1, 1.5])
def test_hiding_everything_or_nothing_is_refused(share):
    with pytest.raises(ValueError, match="must lie in"):
        hide_tokens(1, 64, share, torch.Generator())


def test_take_picks_tokens():
    values = torch.arange(12).view(2, 3, 2)
    assert take(values, torch.tensor([[2], [0]])).tolist() == [[[4, 5]], [[6, 7]]]


def test_positions_by_hand():
    positions = grid_positions(8, (8, 8))
    assert positions.shape == (64, 8)
    row, column = 2, 3
    expected = [math.sin(2), math.sin(0.02), math.cos(2), math.cos(0.02)]
    expected += [math.sin(3), math.sin(0.03), math.cos(3), math.cos(0.03)]
    torch.testing.assert_close(positions[8 * row + column], torch.tensor(expected))


def test_attention_agrees_with_the_reference():
    query, key, value = torch.randn(3, 6, 5, 4, generator=torch.Generator().manual_seed(0)).unbind()
    reference = torch.nn.functional.scaled_dot_product_attention(query, key, value)
    torch.testing.assert_close(attend(query, key, value), reference)


def test_the_stem_is_a_convolution_of_kernel_two_and_stride_two():
    encoder = VideoEncoder(SMALL)
    stem = encoder.embedding.stem
    pixels = frames(2).float() / 255 * 4 - 2
    merged = pixels.permute(0, 3, 1, 2)
    for layer in stem:
        if isinstance(layer, torch.nn.Linear):
            width = merged.shape[1]
            kernel = layer.weight.view(-1, 2, 2, width).permute(0, 3, 1, 2)
            merged = torch.nn.functional.conv2d(merged, kernel, layer.bias, stride=2)
        elif isinstance(layer, torch.nn.GELU):
            merged = torch.nn.functional.gelu(merged)
    expected = merged.flatten(2).transpose(1, 2) + encoder.embedding.positions
    torch.testing.assert_close(encoder.embedding(frames(2)), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("size", [16, 32, 64, 128, 256])
def test_every_image_size_gives_64_tokens(size):
    encoder = VideoEncoder(EncoderConfig(image_size=size, width=16, depth=1, heads=2))
    assert encoder(frames(2, size)).shape == (2, 64, 16)


def test_bytes_and_floats_in_the_unit_interval_are_the_same():
    encoder = VideoEncoder(SMALL)
    torch.testing.assert_close(encoder(frames(2)), encoder(frames(2).float() / 255))


def test_hidden_patches_leak_nothing():
    encoder, images = VideoEncoder(SMALL), frames(2)
    hidden = hide_tokens(2, 64, 0.75, torch.Generator().manual_seed(1))
    patches = patchify(images, 8)
    scrambled = torch.where(hidden.mask.unsqueeze(2), patches.flip(0), patches)
    assert not torch.equal(patches, scrambled)
    tokens = encoder.encode(patches, hidden.visible)
    assert tokens.shape == (2, 16, 16)
    assert torch.equal(tokens, encoder.encode(scrambled, hidden.visible))


def test_looking_at_all_patches_in_any_order_is_looking_at_the_frame():
    encoder, images = VideoEncoder(SMALL), frames(2)
    order = hide_tokens(2, 64, 0.5, torch.Generator().manual_seed(1)).restore
    shuffled = encoder.encode(patchify(images, 8), order)
    torch.testing.assert_close(shuffled, take(encoder(images), order), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("n", [0, 1, 3])
def test_split_is_the_encoder_cut_in_two(n):
    encoder, images = VideoEncoder(SMALL), frames(2)
    trunk, head = encoder.split(n)
    assert len(head.blocks) == n
    assert trunk(images).shape == (2, 64, 16)
    assert torch.equal(head(trunk(images)), encoder(images))
    ours = {id(weight) for weight in encoder.parameters()}
    assert ours == {id(weight) for part in (trunk, head) for weight in part.parameters()}


@pytest.mark.parametrize("n", [-1, 4])
def test_a_split_beyond_the_blocks_is_refused(n):
    with pytest.raises(UserError, match="3 blocks"):
        VideoEncoder(SMALL).split(n)


def test_frames_of_another_size_are_refused():
    with pytest.raises(UserError, match=r"takes frames \(B, 32, 32, 3\), .* got"):
        VideoEncoder(SMALL)(frames(1, 64))


def test_seed_decides_the_weights_and_nothing_else_moves():
    state = torch.get_rng_state()
    one, same, other = (random_encoder("nano", 16, seed) for seed in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), state)
    assert one.content_hash() == same.content_hash() != other.content_hash()
    assert one.content_hash() != random_encoder("nano", 32, 3).content_hash()


def test_presets_have_the_usual_sizes():
    # Twelve w^2 per block (attention 4, MLP 8), with its biases (9 w) and norms (4 w).
    for config in ENCODERS.values():
        block = 12 * config.width**2 + 13 * config.width
        encoder = VideoEncoder(EncoderConfig(64, config.width, 1, config.heads))
        assert sum(weight.numel() for weight in encoder.blocks[0].parameters()) == block


def test_a_size_in_numbers_is_width_and_depth_in_heads_of_32_features():
    config = random_encoder("64x2", image_size=16).config
    assert (config.width, config.depth, config.heads) == (64, 2, 2)
    assert shape_of("96x3") == ENCODERS["nano"]


@pytest.mark.parametrize(
    ("size", "said"),
    [
        ("nanno", 'did you mean "nano"'),
        ("100x3", "the width must divide by 32, as in 128x3"),
        ("0x3", "no encoder size .* choices: 128x4, base"),
        ("96x0", "no encoder size .* choices: 128x4, base"),
        ("96x3x1", "no encoder size .* choices: 128x4, base, nano"),
        ("8192x64", "its blocks would hold more than 1,000,000,000 weights"),
        ("96x" + "9" * 5000, "weights"),
    ],
)
def test_a_size_that_there_is_not_is_answered_in_one_line(size, said):
    with pytest.raises(UserError, match=said) as error:
        shape_of(size)
    assert "\n" not in str(error.value)


def test_features_do_not_depend_on_the_batches():
    encoder, images = VideoEncoder(SMALL), frames(5).numpy()
    whole, parts = EncoderFeatures(encoder)(images), EncoderFeatures(encoder, batch=2)(images)
    assert whole.shape == (5, 64, 16)
    assert whole.dtype == np.float32
    np.testing.assert_allclose(whole, parts, atol=0.05)  # bf16 where the processor has it


def publish(path, meta=None):
    encoder = VideoEncoder(SMALL, seed=5)
    run = Run.create("pretrain", {}, out=path, seed=0)
    tensors = {f"encoder.{name}": value for name, value in encoder.state_dict().items()}
    shape = {"image_size": 32, "width": 16, "depth": 3, "heads": 2}
    checkpoint = run.publish(7, {**tensors, "decoder.weight": torch.zeros(2)}, meta or {"encoder": shape})
    return encoder, checkpoint


def test_an_encoder_comes_back_from_run_and_checkpoint(tmp_path):
    encoder, checkpoint = publish(tmp_path / "run")
    for source in (tmp_path / "run", checkpoint):
        assert load_encoder(source).content_hash() == encoder.content_hash()


@pytest.mark.parametrize(
    "meta",
    [
        {"policy": {}},
        {"encoder": {"image_size": 32, "width": 16, "depth": 2, "heads": 2}},
        {"encoder": {"image_size": 33, "width": 16, "depth": 3, "heads": 2}},
        {"encoder": {"colour": 1}},
    ],
)
def test_a_checkpoint_that_holds_no_fitting_encoder_is_one_line(tmp_path, meta):
    publish(tmp_path / "run", meta)
    with pytest.raises(UserError) as error:
        load_encoder(tmp_path / "run")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("shape", "says"),
    [
        ({"width": 8192, "depth": 8000}, "weights are too few for width 8192 and depth 8000"),
        ({"width": 10**12}, "width must be a whole number in"),
        ({"heads": 0}, "heads must be a whole number in"),
        ({"depth": 1.5}, "depth must be a whole number in"),
        ({"image_size": "64"}, "image_size must be a whole number in"),
        ({"points": 10**30}, "points must be a whole number up to"),
    ],
)
def test_a_description_that_asks_for_more_than_there_is_takes_no_memory(shape, says):
    encoder = random_encoder()
    with pytest.raises(ValueError, match=says):
        encoder_of(encoder.config.identity() | {"heads": 1} | shape, encoder.state_dict())


def test_a_folder_that_is_no_run_is_one_line(tmp_path):
    with pytest.raises(UserError):
        load_encoder(tmp_path)
    with pytest.raises(UserError):
        load_encoder(tmp_path / "nowhere")

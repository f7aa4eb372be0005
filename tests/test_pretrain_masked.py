"""Masked frame prediction, the sampler that feeds it, the operation count and the picture."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from goalsight.base.errors import UserError
from goalsight.base.flops import count_flops, matmul_peak
from goalsight.pretrain.data.clips import Clips
from goalsight.pretrain.data.samplers import ClipSampler
from goalsight.pretrain.data.store import FrameStore, FrameStoreWriter
from goalsight.pretrain.encoders.vit import EncoderConfig, VideoEncoder, random_encoder
from goalsight.pretrain.masking import hide_tokens
from goalsight.pretrain.objectives import OBJECTIVES
from goalsight.pretrain.objectives.masked import Masked, MaskedPrediction
from goalsight.pretrain.pictures import picture_grid
from goalsight.pretrain.tokenisers.conv import patchify, unpatchify

WIDTH, DEPTH, BATCH = 16, 2, 4
DECODER = Masked(decoder_width=8, decoder_depth=1, decoder_heads=2)


def objective(seed=0, config=DECODER):
    return MaskedPrediction(VideoEncoder(EncoderConfig(16, WIDTH, DEPTH, 2), seed=seed), config, seed=seed)


def masks(seed=0):
    return torch.Generator().manual_seed(seed)


def clips(count=BATCH, seed=0):
    pixels = torch.randint(0, 256, (count, 2, 16, 16, 3), dtype=torch.uint8, generator=masks(seed))
    return {"pixels": pixels}


def stirred(part):
    """Move the weights off their start, where the prediction is plain grey."""
    with torch.no_grad():
        for weight in part.parameters():
            weight += 0.1 * torch.randn(weight.shape, generator=masks(9))
    return part


def test_the_first_loss_is_the_distance_from_grey():
    batch = clips()
    loss, parts = objective().loss(batch, masks())
    errors = [((batch["pixels"][:, i].double() / 255 - 0.5) ** 2).mean().item() for i in range(2)]
    assert loss.item() == pytest.approx(sum(errors), rel=1e-4)
    assert parts["pretrain/loss"] == pytest.approx(sum(errors), rel=1e-4)
    assert parts["pretrain/psnr_self"] == pytest.approx(-10 * np.log10(errors[0]), abs=1e-3)
    assert parts["pretrain/psnr_next"] == pytest.approx(-10 * np.log10(errors[1]), abs=1e-3)


def test_tokens_that_do_not_change_count_as_much_as_they_are_told_to():
    clip = torch.full((1, 2, 16, 16, 3), 100, dtype=torch.uint8)
    clip[0, 1, :2, :2] = 200  # one token of 64
    loss, parts = objective(config=replace(DECODER, still=0.1)).loss({"pixels": clip}, masks())
    was, now = ((value / 255 - 0.5) ** 2 for value in (100, 200))
    assert loss.item() == pytest.approx(was + (now + 63 * 0.1 * was) / 7.3, rel=1e-4)
    assert parts["pretrain/psnr_self"] == pytest.approx(-10 * np.log10(was), abs=1e-3)
    with pytest.raises(UserError, match="still"):
        Masked(still=0.0)


def test_copying_is_measured_by_hand():
    clip = torch.full((1, 2, 16, 16, 3), 100, dtype=torch.uint8)
    clip[0, 1, 0, 0, 0] = 151  # one channel of one pixel in 256 changes by 51 / 255 = 0.2
    _, parts = objective().loss({"pixels": clip}, masks())
    assert parts["pretrain/changed_share"] == pytest.approx(1 / 256)
    assert parts["pretrain/psnr_copy"] == pytest.approx(-10 * np.log10(0.04 / 768), abs=1e-3)
    assert parts["pretrain/psnr_copy_changed"] == pytest.approx(-10 * np.log10(0.04 / 3), abs=1e-3)


def test_a_still_clip_has_no_changed_pixels_and_no_infinite_numbers():
    batch, module = clips(), objective()
    batch["pixels"][:, 1] = batch["pixels"][:, 0]
    _, parts = module.loss(batch, masks())
    assert parts["pretrain/psnr_copy"] == pytest.approx(100)
    assert parts["pretrain/changed_share"] == 0
    assert "pretrain/psnr_next_changed" not in parts
    assert all(np.isfinite(value) for value in parts.values())
    means = {name.removeprefix("pretrain/"): value for name, value in parts.items()}
    assert module.headline(means).endswith("; no pixel in these clips changes by more than 5%")
    assert module.alarms(means) == ()


def test_the_headline_and_the_alarm_stand_beside_copying():
    module = objective()
    means = {"psnr_next": 25.04, "psnr_next_changed": 12.0, "psnr_copy_changed": 10.0}
    assert module.headline(means) == ("next frame 25.0 dB, where it changed 12.0 dB (copying the last frame: 10.0 dB)")
    assert module.alarms(means) == ()
    (alarm,) = module.alarms(means | {"psnr_next_changed": 9.5})
    assert alarm.name == "copying"
    assert "9.5 dB, no better than by copying the last frame (10.0 dB)" in alarm.sentence


def test_each_task_sees_what_it_may_and_nothing_else():
    module, batch = stirred(objective()), clips()
    clip, seen = batch["pixels"], module.fill_in(batch, masks(3))
    assert seen.hidden_now.mask.float().mean() == pytest.approx(0.75)
    assert seen.hidden_later.mask.float().mean() == pytest.approx(61 / 64)

    def with_patches(frame, mask):
        """The same clips with the patches under the mask replaced by another clip's."""
        patches = patchify(clip[:, frame], 8)
        changed = clip.clone()
        changed[:, frame] = unpatchify(torch.where(mask.unsqueeze(2), patches.flip(0), patches), 8)
        assert not torch.equal(changed, clip)
        return module.fill_in({"pixels": changed}, masks(3))

    hidden_now = with_patches(0, seen.hidden_now.mask)
    assert torch.equal(hidden_now.rebuilt, seen.rebuilt)
    assert not torch.equal(hidden_now.predicted, seen.predicted)  # frame t itself is seen whole
    visible_now = with_patches(0, ~seen.hidden_now.mask)
    assert not torch.equal(visible_now.rebuilt, seen.rebuilt)
    hidden_later = with_patches(1, seen.hidden_later.mask)
    assert torch.equal(hidden_later.predicted, seen.predicted)
    visible_later = with_patches(1, ~seen.hidden_later.mask)
    assert not torch.equal(visible_later.predicted, seen.predicted)


def test_every_weight_learns():
    module = stirred(objective())
    module.loss(clips(), masks())[0].backward()
    assert [name for name, weight in module.named_parameters() if not weight.grad.abs().sum() > 0] == []


def test_the_masks_come_from_the_generator():
    module, batch = stirred(objective()), clips()
    losses = [module.loss(batch, masks(seed))[0].item() for seed in (1, 1, 2)]
    assert losses[0] == losses[1] != losses[2]


@pytest.mark.parametrize("share", [0.0, 1.0, -0.5])
def test_hiding_nothing_or_everything_is_refused(share):
    with pytest.raises(UserError, match="hide_next must lie in"):
        Masked(hide_next=share)


def test_the_look_shows_truth_and_mask():
    columns = objective().visualise(clips(), masks())
    shown = torch.stack(list(columns.values()))
    assert shown.shape == (6, BATCH, 16, 16, 3)
    assert torch.equal(columns["frame t"], clips()["pixels"][:, 0])
    assert torch.equal(columns["t+k true"], clips()["pixels"][:, 1])
    mask = hide_tokens(BATCH, 64, 0.75, masks()).mask
    grey = (patchify(columns["visible of t"], 8) == 128).all(2)
    assert torch.equal(grey, mask)


def linear(tokens, inner, outer):
    """Operations of one linear layer, forward."""
    return 2 * tokens * inner * outer


def block(queries, memory, width, mlp=4):
    """Operations of a transformer block, forward: projections, attention, MLP."""
    projections = 2 * linear(queries, width, width) + 2 * linear(memory, width, width)
    attention = 2 * (2 * queries * memory * width)
    return projections + attention + 2 * linear(queries, width, mlp * width)


def test_the_count_of_operations_by_hand():
    """Image 16: one 2x2 merge of 12 inputs per token. Backward costs twice the forward, the stem's input none."""
    module = objective()
    encoder = sum(DEPTH * block(n, n, WIDTH) for n in (64, 16, 3))
    narrow = linear(83, WIDTH, 8)
    decoder = block(64, 16, 8) + block(64, 67, 8) + 2 * linear(64, 8, 12)
    stem = linear(83, 12, WIDTH)
    # The first block's queries, and what they look from, are the same in every row but computed for each.
    expected = BATCH * (3 * (encoder + narrow + decoder) + 2 * stem)
    assert count_flops(lambda: module.loss(clips(), masks())[0].backward()) == expected


def test_fused_attention_is_counted_too():
    query = torch.randn(1, 2, 5, 4)
    attention = torch.nn.functional.scaled_dot_product_attention
    assert count_flops(lambda: attention(query, query, query)) == 2 * (2 * 2 * 5 * 5 * 4)


def test_the_peak_is_a_rate():
    assert matmul_peak(size=64, seconds=0.01) > 1e6


def numbered(path, lengths):
    """A store whose frames carry their own index in the first pixel."""
    index = 0
    with FrameStoreWriter(path, image_size=16) as writer:
        for length in lengths:
            frames = np.zeros((length, 16, 16, 3), np.uint8)
            frames[:, 0, 0, 0] = np.arange(index, index + length)
            index += length
            writer.add_episode(frames)
    return FrameStore.open(path)


@given(
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=6).filter(lambda lengths: max(lengths) > 1),
    max_gap=st.integers(1, 12),
    seed=st.integers(0, 5),
)
def test_pairs_lie_in_one_episode_and_in_order(tmp_path_factory, lengths, max_gap, seed):
    store = numbered(tmp_path_factory.mktemp("pairs") / "store", lengths)
    now, later = ClipSampler(store, Clips(gaps=((1, max_gap),)), batch=50, seed=seed).draw().T
    assert (store.episode_of_frame[now] == store.episode_of_frame[later]).all()
    assert ((later - now >= 1) & (later - now <= max_gap)).all()


def test_samples_are_the_frames_that_were_drawn(tmp_path):
    store = numbered(tmp_path / "store", [5, 3])
    ours, twin = (ClipSampler(store, Clips(gaps=((1, 3),)), batch=20, seed=1) for _ in range(2))
    clip = ours.sample()["pixels"]
    assert clip.shape == (20, 2, 16, 16, 3)
    assert twin.draw().tolist() == clip[:, :, 0, 0, 0].tolist()
    assert not torch.equal(ours.sample()["pixels"], clip)


def test_every_gap_and_start_is_drawn(tmp_path):
    pairs = ClipSampler(numbered(tmp_path / "store", [3, 1]), Clips(gaps=((1, 9),)), batch=300, seed=0).draw()
    drawn, counts = np.unique(pairs, axis=0, return_counts=True)
    assert drawn.tolist() == [[0, 1], [0, 2], [1, 2]]
    np.testing.assert_allclose(counts / 300, [0.25, 0.25, 0.5], atol=0.08)


def test_episodes_of_one_frame_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"no episode of 2 frames or more to learn from, the longest has 1$"):
        ClipSampler(numbered(tmp_path / "store", [1, 1]), Clips(), batch=1, seed=0)


@pytest.mark.parametrize("name", ["autoregressive", "contrastive", "joint", "temporal"])
def test_episodes_too_short_for_a_large_gap_say_by_which_option_less_is_read(name, tmp_path):
    clips = OBJECTIVES.load(name)(random_encoder(), seed=0).reads(30)
    with pytest.raises(UserError, match=rf"{clips.shortest} frames or more .* the longest has 9; .* by --max-gap"):
        ClipSampler(numbered(tmp_path / "store", [4, 9]), clips, batch=1, seed=0)


def test_the_picture_lays_columns_side_by_side():
    red, blue = np.zeros((2, 64, 64, 3), np.uint8), np.zeros((2, 64, 64, 3), np.uint8)
    red[..., 0], blue[..., 2] = 255, 255
    picture = picture_grid({"a": red, "b": blue})
    assert picture.shape == (20 + 4 + 2 * 132, 4 + 2 * 132, 3)
    assert picture[24 + 127, 4 + 127].tolist() == [255, 0, 0]
    assert picture[24 + 132, 4 + 132].tolist() == [0, 0, 255]
    assert picture[24 + 130, 4 + 130].tolist() == [250, 250, 250]
    assert (picture[:20] < 100).any()  # the labels


@pytest.mark.parametrize(
    "other",
    [np.zeros((2, 64, 64, 3), np.float32), np.zeros((3, 64, 64, 3), np.uint8), np.zeros((2, 64, 64), np.uint8)],
)
def test_what_is_no_column_of_frames_is_refused(other):
    with pytest.raises(UserError, match=r'what is shown must be frames .* "guess" is'):
        picture_grid({"frame t": np.zeros((2, 64, 64, 3), np.uint8), "guess": other})

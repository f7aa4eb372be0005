"""Frozen features: the reduction, what is stored, and the part that agents train."""

import numpy as np
import pytest
import torch

from goalsight.agents.calibration import LEAST_SPREAD, calibrate
from goalsight.agents.networks.features import COMPONENTS, Eye, FrozenFeatures, Reduction, encode, find_encoder
from goalsight.base.errors import UserError
from goalsight.envs.vector import GoalVectorEnv
from goalsight.pretrain.encoders.features import EncoderFeatures
from goalsight.pretrain.encoders.vit import EncoderConfig, VideoEncoder, random_encoder
from goalsight.pretrain.tokenisers.patches import Patches

SMALL = EncoderConfig(image_size=16, width=32, depth=2, heads=2)


def frames(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 16, 16, 3), dtype=np.uint8)


def test_reduction_finds_the_directions_that_vary():
    generator = torch.Generator().manual_seed(0)
    offsets = torch.randn(4, 6, generator=generator) * 10  # of each position; carries nothing
    hidden = torch.randn(500, 4, 2, generator=generator) * torch.tensor([3.0, 1.0])
    tokens = offsets + torch.nn.functional.pad(hidden, (0, 4))  # only the first two of six numbers vary
    reduction = Reduction.fit(tokens, components=2)
    reduced = reduction(tokens)
    # One scale for both: standard deviations stay 3 to 1, and the mean square of all numbers is 1.
    assert reduced.square().mean().item() == pytest.approx(1.0, abs=1e-4)
    spread = reduced.flatten(0, 1).std(0)
    assert (spread[0] / spread[1]).item() == pytest.approx(3.0, rel=0.1)
    expected = hidden * (reduction.basis[0, 0] * 1.0)
    assert torch.allclose(reduced[..., 0], (expected - expected.mean(0))[..., 0], atol=0.2)


def test_what_is_stored_is_the_reduced_encoder():
    encoder = VideoEncoder(SMALL, seed=1)
    features = FrozenFeatures(encoder)
    features.fit(frames(40))
    stored = features(frames(5, seed=1))
    assert stored.shape == (5, *features.space.shape) == (5, 64, COMPONENTS)
    assert stored.dtype == np.float16
    with torch.no_grad():
        by_hand = features.reduction(encoder(torch.from_numpy(frames(5, seed=1))))
    # bfloat16, where the processor has it, and float16 in between
    assert np.abs(stored - by_hand.numpy()).max() < 0.1


def test_any_grid_of_tokens_can_be_stored():
    encoder = VideoEncoder(EncoderConfig(16, 32, 2, 2, "patches", Patches(side=4)))
    for tune_blocks, width in ((0, COMPONENTS), (1, 32)):
        features = FrozenFeatures(encoder, tune_blocks)
        features.fit(frames(40))
        assert features.shape == (16, width)
        assert features(frames(5)).shape == (5, 16, width)


def test_of_an_encoder_that_finds_points_these_are_stored():
    encoder = random_encoder("nano", image_size=16, tokeniser="local")
    encoder.look_for_points(5, seed=0)
    features = FrozenFeatures(encoder, cameras=2)
    features.fit(frames(40))
    assert features.shape == (10, 2)
    stored = features(frames(6, seed=1))
    assert stored.shape == (6, 5, 2)
    places = encoder.places(torch.from_numpy(frames(6, seed=1))).detach().reshape(6, 5, 2)
    back = stored @ torch.linalg.inv(features.reduction.basis).numpy() + features.reduction.mean.numpy()
    assert np.abs(back - places.numpy()).max() < 0.02
    with pytest.raises(UserError, match="no blocks are tuned"):
        FrozenFeatures(encoder, 1)


def test_agents_and_probes_see_the_same_features():
    encoder = VideoEncoder(SMALL, seed=1)
    features = FrozenFeatures(encoder)
    features.fit(frames(40))
    tokens = torch.from_numpy(EncoderFeatures(encoder)(frames(5, seed=1)))
    assert np.array_equal(features(frames(5, seed=1)), features.reduction(tokens).half().numpy())


def test_features_do_not_depend_on_how_many_frames_are_encoded_at_once():
    features = FrozenFeatures(VideoEncoder(SMALL))
    features.fit(frames(40))
    many = features(frames(300))
    assert np.abs(many[290:] - features(frames(300)[290:])).max() < 0.05


def test_an_untrained_eye_sees_what_frozen_features_store():
    encoder = VideoEncoder(SMALL, seed=2)
    whole, split = FrozenFeatures(encoder), FrozenFeatures(encoder, tune_blocks=1)
    whole.fit(frames(40))
    split.fit(frames(40))
    eye = split.make_eye()
    tokens = torch.from_numpy(split(frames(6, seed=3))).float()
    assert tokens.shape == (6, 64, SMALL.width) == (6, *split.shape)
    assert np.abs(eye(tokens).detach().numpy() - whole(frames(6, seed=3))).max() < 0.1
    assert all(weight.requires_grad for weight in eye.parameters())
    assert not any(weight.requires_grad for weight in encoder.parameters())


def test_eyes_are_trained_apart():
    features = FrozenFeatures(VideoEncoder(SMALL), tune_blocks=2)
    features.fit(frames(40))
    one, other = features.make_eye(), features.make_eye()
    before = features(frames(3))
    with torch.no_grad():
        for weight in one.parameters():
            weight.add_(1.0)
    assert isinstance(other, Eye)
    assert not torch.equal(next(one.parameters()), next(other.parameters()))
    assert np.array_equal(features(frames(3)), before)


def test_what_several_cameras_show_lies_side_by_side():
    features = FrozenFeatures(VideoEncoder(SMALL), cameras=2)
    features.fit(frames(40))
    front, wrist = frames(3, seed=1), frames(3, seed=2)
    both = encode(features, [front, wrist])
    assert both.shape == (3, *features.shape) == (3, 2 * 64, COMPONENTS)
    assert np.abs(both[:, :64] - features(front)).max() < 0.05
    assert np.abs(both[:, 64:] - features(wrist)).max() < 0.05
    assert np.array_equal(encode(features, [front]), features(front))


def test_features_must_be_fitted():
    with pytest.raises(ValueError, match="fit the features"):
        FrozenFeatures(VideoEncoder(SMALL))(frames(2))


def test_encoders_are_found_or_refused_in_one_line(tmp_path):
    encoder = find_encoder("random", 32, 4)
    assert encoder.content_hash() == random_encoder(image_size=32, seed=4).content_hash()
    with pytest.raises(UserError, match="does not exist") as missing:
        find_encoder(str(tmp_path / "nowhere"), 64, 0)
    assert "\n" not in str(missing.value)


def test_calibration_centres_and_scales_what_random_play_shows():
    env = GoalVectorEnv("reach", num_envs=16, num_threads=1)
    play = calibrate(env, seed=5)
    centre, scale = play.scales["desired_goal"]
    assert play.frames is None
    # Goals lie around (0.46, 0, 0.19) m; achieved and desired positions share one scale.
    assert torch.allclose(centre, torch.tensor([0.46, 0.0, 0.19]), atol=0.05)
    assert torch.equal(scale, play.scales["achieved_goal"][1])
    assert (scale <= 1 / LEAST_SPREAD + 1e-4).all()
    again = calibrate(env, seed=5)
    assert all(torch.equal(again.scales[key][0], play.scales[key][0]) for key in play.scales)
    env.close()

"""Tokenisers: frames come back, nothing leaks between tokens, any grid, and what older runs recorded still loads."""

from dataclasses import asdict

import numpy as np
import pytest
import torch

from goalsight.base.errors import UserError
from goalsight.base.runs import Run
from goalsight.pretrain.data.clips import INSTRUCTION, MEANING, UNHEARD
from goalsight.pretrain.data.wordings import LONGEST
from goalsight.pretrain.encoders.features import EncoderFeatures
from goalsight.pretrain.encoders.transformer import grid_positions
from goalsight.pretrain.encoders.vit import EncoderConfig, VideoEncoder, load_encoder, random_encoder
from goalsight.pretrain.objectives import OBJECTIVES
from goalsight.pretrain.pictures import enlarging
from goalsight.pretrain.tokenisers import TOKENISERS
from goalsight.pretrain.tokenisers.base import PixelTokeniser
from goalsight.pretrain.tokenisers.codes import Codes
from goalsight.pretrain.tokenisers.conv import Conv, ConvTokeniser
from goalsight.pretrain.tokenisers.local import Local
from goalsight.pretrain.tokenisers.patches import Patches, PatchTokeniser
from goalsight.pretrain.tokenisers.values import Values, ValueTokeniser

MADE = [
    *(ConvTokeniser(32, Conv(grid)) for grid in (1, 4, 8, 16)),
    *(PatchTokeniser(30, Patches(side)) for side in (1, 3, 10, 30)),
    ValueTokeniser(30, Values(10, features=8, heads=2)),
]


def frames(count, size, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, size, size, 3), dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize("tokeniser", MADE, ids=lambda made: f"{type(made).__name__}-{made.grid[0]}")
def test_frames_become_targets_and_come_back(tokeniser: PixelTokeniser):
    images = frames(3, tokeniser.image_size)
    pieces = tokeniser.cut(images)
    targets = tokeniser.targets(pieces)
    assert pieces.shape[:2] == (3, tokeniser.tokens)
    assert targets.shape == (3, tokeniser.tokens, tokeniser.target_size)
    assert 0 <= targets.min() < targets.max() <= 1
    assert tokeniser.vocabulary is None
    assert torch.equal(tokeniser.frames(targets), images)
    assert torch.equal(tokeniser.frames(targets + 7), torch.full_like(images, 255))  # clipped
    assert tokeniser.loss(images) is None
    assert tokeniser.make_stem(12)(pieces).shape == (3, tokeniser.tokens, 12)


def test_patches_are_squares_row_by_row():
    rows, columns = torch.meshgrid(torch.arange(6), torch.arange(6), indexing="ij")
    image = torch.stack([rows, columns, rows * 0], -1)[None]
    pieces = PatchTokeniser(6, Patches(side=3)).cut(image)
    assert pieces.shape == (1, 4, 27)
    # The third piece is that of row 1, column 0 of the grid: pixels 3..5, 0..2.
    assert pieces[0, 2].view(9, 3)[:4, :2].tolist() == [[3, 0], [3, 1], [3, 2], [4, 0]]


def test_a_patchs_stem_is_one_linear_layer_by_hand():
    stem = PatchTokeniser(4, Patches(side=2)).make_stem(8)
    pieces = frames(1, 4).reshape(1, 4, 12)
    centred = pieces.double() / 255 * 4 - 2
    expected = centred @ stem[0].weight.double().T + stem[0].bias.double()
    torch.testing.assert_close(stem(pieces), expected.float())


@pytest.mark.parametrize("tokeniser", ["conv", "patches"])
def test_a_token_sees_its_own_patch_and_nothing_else(tokeniser):
    encoder = random_encoder("nano", 32, tokeniser=tokeniser)
    images = frames(1, 32)
    piece = encoder.tokeniser.cut(images)
    piece[:, 5] = 255 - piece[:, 5]
    changed = encoder.tokeniser.put_together(piece)
    different = (encoder.embedding(images) != encoder.embedding(changed)).any(2)[0]
    assert different.nonzero().flatten().tolist() == [5]


def test_positions_of_a_grid_that_is_no_square():
    positions, square = grid_positions(8, (2, 3)), grid_positions(8, (8, 8))
    assert positions.shape == (6, 8)
    assert torch.equal(positions.view(2, 3, 8), square.view(8, 8, 8)[:2, :3])


CUT = {
    "conv": (Conv(4), 16),
    "patches": (Patches(4), 64),
    "local": (Local(4), 64),
    "values": (Values(8, features=16, heads=2), 16),
    "codes": (Codes(8), 16),
}
NEEDS = {"points": ("local", "pretrain one by --tokeniser local"), "replaced": ("codes", "has none; choose codes")}


@pytest.mark.parametrize("tokeniser", CUT)
@pytest.mark.parametrize("objective", list(OBJECTIVES))
def test_any_objective_on_any_grid(tokeniser, objective):
    options, tokens = CUT[tokeniser]
    encoder = VideoEncoder(EncoderConfig(32, 16, 1, 2, tokeniser, options))
    needed, words = NEEDS.get(objective, (tokeniser, ""))
    if tokeniser != needed:
        with pytest.raises(UserError, match=words):
            OBJECTIVES.load(objective)(encoder, None, seed=0)
        return
    module = OBJECTIVES.load(objective)(encoder, None, seed=0)
    several = module.reads(2).frames
    clip = {"pixels": frames(3 * several, 32).view(3, several, 32, 32, 3)}
    clip |= {name: torch.zeros(3, several, 8).byte() for name in module.reads(2).columns if name != "pixels"}
    if MEANING in clip:
        clip |= {name: torch.zeros(3, several, LONGEST).byte() for name in (INSTRUCTION, UNHEARD)}
        clip[MEANING] = torch.arange(3)[:, None].expand(3, several)
    loss, _ = module(clip, torch.Generator().manual_seed(0))
    loss.backward()
    assert any(weight.grad is not None for weight in encoder.embedding.stem.parameters())
    assert encoder(clip["pixels"][:, 0]).shape == (3, tokens, 16)
    fit = [(3, side, side, 3) for side in (32, 32 * enlarging(32))]
    assert all(shown.shape in fit for shown in module.visualise(clip, torch.Generator()).values())
    assert EncoderFeatures(encoder)(frames(2, 32).numpy()).shape == (2, tokens, 16)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"tokeniser": "convv"}, 'no tokeniser "convv"; did you mean "conv"'),
        ({"tokeniser": "patches", "tokeniser_options": {"side": 5}}, "choices: 1, 2, 4, 8, 16, 32, 64"),
        ({"tokeniser": "patches", "tokeniser_options": {"side": 0}}, "side of a patch must be at least 1"),
        ({"tokeniser": "patches", "tokeniser_options": {"edge": 5}}, 'the tokeniser "patches" has no option edge'),
        ({"tokeniser": "patches", "tokeniser_options": Conv()}, "takes Patches, got Conv"),
        ({"tokeniser_options": Conv(grid=5)}, "choices: 10, 20, 40, 80"),
        ({"tokeniser_options": {"grid": 0}}, "must be at least 1"),
    ],
)
def test_what_does_not_fit_is_one_line(options, words):
    with pytest.raises(UserError, match=words) as caught:
        EncoderConfig(**options)
    assert "\n" not in str(caught.value)


def test_an_encoder_comes_back_with_its_tokeniser_and_older_ones_with_theirs(tmp_path):
    for name, tokeniser, options in (("new", "patches", Patches(4)), ("old", "conv", None)):
        encoder = VideoEncoder(EncoderConfig(16, 16, 1, 2, tokeniser, options), seed=5)
        meta = asdict(encoder.config)
        if name == "old":  # before there was a choice
            del meta["tokeniser"], meta["tokeniser_options"]
        run = Run.create("pretrain", {}, out=tmp_path / name, seed=0)
        run.publish(1, {f"encoder.{key}": value for key, value in encoder.state_dict().items()}, {"encoder": meta})
        back = load_encoder(run.path)
        assert back.config == encoder.config
        assert back.content_hash() == encoder.content_hash()
        assert torch.equal(back(frames(2, 16)), encoder(frames(2, 16)))


def test_hashes_tell_tokenisers_apart_and_stay_what_they_were():
    plain = VideoEncoder(EncoderConfig(16, 16, 1, 2), seed=5)
    # Worked out before there was a second tokeniser.
    assert plain.content_hash() == "dc319b7b698661c97e5610a00f28f9b191ea79edf1539ce2cf019f8e4dbab4c9"
    assert plain.content_hash() == VideoEncoder(EncoderConfig(16, 16, 1, 2, "conv", Conv(8)), seed=5).content_hash()
    sides = [VideoEncoder(EncoderConfig(16, 16, 1, 2, "patches", Patches(side)), seed=5) for side in (2, 4)]
    assert len({encoder.content_hash() for encoder in (plain, *sides)}) == 3


def test_every_tokeniser_and_objective_names_its_options():
    for registry in (TOKENISERS, OBJECTIVES):
        for name in registry:
            assert asdict(registry.load(name).Options())
    assert np.unique([*TOKENISERS, *OBJECTIVES]).size == len(TOKENISERS) + len(OBJECTIVES)  # they name option groups


class OneTooFew(PatchTokeniser):
    """Forgets the first patch."""

    def cut(self, frames: torch.Tensor) -> torch.Tensor:
        return super().cut(frames)[:, 1:]


class Seven(PatchTokeniser):
    """Of frames of 64 pixels makes seven patches a side."""

    def __init__(self) -> None:
        PixelTokeniser.__init__(self, 64, 9)


def test_what_a_tokeniser_of_ones_own_gets_wrong_is_said():
    with pytest.raises(UserError, match="a grid of 7 x 7 tokens does not divide frames of 64 pixels"):
        Seven()
    encoder = random_encoder(tokeniser="patches")
    encoder.embedding.tokeniser = OneTooFew(64, Patches())
    with pytest.raises(UserError, match=r"OneTooFew cuts frames into \(2, 63, 192\), not \(B, 64, P\)"):
        encoder(frames(2, 64))

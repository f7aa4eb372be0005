"""Frame prediction through points: blobs and loss by hand, and an encoder that then finds what moves."""

import numpy as np
import pytest
import torch

from goalsight.base.errors import UserError
from goalsight.pretrain.data.store import FrameStoreWriter
from goalsight.pretrain.encoders.points import Points
from goalsight.pretrain.encoders.vit import EncoderConfig, VideoEncoder, load_encoder, random_encoder
from goalsight.pretrain.objectives import points
from goalsight.pretrain.objectives.points import STILL, PointPrediction, PointsOptions, moving_points
from goalsight.pretrain.train import Pretrain, pretrain

SIDE = 16


def make(number: int = 4, **options) -> PointPrediction:
    return PointPrediction(random_encoder(image_size=SIDE, tokeniser="local"), PointsOptions(number, **options), seed=3)


def moving_square(clips: int, rng: np.random.Generator) -> dict[str, torch.Tensor]:
    """Pairs of grey frames with a white square of 3 pixels that lies elsewhere in the second."""
    frames = np.full((clips, 2, SIDE, SIDE, 3), 90, np.uint8)
    for clip, frame in np.ndindex(clips, 2):
        down, across = rng.integers(0, SIDE - 2, 2)
        frames[clip, frame, down : down + 3, across : across + 3] = 255
    return {"pixels": torch.from_numpy(frames)}


def test_blobs_stand_where_points_lie():
    objective = make(2, size=0.2)
    side = SIDE // 2
    blobs = objective.blobs(torch.tensor([[1.0, -1.0, -1.0, 1.0]]))  # right and top; left and bottom
    assert blobs.shape == (1, 2, side, side)
    assert blobs[0, 0, 0, -1] == blobs[0, 1, -1, 0] == 1
    step = 2 / (side - 1)  # a cell further, across or down
    beside = np.exp(-(step**2) / (2 * 0.2**2))
    assert blobs[0, 0, 0, -2].item() == pytest.approx(beside)
    assert blobs[0, 0, 1, -2].item() == pytest.approx(beside**2)


def test_the_loss_counts_what_changed_eleven_times(monkeypatch):
    objective = make()
    clip = torch.full((1, 2, SIDE, SIDE, 3), 51, dtype=torch.uint8)
    clip[0, 1, 0, 0] = 255  # one pixel changes, by 0.8
    predicted = torch.full((1, SIDE, SIDE, 3), 0.3)  # off by 0.1 everywhere, by 0.7 there
    monkeypatch.setattr(objective, "predict", lambda clip: (predicted, torch.zeros(2, 1, 8)))
    loss, metrics = objective.loss({"pixels": clip}, torch.Generator())
    pixels = SIDE**2
    assert loss.item() == pytest.approx(((pixels - 1) * STILL * 0.1**2 + (1 + STILL) * 0.7**2) / pixels, rel=1e-4)
    assert metrics["pretrain/psnr_copy_changed"] == pytest.approx(-10 * np.log10(0.8**2), abs=1e-4)
    assert metrics["pretrain/psnr_next_changed"] == pytest.approx(-10 * np.log10(0.7**2), abs=1e-4)
    assert metrics["pretrain/moving_points"] == 0
    assert [alarm.name for alarm in objective.alarms({"moving_points": 0.0})] == ["still"]


def test_a_point_moves_where_it_is_not_where_it_was():
    """Four points of two clips: one lies still elsewhere in each, one moves in one, one in both, and one too little."""
    now = torch.tensor([[0.9, 0.0, 0.0, 0.0, 0.1, 0.1, 0.0, 0.0], [-0.9, 0.5, 0.0, 0.0, 0.1, 0.1, 0.0, 0.0]])
    steps = torch.tensor([[0.0, 0.0, 0.08, 0.0, 0.0, 0.06, 0.03, 0.0], [0.0, 0.0, 0.0, 0.0, 0.0, 0.06, 0.04, 0.04]])
    # 0.08 in one of two clips is 0.057 in the square mean; all that move alike, as when a camera does, move as well.
    assert moving_points(now, now + steps) == 2
    assert moving_points(now, now) == 0


def test_only_its_points_tell_of_the_later_frame():
    objective = make()
    one, other = moving_square(1, np.random.default_rng(0)), moving_square(1, np.random.default_rng(1))
    clip = torch.cat([one["pixels"], torch.stack([one["pixels"][:, 0], other["pixels"][:, 1]], 1)])
    with torch.inference_mode():
        predicted, places = objective.predict(clip)
        assert not torch.equal(predicted[0], predicted[1])
        objective.encoder.places = lambda frames: torch.zeros(len(frames), 8)
        blind, _ = objective.predict(clip)
    assert places.shape == (2, 2, 8), "in frames t and t+k of two clips"
    assert torch.equal(places[0, 0], places[0, 1])
    assert not torch.equal(places[1, 0], places[1, 1])
    assert torch.equal(blind[0], blind[1])


def test_points_come_to_lie_on_what_moves():
    objective, rng = make(size=0.2), np.random.default_rng(0)
    optimiser = torch.optim.Adam(objective.parameters(), lr=3e-3)
    test = moving_square(64, np.random.default_rng(9))["pixels"][:, 0]
    white = (test[..., 0] == 255).float()
    cells = torch.arange(SIDE, dtype=torch.float32)
    truth = torch.stack([(white.sum(1) * cells).sum(1), (white.sum(2) * cells).sum(1)], 1) / 9  # across, down

    def error() -> float:
        """Of reading the square's place off the points, linearly, in pixels."""
        with torch.inference_mode():
            seen = torch.cat([objective.encoder.places(test), torch.ones(64, 1)], 1)
        fitted = torch.linalg.lstsq(seen[:48], truth[:48]).solution
        return float((seen[48:] @ fitted - truth[48:]).norm(dim=1).mean())

    before = error()
    for _ in range(150):
        loss, metrics = objective.loss(moving_square(16, rng), torch.Generator())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert metrics["pretrain/moving_points"] >= 2
    assert metrics["pretrain/psnr_next_changed"] > metrics["pretrain/psnr_copy_changed"]
    assert error() < min(1.0, 0.5 * before)


def test_points_are_drawn_where_they_lie():
    black = torch.zeros(1, SIDE, SIDE, 3, dtype=torch.uint8)
    frames = points._drawn(torch.tensor([[1.0, -1.0, 0.0, 0.5]]), black)
    side = SIDE * (128 // SIDE)
    assert frames.shape == (1, side, side, 3)
    lit = frames[0].amax(-1) > 0
    assert lit[:2, -2:].all(), "of a dot in the corner a quarter is left, and an edge"
    row, column = round(0.75 * (side - 1)), round(0.5 * (side - 1))
    assert lit[row - 1 : row + 2, column - 1 : column + 2].all()
    assert lit.sum() == 4 + 9
    assert not black.any(), "what is shown is a copy"


def test_an_encoder_keeps_its_points(tmp_path):
    with FrameStoreWriter(tmp_path / "video", image_size=SIDE) as writer:
        for clip in moving_square(4, np.random.default_rng(0))["pixels"].numpy():
            writer.add_episode(clip, source="squares")
    asked = Pretrain(
        data=(tmp_path / "video",),
        objective="points",
        tokeniser="local",
        image_size=SIDE,
        batch=4,
        steps=2,
        threads=1,
        out=tmp_path / "run",
        cache=tmp_path / "cache",
    )
    run = pretrain(asked)
    encoder = load_encoder(run)
    assert isinstance(encoder.points, Points)
    assert encoder.config.points == encoder.points.number == PointsOptions().number
    frames = torch.randint(0, 255, (3, SIDE, SIDE, 3), dtype=torch.uint8)
    assert torch.equal(encoder.places(frames), load_encoder(run).places(frames))


def test_points_need_a_map_and_must_have_been_learnt():
    with pytest.raises(UserError, match="pretrain one by --tokeniser local"):
        PointPrediction(random_encoder(image_size=SIDE), seed=0)
    with pytest.raises(UserError, match="pretrain one by --objective points"):
        random_encoder(image_size=SIDE, tokeniser="local").places(torch.zeros(1, SIDE, SIDE, 3))


def test_encoders_without_points_are_what_they_were():
    config = EncoderConfig(tokeniser="local")
    assert "points" not in config.identity()
    assert not [name for name in VideoEncoder(config).state_dict() if name.startswith("points.")]

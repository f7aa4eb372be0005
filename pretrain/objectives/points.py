"""Frame prediction through points: frame t+k from frame t, and of itself only where a few points lie.

Where the points lie is all that the decoder is told of a frame that is hidden otherwise, so they come to lie on what
moves, small objects among it; no label says which. After Jakab et al. 2018 (landmarks by conditional generation) and
Kulkarni et al. 2019 (Transporter), with predictions that are painted over frame t.
"""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from goalsight.base.options import check_positive
from goalsight.pretrain.data.clips import Batch, Clips
from goalsight.pretrain.data.format import PIXELS
from goalsight.pretrain.encoders.vit import VideoEncoder, check_map
from goalsight.pretrain.objectives.base import Alarm, Objective
from goalsight.pretrain.objectives.next_frame import changed, copying, next_frame, next_frame_metrics
from goalsight.pretrain.pictures import enlarging
from goalsight.pretrain.tokenisers.base import centred

STILL = 0.1  # weight of a pixel that does not change, where one that does has 1.1
COVERED = -1.0  # what decides on painting over a pixel starts here: most of a frame stays
MOVING = 0.05  # a point moves whose steps from frame t to frame t+k are about so long, of half the image
LOOKS = 16, 24  # features of frame t that the decoder sees, and those they are made from


@dataclass(frozen=True)
class PointsOptions:
    """How many points, and how they are shown to the decoder.

    Raises:
        UserError: when a number is not positive.
    """

    number: int = 32
    """Points in a frame."""
    size: float = 0.12
    """Width of a point as the decoder sees it, the standard deviation of a blob; 1 is half the image."""
    decoder_width: int = 48
    """Decoder: features per cell of the map."""

    def __post_init__(self) -> None:
        """Refuse what cannot be shown."""
        check_positive(self, "number", "size", "decoder_width")


class PointPrediction(Objective):
    """The encoder, which learns to find points, with the decoder that trains it."""

    Options = PointsOptions
    line: Tensor

    def __init__(self, encoder: VideoEncoder, options: PointsOptions | None = None, *, seed: int = 0) -> None:
        """Wrap an encoder, which finds points from now on.

        Args:
            encoder: trained in place.
            options: how many points, and the decoder's size.
            seed: of the points' and the decoder's weights.

        Raises:
            UserError: when the encoder's stem makes no map to find points on.
        """
        super().__init__(encoder)
        self.options = options = options or PointsOptions()
        stride = check_map(encoder).stride
        encoder.look_for_points(options.number, seed=seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed + 1)
            self.decoder = Decoder(options.number, options.decoder_width, stride)
        line = torch.linspace(-1, 1, encoder.config.image_size // stride)
        self.register_buffer("line", line, persistent=False)

    def reads(self, max_gap: int) -> Clips:
        """Return pairs of frames (t, t+k)."""
        return Clips(gaps=((1, max_gap),))

    def loss(self, batch: Batch, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        """Return the loss and what it is made of.

        Args:
            batch: pixels (B, 2, H, W, 3) uint8, frames t and t+k.
            generator: not used; nothing is drawn.

        Returns:
            the mean squared error of frame t+k, on the scale of [0, 1] pixels, in which pixels that changed since
            frame t count 11 times as much as others; and metrics: PSNR of the prediction and of guessing that frame
            t+k looks like frame t [dB], over all pixels and over those that changed, and how many points move.
        """
        predicted, places = self.predict(batch[PIXELS])
        moving = moving_points(*places.detach())
        now, later = (batch[PIXELS].float() / 255).unbind(1)
        error, copy_error = (predicted - later).square(), (now - later).square()
        loss = (error * (STILL + changed(copy_error))).mean()
        metrics = next_frame_metrics(loss, error.flatten(1, 2), copy_error.flatten(1, 2))
        return loss, metrics | {"pretrain/moving_points": float(moving)}

    def predict(self, clip: Tensor) -> tuple[Tensor, Tensor]:
        """Frames t and t+k (B, 2, H, W, 3) uint8 -> frame t+k (B, H, W, 3) in [0, 1], and both's points (2, B, 2 K)."""
        places = self.encoder.places(clip.transpose(0, 1).flatten(0, 1)).float()
        blobs = self.blobs(places).chunk(2)
        return self.decoder(clip[:, 0], *blobs), places.unflatten(0, (2, -1))

    def blobs(self, places: Tensor) -> Tensor:
        """Places (B, 2 K) -> blobs around them on the encoder's map (B, K, side, side)."""
        across, down = places.unflatten(1, (-1, 2)).unbind(2)
        reach = 2 * self.options.size**2
        rows, columns = (torch.exp(-((self.line - place[..., None]) ** 2) / reach) for place in (down, across))
        return rows[..., :, None] * columns[..., None, :]

    @torch.no_grad()
    def visualise(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Return frames t and t+k, what is known of the latter, and what was made of that; points on larger frames."""
        clip = batch[PIXELS]
        predicted, (_, places) = self.predict(clip)
        return {
            "frame t": clip[:, 0],
            "points of t+k": _drawn(places, torch.full_like(clip[:, 1], 128)),
            "t+k predicted": predicted.clamp(0, 1).mul(255).round().to(torch.uint8),
            "t+k true": clip[:, 1],
            "and its points": _drawn(places, clip[:, 1]),
        }

    def headline(self, metrics: Mapping[str, float]) -> str:
        """Say how well the next frame is predicted, beside copying the last one, and by how many points."""
        moving = metrics.get("moving_points", 0.0)
        return f"{next_frame(metrics)}; {moving:.0f} of {self.options.number} points move"

    def alarms(self, metrics: Mapping[str, float]) -> tuple[Alarm, ...]:
        """Warn when what changed is predicted no better than by copying the last frame, or when no point moves."""
        if metrics["moving_points"] >= 1:
            return copying(metrics)
        return (*copying(metrics), Alarm("still", "no point moves from frame to frame: they tell of nothing"))


def moving_points(now: Tensor, later: Tensor) -> int:
    """Return how many points move: places (B, 2 K) of frames t and of frames t+k, of the same clips."""
    steps = (later - now).unflatten(1, (-1, 2))  # (B, K, 2)
    return int((steps.square().mean(0).sqrt().amax(1) > MOVING).sum())


class Decoder(nn.Module):
    """Paints a later frame over an earlier one.

    Args:
        points: shown as blobs, of both frames.
        width: features per cell.
        stride: pixels to a cell.
    """

    def __init__(self, points: int, width: int, stride: int) -> None:
        super().__init__()
        self.looks = nn.Sequential(
            nn.Conv2d(3, LOOKS[1], 5, stride=stride, padding=2), nn.ReLU(), nn.Conv2d(LOOKS[1], LOOKS[0], 3, padding=1)
        )
        self.layers = nn.Sequential(
            nn.ReLU(),
            nn.Conv2d(LOOKS[0] + 2 * points, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, 4 * stride**2, 3, padding=1),
            nn.PixelShuffle(stride),
        )

    def forward(self, frames: Tensor, now: Tensor, later: Tensor) -> Tensor:
        """Frames (B, H, W, 3) uint8, blobs in them and in later ones, (B, K, side, side) -> the later (B, H, W, 3)."""
        seen = frames.float() / 255
        images = centred(seen).permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)
        shown = torch.cat([self.looks(images), now, later], 1)
        painted = self.layers(shown.contiguous(memory_format=torch.channels_last)).float().permute(0, 2, 3, 1)
        covers = torch.sigmoid(painted[..., 3:] + COVERED)
        return (1 - covers) * seen + covers * (painted[..., :3] + 0.5)  # the first guess is plain grey


def _drawn(places: Tensor, frames: Tensor) -> Tensor:
    """Draw points (B, 2 K), each of a colour of its own, into frames (B, H, W, 3), enlarged as they are shown."""
    times = enlarging(frames.shape[1])
    frames = frames.repeat_interleave(times, 1).repeat_interleave(times, 2)
    side, number = frames.shape[1], places.shape[1] // 2
    across, down = ((places.unflatten(1, (-1, 2)) + 1) * (side - 1) / 2).round().long().unbind(2)  # (B, K) each
    hue = torch.arange(number, device=frames.device) / number
    colours = (0.5 + 0.5 * torch.cos(2 * torch.pi * (hue[:, None] - torch.tensor([0, 1 / 3, 2 / 3]).to(hue)))) * 255
    rows = torch.arange(len(frames), device=frames.device)[:, None]
    for below, beside in itertools.product((-1, 0, 1), repeat=2):
        frames[rows, (down + below).clamp(0, side - 1), (across + beside).clamp(0, side - 1)] = colours.to(torch.uint8)
    return frames

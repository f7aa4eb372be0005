"""The encoder: a tokeniser's stem and a small vision transformer over its grid of tokens."""

import hashlib
import json
import re
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from goalsight.base.checkpoints import read_checkpoint
from goalsight.base.errors import UserError, choose, in_one_line
from goalsight.base.hub import local
from goalsight.base.parts import options_of
from goalsight.base.run_folders import MANIFEST
from goalsight.base.runs import Run
from goalsight.pretrain.encoders.points import Points
from goalsight.pretrain.encoders.transformer import Block, grid_positions, initialise
from goalsight.pretrain.masking import take
from goalsight.pretrain.tokenisers import TOKENISERS
from goalsight.pretrain.tokenisers.base import Tokeniser, as_frames
from goalsight.pretrain.tokenisers.local import LocalStem

LARGEST = 8192  # of an encoder's sizes: more is asked for by mistake or by malice
STEM_GAIN = 2.5  # at the start, so that what a patch shows weighs as much in its token as where it lies
PREFIX = "encoder."  # of the encoder's weights in a checkpoint: it is the objective's `encoder`


@dataclass(frozen=True)
class EncoderConfig:
    """The shape of an encoder.

    Raises:
        UserError: when there is no such tokeniser, or the image size does not fit it.
    """

    image_size: int = 64  # height and width of the frames [pixels]
    width: int = 128  # features per token
    depth: int = 4  # transformer blocks
    heads: int = 4  # attention heads
    tokeniser: str = "conv"  # what frames are cut into, one of `TOKENISERS`
    tokeniser_options: Any = None  # its dataclass, or that as JSON; the tokeniser's defaults unless given
    points: int = 0  # that it finds in a frame besides

    def __post_init__(self) -> None:
        """Refuse shapes that cannot be built."""
        for name, most in (("image_size", LARGEST), ("width", LARGEST), ("depth", LARGEST), ("heads", LARGEST)):
            value = getattr(self, name)
            if type(value) is not int or not 1 <= value <= most:
                raise UserError(f"{name} must be a whole number in [1, {most:,}], got {value!r:.80}")
        if type(self.points) is not int or self.points > LARGEST:
            raise UserError(f"points must be a whole number up to {LARGEST:,}, got {self.points!r:.80}")
        options = options_of(TOKENISERS, self.tokeniser, self.tokeniser_options)
        object.__setattr__(self, "tokeniser_options", options)
        self.make_tokeniser()
        if self.width % (4 * self.heads) or self.depth < 1 or self.points < 0:
            raise ValueError(f"width must divide by 4 x heads, depth be positive and points be no fewer than 0: {self}")

    def make_tokeniser(self) -> Tokeniser:
        """Build what cuts frames."""
        tokeniser: Tokeniser = TOKENISERS.load(self.tokeniser)(self.image_size, self.tokeniser_options)
        return tokeniser

    def identity(self) -> dict[str, Any]:
        """Describe what encoders of this shape compute; the first tokeniser goes without saying, as in older runs."""
        described = asdict(self)
        if not self.points:
            del described["points"]
        if self.tokeniser == "conv" and self.tokeniser_options == TOKENISERS.load("conv").Options():
            del described["tokeniser"], described["tokeniser_options"]
        return described


# From tiny on these are the usual vision transformers; nano is what two CPU cores can train in minutes:
# at equal time it predicts better than one of width 128 and depth 4.
ENCODERS = {
    "nano": EncoderConfig(width=96, depth=3, heads=3),
    "tiny": EncoderConfig(width=192, depth=12, heads=3),
    "small": EncoderConfig(width=384, depth=12, heads=6),
    "base": EncoderConfig(width=768, depth=12, heads=12),
}
HEAD = 32  # features of each attention head of a size that is given in numbers
HEAVIEST = 10**9  # weights of all blocks of such a size: more is asked for by mistake


def shape_of(size: str) -> EncoderConfig:
    """Return the shape of a size: one of `ENCODERS`, or width x depth as in 128x4, in heads of 32 features.

    Raises:
        UserError: it is neither, or cannot be built.
    """
    if not (numbers := re.fullmatch(r"([1-9][0-9]*)x([1-9][0-9]*)", size)):
        return ENCODERS[choose("encoder size", size, [*ENCODERS, "128x4"])]  # an example of numbers
    width, depth = (int(number[:6]) for number in numbers.groups())
    if width % HEAD:
        nearest = -(-width // HEAD) * HEAD
        raise UserError(f"encoder size {size:.20}: the width must divide by {HEAD}, as in {nearest}x{depth}")
    if 12 * width**2 * depth > HEAVIEST:
        raise UserError(f"encoder size {size:.20}: its blocks would hold more than {HEAVIEST:,} weights")
    return EncoderConfig(width=width, depth=depth, heads=width // HEAD)


class Embedding(nn.Module):
    """Pieces to tokens that know where they are."""

    positions: Tensor

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.tokeniser = config.make_tokeniser()
        self.stem = self.tokeniser.make_stem(config.width)
        self.register_buffer("positions", grid_positions(config.width, self.tokeniser.grid), persistent=False)

    def forward(self, frames: Tensor | NDArray[Any]) -> Tensor:
        """(B, H, W, 3), uint8 or floats in [0, 1], -> (B, tokens, width)."""
        return self.embed(self.cut(frames))

    def cut(self, frames: Tensor | NDArray[Any]) -> Tensor:
        """(B, H, W, 3) -> the tokeniser's pieces (B, tokens, P).

        Raises:
            UserError: when they are no such frames, as `as_frames` says, or a tokeniser of someone's own cuts them
                otherwise than it says.
        """
        pieces = self.tokeniser.cut(as_frames(frames, self.tokeniser.image_size))
        if pieces.ndim != 3 or pieces.shape[1] != self.tokeniser.tokens:
            said, got = self.tokeniser.tokens, tuple(pieces.shape)
            raise UserError(
                f"{type(self.tokeniser).__name__} cuts frames into {got}, not (B, {said}, P) as its grid says"
            )
        return pieces

    def embed(self, pieces: Tensor, visible: Tensor | None = None) -> Tensor:
        """(B, tokens, P), of which only the `visible` (B, K) are looked at, -> (B, tokens or K, width)."""
        if visible is None:
            return self.stem(pieces, None) + self.positions
        return self.stem(take(pieces, visible), visible) + self.positions[visible]


class Trunk(nn.Module):
    """Frames to tokens: the embedding and the first blocks."""

    def __init__(self, embedding: Embedding, blocks: nn.ModuleList) -> None:
        super().__init__()
        self.embedding = embedding
        self.blocks = blocks

    def forward(self, frames: Tensor) -> Tensor:
        """(B, H, W, 3), uint8 or floats in [0, 1], -> tokens (B, tokens, width)."""
        return _through(self.blocks, self.embedding(frames))


class Head(nn.Module):
    """The last blocks and the final norm: tokens to tokens."""

    def __init__(self, blocks: nn.ModuleList, norm: nn.LayerNorm) -> None:
        super().__init__()
        self.blocks = blocks
        self.norm = norm

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, tokens, width) -> (B, tokens, width)."""
        return self.norm(_through(self.blocks, tokens))


class VideoEncoder(nn.Module):
    """Frames to a grid of tokens, row major; there is no class token, because it loses small objects.

    Attributes:
        points: finds points on the map of the stem; None where its shape has none.
    """

    def __init__(self, config: EncoderConfig, *, seed: int = 0) -> None:
        """Draw random weights; torch's global generator ends as it was.

        Args:
            config: the shape.
            seed: of the weights.
        """
        super().__init__()
        self.config = config
        with torch.random.fork_rng(devices=[]):
            self.embedding = Embedding(config)
            self.blocks = nn.ModuleList(Block(config.width, config.heads) for _ in range(config.depth))
            self.norm = nn.LayerNorm(config.width)
        initialise(self, torch.Generator().manual_seed(seed))
        with torch.no_grad():
            last = [part for part in self.embedding.stem.modules() if isinstance(part, nn.Linear | nn.Embedding)][-1]
            last.weight.mul_(STEM_GAIN)
        self.points: Points | None = None
        if config.points:
            self.look_for_points(config.points, seed=seed)

    def look_for_points(self, number: int, *, seed: int) -> None:
        """Find so many points in a frame from now on; where, is still to be learnt.

        Args:
            number: of points.
            seed: of the weights.

        Raises:
            UserError: when the stem makes no map.
        """
        stem = check_map(self)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.points = Points(number, self.config.image_size // stem.stride)
        self.config = replace(self.config, points=number)

    def places(self, frames: Tensor | NDArray[Any]) -> Tensor:
        """(B, H, W, 3), uint8 or floats in [0, 1], -> where each point lies (B, 2 points), in [-1, 1] across and down.

        Raises:
            UserError: when it has learnt to find none, or they are no such frames.
        """
        if self.points is None:
            raise UserError("this encoder finds no points; pretrain one by --objective points")
        places: Tensor = self.points(check_map(self).map(as_frames(frames, self.config.image_size)))
        return places

    def forward(self, frames: Tensor | NDArray[Any]) -> Tensor:
        """(B, H, W, 3), uint8 or floats in [0, 1], -> tokens (B, tokens, width).

        Raises:
            UserError: they are no such frames.
        """
        return self.think(self.embedding(frames))

    def encode(self, pieces: Tensor, visible: Tensor | None = None) -> Tensor:
        """Like `forward`, from pieces (B, tokens, P) of which only the `visible` (B, K) are looked at."""
        return self.think(self.embedding.embed(pieces, visible))

    def think(self, tokens: Tensor) -> Tensor:
        """Tokens of any kind through all blocks and the norm: (B, N, width) -> (B, N, width)."""
        thought: Tensor = self.norm(_through(self.blocks, tokens))
        return thought

    @property
    def tokeniser(self) -> Tokeniser:
        """What cuts its frames."""
        return self.embedding.tokeniser

    @property
    def tokens(self) -> int:
        """Tokens per frame."""
        return self.tokeniser.tokens

    def split(self, n: int) -> tuple[Trunk, Head]:
        """Cut before the last n blocks: `head(trunk(frames))` is `encoder(frames)`.

        Both parts share their weights with this encoder. n = 0 leaves the head only the final norm, n = depth
        leaves the trunk only the embedding.

        Raises:
            UserError: when n is not in 0..depth.
        """
        depth = self.config.depth
        if not 0 <= n <= depth:
            raise UserError(f"the encoder has {depth} blocks; the head can take 0 to {depth} of them, not {n}")
        return Trunk(self.embedding, self.blocks[: depth - n]), Head(self.blocks[depth - n :], self.norm)

    def content_hash(self) -> str:
        """Sha256 over the shape and the weights: equal for encoders that compute the same."""
        digest = hashlib.sha256(json.dumps(self.config.identity(), sort_keys=True).encode())
        for name, value in sorted(self.state_dict().items()):
            digest.update(name.encode())
            digest.update(value.detach().float().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()


def random_encoder(
    size: str = "nano", image_size: int = 64, seed: int = 0, *, tokeniser: str = "conv", tokeniser_options: Any = None
) -> VideoEncoder:
    """Return an untrained encoder: the baseline that a trained one must beat.

    Args:
        size: as `shape_of` takes it.
        image_size: height and width of the frames [pixels].
        seed: of the weights.
        tokeniser: one of `TOKENISERS`.
        tokeniser_options: its dataclass; its defaults unless given.

    Raises:
        UserError: on an unknown size or tokeniser, or an image size that does not fit.
    """
    cut = {"tokeniser": tokeniser, "tokeniser_options": tokeniser_options}
    return VideoEncoder(replace(shape_of(size), image_size=image_size, **cut), seed=seed)


def encoder_of(shape: dict[str, Any], weights: dict[str, Tensor]) -> VideoEncoder:
    """An encoder from its description and its weights, by name.

    Raises:
        UserError, TypeError, ValueError, RuntimeError: they do not fit; said before memory is taken.
    """
    config = EncoderConfig(**shape)
    there = sum(value.numel() for value in weights.values())
    if 4 * config.depth * config.width**2 > there:  # attention alone has as many
        raise ValueError(f"{there:,} weights are too few for width {config.width} and depth {config.depth}")
    encoder = VideoEncoder(config)
    encoder.load_state_dict(weights)
    return encoder


def load_encoder(source: Path | str) -> VideoEncoder:
    """Read an encoder from a run that pretrained one or trained an agent with one, or from a checkpoint's folder.

    Of a run the last checkpoint is taken. `hf://user/name` is a run on a hub.

    Raises:
        UserError: when there is no readable encoder.
    """
    source = local(source)
    folder = source
    if not (source / "meta.json").exists():
        run = Run.open(source)
        if run.kind == "collect":
            raise UserError(
                f"{source} holds recorded play, not an encoder; make one: goalsight pretrain --data {source}"
            )
        folder = run.checkpoint("last")
    tensors, meta = read_checkpoint(folder)
    weights = {name.removeprefix(PREFIX): value for name, value in tensors.items() if name.startswith(PREFIX)}
    if "encoder" not in meta or not weights:
        raise UserError(f"{source} holds no encoder; give a folder that goalsight pretrain made")
    try:
        encoder = encoder_of(meta["encoder"], weights)
    except (TypeError, ValueError, RuntimeError) as error:
        reason = in_one_line(error) if isinstance(error, TypeError) else (str(error).splitlines() or [""])[0]
        raise UserError(f"the encoder in {folder} does not fit its description: {reason}") from error
    return encoder.eval()


def load_named(source: Path) -> VideoEncoder:
    """`load_encoder` for whoever named a run on the command line: says what is taken of one that trained an agent."""
    encoder = load_encoder(source)
    if (source / MANIFEST).exists() and Run.open(source).kind == "train":
        print(f"goalsight: {source} trained an agent; the encoder that this agent sees by is taken", file=sys.stderr)
    return encoder


def check_map(encoder: VideoEncoder) -> LocalStem:
    """Return the stem of an encoder, on whose map places can be found.

    Raises:
        UserError: if it makes no map.
    """
    stem = encoder.embedding.stem
    if not isinstance(stem, LocalStem):
        raise UserError(
            f"places are found on the map of the tokeniser local, this encoder's is {encoder.config.tokeniser}; "
            "pretrain one by --tokeniser local"
        )
    return stem


def _through(blocks: nn.ModuleList, tokens: Tensor) -> Tensor:
    for block in blocks:
        tokens = block(tokens)
    return tokens

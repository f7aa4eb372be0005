"""The encoder: a convolutional stem to 8x8 tokens and a small vision transformer.

The stem is a stack of convolutions of kernel 2 and stride 2, so a token sees its own patch and nothing else.
Overlapping kernels would let a visible token see the border of its hidden neighbours, and the objective could be
won by copying; with this stem hidden tokens can also simply be dropped, which makes hiding 75% four times
cheaper.
"""

import hashlib
import itertools
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from goalsight.base.errors import UserError, choose
from goalsight.base.precision import autocast
from goalsight.base.runs import Run, read_checkpoint
from goalsight.pretrain.encoders.transformer import Block, grid_positions, initialise
from goalsight.pretrain.tokenisers.patches import TOKENS, patch_side, patchify, take

STEM_GAIN = 2.5  # at the start, so that what a patch shows weighs as much in its token as where it lies
PREFIX = "encoder."  # of the encoder's weights in a checkpoint: it is the objective's `encoder`


@dataclass(frozen=True)
class EncoderConfig:
    """The shape of an encoder.

    Raises:
        UserError: when the image size does not divide into 8x8 patches of 2^k pixels.
    """

    image_size: int = 64  # height and width of the frames [pixels]
    width: int = 128  # features per token
    depth: int = 4  # transformer blocks
    heads: int = 4  # attention heads

    def __post_init__(self) -> None:
        """Refuse shapes that cannot be built."""
        patch_side(self.image_size)
        if self.width % (4 * self.heads) or self.depth < 1:
            raise ValueError(f"width must divide by 4 x heads and depth be positive, got {self}")


# From tiny on these are the usual vision transformers; nano is what two processor cores can train in minutes:
# at equal time it predicts better than one of width 128 and depth 4.
ENCODERS = {
    "nano": EncoderConfig(width=96, depth=3, heads=3),
    "tiny": EncoderConfig(width=192, depth=12, heads=3),
    "small": EncoderConfig(width=384, depth=12, heads=6),
    "base": EncoderConfig(width=768, depth=12, heads=12),
}


class Stem(nn.Sequential):
    """Convolutions of kernel 2 and stride 2 over patches in quad-tree order, as linear layers.

    The width halves from the token's towards the pixels, and never falls below 32.
    """

    def __init__(self, image_size: int, width: int) -> None:
        levels = patch_side(image_size).bit_length() - 1
        widths = [3] + [max(32, width >> (levels - 1 - level)) for level in range(levels - 1)] + [width]
        layers: list[nn.Module] = []
        for inner, outer in itertools.pairwise(widths):
            layers += [_MergeFour(), nn.Linear(4 * inner, outer), nn.GELU()]
        super().__init__(*layers[:-1])


class _MergeFour(nn.Module):
    """(..., 4 n, c) -> (..., n, 4 c): in quad-tree order, the four pixels of a 2x2 block become one."""

    def forward(self, pixels: Tensor) -> Tensor:
        """Reshape; nothing is computed."""
        return pixels.unflatten(-2, (-1, 4)).flatten(-2)


class Embedding(nn.Module):
    """Patches to tokens that know where they are."""

    positions: Tensor

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.image_size = config.image_size
        self.stem = Stem(config.image_size, config.width)
        self.register_buffer("positions", grid_positions(config.width), persistent=False)

    def forward(self, frames: Tensor) -> Tensor:
        """(B, H, W, 3), uint8 or floats in [0, 1], -> (B, 64, width)."""
        expected = (self.image_size, self.image_size, 3)
        if frames.ndim != 4 or tuple(frames.shape[1:]) != expected:
            raise UserError(f"this encoder takes frames of {expected}, got {tuple(frames.shape[1:])}")
        return self.embed(patchify(frames))

    def embed(self, patches: Tensor, visible: Tensor | None = None) -> Tensor:
        """(B, 64, P) patches, of which only the `visible` (B, K) are looked at, -> (B, 64 or K, width)."""
        if visible is None:
            return self.stem(_pixels(patches)).squeeze(2) + self.positions
        return self.stem(_pixels(take(patches, visible))).squeeze(2) + self.positions[visible]


class Trunk(nn.Module):
    """Frames to tokens: the embedding and the first blocks."""

    def __init__(self, embedding: Embedding, blocks: nn.ModuleList) -> None:
        super().__init__()
        self.embedding = embedding
        self.blocks = blocks

    def forward(self, frames: Tensor) -> Tensor:
        """(B, H, W, 3), uint8 or floats in [0, 1], -> tokens (B, 64, width)."""
        return _through(self.blocks, self.embedding(frames))


class Head(nn.Module):
    """The last blocks and the final norm: tokens to tokens."""

    def __init__(self, blocks: nn.ModuleList, norm: nn.LayerNorm) -> None:
        super().__init__()
        self.blocks = blocks
        self.norm = norm

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, 64, width) -> (B, 64, width)."""
        return self.norm(_through(self.blocks, tokens))


class VideoEncoder(nn.Module):
    """Frames to an 8x8 grid of tokens, row major; there is no class token, because it loses small objects."""

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
            last = self.embedding.stem[-1]
            assert isinstance(last, nn.Linear)
            last.weight.mul_(STEM_GAIN)

    def forward(self, frames: Tensor) -> Tensor:
        """(B, H, W, 3), uint8 or floats in [0, 1], -> tokens (B, 64, width)."""
        return self.norm(_through(self.blocks, self.embedding(frames)))

    def encode(self, patches: Tensor, visible: Tensor | None = None) -> Tensor:
        """Like `forward`, from patches (B, 64, P) of which only the `visible` (B, K) are looked at."""
        return self.norm(_through(self.blocks, self.embedding.embed(patches, visible)))

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
        digest = hashlib.sha256(json.dumps(asdict(self.config), sort_keys=True).encode())
        for name, value in sorted(self.state_dict().items()):
            digest.update(name.encode())
            digest.update(value.detach().float().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()


class EncoderFeatures:
    """Frozen features of many frames, in batches and in the processor's fast precision."""

    def __init__(self, encoder: VideoEncoder, *, batch: int = 256) -> None:
        """Keep the encoder as it is.

        Args:
            encoder: where its weights are is where it runs.
            batch: frames at a time.
        """
        self.encoder = encoder
        self.batch = batch

    @torch.inference_mode()
    def __call__(self, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(n, H, W, 3) uint8 -> (n, 64, width) float32."""
        device = self.encoder.norm.weight.device
        out = np.empty((len(frames), TOKENS, self.encoder.config.width), np.float32)
        for start in range(0, len(frames), self.batch):
            part = torch.from_numpy(np.array(frames[start : start + self.batch])).to(device)
            with autocast(device):
                out[start : start + self.batch] = self.encoder(part).float().cpu().numpy()
        return out


def random_encoder(size: str = "nano", image_size: int = 64, seed: int = 0) -> VideoEncoder:
    """Return an untrained encoder: the baseline that a trained one must beat.

    Args:
        size: one of `ENCODERS`.
        image_size: height and width of the frames [pixels].
        seed: of the weights.

    Raises:
        UserError: on an unknown size, or an image size that does not fit.
    """
    preset = ENCODERS[choose("encoder size", size, ENCODERS)]
    return VideoEncoder(replace(preset, image_size=image_size), seed=seed)


def load_encoder(source: Path) -> VideoEncoder:
    """Read an encoder from a run that pretrained one or trained an agent with one, or from a checkpoint's folder.

    Of a run the last checkpoint is taken.

    Raises:
        UserError: when there is no readable encoder.
    """
    source = Path(source)
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
        encoder = VideoEncoder(EncoderConfig(**meta["encoder"]))
        encoder.load_state_dict(weights)
    except (TypeError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"the encoder in {folder} does not fit its description: {reason}") from error
    return encoder.eval()


def _pixels(patches: Tensor) -> Tensor:
    """(B, K, P) uint8 or floats in [0, 1] -> (B, K, P / 3, 3) floats of about unit variance around zero."""
    floats = patches.float().div_(255) if patches.dtype == torch.uint8 else patches
    return (floats * 4 - 2).unflatten(2, (-1, 3))


def _through(blocks: nn.ModuleList, tokens: Tensor) -> Tensor:
    for block in blocks:
        tokens = block(tokens)
    return tokens

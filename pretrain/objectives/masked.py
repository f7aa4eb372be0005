"""Masked frame prediction: frame t from a quarter of itself, frame t+k from frame t and a twentieth of itself.

After masked autoencoders (He et al. 2022) and siamese masked autoencoders (Gupta et al. 2023). Targets are raw
pixels of ALL patches, not normalised per patch: on the flat images of a simulator, normalising amplifies noise,
and a small object is most of what varies. The decoder looks at the encoder's tokens by cross-attention only
(CrossMAE, Fu et al. 2024), which keeps what is known in the encoder and the decoder cheap.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from goalsight.pretrain.encoders.transformer import CrossBlock, grid_positions, initialise
from goalsight.pretrain.encoders.vit import VideoEncoder
from goalsight.pretrain.objectives.base import Objective
from goalsight.pretrain.tokenisers.patches import TOKENS, Hidden, hide_tokens, patchify, unpatchify

SMALLEST_ERROR = 1e-10  # mean squared error below which PSNR is called 100 dB
CHANGED = 0.05  # a pixel has changed when a channel differs by more than this share of the range


@dataclass(frozen=True)
class Masked:
    """What is hidden, and the decoder's size.

    Raises:
        ValueError: when a share does not lie in (0, 1).
    """

    hide_self: float = 0.75  # share of frame t's tokens hidden where it is rebuilt from itself
    hide_next: float = 0.95  # share of frame t+k's tokens hidden where it is predicted from frame t
    decoder_width: int = 64  # features per token
    decoder_depth: int = 2  # cross-attention blocks
    decoder_heads: int = 2  # attention heads

    def __post_init__(self) -> None:
        """Refuse shares that hide nothing or everything."""
        for name in ("hide_self", "hide_next"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f"{name} must lie in (0, 1), got {getattr(self, name)}")


@dataclass(frozen=True)
class Prediction:
    """What the two tasks were shown and what they made of it, as patches in [0, 1].

    Attributes:
        now: (B, 64, P) frame t.
        later: (B, 64, P) frame t+k.
        rebuilt: (B, 64, P) frame t from its visible tokens.
        predicted: (B, 64, P) frame t+k from frame t and its own visible tokens.
        hidden_now: what of frame t was hidden where it was rebuilt.
        hidden_later: what of frame t+k was hidden.
    """

    now: Tensor
    later: Tensor
    rebuilt: Tensor
    predicted: Tensor
    hidden_now: Hidden
    hidden_later: Hidden


class MaskedPrediction(Objective):
    """The encoder with the decoder that trains it."""

    positions: Tensor

    def __init__(self, encoder: VideoEncoder, config: Masked | None = None, *, seed: int = 0) -> None:
        """Wrap an encoder.

        Args:
            encoder: trained in place.
            config: what is hidden and the decoder's size.
            seed: of the decoder's weights.
        """
        super().__init__(encoder)
        self.config = config = config or Masked()
        width = config.decoder_width
        with torch.random.fork_rng(devices=[]):
            self.narrow = nn.Linear(encoder.config.width, width)
            self.blocks = nn.ModuleList(CrossBlock(width, config.decoder_heads) for _ in range(config.decoder_depth))
            self.norm = nn.LayerNorm(width)
            self.pixels = nn.Linear(width, 3 * (encoder.config.image_size // 8) ** 2)
        # Tokens of frame t and of frame t+k are told apart by one learnt vector each.
        self.frame_mark = nn.Parameter(torch.zeros(2, width))
        self.blank = nn.Parameter(torch.zeros(width))
        self.register_buffer("positions", grid_positions(width), persistent=False)
        generator = torch.Generator().manual_seed(seed + 1)
        for part in (self.narrow, self.blocks):
            initialise(part, generator)
        # The first prediction is plain grey: random pixels would cost the first steps.
        nn.init.zeros_(self.pixels.weight)
        nn.init.zeros_(self.pixels.bias)

    def forward(self, clip: Tensor, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        """Return the loss and what it is made of.

        Args:
            clip: (B, 2, H, W, 3) uint8, frames t and t+k.
            generator: draws what is hidden.

        Returns:
            the mean squared error over all pixels of both tasks, on the scale of [0, 1] pixels, and metrics:
            PSNR of both tasks [dB], and of guessing that frame t+k looks like frame t, over all pixels and over
            those that changed.
        """
        seen = self.predict(clip, generator)
        error_now = (seen.rebuilt - seen.now).square().mean()
        error_later = (seen.predicted - seen.later).square()
        loss = error_now + error_later.mean()
        return loss, _metrics(loss, error_now, error_later, seen)

    def predict(self, clip: Tensor, generator: torch.Generator) -> Prediction:
        """Hide, encode, decode; see `forward`."""
        now, later = patchify(clip[:, 0]), patchify(clip[:, 1])  # (B, 64, P)
        hidden_now = hide_tokens(len(clip), TOKENS, self.config.hide_self, generator)
        hidden_later = hide_tokens(len(clip), TOKENS, self.config.hide_next, generator)
        part_of_now = self._remember(now, hidden_now.visible, frame=0)
        all_of_now = self._remember(now, None, frame=0)
        part_of_later = self._remember(later, hidden_later.visible, frame=1)
        blank = (self.blank + self.positions).expand(len(clip), -1, -1)
        # What is hidden of frame t+k starts from what frame t shows there: a small object that lies still has
        # only to be passed on, and is learnt long before attention has learnt to find it.
        return Prediction(
            now=now.float() / 255,
            later=later.float() / 255,
            rebuilt=self._decode(_put(part_of_now, hidden_now, blank), part_of_now),
            predicted=self._decode(
                _put(part_of_later, hidden_later, all_of_now), torch.cat([all_of_now, part_of_later], 1)
            ),
            hidden_now=hidden_now,
            hidden_later=hidden_later,
        )

    @torch.no_grad()
    def look(self, clip: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """Return what is seen, hidden, predicted and true, as named columns of (B, H, W, 3) uint8 frames."""
        seen = self.predict(clip, generator)
        columns = {
            "frame t": seen.now,
            "visible of t": _greyed(seen.now, seen.hidden_now),
            "t rebuilt": seen.rebuilt,
            "visible of t+k": _greyed(seen.later, seen.hidden_later),
            "t+k predicted": seen.predicted,
            "t+k true": seen.later,
        }
        return {
            name: unpatchify(patches.clamp(0, 1).mul(255).round().to(torch.uint8)) for name, patches in columns.items()
        }

    def _remember(self, patches: Tensor, visible: Tensor | None, *, frame: int) -> Tensor:
        """Encode what is visible and prepare it for the decoder: (B, 64, P) -> (B, K, decoder width)."""
        positions = self.positions if visible is None else self.positions[visible]
        return self.narrow(self.encoder.encode(patches, visible)) + positions + self.frame_mark[frame]

    def _decode(self, tokens: Tensor, memory: Tensor) -> Tensor:
        """(B, 64, decoder width), (B, M, decoder width) -> patches (B, 64, P)."""
        for block in self.blocks:
            tokens = block(tokens, memory)
        return self.pixels(self.norm(tokens)).float() + 0.5


def _put(visible: Tensor, hidden: Hidden, rest: Tensor) -> Tensor:
    """Put visible tokens (B, K, D) in their places among the rest (B, 64, D)."""
    return rest.scatter(1, hidden.visible.unsqueeze(2).expand_as(visible), visible.to(rest.dtype))


def _greyed(patches: Tensor, hidden: Hidden) -> Tensor:
    """Paint hidden patches grey: (B, 64, P) -> (B, 64, P)."""
    return torch.where(hidden.mask.unsqueeze(2), 0.5, patches)


@torch.no_grad()
def _metrics(loss: Tensor, error_now: Tensor, error_later: Tensor, seen: Prediction) -> dict[str, float]:
    copy_error = (seen.now - seen.later).square()
    changed = (copy_error.unflatten(2, (-1, 3)).amax(3, keepdim=True) > CHANGED**2).float()
    share = changed.mean()
    errors = torch.stack(
        [error_now, error_later.mean(), copy_error.mean()]
        + [(error.unflatten(2, (-1, 3)) * changed).mean() / share for error in (error_later, copy_error)]
    )
    psnr = -10 * errors.clamp(min=SMALLEST_ERROR).log10()
    names = ("psnr_self", "psnr_next", "psnr_copy", "psnr_next_changed", "psnr_copy_changed")
    parts = dict(zip(names, psnr.tolist(), strict=True), loss=float(loss), changed_share=float(share))
    return {f"pretrain/{name}": value for name, value in parts.items() if math.isfinite(value) or name == "loss"}

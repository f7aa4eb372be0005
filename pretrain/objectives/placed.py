"""A frame as one vector that knows where things are, and a trial of whether it does."""

from typing import Any

import torch
from torch import Tensor, nn

from goalsight.pretrain.encoders.transformer import initialise
from goalsight.pretrain.encoders.vit import VideoEncoder
from goalsight.pretrain.masking import hide_tokens

SQUARE = 8  # of a frame's side, the side of the square that is put there: one to so many
TOLD = 0.6  # share of the pairs that must be told apart; one half is chance


class Summary(nn.Module):
    """Frames to vectors: each token is read by weights of its own place, since a mean would throw places away."""

    def __init__(self, encoder: VideoEncoder, *, token_features: int, features: int, seed: int) -> None:
        """Draw the weights.

        Args:
            encoder: whose tokens are read; it is not held.
            token_features: numbers of each token that are read.
            features: numbers that are made of them.
            seed: of the weights.
        """
        super().__init__()
        self._shape = encoder.tokens, token_features
        with torch.random.fork_rng(devices=[]):
            self.narrow = nn.Linear(encoder.config.width, token_features)
            self.read = nn.Linear(encoder.tokens * token_features, features)
        initialise(self, torch.Generator().manual_seed(seed))

    def forward(
        self, encoder: VideoEncoder, pieces: Tensor, hide: float = 0.0, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return vectors (B, features) float32 of frames.

        Args:
            encoder: looks at them.
            pieces: (B, tokens, P).
            hide: share of the tokens that are hidden.
            generator: draws which.
        """
        if generator is None or not hide:
            return self.of(encoder.encode(pieces))
        visible = hide_tokens(len(pieces), self._shape[0], hide, generator).visible
        return self.of(encoder.encode(pieces, visible), visible)

    def of(self, looked: Tensor, visible: Tensor | None = None) -> Tensor:
        """Return the vectors of what an encoder saw: tokens (B, K, width), of the `visible` (B, K) -> (B, features)."""
        seen = self.narrow(looked)
        if visible is not None:
            everywhere = seen.new_zeros(len(seen), *self._shape)
            seen = everywhere.scatter(1, visible.unsqueeze(2).expand_as(seen), seen)
        with torch.autocast(seen.device.type, enabled=False):
            found: Tensor = self.read(seen.float().flatten(1))
        return found


def squares(now: Tensor, later: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Put a square of one colour into frames, where nothing but its place differs.

    Args:
        now: (B, H, W, 3) uint8.
        later: the same, of the same videos.
        generator: draws places and colours.

    Returns:
        `now` and `later` with a square at one place, and `later` with it at another, (B, H, W, 3) uint8 each.
    """
    side = max(1, now.shape[1] // SQUARE)
    draws: dict[str, Any] = {"generator": generator, "device": now.device}
    cells = now.shape[1] // side
    here = torch.randint(cells**2, (len(now),), **draws)
    there = (here + torch.randint(1, cells**2, (len(now),), **draws)) % cells**2
    colour = torch.randint(256, (len(now), 1, 1, 3), **draws).to(now.dtype)

    def put(frames: Tensor, places: Tensor) -> Tensor:
        cover = torch.zeros(len(frames), cells**2, dtype=torch.bool, device=frames.device)
        cover = cover.scatter(1, places[:, None], True).unflatten(1, (cells, cells))
        cover = cover.repeat_interleave(side, 1).repeat_interleave(side, 2)
        whole = torch.zeros(frames.shape[:3], dtype=torch.bool, device=frames.device)
        whole[:, : cover.shape[1], : cover.shape[2]] = cover
        return torch.where(whole[..., None], colour, frames)

    return put(now, here), put(later, here), put(later, there)

"""Which tokens are hidden from an encoder, and all that undoes it."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Hidden:
    """A random split of the tokens into visible and hidden, and all that undoes it.

    Attributes:
        visible: (B, K) indices of the visible tokens, in random order.
        restore: (B, N) where each token stands in [visible tokens, hidden tokens].
        mask: (B, N) True where a token is hidden.
    """

    visible: Tensor
    restore: Tensor
    mask: Tensor


def hide_tokens(batch: int, tokens: int, hidden_share: float, generator: torch.Generator) -> Hidden:
    """Hide the same number of tokens, chosen at random, in every row (He et al. 2022, section 3).

    Args:
        batch: rows.
        tokens: tokens per row.
        hidden_share: the share to hide, in (0, 1); at least one token stays visible.
        generator: the source of randomness; its device is the result's.
    """
    if not 0 < hidden_share < 1:
        raise ValueError(f"hidden_share must lie in (0, 1), got {hidden_share}")
    keep = max(1, round(tokens * (1 - hidden_share)))
    order = torch.rand(batch, tokens, generator=generator, device=generator.device).argsort(1)
    restore = order.argsort(1)
    return Hidden(visible=order[:, :keep], restore=restore, mask=restore >= keep)


def take(values: Tensor, rows: Tensor) -> Tensor:
    """Pick tokens by index: (B, N, D), (B, K) -> (B, K, D)."""
    return values.gather(1, rows.unsqueeze(2).expand(-1, -1, values.shape[2]))

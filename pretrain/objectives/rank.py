"""How many directions features use: the sign of collapse, which a falling loss does not show."""

import torch
from torch import Tensor

# Singular values below this share of the features' own size are what bf16 rounds by, in all directions alike: features
# that are all the same would seem to use them all.
ROUNDING = 3e-4


@torch.no_grad()
def effective_rank(features: Tensor) -> float:
    """Return the effective rank of features: the exponential of the entropy of their singular values' shares.

    It is the width when all directions vary alike, and 1 when only one does. What is constant at a position counts for
    nothing: tokens that only say where they are have collapsed.

    Args:
        features: (B, tokens, D).

    Returns:
        a number in [1, D]; 1 where nothing varies at all.

    Source: Roy and Vetterli, The effective rank (2007), equation 1.
    """
    features = features.float()
    rest = (features - features.mean(0)).flatten(0, 1)
    values = torch.linalg.eigvalsh(rest.T @ rest).clamp_min(0).sqrt()
    values = values * (values > ROUNDING * features.norm())
    total = values.sum()
    if not total > 0:
        return 1.0
    shares = values / total
    return float(torch.special.entr(shares).sum().exp())

"""What an arm feels and does as numbers that every arm has as many of."""

from torch import Tensor
from torch.nn.functional import pad

from goalsight.base.distributed import gather_rows
from goalsight.base.errors import UserError

NUMBERS = 64  # of what is felt or done, at most


def scaled(values: Tensor, name: str) -> Tensor:
    """Centre numbers and divide them by their spread, over the batches of all processes: (B, ..., K) -> float32.

    Raises:
        UserError: there are more of them than can be taken.
    """
    if values.shape[-1] > NUMBERS:
        raise UserError(f"{name} has {values.shape[-1]} numbers, at most {NUMBERS} can be taken")
    flat = values.float().reshape(-1, values.shape[-1])
    everyone = gather_rows(flat)
    return ((flat - everyone.mean(0)) / everyone.std(0).clamp_min(1e-6)).view(values.shape)


def filled(values: Tensor) -> Tensor:
    """Fill numbers up with zeros: (..., K) -> (..., NUMBERS)."""
    return pad(values, (0, NUMBERS - values.shape[-1]))

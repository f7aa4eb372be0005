"""What an arm feels and does as numbers that every arm has as many of."""

from torch import Tensor
from torch.nn.functional import pad

from goalsight.base.distributed import gather_rows
from goalsight.base.errors import UserError

NUMBERS = 64  # of what is felt or done, at most


def scaled(values: Tensor, *, alone: bool = False) -> Tensor:
    """Centre numbers and divide them by their spread, over the batches of all processes: (B, ..., K) -> float32.

    Args:
        values: of this process's batch.
        alone: look at this process's batch only, as must be said where the other processes do not scale theirs.
    """
    flat = values.float().reshape(-1, values.shape[-1])
    everyone = flat if alone else gather_rows(flat)
    spread = everyone.std(0, correction=min(1, len(everyone) - 1))  # that of a single row is 0
    return ((flat - everyone.mean(0)) / spread.clamp_min(1e-6)).view(values.shape)


def filled(values: Tensor, name: str) -> Tensor:
    """Fill numbers up with zeros: (..., K) -> (..., NUMBERS).

    Raises:
        UserError: there are more of them than can be taken.
    """
    if values.shape[-1] > NUMBERS:
        raise UserError(f"{name} has {values.shape[-1]} numbers, at most {NUMBERS} can be taken")
    return pad(values, (0, NUMBERS - values.shape[-1]))

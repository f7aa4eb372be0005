"""Several processes that train as one, started by `torchrun`: each takes a part of every batch.

Weights are drawn from the same seed everywhere and take the same steps, so that nothing is sent but gradients and what
the first process, which leads, has decided. It alone writes and speaks.
"""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from goalsight.base.errors import UserError

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Group:
    """The processes that train as one, and which of them this is."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0  # among those on this machine
    local_size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process writes and speaks."""
        return self.rank == 0

    def rows(self, batch: int) -> slice:
        """Return the part of a batch that this process takes.

        Raises:
            UserError: when it cannot be shared out evenly.
        """
        if batch % self.size:
            raise UserError(f"a batch of {batch} cannot be shared out evenly among {self.size} processes")
        share = batch // self.size
        return slice(self.rank * share, (self.rank + 1) * share)


def group() -> Group:
    """Return the processes that `torchrun` has started with this one; only this one where it has not."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return Group()
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
    return Group(*(int(os.environ[name]) for name in names))


@contextmanager
def together(device: "torch.device") -> Iterator[Group]:
    """Let the processes speak with each other, by gloo on CPUs and by nccl on GPUs, while the body works."""
    members = group()
    if members.size == 1:
        yield members
        return
    from torch import distributed

    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield members
    finally:
        distributed.destroy_process_group()


def sum_gradients(weights: "Sequence[torch.Tensor]") -> None:
    """Replace the gradients by their sums over all processes; those of weights that none uses stay None."""
    if group().size == 1:
        return
    import torch
    from torch import distributed

    known = [weight.grad for weight in weights if weight.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in known])
    distributed.all_reduce(flat)
    for gradient, summed in zip(known, flat.split([gradient.numel() for gradient in known]), strict=True):
        gradient.copy_(summed.view(gradient.shape))


def agree(values: Sequence[float], device: "torch.device") -> list[float]:
    """Return what the leading process gave, in every process."""
    if group().size == 1:
        return list(values)
    import torch
    from torch import distributed

    said = torch.tensor(values, dtype=torch.float64, device=device)
    distributed.broadcast(said, 0)
    return list(said.tolist())


def gather_rows(rows: "torch.Tensor") -> "torch.Tensor":
    """Return the rows of all processes, in their order; gradients go to this process's own: (B, D) -> (size x B, D)."""
    members = group()
    if members.size == 1:
        return rows
    import torch
    from torch import distributed

    parts = [torch.empty_like(rows) for _ in range(members.size)]
    distributed.all_gather(parts, rows.detach().contiguous())
    parts[members.rank] = rows
    return torch.cat(parts)


def gather_json(value: Any, device: "torch.device") -> list[Any]:
    """Return what each process gave, in their order; anything that JSON can hold."""
    members = group()
    if members.size == 1:
        return [value]
    import torch
    from torch import distributed

    text = torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8).to(device)
    lengths = [torch.zeros(1, dtype=torch.int64, device=device) for _ in range(members.size)]
    distributed.all_gather(lengths, torch.tensor([len(text)], device=device))
    most = int(max(length.item() for length in lengths))
    padded = torch.nn.functional.pad(text, (0, most - len(text)))
    texts = [torch.empty_like(padded) for _ in range(members.size)]
    distributed.all_gather(texts, padded)
    return [json.loads(bytes(one[: int(length)].tolist()).decode()) for one, length in zip(texts, lengths, strict=True)]

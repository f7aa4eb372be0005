"""Gradients of an objective: a batch is cut into shards, which are worked out side by side."""

from collections import defaultdict
from functools import partial

import numpy as np
import torch
from torch import Tensor

from goalsight.base.machine import usable_cores
from goalsight.base.precision import autocast
from goalsight.base.shards import SHARD, Shards
from goalsight.base.training_state import State
from goalsight.pretrain.data.clips import Batch
from goalsight.pretrain.objectives.base import Objective


class Gradients:
    """The gradients of an objective. A context manager: its threads end with it.

    How a batch is cut does not depend on the number of threads, so neither does a bit of the result. A batch that must
    stay whole is one shard, and the threads share its operations.
    """

    def __init__(self, objective: Objective, *, batch: int, device: torch.device, threads: int, seed: int) -> None:
        """Prepare the shards.

        Args:
            objective: what is minimised, with the weights.
            batch: clips at a time.
            device: where the weights are; anything but a CPU takes a batch as one shard.
            threads: CPU threads; 0 for one per CPU.
            seed: of what the objective draws, in each shard from a generator of its own.
        """
        self.threads = threads or usable_cores()
        self._objective = objective
        self._device = device
        self._whole = objective.whole_batch or device.type != "cpu"
        self._shard = batch if self._whole else SHARD
        seeds = np.random.SeedSequence(seed).generate_state(-(-batch // self._shard))
        self._generators = [torch.Generator(device).manual_seed(int(one)) for one in seeds]
        self._shards = Shards(
            [weight for weight in objective.parameters() if weight.requires_grad],
            threads=min(self.threads, len(seeds)),
            inside=self.threads if self._whole else 1,
        )

    def __enter__(self) -> "Gradients":
        """Start the threads; inside an operation there is only one from now on, unless the batch stays whole."""
        self._shards.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        """End the threads, and give torch back those it had."""
        self._shards.__exit__(*exception)

    def __call__(self, batch: Batch) -> dict[str, float]:
        """Set the weights' gradients to those of the mean loss.

        Args:
            batch: what the objective reads, (B, T, ...) each.

        Returns:
            the objective's metrics, means over the shards.
        """
        columns = {name: values.to(self._device).split(self._shard) for name, values in batch.items()}
        shards = [dict(zip(columns, parts, strict=True)) for parts in zip(*columns.values(), strict=True)]
        count = len(next(iter(batch.values())))
        shares = [len(next(iter(shard.values()))) / count for shard in shards]
        work = zip(shards, shares, self._generators, strict=True)
        return _mean(self._shards.backward([partial(self._of_shard, *one) for one in work]), shares)

    def state(self) -> State:
        """Return what decides what is drawn next, shard by shard."""
        return {"generators": [generator.get_state() for generator in self._generators]}

    def load(self, state: State) -> None:
        """Go on from a state."""
        for generator, kept in zip(self._generators, state["generators"], strict=True):
            generator.set_state(kept)

    def _of_shard(self, shard: Batch, share: float, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        with autocast(self._device):
            loss, metrics = self._objective(shard, generator)
        return loss * share, metrics


def _mean(metrics: list[dict[str, float]], shares: list[float]) -> dict[str, float]:
    """Return the weighted mean of each metric over the shards that know it."""
    known: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for share, of_shard in zip(shares, metrics, strict=True):
        for name, value in of_shard.items():
            known[name].append((value, share))
    return {
        name: float(np.average([value for value, _ in pairs], weights=[share for _, share in pairs]))
        for name, pairs in known.items()
    }

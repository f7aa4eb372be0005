"""Gradients of an objective: a batch is cut into shards, which threads and processes work out side by side."""

from collections import defaultdict
from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from goalsight.base.distributed import gather_json, group, sum_gradients
from goalsight.base.machine import usable_cores
from goalsight.base.precision import autocast
from goalsight.base.shards import SHARD, Shards
from goalsight.pretrain.data.clips import Batch
from goalsight.pretrain.objectives.base import Objective

MONITORING = 1  # tells what is drawn to monitor from what is drawn to learn


class Gradients:
    """The gradients of an objective. A context manager: its threads end with it.

    How a batch is cut does not depend on the number of threads, so neither does a bit of the result. A batch that must
    stay whole is one shard, and the threads share its operations. What is drawn for a shard depends on the seed, the
    step and where in the batch it lies, and on nothing that came before.
    """

    def __init__(self, objective: Objective, *, batch: int, device: torch.device, threads: int, seed: int) -> None:
        """Prepare the shards.

        Args:
            objective: what is minimised, with the weights.
            batch: clips at a time, in all processes.
            device: where the weights are; anything but a CPU takes a batch as one shard.
            threads: CPU threads; 0 for one per CPU, shared out among the processes on this machine.
            seed: of what the objective draws.

        Raises:
            UserError: when the batch cannot be shared out among the processes.
        """
        members = group()
        self._rows = members.rows(batch)
        self.threads = threads or max(1, usable_cores() // members.local_size)
        self._objective = objective
        self._device = device
        self._batch, self._seed = batch, seed
        share = self._rows.stop - self._rows.start
        whole = objective.whole_batch or device.type != "cpu"
        self._shard = share if whole else SHARD
        self._weights = [weight for weight in objective.parameters() if weight.requires_grad]
        shards = -(-share // self._shard)
        inside = self.threads if whole else 1
        self._shards = Shards(self._weights, threads=min(self.threads, shards), inside=inside)

    def __enter__(self) -> "Gradients":
        """Start the threads; inside an operation there is only one from now on, unless the batch stays whole."""
        self._shards.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        """End the threads, and give torch back those it had."""
        self._shards.__exit__(*exception)

    def __call__(self, batch: Batch, step: int) -> dict[str, float]:
        """Set the weights' gradients to those of the mean loss.

        Args:
            batch: what the objective reads, (B, T, ...) each, of this process's rows.
            step: of training.

        Returns:
            the objective's metrics, means over the shards of all processes.
        """
        shards, shares = self._cut(batch)
        work = zip(shards, shares, self._draws(len(shards), step), strict=True)
        found = self._shards.backward([partial(self._of_shard, *one) for one in work])
        sum_gradients(self._weights)
        return self._everywhere(found, shares)

    def monitor(self, batch: Batch, step: int) -> dict[str, float]:
        """Ask the objective for what it measures beside its loss; gradients and what they draw from stay as they are.

        Args:
            batch: as of a call.
            step: of training.

        Returns:
            the metrics of `Objective.monitor`, means over the shards of all processes.
        """
        shards, shares = self._cut(batch)
        work = zip(shards, self._draws(len(shards), step, MONITORING), strict=True)
        with torch.no_grad(), autocast(self._device):
            found = [self._objective.monitor(*one) for one in work]
        return self._everywhere(found, shares)

    def _cut(self, batch: Batch) -> tuple[list[Batch], list[float]]:
        """Return this process's shards, and the share of the whole batch that each is."""
        columns = {name: values.to(self._device).split(self._shard) for name, values in batch.items()}
        shards = [dict(zip(columns, parts, strict=True)) for parts in zip(*columns.values(), strict=True)]
        return shards, [len(next(iter(shard.values()))) / self._batch for shard in shards]

    def _draws(self, shards: int, step: int, *purpose: int) -> list[torch.Generator]:
        """Return what each shard draws from in this step, by the row of the batch at which it begins."""
        rows = [self._rows.start + number * self._shard for number in range(shards)]
        seeds = [np.random.SeedSequence(self._seed, spawn_key=(step, row, *purpose)) for row in rows]
        drawn = [int(seed.generate_state(1, np.uint64)[0]) >> 1 for seed in seeds]
        return [torch.Generator(self._device).manual_seed(number) for number in drawn]

    def _everywhere(self, found: list[dict[str, float]], shares: list[float]) -> dict[str, float]:
        """Return the means of metrics over the shards of all processes."""
        everywhere = gather_json([list(one) for one in zip(found, shares, strict=True)], self._device)
        metrics, weights = zip(*(one for of_process in everywhere for one in of_process), strict=True)
        return _mean(metrics, weights)

    def _of_shard(self, shard: Batch, share: float, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        with autocast(self._device):
            loss, metrics = self._objective(shard, generator)
        return loss * share, metrics


def _mean(metrics: Sequence[dict[str, float]], shares: Sequence[float]) -> dict[str, float]:
    """Return the weighted mean of each metric over the shards that know it."""
    known: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for share, of_shard in zip(shares, metrics, strict=True):
        for name, value in of_shard.items():
            known[name].append((value, share))
    return {
        name: float(np.average([value for value, _ in pairs], weights=[share for _, share in pairs]))
        for name, pairs in known.items()
    }

"""Pairs of frames that pretraining learns from per second, and the share of the machine's peak that it reaches.

For each size of encoder and number of threads: the time of a training step as `goalsight pretrain` takes it, the
floating-point operations it counts, and the fastest matrix product of the same precision and threads. Beside it a plain
loop of the same model: in fp32, the whole batch at once, torch's own threads.
"""

import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import torch
from reporting import RESULTS, markdown_table, provenance, significant, start

from goalsight.base.files import atomic_write_json
from goalsight.base.flops import matmul_peak
from goalsight.base.precision import fast_dtype
from goalsight.pretrain.data.clips import Batch
from goalsight.pretrain.data.format import PIXELS
from goalsight.pretrain.encoders.vit import ENCODERS
from goalsight.pretrain.train import Pretrain
from goalsight.pretrain.trainer import Trainer

PEAK_SECONDS = 1.5  # of each look at the peak [s]
FEWEST = 2  # steps measured, however long they take


@dataclass(frozen=True)
class Pretraining:
    """Measure training pairs per second."""

    sizes: tuple[str, ...] = tuple(ENCODERS)
    """Sizes of encoder."""
    threads: tuple[int, ...] = (1, 2)
    """Numbers of threads."""
    objective: str = "masked"
    """What the encoder learns from."""
    image_size: int = 64
    """Side of the frames [pixels]."""
    batch: int = Pretrain.batch
    """Pairs per step."""
    seconds: float = 8.0
    """Time that steps are measured for, at least two [s]."""
    out: Path = RESULTS / "pretraining.json"
    """The result."""


def noise(trainer: Trainer, config: Pretraining) -> Batch:
    """Return clips of noise: what a step costs does not depend on what they show."""
    clips = trainer.objective.reads(trainer.config.max_gap)
    shape = (config.batch, clips.frames, config.image_size, config.image_size, 3)
    pixels = torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return {PIXELS: pixels}


def plain_step(trainer: Trainer, batch: Batch) -> Callable[[], None]:
    """Return a step as one would write it: forward and backward of the batch in fp32, clipping, AdamW."""
    objective, draws = trainer.objective, torch.Generator().manual_seed(0)
    optimiser = torch.optim.AdamW(objective.parameters(), lr=1e-4)

    def step() -> None:
        loss, _ = objective(batch, draws)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(objective.parameters(), 1.0)
        optimiser.step()

    return step


def step_times(take: Callable[[], object], seconds: float) -> list[float]:
    """Return the seconds of each step, after two that fill caches."""
    times: list[float] = []
    for step in range(sys.maxsize):
        began = time.perf_counter()
        take()
        if step >= FEWEST:
            times.append(time.perf_counter() - began)
        if len(times) >= FEWEST and sum(times) >= seconds:
            break
    return times


def measure(size: str, threads: int, config: Pretraining) -> dict[str, Any]:
    """Return how fast one size of encoder trains with so many threads."""
    asked = Pretrain(
        data=(),
        size=size,
        objective=config.objective,
        image_size=config.image_size,
        batch=config.batch,
        threads=threads,
        device="cpu",
        steps=1,
    )
    torch.set_num_threads(threads)  # of the peak
    trainer = Trainer(asked)
    dtype = fast_dtype("cpu")
    # The peak is looked at before and after, because the machine's clock moves.
    peaks = [matmul_peak(dtype, seconds=PEAK_SECONDS)]
    batch = noise(trainer, config)
    with trainer:  # in the middle of the budget, where the rate of learning is not zero
        times = step_times(lambda: trainer.step(batch, 0.5), config.seconds)
    plain = statistics.median(step_times(plain_step(trainer, batch), config.seconds))
    peaks.append(matmul_peak(dtype, seconds=PEAK_SECONDS))
    flops_per_pair = trainer.flops_per_step(batch) / config.batch
    pairs_per_second = config.batch / statistics.median(times)
    return {
        "size": size,
        "threads": threads,
        "precision": str(dtype).removeprefix("torch."),
        "pairs_per_second": significant(pairs_per_second),
        "step_seconds": significant(statistics.median(times)),
        "plain_fp32_pairs_per_second": significant(config.batch / plain),
        "times_plain_fp32": significant(plain / statistics.median(times)),
        "steps": len(times),
        "encoder_parameters": sum(weight.numel() for weight in trainer.encoder.parameters()),
        "flops_per_pair": flops_per_pair,
        "flops_per_second": significant(flops_per_pair * pairs_per_second),
        "matmul_peak": significant(max(peaks)),
        "share_of_peak": significant(flops_per_pair * pairs_per_second / max(peaks)),
    }


def measure_all(config: Pretraining) -> Iterator[dict[str, Any]]:
    """Yield one row per size and number of threads; a size that does not fit says so."""
    for size, threads in product(config.sizes, config.threads):
        try:
            yield measure(size, threads, config)
        except (RuntimeError, MemoryError) as error:  # torch raises the first when memory runs out
            yield {"size": size, "threads": threads, "failure": str(error).splitlines()[0]}


def report(rows: list[dict[str, Any]]) -> str:
    """Return the rows as Markdown."""
    head = ["encoder", "threads", "pairs/s", "Gop per pair", "Gop/s", "peak Gop/s", "share of peak", "plain fp32"]
    lines = [
        [
            *(row["size"], str(row["threads"]), f"{row['pairs_per_second']:g}"),
            *(f"{row[key] / 1e9:.3g}" for key in ("flops_per_pair", "flops_per_second", "matmul_peak")),
            f"{row['share_of_peak']:.0%}",
            f"{row['plain_fp32_pairs_per_second']:g} ({row['times_plain_fp32']:.2g}x)",
        ]
        for row in rows
        if "failure" not in row
    ]
    failures = [f"{row['size']}, {row['threads']} threads: {row['failure']}" for row in rows if "failure" in row]
    return "\n\n".join([markdown_table(head, lines), *failures])


def main(config: Pretraining) -> None:
    """Measure, write and print."""
    result, rows = provenance(), []
    for row in measure_all(config):
        print(row, file=sys.stderr)
        rows.append(row)
    protocol = {"objective": config.objective, "image_size": config.image_size, "batch": config.batch}
    config.out.parent.mkdir(parents=True, exist_ok=True)
    atomic_write_json(config.out, result | {"protocol": protocol, "rows": rows})
    print(report(rows))


if __name__ == "__main__":
    start(Pretraining, main)

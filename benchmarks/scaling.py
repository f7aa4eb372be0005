"""How what an encoder knows grows with its size and with the pairs of frames it has seen, at equal FLOPs.

Each size of encoder is pretrained by each objective with each budget (`goalsight compare objectives`, once for each
size); its learning rate is chosen of two on another seed, both of which fall as its width grows. What is missing of a
score of 1 is fitted as a power of both, each seed at a level of its own, with intervals over runs; the fit without the
largest budget is judged by what came there.
"""

import contextlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pretraining import Pretraining, noise
from reporting import RESULTS, markdown_table, provenance, start

from goalsight.base.errors import choose
from goalsight.base.files import atomic_write_json, read_json
from goalsight.base.interruption import stopped_by
from goalsight.eval.objectives.analysis import MEAN
from goalsight.eval.objectives.compare import RESULT, CompareObjectives, compare_objectives
from goalsight.eval.objectives.jobs import tokeniser_of
from goalsight.eval.objectives.page import FLOPS
from goalsight.eval.objectives.rows import on_shared_factors
from goalsight.eval.reports.plots import Series, line_plot
from goalsight.eval.stats import Estimate, estimate
from goalsight.pretrain.encoders.vit import random_encoder, shape_of
from goalsight.pretrain.objectives import OBJECTIVES
from goalsight.pretrain.train import Pretrain
from goalsight.pretrain.trainer import Trainer

RATES = (0.096, 0.24)  # learning rates that are tried, over the encoder's width: 0.001 and 0.0025 for nano
FEWEST = 20  # steps: a budget that pays for fewer at a size is left out
DRAWS = 2_000  # of the bootstrap over runs
FACTORS = ("parameters", "pairs")  # of what is fitted, as powers
Floats = NDArray[np.float64]
Row = dict[str, Any]


@dataclass(frozen=True)
class Scaling:
    """Pretrain encoders of several sizes at several budgets; what is there already is not made again."""

    data: Path
    """Recorded play: a run of `goalsight collect`."""
    objectives: tuple[str, ...] = ("masked", "latent")
    """What encoders learn from; `points` trains the tokeniser alone, which is the same at each size."""
    sizes: tuple[str, ...] = ("32x3", "64x3", "nano", "192x3")
    """Sizes of encoder: names, or width x depth."""
    flops: tuple[float, ...] = (3e11, 1e12, 3e12, 1e13)
    """Floating-point operations of each pretraining; those that pay for fewer than 20 steps of a size are left out."""
    seeds: tuple[str, ...] = ("0-2",)
    """Seeds of each."""
    workers: str = "1"
    """How trainings are made at once: a number of processes."""
    runs: Path = Path("runs/scaling")
    """Where the comparison of each size is kept."""
    out: Path = RESULTS / "scaling.json"
    """The result; its table and a plot of each objective lie beside it."""

    def __post_init__(self) -> None:
        for size in self.sizes:
            shape_of(size)
        for name in self.objectives:
            choose("objective", name, OBJECTIVES)


def flops_per_step(size: str, objective: str) -> float:
    """Return the operations of one training step of `goalsight compare objectives`."""
    tokeniser = tokeniser_of(objective)
    asked = Pretrain(data=(), size=size, objective=objective, tokeniser=tokeniser, threads=1, device="cpu", steps=1)
    trainer = Trainer(replace(asked, batch=CompareObjectives.batch))
    with trainer:
        return float(trainer.flops_per_step(noise(trainer, Pretraining(batch=CompareObjectives.batch))))


def measure(size: str, config: Scaling) -> list[Row]:
    """Return the rows of one size, of all that its budgets pay for."""
    rows: list[Row] = []
    parameters = sum(weight.numel() for weight in random_encoder(size).parameters())
    for objective in config.objectives:
        least = FEWEST * flops_per_step(size, objective)
        budgets = tuple(sorted(flops for flops in config.flops if flops >= least))
        if not budgets:
            print(f"{objective}, {size}: no budget pays for {FEWEST} steps, {least:.2g} operations", file=sys.stderr)
            continue
        folder = config.runs / f"{objective}-{size}"
        compare_objectives(
            CompareObjectives(
                data=config.data,
                objectives=(objective,),
                flops=budgets,
                seeds=config.seeds,
                tuning_flops=max(budgets[0], CompareObjectives.tuning_flops),
                rates=tuple(share / shape_of(size).width for share in RATES),
                size=size,
                workers=config.workers,
                out=folder,
            )
        )
        if stopped_by():
            break
        found = read_json(folder / RESULT)["rows"]
        rows += [
            {"size": size, "parameters": parameters, "pairs": row["steps"] * CompareObjectives.batch} | row
            for row in found
        ]
    return rows


def fit(rows: Sequence[Row], seeds: Sequence[int] = ()) -> Floats:
    """Return the least squares of log(1 - score) over the logarithms of parameters and pairs.

    Each seed asks about episodes of its own, by which all its scores rise and fall, so each has its own intercept.

    Args:
        rows: of one objective.
        seeds: whose intercepts are found; those of the rows unless given.

    Returns:
        both exponents, above 0 where more of it scores higher, and the intercepts, (2 + seeds,).
    """
    table, left = _table(rows, seeds or seeds_of(rows))
    found = np.linalg.lstsq(table, left, rcond=None)[0]
    return np.concatenate([-found[:2], found[2:]])


def seeds_of(rows: Sequence[Row]) -> list[int]:
    """Return the seeds of rows, in order."""
    return sorted({row["seed"] for row in rows})


def _table(rows: Sequence[Row], seeds: Sequence[int]) -> tuple[Floats, Floats]:
    table = [
        [np.log(row["parameters"]), np.log(row["pairs"]), *(float(row["seed"] == seed) for seed in seeds)]
        for row in rows
    ]
    return np.array(table), np.log(np.array([max(1 - row["mean_score"], 1e-6) for row in rows]))


def predicted(found: Floats, rows: Sequence[Row], seeds: Sequence[int]) -> float:
    """Return the mean score that a fit with the intercepts of these seeds says of rows."""
    table, _ = _table(rows, seeds)
    return float(np.mean(1 - np.exp(table @ np.concatenate([-found[:2], found[2:]]))))


def exponents(rows: Sequence[Row]) -> dict[str, Estimate]:
    """Return the exponent of parameters and of pairs, with 95% intervals of a bootstrap over runs."""
    rng, found, seeds = np.random.default_rng(0), fit(rows), seeds_of(rows)
    draws = rng.integers(len(rows), size=(DRAWS, len(rows)))
    drawn = np.array([fit([rows[one] for one in draw], seeds) for draw in draws])
    return {name: estimate(float(found[at]), drawn[:, at]) for at, name in enumerate(FACTORS)}


def sizes_of(rows: Sequence[Row]) -> list[str]:
    """Return the sizes that rows are of, the smallest first."""
    parameters = {row["size"]: row["parameters"] for row in rows}
    return sorted(parameters, key=lambda size: parameters[size])


def report(rows: Sequence[Row], objective: str) -> str:
    """Return scores by size and budget, and what the fits say, as Markdown."""
    budgets = sorted({row["asked_flops"] for row in rows})
    lines = []
    for size in sizes_of(rows):
        of = [row for row in rows if row["size"] == size]
        cells = []
        for flops in budgets:
            scores = [row["mean_score"] for row in of if row["asked_flops"] == flops]
            cells.append(f"{mean(scores):.3f} ({min(scores):.3f} to {max(scores):.3f})" if scores else "")
        lines.append([size, f"{of[0]['parameters']:,}", *cells])
    head = ["encoder", "parameters", *(f"{flops:.0e} {FLOPS}" for flops in budgets)]
    parts = [f"`{objective}`: {MEAN}, the mean of all seeds, with the least and the most of them."]
    parts.append(markdown_table(head, lines))
    rest = [row for row in rows if row["asked_flops"] < budgets[-1]]
    if len({row["size"] for row in rest}) > 1 and len({row["pairs"] for row in rest}) > 2:
        words = [
            f"{name}: {one.value:.3f} [{one.low:.3f}, {one.high:.3f}]"
            + ("" if one.low > 0 or one.high < 0 else ", no trend measured")
            for name, one in exponents(rows).items()
        ]
        largest = [row for row in rows if row["asked_flops"] == budgets[-1]]
        said, came = predicted(fit(rest), largest, seeds_of(rest)), mean(row["mean_score"] for row in largest)
        parts.append(
            f"What is missing of 1, as a power of both, falls with exponents of {'; '.join(words)}. The fit without "
            f"the largest budget predicts {said:.3f} there, and {came:.3f} came: an error of {said - came:+.3f}."
        )
    return "\n\n".join(parts)


def plot(rows: Sequence[Row]) -> str:
    """Return scores over FLOPs, a line for each size, as SVG text."""
    series = []
    for size in sizes_of(rows):
        by_budget: dict[float, list[float]] = {}
        for row in sorted(rows, key=lambda row: row["asked_flops"]):
            if row["size"] == size:
                by_budget.setdefault(row["asked_flops"], []).append(row["mean_score"])
        scores = list(by_budget.values())
        band = [min(one) for one in scores], [max(one) for one in scores]
        series.append(Series(size, list(by_budget), [mean(one) for one in scores], band=band))
    return line_plot(series, x_label=FLOPS, y_label=MEAN, logarithmic=True, width=640)


def main(config: Scaling) -> None:
    """Make what is missing, and write what all of it says."""
    rows: list[Row] = []
    for size in config.sizes:
        with contextlib.redirect_stdout(sys.stderr):
            rows += measure(size, config)
        if stopped_by():
            print("stopped; start again to go on", file=sys.stderr)
            break
    if not rows:
        return
    rows, _ = on_shared_factors(rows)
    atomic_write_json(config.out, provenance() | {"rows": rows})
    texts = []
    for objective in config.objectives:
        some = [row for row in rows if row["objective"] == objective]
        if some:
            texts.append(report(some, objective))
            config.out.with_stem(f"{config.out.stem}-{objective}").with_suffix(".svg").write_text(plot(some))
    config.out.with_suffix(".md").write_text("\n\n".join(texts) + "\n")
    print("\n\n".join(texts))


if __name__ == "__main__":
    start(Scaling, main, orderly=True)

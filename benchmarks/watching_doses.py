"""Success over the number of episodes watched, from the runs of `watching.py`: table, fit and picture."""

from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from numpy.typing import NDArray
from reporting import markdown_table

from goalsight.eval.reports.plots import Series, line_plot
from goalsight.eval.stats import bootstrap

DOSES = {f"points-{episodes}": episodes for episodes in (25, 100, 500, 2_500, 10_000)}  # arms
STAGES = {"imitation alone": "imitated", "and then trial": "tried"}
Floats = NDArray[np.float64]


def doses(rows: list[dict[str, Any]]) -> dict[str, dict[int, dict[int, float]]]:
    """Return success by stage, seed and number of episodes.

    Args:
        rows: of the result; those of other arms are left out.
    """
    found: dict[str, dict[int, dict[int, float]]] = {stage: {} for stage in STAGES}
    for row in rows:
        if row["arm"] in DOSES:
            before = [one for one in row["evaluations"] if one["env_steps"] <= row["watching"][-1]["env_steps"]]
            # A video that is refused at once leaves nothing to imitate: what comes first is an agent that has not.
            imitated = (before or row["evaluations"][:1])[-1]
            success = imitated["success"], row["evaluations"][-1]["success"]
            for stage, value in zip(STAGES, success, strict=True):
                found[stage].setdefault(row["seed"], {})[DOSES[row["arm"]]] = value
    return found


def line(by_seed: list[dict[int, float]], episodes: int = 100) -> tuple[float, float]:
    """Return rise and height of the line by least squares: log odds of success over the logarithm of the dose.

    Half a success and half a failure are added to each run's count, so that 0% and 100% have odds.

    Args:
        by_seed: success by dose, one for each seed.
        episodes: that success was counted in.
    """
    pairs = [(dose, value) for one in by_seed for dose, value in one.items()]
    dose, value = np.array(pairs, float).T
    odds = np.log((value * episodes + 0.5) / ((1 - value) * episodes + 0.5))
    rise, height = np.polyfit(np.log10(dose), odds, 1)
    return float(rise), float(height)


def at(fitted: tuple[float, float], dose: float) -> float:
    """Return the success that a line says for a dose."""
    return float(1 / (1 + np.exp(-(fitted[0] * np.log10(dose) + fitted[1]))))


def tables_of_doses(rows: list[dict[str, Any]], picture: Path) -> list[str]:
    """Return what doses say, as Markdown, and draw them; nothing where fewer than three were run."""
    found = doses(rows)
    some = sorted({dose for one in found["imitation alone"].values() for dose in one})
    if len(some) < 3:
        return []
    lines, fits = [], []
    for stage, by_seed in found.items():
        values = {dose: [one[dose] for _, one in sorted(by_seed.items()) if dose in one] for dose in some}
        for dose in some:
            each = " ".join(f"{value:.0%}" for value in values[dose])
            lines.append([f"{dose:,}", stage, f"{mean(values[dose]):.0%}", each])
        fits.append(_fit(stage, list(by_seed.values()), some))
    lines.sort(key=lambda one: int(one[0].replace(",", "")))
    picture.write_text(_drawn(found, some))
    return [
        "Success over episodes watched, Push, encoder pretrained on the same video.",
        markdown_table(["episodes watched", "after", "success", "of each seed"], lines),
        *fits,
    ]


def _fit(stage: str, by_seed: list[dict[int, float]], some: list[int]) -> str:
    """Return as a sentence what the line says, and whether it predicts the largest dose from the others."""
    largest = some[-1]
    rest = [{dose: value for dose, value in one.items() if dose != largest} for one in by_seed]
    predicted = at(line([one for one in rest if one]), largest)
    came = mean(one[largest] for one in by_seed if largest in one)
    seeds = np.arange(len(by_seed), dtype=float)

    def rises(drawn: Floats) -> Floats:
        flat = drawn.reshape(-1, drawn.shape[-1]).astype(int)
        return np.array([line([by_seed[seed] for seed in one])[0] for one in flat]).reshape(drawn.shape[:-1])

    rise = bootstrap(rises, seeds, rng=np.random.default_rng(0))
    times = np.exp([rise.value, rise.low, rise.high])
    return (
        f"{stage[0].upper()}{stage[1:]}: ten times as many episodes multiply the odds of success by {times[0]:.1f} "
        f"[{times[1]:.1f}, {times[2]:.1f}], by least squares over all runs, 95% over seeds; fitted without it, the "
        f"line predicts {predicted:.0%} for {largest:,} episodes, and {came:.0%} came."
    )


def _drawn(found: dict[str, dict[int, dict[int, float]]], some: list[int]) -> str:
    series = []
    for stage, by_seed in found.items():
        values = [[one[dose] for one in by_seed.values() if dose in one] for dose in some]
        band = [min(one) for one in values], [max(one) for one in values]
        series.append(Series(stage, some, [mean(one) for one in values], band=band))
    fitted = line(list(found["imitation alone"].values()))
    fine = np.geomspace(some[0], some[-1], 60).tolist()
    series.append(Series("fitted", fine, [at(fitted, dose) for dose in fine], dashed=True))
    return line_plot(series, x_label="episodes watched", y_label="success", percent=True, logarithmic=True, width=640)

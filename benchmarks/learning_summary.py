"""What several seeds say together: success with intervals, and what it took to get to 90%."""

import statistics
from collections import defaultdict
from typing import Any

import numpy as np
from numpy.typing import NDArray
from reporting import markdown_table, significant

from goalsight.eval.comparing.reaching import first_reaching
from goalsight.eval.stats import bootstrap_mean_rates, interval, wilson

GOOD = 0.9  # success that counts as having learnt the task
Runs = list[dict[str, Any]]


def arms(runs: Runs) -> dict[tuple[str, str], Runs]:
    """Return the runs of each (experiment, encoder)."""
    found: dict[tuple[str, str], Runs] = defaultdict(list)
    for run in runs:
        found[run["experiment"], run["encoder"]].append(run)
    return dict(found)


def bootstrap_means(runs: Runs, *, seed: int = 0) -> NDArray[np.float64]:
    """Draw the mean final success of the runs again and again, (draws,)."""
    finals = [run["final"]["success"] for run in runs]
    won, total = [final["count"] for final in finals], [final["total"] for final in finals]
    return bootstrap_mean_rates(won, total, rng=np.random.default_rng(seed))


def rounded_interval(draws: NDArray[np.float64]) -> list[float]:
    """Return the middle 95% of the draws."""
    return [round(value, 4) for value in interval(draws)]


def first_good(run: dict[str, Any]) -> dict[str, float] | None:
    """Return the first evaluation that reaches `GOOD`, None where none does."""
    rows = run["evaluations"]
    found = first_reaching([row["env_steps"] for row in rows], [row["success"] for row in rows], GOOD)
    return None if found.censored else next(row for row in rows if row["env_steps"] == found.at)


def summarise(runs: Runs) -> list[dict[str, Any]]:
    """Return a row per experiment and encoder, and one per experiment that compares two encoders."""
    rows: list[dict[str, Any]] = []
    draws = {}
    for number, ((experiment, encoder), members) in enumerate(arms(runs).items()):
        draws[experiment, encoder] = bootstrap_means(members, seed=number)
        finals = [run["final"]["success"] for run in members]
        good = [row for row in map(first_good, members) if row is not None]
        rows.append(
            {
                "experiment": experiment,
                "encoder": encoder,
                "critic": members[0]["critic"],
                "seeds": [run["seed"] for run in members],
                "env_steps": [run["env_steps"] for run in members],
                "minutes": [significant(run["seconds"] / 60) for run in members],
                "final_success": [final["rate"] for final in finals],
                "mean_final_success": round(statistics.mean(final["rate"] for final in finals), 4),
                "bootstrap_95": rounded_interval(draws[experiment, encoder]),
                "wilson_95_pooled": _pooled(finals),
                "reached_90_percent": f"{len(good)} of {len(members)}",
                "median_env_steps_to_90_percent": _median([row["env_steps"] for row in good]),
                "median_minutes_to_90_percent": _median([row["wall_s"] / 60 for row in good]),
            }
        )
    means = {(row["experiment"], row["encoder"]): row["mean_final_success"] for row in rows}
    return rows + _differences(draws, means)


def _differences(
    draws: dict[tuple[str, str], NDArray[np.float64]], means: dict[tuple[str, str], float]
) -> list[dict[str, Any]]:
    """What the pretrained encoder adds to the random one, where both were run."""
    rows = []
    for experiment in dict.fromkeys(name for name, _ in draws):
        pair = [draws.get((experiment, encoder)) for encoder in ("pretrained", "random")]
        if pair[0] is not None and pair[1] is not None:
            gain = pair[0] - pair[1]
            rows.append(
                {
                    "experiment": experiment,
                    "encoder": "pretrained - random",
                    "mean_gain": round(means[experiment, "pretrained"] - means[experiment, "random"], 4),
                    "bootstrap_95": rounded_interval(gain),
                }
            )
    return rows


def _pooled(finals: list[dict[str, Any]]) -> list[float]:
    """Return the Wilson interval of all episodes as if from one agent; it knows nothing of seeds."""
    pooled = wilson(sum(final["count"] for final in finals), sum(final["total"] for final in finals))
    return [round(pooled.low, 4), round(pooled.high, 4)]


def _median(values: list[float]) -> float | None:
    return significant(statistics.median(values)) if values else None


def report(summary: list[dict[str, Any]]) -> str:
    """Return the summary as Markdown."""
    head = ["experiment", "encoder", "final success", "95% interval", "of each seed", "to 90%", "env steps", "minutes"]
    lines = [[_cell(row, column) for column in head] for row in summary]
    return markdown_table(head, lines)


def _cell(row: dict[str, Any], column: str) -> str:
    low, high = row["bootstrap_95"]
    steps, minutes = row.get("median_env_steps_to_90_percent"), row.get("median_minutes_to_90_percent")
    single = "mean_gain" not in row
    return {
        "experiment": row["experiment"],
        "encoder": row["encoder"],
        "final success": f"{row['mean_final_success']:.0%}" if single else f"{100 * row['mean_gain']:+.0f} points",
        "95% interval": f"{low:.0%} to {high:.0%}" if single else f"{100 * low:+.0f} to {100 * high:+.0f}",
        "of each seed": ", ".join(f"{rate:.0%}" for rate in row.get("final_success", [])),
        "to 90%": row.get("reached_90_percent", ""),
        "env steps": f"{steps:,.0f}" if steps is not None else "",
        "minutes": f"{minutes:.1f}" if minutes is not None else "",
    }[column]

"""Env steps per second beside other libraries as a picture: a panel per kind of observation, a bar per environment."""

from pathlib import Path
from typing import Any

COLOURS = {"goalsight": "#0b6e99", "others": "#9aa5ae"}
SIZE = (9.6, 4.2)  # [inches]
ROOM = 4.0  # beyond the longest bar for its figure, times


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw the rows of one process, fastest first; the file's ending says the format.

    Args:
        rows: as `peers.py` writes them.
        path: where to.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    # The same rows give the same file, and words stay words.
    with mpl.rc_context({"svg.hashsalt": "goalsight", "svg.fonttype": "none", "font.size": 9}):
        figure = Figure(figsize=SIZE, layout="constrained")
        for panel, obs in zip(figure.subplots(1, 2), ("state", "pixels"), strict=True):
            chosen = [row for row in rows if row["obs"] == obs and row["processes"] == 1 and row["steps_per_second"]]
            chosen.sort(key=lambda row: row["steps_per_second"])
            rates = [row["steps_per_second"] for row in chosen]
            colours = [COLOURS["goalsight" if row["env"].startswith("goalsight") else "others"] for row in chosen]
            bars = panel.barh([_title(row) for row in chosen], rates, color=colours)
            panel.bar_label(bars, [f"{rate:,.0f}" for rate in rates], padding=3)
            panel.set_xscale("log")
            panel.set_xlim(right=ROOM * max(rates, default=1.0))
            panel.set_xlabel("env steps per second")
            panel.set_title("from state" if obs == "state" else "from 64x64 pixels", loc="left")
            panel.spines[["top", "right"]].set_visible(False)
        figure.savefig(path, metadata={"Date": None, "Creator": None} if path.suffix == ".svg" else {})


def _title(row: dict[str, Any]) -> str:
    return row["env"] if row["num_envs"] == 1 else f"{row['env']}, {row['num_envs']:,} envs"

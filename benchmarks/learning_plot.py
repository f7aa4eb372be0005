"""Learning curves as a picture: a panel per experiment, a colour per encoder, a line per seed."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from learning_summary import GOOD, Runs, arms
from numpy.typing import NDArray

from goalsight.envs.ids import camel
from goalsight.eval.comparing.curves import aligned, shared_places

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = {"pretrained": "#0b6e99", "random": "#d1812c", "none": "#4f7942"}
LABELS = {"pretrained": "pretrained encoder", "random": "random encoder", "none": "from state"}
PANEL = (4.6, 3.4)  # [inches]
COLUMNS = 4


def plot(runs: Runs, path: Path) -> None:
    """Draw success over env steps; the file's ending says the format."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(run["experiment"] for run in runs))
    # The same runs give the same file, and words stay words.
    with mpl.rc_context({"svg.hashsalt": "goalsight", "svg.fonttype": "none", "font.size": 9}):
        columns, rows = min(COLUMNS, len(names)), -(-len(names) // COLUMNS)
        figure = Figure(figsize=(PANEL[0] * columns, PANEL[1] * rows), layout="constrained")
        grid = figure.subplots(rows, columns, sharey=True, squeeze=False)
        for panel in grid.flat[len(names) :]:
            panel.set_visible(False)
        for panel, name in zip(grid.flat, names, strict=False):
            for (experiment, encoder), members in arms(runs).items():
                if experiment == name:
                    _draw(panel, members, encoder)
            _dress(panel, name, next(run for run in runs if run["experiment"] == name))
        for panel in grid[:, 0]:
            panel.set_ylabel("success [%]")
        figure.savefig(path, metadata={"Date": None, "Creator": None} if path.suffix == ".svg" else {})


def _draw(panel: "Axes", members: Runs, encoder: str) -> None:
    """One arm: thin lines for its seeds, a thick one for their mean up to where the first seed ends."""
    colour = COLOURS[encoder]
    curves = [_curve(run) for run in members]
    for steps, success in curves:
        panel.plot(steps, success, color=colour, linewidth=0.8, alpha=0.45)
    shared, values = aligned(curves, shared_places([steps for steps, _ in curves]))
    seeds = f"{len(members)} seed" + ("s" if len(members) > 1 else "")
    panel.plot(shared, values.mean(axis=0), color=colour, linewidth=2.2, label=f"{LABELS[encoder]}, {seeds}")


def _curve(run: dict[str, Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return env steps in thousands and success in percent, of every evaluation."""
    rows = run["evaluations"]
    steps, success = [row["env_steps"] for row in rows], [row["success"] for row in rows]
    return np.array(steps) / 1000, 100 * np.array(success)


def _dress(panel: "Axes", name: str, run: dict[str, Any]) -> None:
    task, obs = name.split("-")
    panel.axhline(100 * GOOD, color="0.6", linewidth=0.8, linestyle=":")
    panel.set(title=f"{camel(task)} from {obs} (critic sees {run['critic']})", xlabel="env steps [thousands]")
    panel.set(ylim=(-3, 103), xlim=(0, None))
    panel.grid(alpha=0.25, linewidth=0.5)
    panel.spines[["top", "right"]].set_visible(False)
    panel.legend(frameon=False, loc="lower right")

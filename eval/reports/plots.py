"""Plots as SVG text, drawn by matplotlib: lines over a common axis, shares as bars, scores as dots."""

import io
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import isfinite
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

from goalsight.eval.stats import Estimate, Proportion

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

COLOURS = (
    *("#2563a8", "#c2571a", "#3f7d4e", "#7a4ea3", "#8a6d1d", "#c2185b"),
    *("#00838f", "#6d8f1f", "#222222", "#e0a100", "#8fb8de"),
)
GREYS = ("#4f5b66", "#9aa5b1")  # of levels, the first one darkest
OTHERS = "#a9b4c0"  # of what the first bar is judged beside
INK, FAINT, GRID = "#1f2730", "#66717f", "#e1e5ea"
DOTS_INCH = 96  # CSS pixels to an inch
ROOM = 1.04  # of the highest number on an axis
MARKED = 40  # points of a line at most that are drawn as dots, too
PITCH = 38, 25  # of bars and of rows of dots [pixels]
CHARACTER = 6.8  # about as wide as one of a legend [pixels]
UNTOLD = "Creator", "Date", "Format", "Type"  # of what matplotlib writes about a picture
STYLE: dict[Any, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": FAINT,
    "axes.grid": True,
    "axes.labelcolor": FAINT,
    "axes.spines.left": False,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.size": 9.5,
    "grid.color": GRID,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "lines.markersize": 4.5,
    "svg.fonttype": "none",  # words stay words
    "svg.hashsalt": "goalsight",  # the same numbers give the same file
    "text.color": INK,
    "text.parse_math": False,  # names may hold a $
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "ytick.left": False,
}


@dataclass(frozen=True)
class Series:
    """A line, or a level drawn across the plot; `band` is its interval, the lower and the upper ends."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    dashed: bool = False
    band: tuple[Sequence[float], Sequence[float]] | None = None


@dataclass
class _Drawing:
    """Axes to draw on, and what they have become at the end."""

    axes: "Axes"
    svg: Markup = field(default_factory=Markup)


@contextmanager
def _drawing(width: float, height: float, title: str) -> Iterator[_Drawing]:
    """Axes to draw on; afterwards the drawing is there as an SVG element.

    Args:
        width: of the picture [pixels].
        height: likewise.
        title: for those who cannot see the picture.
    """
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # where it keeps what it knows of fonts is its own affair
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # a browser has the letter
        figure = Figure(figsize=(width / DOTS_INCH, height / DOTS_INCH), layout="constrained")
        drawing = _Drawing(figure.subplots())
        yield drawing
        file = io.StringIO()
        figure.savefig(file, format="svg", transparent=True, metadata=dict.fromkeys(UNTOLD))
    _, _, element = file.getvalue().partition("<svg ")
    drawing.svg = Markup(f'<svg role="img" aria-label="{escape(title)}" {element}')


def line_plot(
    series: Sequence[Series],
    *,
    x_label: str,
    y_label: str,
    percent: bool = False,
    logarithmic: bool = False,
    width: int = 520,
    height: int = 300,
) -> Markup:
    """Lines over a common x axis.

    Args:
        series: at least one; points that are not finite are left out.
        x_label: name and unit of x.
        y_label: name and unit of y.
        percent: y are shares, shown from 0 to 100%.
        logarithmic: x are positive, shown by their logarithms.
        width: of the picture [pixels].
        height: likewise, without the names above it.
    """
    names = [one.name for one in series] if len(series) > 1 else []
    columns = _columns(names, width)
    with _drawing(width, height + 20 * -(-len(names) // columns), f"{y_label} over {x_label}") as drawing:
        axes = drawing.axes
        for one, colour in zip(series, _colours(series), strict=True):
            _draw(axes, one, colour)
        axes.set(xlabel=x_label, ylabel=y_label)
        _across(axes, [x for one in series for x in one.x], logarithmic)
        if percent:
            _shares(axes.yaxis)
            axes.set_ylim(0, 1)
        else:
            heights = [y for one in series for line in (one.y, *(one.band or ())) for y in line]
            _from_zero(heights, axes.set_ylim, unless_far=True)
        _name_above(axes, columns if names else 0)
    return drawing.svg


def _across(axes: "Axes", values: Sequence[float], logarithmic: bool) -> None:
    """Ticks of the x axis, written short."""
    from matplotlib.ticker import EngFormatter, NullFormatter

    if logarithmic:
        axes.set_xscale("log")
        within_tenfold = max(values) < 10 * min(values)  # where powers of ten alone say too little
        axes.xaxis.set_minor_formatter(EngFormatter(sep="") if within_tenfold else NullFormatter())
    else:
        _from_zero(values, axes.set_xlim)
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))


def _draw(axes: "Axes", one: Series, colour: str) -> None:
    if one.band:
        axes.fill_between(one.x, *one.band, color=colour, alpha=0.16, linewidth=0)
    points = [(x, y) for x, y in zip(one.x, one.y, strict=True) if isfinite(x) and isfinite(y)]
    marked = len(points) <= MARKED and not one.dashed
    axes.plot(
        *([x for x, _ in points], [y for _, y in points]),
        color=colour,
        label=one.name,
        linestyle="--" if one.dashed else "-",
        marker="o" if marked else "",
        zorder=2 if one.dashed else 3,  # levels lie under the lines that are compared with them
        clip_on=False,
    )


def _colours(series: Sequence[Series]) -> list[str]:
    """A colour per line, a grey per level."""
    lines, levels = iter(COLOURS * len(series)), iter(GREYS * len(series))
    return [next(levels if one.dashed else lines) for one in series]


def _from_zero(
    values: Sequence[float], set_limits: Callable[[float, float], object], *, unless_far: bool = False
) -> None:
    """Let an axis of positive numbers begin at zero, unless all of them lie far above where that is asked for."""
    numbers = [value for value in values if isfinite(value)] or [0.0]
    low, high = min(numbers), max(numbers)
    if low >= 0 and not (unless_far and high > low > 0.3 * high):
        set_limits(0, ROOM * high or 1.0)


def _shares(axis: "Axis") -> None:
    """Ticks at quarters, in percent."""
    from matplotlib.ticker import PercentFormatter

    axis.set_major_formatter(PercentFormatter(1, decimals=0))
    axis.set_ticks([0, 0.25, 0.5, 0.75, 1])


def _columns(names: Sequence[str], width: float) -> int:
    """How many names fit beside each other above a plot, at least one."""
    return max(1, int((width - 16) / (45 + CHARACTER * max(map(len, names), default=0))))


def _name_above(axes: "Axes", columns: int) -> None:
    if columns:
        marks, names = axes.get_legend_handles_labels()
        # A legend is filled column by column; it is read row by row.
        order = [place for column in range(columns) for place in range(column, len(names), columns)]
        shown = [marks[place] for place in order], [names[place] for place in order]
        axes.figure.legend(*shown, loc="outside upper left", ncols=columns)


def success_plot(rows: Mapping[str, Proportion], *, width: int = 640) -> Markup:
    """Success as a bar per policy, with its Wilson interval; the first one is the one judged.

    Args:
        rows: success by name.
        width: of the picture [pixels].
    """
    shares = {name: Estimate(row.rate, row.low, row.high) for name, row in rows.items()}
    colours = [COLOURS[0], *[OTHERS] * (len(rows) - 1)]
    return share_plot(
        shares, colours, label="success, 95% Wilson interval", title="success of each policy", width=width
    )


def share_plot(
    rows: Mapping[str, Estimate], colours: Sequence[str], *, label: str, title: str, width: int = 640
) -> Markup:
    """Shares in [0, 1] as bars with their intervals.

    Args:
        rows: by name.
        colours: of each.
        label: what they are.
        title: for those who cannot see the picture.
        width: of the picture [pixels].
    """
    with _drawing(width, PITCH[0] * len(rows) + 60, title) as drawing:
        axes, places = drawing.axes, range(len(rows))
        axes.barh(places, [share.value for share in rows.values()], height=0.58, color=colours)
        for place, share in zip(places, rows.values(), strict=True):
            axes.plot((share.low, share.high), (place, place), color=INK, marker="|", markersize=9, clip_on=False)
            words = f"{100 * share.value:.0f}%  [{100 * share.low:.0f}, {100 * share.high:.0f}]"
            axes.annotate(words, (1, place), (10, 0), textcoords="offset points", va="center")
        _shares(axes.xaxis)
        _rows(axes, list(rows))
        axes.set(xlim=(0, 1), xlabel=label)
        axes.grid(visible=False, axis="y")
    return drawing.svg


def dot_plot(rows: Mapping[str, Mapping[str, float]], *, width: int = 760) -> Markup:
    """Scores as dots, a row for each factor and a colour for each of whom it is asked.

    Args:
        rows: R^2, or a rank correlation, by factor, by name; below 0 is drawn at 0.
        width: of the picture [pixels].
    """
    names = list(dict.fromkeys(name for row in rows.values() for name in row))
    columns = _columns(names, width)
    height = PITCH[1] * len(rows) + 66 + 20 * -(-len(names) // columns)
    with _drawing(width, height, "R² of each factor") as drawing:
        axes = drawing.axes
        for number, (name, colour) in enumerate(zip(names, COLOURS * len(names), strict=False)):
            dots = [(min(max(row[name], 0.0), 1.0), place) for place, row in enumerate(rows.values()) if name in row]
            scores, places = zip(*dots, strict=True)
            axes.scatter(scores, places, color=colour, label=name, clip_on=False, zorder=3 + len(names) - number)
        _rows(axes, list(rows))
        axes.set(xlim=(0, 1), xlabel="R² (of steps: rank correlation)")
        _name_above(axes, columns)
    return drawing.svg


def _rows(axes: "Axes", names: Sequence[str]) -> None:
    """Name rows, the first one at the top."""
    axes.set_yticks(range(len(names)), names, color=INK)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.spines["bottom"].set_visible(False)

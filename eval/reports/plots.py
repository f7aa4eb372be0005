"""Small plots as SVG text: lines with legible axes, and nothing to install or to download."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import ceil, floor, isfinite, log10

from markupsafe import Markup, escape

COLOURS = (
    *("#2563a8", "#c2571a", "#3f7d4e", "#7a4ea3", "#8a6d1d", "#c2185b"),
    *("#00838f", "#6d8f1f", "#222222"),
)
Place = Callable[[float, float], tuple[float, float]]  # from the numbers of a plot to its pixels
GREYS = ("#4f5b66", "#9aa5b1")
INK, FAINT, GRID = "#1f2730", "#66717f", "#e1e5ea"


@dataclass(frozen=True)
class Series:
    """A line, or a level drawn across the plot; `band` is its interval, the lower and the upper ends."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    dashed: bool = False
    band: tuple[Sequence[float], Sequence[float]] | None = None


@dataclass(frozen=True)
class Axis:
    """A range, its ticks, and how they are written."""

    low: float
    high: float
    step: float
    label: str
    percent: bool = False
    powers: bool = False  # the range and its ticks are logarithms of base 10

    @property
    def ticks(self) -> list[float]:
        """Multiples of the step within the range."""
        first, last = ceil(self.low / self.step - 1e-9), floor(self.high / self.step + 1e-9)
        return [k * self.step for k in range(first, last + 1)]

    def text(self, value: float) -> str:
        """A tick as people write it: `40%`, `0.25`, `12k`."""
        if self.percent:
            return f"{100 * value:.0f}%"
        value, largest = (10.0**value, 10.0**value) if self.powers else (value, max(abs(self.low), abs(self.high)) / 2)
        for size, unit in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
            if largest >= size:
                return "0" if value == 0 else f"{round(value / size, 6):g}{unit}"
        return f"{round(value, 9):g}"


def axis(values: Sequence[float], label: str, *, percent: bool = False, from_zero: bool = True) -> Axis:
    """An axis that holds all values, with about five round ticks.

    Args:
        values: numbers to show; those that are not finite are left out.
        label: what they are, with the unit.
        percent: shares in [0, 1]; the axis then runs from 0 to 100%.
        from_zero: hold zero as well; otherwise only where the values come near it.
    """
    if percent:
        return Axis(0.0, 1.0, 0.25, label, percent=True)
    numbers = [value for value in values if isfinite(value)] or [0.0]
    low, high = min(numbers), max(numbers)
    if from_zero or not high > low > 0.3 * high:
        low, high = min(0.0, low), max(0.0, high)
    high = high if high > low else low + 1.0
    wanted = (high - low) / 5
    magnitude = 10.0 ** floor(log10(wanted))
    step = next(factor * magnitude for factor in (1, 2, 2.5, 5, 10) if factor * magnitude >= wanted * (1 - 1e-9))
    return Axis(floor(low / step + 1e-9) * step, max(ceil(high / step - 1e-9) * step, low + step), step, label)


def powers(values: Sequence[float], label: str) -> Axis:
    """An axis from the power of ten below to the one above all values, which are logarithms of base 10."""
    low, high = floor(min(values)), ceil(max(values))
    return Axis(low, max(high, low + 1), 1.0, label, powers=True)


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
        logarithmic: x are positive, shown by their logarithms, with a tick at each power of ten.
        width: of the picture [pixels].
        height: likewise.
    """
    names = _legend_places(series, left=80, right=width - 16) if len(series) > 1 else []
    left, right, top, bottom = 80, 16, 14 + (names[-1][1] + 8 if names else 0), 50
    if logarithmic:
        series = [replace(one, x=[log10(x) for x in one.x]) for one in series]
    numbers = [x for one in series for x in one.x]
    across = powers(numbers, x_label) if logarithmic else axis(numbers, x_label)
    heights = [y for one in series for line in (one.y, *(one.band or ())) for y in line]
    up = axis(heights, y_label, percent=percent, from_zero=False)

    def at(x: float, y: float) -> tuple[float, float]:
        return (
            left + (x - across.low) / (across.high - across.low) * (width - left - right),
            height - bottom - (y - up.low) / (up.high - up.low) * (height - top - bottom),
        )

    parts = [_horizontal_grid(up, at, across), _vertical_ticks(across, at, up)]
    parts.append(text((left + width - right) / 2, height - 10, x_label, "middle"))
    middle = (top + height - bottom) / 2
    parts.append(text(15, middle, y_label, "middle", extra=f'transform="rotate(-90 15 {middle:.1f})"'))
    colours = _colours(series)
    parts += [_band(one, colour, at) for one, colour in zip(series, colours, strict=True) if one.band]
    # Levels lie under the lines that are compared with them.
    for one, colour in sorted(zip(series, colours, strict=True), key=lambda pair: not pair[0].dashed):
        parts.append(_line(one, colour, at))
    for one, colour, (x, y) in zip(series, colours, names, strict=False):
        parts.append(f'<line x1="{x:.0f}" y1="{y}" x2="{x + 22:.0f}" y2="{y}" {_stroke(one, colour)}/>')
        parts.append(text(x + 28, y + 4, one.name, "start"))
    return svg(width, height, parts, f"{y_label} over {x_label}")


def _line(one: Series, colour: str, at: Place) -> str:
    points = [at(x, y) for x, y in zip(one.x, one.y, strict=True) if isfinite(x) and isfinite(y)]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    line = f'<polyline points="{path}" fill="none" {_stroke(one, colour)}/>'
    if one.dashed or len(points) > 40:
        return line
    return line + "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in points)


def _band(one: Series, colour: str, at: Place) -> str:
    low, high = one.band or ((), ())
    edge = [*zip(one.x, low, strict=True), *reversed(list(zip(one.x, high, strict=True)))]
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in (at(*point) for point in edge))
    return f'<polygon points="{points}" fill="{colour}" fill-opacity="0.16"/>'


def _stroke(one: Series, colour: str) -> str:
    return f'stroke="{colour}" stroke-width="2"' + (' stroke-dasharray="5 4"' if one.dashed else "")


def _colours(series: Sequence[Series]) -> list[str]:
    """A colour per line; levels are grey, the first one darkest."""
    lines, levels = iter(COLOURS * len(series)), iter(GREYS * len(series))
    return [next(levels if one.dashed else lines) for one in series]


def _legend_places(series: Sequence[Series], left: int, right: int) -> list[tuple[float, int]]:
    """Where each line's name goes, in rows from the top."""
    places: list[tuple[float, int]] = []
    x, y = float(left), 12
    for one in series:
        width = 28 + 7.2 * len(one.name) + 20
        if places and x + width > right:
            x, y = float(left), y + 20
        places.append((x, y))
        x += width
    return places


def _horizontal_grid(up: Axis, at: Place, across: Axis) -> str:
    parts = []
    for value in up.ticks:
        (x1, y), (x2, _) = at(across.low, value), at(across.high, value)
        parts.append(f'<line x1="{x1:.1f}" y1="{y:.1f}" x2="{x2:.1f}" y2="{y:.1f}" stroke="{GRID}"/>')
        parts.append(text(x1 - 8, y + 4, up.text(value), "end"))
    return "".join(parts)


def _vertical_ticks(across: Axis, at: Place, up: Axis) -> str:
    parts = []
    for value in across.ticks:
        x, y = at(value, up.low)
        parts.append(f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{x:.1f}" y2="{y + 5:.1f}" stroke="{FAINT}"/>')
        parts.append(text(x, y + 19, across.text(value), "middle"))
    (x1, y), (x2, _) = at(across.low, up.low), at(across.high, up.low)
    parts.append(f'<line x1="{x1:.1f}" y1="{y:.1f}" x2="{x2:.1f}" y2="{y:.1f}" stroke="{FAINT}"/>')
    return "".join(parts)


def text(x: float, y: float, words: str, anchor: str, colour: str = FAINT, extra: str = "") -> str:
    """Words at a place [pixels]; `anchor` says which end of them, `extra` holds further attributes."""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}" {extra}>{escape(words)}</text>'


def svg(width: int, height: int, parts: list[str], title: str) -> Markup:
    """A picture of parts, with a title for those who cannot see it."""
    return Markup(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" aria-label="{escape(title)}" font-family="system-ui, sans-serif" font-size="13">'
        f"{''.join(parts)}</svg>"
    )

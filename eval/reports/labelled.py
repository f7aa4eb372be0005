"""What was read from video, drawn into its frames: sheets of frames with markers and arrows, in SVG text."""

from collections.abc import Callable, Sequence
from math import atan2, cos, hypot, isfinite, radians, sin
from typing import TYPE_CHECKING

from markupsafe import Markup, escape

from goalsight.eval.reports.page import png_uri
from goalsight.eval.reports.plots import FAINT, INK

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from goalsight.agents.watching.glimpse import Glimpse

WIDTH, GAP, HEADER = 984, 6, 20  # of a sheet, between its frames, and above each of them [pixels]
LARGE = 2  # episodes whose frames are drawn with labels, and every so many of their frames
LONGER = 3.0  # than the way that the tool is sent are arrows
SHORTEST, HEAD = 3.0, 7.0  # arrow that is drawn, and length of its head [pixels]
READ, TRUE, HALO = "#ffab1a", "#27e0ff", "#11141a"  # with the halo they are seen on light and on dark ground
Place = Sequence[float]  # from the left and from the top


def frame_sheet(glimpse: "Glimpse") -> str:
    """Frames of episodes, a row for each episode."""
    episodes, count = glimpse.times.shape
    return _sheet(glimpse, [[(row, column) for column in range(count)] for row in range(episodes)], labels=False)


def labelled_sheet(glimpse: "Glimpse") -> str:
    """Fewer and larger frames, with what was read in them, and what is true where that is known."""
    episodes, count = glimpse.times.shape
    moments = [[(row, column) for column in range(0, count, LARGE)] for row in range(min(LARGE, episodes))]
    return _sheet(glimpse, moments, labels=True)


def _sheet(glimpse: "Glimpse", moments: list[list[tuple[int, int]]], *, labels: bool) -> str:
    side = (WIDTH + GAP) / len(moments[0]) - GAP
    parts = []
    for row, line in enumerate(moments):
        for column, moment in enumerate(line):
            left, top = column * (side + GAP), row * (side + HEADER + GAP)
            drawn = draw_labels(glimpse, moment, side) if labels else ""
            parts.append(_text(left, top + 14, f"frame {glimpse.times[moment] + 1}"))
            parts.append(
                f'<svg x="{left:.1f}" y="{top + HEADER:.1f}" width="{side:.1f}" height="{side:.1f}" '
                f'style="height: {side:.1f}px">'  # which the page's own style would stretch
                f'<image width="{side:.1f}" height="{side:.1f}" style="image-rendering: pixelated" '
                f'href="{png_uri(glimpse.frames[moment])}"/>{drawn}</svg>'
            )
    height = round(len(moments) * (side + HEADER + GAP))
    if not labels:
        return _svg(WIDTH, height, parts, "frames of the video")
    return _svg(WIDTH, height + 24, [*parts, _legend(glimpse, height + 12)], "frames with what was read in them")


def draw_labels(glimpse: "Glimpse", moment: tuple[int, int], side: float) -> str:
    """What was read in a frame, over what is true; what is not known is left out.

    Args:
        glimpse: what was watched.
        moment: episode and frame.
        side: of the frame as it is drawn [pixels].
    """
    read, true = (side * places[moment] for places in (glimpse.read, glimpse.true))
    parts = []
    if (tool := glimpse.tool) is not None:
        base = true[tool] if isfinite(true[tool].sum()) else read[tool]
        parts.append(arrow(base, side * glimpse.true_moves[moment], TRUE, width=5))
        parts.append(arrow(read[tool], side * glimpse.read_moves[moment], READ, width=2))
    parts += [_dot(place) for place in true]
    parts += [_marker(place, tool=number == tool) for number, place in enumerate(read)]
    return "".join(parts)


def arrow(start: Place, end: Place, colour: str, *, width: float) -> str:
    """An arrow from `start` towards `end` [pixels], `LONGER` than the way between them; none where they are one."""
    across, down = (LONGER * (there - here) for here, there in zip(start, end, strict=True))
    length = hypot(across, down)
    if not length >= SHORTEST:  # so that what is no number draws nothing
        return ""
    x, y, angle, head = start[0] + across, start[1] + down, atan2(down, across), HEAD + width
    ends = [(x - head * cos(angle + turn), y - head * sin(angle + turn)) for turn in (radians(28), -radians(28))]
    (x1, y1), (x2, y2) = ends
    path = f"M{start[0]:.1f} {start[1]:.1f}L{x:.1f} {y:.1f}M{x1:.1f} {y1:.1f}L{x:.1f} {y:.1f}L{x2:.1f} {y2:.1f}"
    return _outlined(f'<path d="{path}" fill="none" stroke-linecap="round" stroke-linejoin="round"', colour, width)


def _outlined(shape: str, colour: str, width: float) -> str:
    """The beginning of an element, drawn twice: the halo, and the line upon it."""
    return "".join(
        f'{shape} stroke="{ink}" stroke-width="{w:g}"/>' for ink, w in ((HALO, width + 2.5), (colour, width))
    )


def _dot(place: Place) -> str:
    """Where something is."""
    if not isfinite(sum(place)):
        return ""
    return f'<circle cx="{place[0]:.1f}" cy="{place[1]:.1f}" r="4" fill="{TRUE}" stroke="{HALO}" stroke-width="1.2"/>'


def _marker(place: Place, *, tool: bool) -> str:
    """Where something is read to be: a ring around the tool, a square around a thing."""
    if not isfinite(sum(place)):
        return ""
    x, y = place
    if tool:
        return _outlined(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="7" fill="none"', READ, 2)
    return _outlined(f'<rect x="{x - 7:.1f}" y="{y - 7:.1f}" width="14" height="14" fill="none"', READ, 2)


def _legend(glimpse: "Glimpse", middle: float) -> str:
    """What the markers of a sheet mean, in a line."""

    def shown(places: "NDArray[np.floating]") -> bool:
        return any(isfinite(number) for number in places.flat)

    def pointing(colour: str, width: float) -> Callable[[Place], str]:
        return lambda at: arrow((at[0] - 10, at[1]), (at[0] - 10 + 20 / LONGER, at[1]), colour, width=width)

    things = [name for number, name in enumerate(glimpse.names) if number != glimpse.tool]
    entries: list[tuple[bool, Callable[[Place], str], str]] = [
        (glimpse.tool is not None, lambda at: _marker(at, tool=True), "tool, read"),
        (bool(things), lambda at: _marker(at, tool=False), f"{', '.join(things)}, read"),
        (shown(glimpse.read_moves), pointing(READ, 2), "action, read"),
        (shown(glimpse.true), _dot, "true place"),
        (shown(glimpse.true_moves), pointing(TRUE, 5), "true action"),
    ]
    parts, x = [], 14.0
    for drawn, symbol, words in entries:
        if drawn:
            parts += [symbol((x, middle)), _text(x + 22, middle + 4, words, INK)]
            x += 50 + 7.2 * len(words)
    return "".join(parts)


def _text(x: float, y: float, words: str, colour: str = FAINT) -> str:
    """Words that begin at a place [pixels]."""
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}">{escape(words)}</text>'


def _svg(width: int, height: int, parts: list[str], title: str) -> Markup:
    """A picture of parts, with a title for those who cannot see it."""
    return Markup(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" aria-label="{escape(title)}" font-family="system-ui, sans-serif" font-size="13">'
        f"{''.join(parts)}</svg>"
    )

"""Shares as dots, in SVG text."""

from collections.abc import Mapping

from goalsight.eval.reports.plots import COLOURS, GRID, INK, svg, text


def dot_plot(rows: Mapping[str, Mapping[str, float]], *, width: int = 760) -> str:
    """Shares as dots, a row for each factor and a colour for each of whom it is asked.

    Args:
        rows: by factor, by name; below 0 is drawn at 0.
        width: of the picture [pixels].
    """
    names = list(dict.fromkeys(name for row in rows.values() for name in row))
    colours = dict(zip(names, COLOURS * len(names), strict=False))
    left, right, top, pitch = 170, 24, 34, 24
    bottom = top + pitch * len(rows)

    def at(share: float) -> float:
        return left + min(max(share, 0.0), 1.0) * (width - left - right)

    parts = []
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        parts.append(f'<line x1="{at(tick):.1f}" y1="{top}" x2="{at(tick):.1f}" y2="{bottom}" stroke="{GRID}"/>')
        parts.append(text(at(tick), bottom + 18, f"{tick:g}", "middle"))
    across = left
    for name in names:
        parts.append(f'<circle cx="{across}" cy="14" r="5" fill="{colours[name]}"/>')
        parts.append(text(across + 9, 18, name, "start"))
        across += 30 + round(7.2 * len(name))
    for number, (factor, row) in enumerate(rows.items()):
        middle = top + pitch * (number + 0.5)
        parts.append(text(left - 12, middle + 4, factor, "end", INK))
        parts.append(f'<line x1="{left}" y1="{middle:.1f}" x2="{width - right}" y2="{middle:.1f}" stroke="{GRID}"/>')
        for name, share in reversed(list(row.items())):
            parts.append(f'<circle cx="{at(share):.1f}" cy="{middle:.1f}" r="5" fill="{colours[name]}"/>')
    return svg(width, bottom + 30, parts, "what is told of each factor")

"""Shares with their intervals as bars, in SVG text."""

from collections.abc import Mapping, Sequence

from goalsight.eval.reports.plots import COLOURS, GRID, INK, svg, text
from goalsight.eval.stats import Estimate, Proportion

OTHERS = "#a9b4c0"  # the colour of what the first bar is judged beside


def success_plot(rows: Mapping[str, Proportion], *, width: int = 640) -> str:
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
    rows: Mapping[str, Estimate], colours: Sequence[str], *, label: str, title: str, left: int = 96, width: int = 640
) -> str:
    """Shares in [0, 1] as bars with their intervals.

    Args:
        rows: by name.
        colours: of each.
        label: what they are.
        title: for those who cannot see the picture.
        left: room for the names [pixels].
        width: of the picture [pixels].
    """
    right, pitch, thickness = 150, 40, 22
    height = pitch * len(rows) + 46

    def at(share: float) -> float:
        return left + share * (width - left - right)

    bottom = pitch * len(rows) + 8
    parts = []
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        parts.append(f'<line x1="{at(tick):.1f}" y1="4" x2="{at(tick):.1f}" y2="{bottom}" stroke="{GRID}"/>')
        parts.append(text(at(tick), bottom + 18, f"{100 * tick:.0f}%", "middle"))
    for number, ((name, share), colour) in enumerate(zip(rows.items(), colours, strict=True)):
        middle = pitch * number + pitch / 2 + 4
        parts.append(text(left - 10, middle + 4, name, "end", INK))
        parts.append(
            f'<rect x="{left}" y="{middle - thickness / 2:.1f}" width="{at(share.value) - left:.1f}" '
            f'height="{thickness}" rx="2" fill="{colour}"/>'
        )
        low, high = at(share.low), at(share.high)
        for x1, y1, x2, y2 in ((low, 0, high, 0), (low, -5, low, 5), (high, -5, high, 5)):
            parts.append(
                f'<line x1="{x1:.1f}" y1="{middle + y1:.1f}" x2="{x2:.1f}" y2="{middle + y2:.1f}" '
                f'stroke="{INK}" stroke-width="1.6"/>'
            )
        words = f"{100 * share.value:.0f}%  [{100 * share.low:.0f}, {100 * share.high:.0f}]"
        parts.append(text(at(1.0) + 14, middle + 4, words, "start", INK))
    parts.append(text((left + at(1.0)) / 2, bottom + 36, label, "middle"))
    return svg(width, height, parts, title)

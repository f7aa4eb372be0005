"""How a film of an episode looks: the view beside the goal, and whether the goal is reached."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw

MARGIN, HEADER, FOOTER = 16, 64, 44  # [pixels], for panels of 480; other sizes scale
BACKGROUND, INK, FAINT = (17, 20, 26), (236, 239, 244), (139, 148, 162)
REACHED, WAITING = (46, 170, 98), (92, 101, 117)


@dataclass(frozen=True)
class Caption:
    """What is written around the pictures."""

    title: str  # such as the environment's id
    detail: str  # such as the policy, the episode and its seed
    step: int
    steps: int
    success: bool


def compose(view: NDArray[np.uint8], goal: NDArray[np.uint8] | None, caption: Caption) -> NDArray[np.uint8]:
    """Put view and goal side by side with the caption around them.

    Args:
        view: what the camera sees, (S, S, 3).
        goal: the goal image, (S, S, 3); None where there is none.
        caption: what to write.

    Returns:
        shape (H, W, 3) with even sides.
    """
    from PIL import Image, ImageDraw

    size = view.shape[0]
    scale = size / 480
    margin, header, footer = (2 * round(scale * length / 2) for length in (MARGIN, HEADER, FOOTER))
    panels = 1 if goal is None else 2
    width, height = panels * size + (panels + 1) * margin, size + header + footer
    picture = Image.new("RGB", (width + width % 2, height + height % 2), BACKGROUND)
    draw = ImageDraw.Draw(picture)
    mark = REACHED if caption.success else WAITING
    for left, image, colour in ((margin, view, mark), (2 * margin + size, goal, WAITING))[:panels]:
        picture.paste(Image.fromarray(np.ascontiguousarray(image)), (left, header))
        edge = max(2, round(4 * scale))
        draw.rectangle(
            (left - edge, header - edge, left + size + edge - 1, header + size + edge - 1), None, colour, edge
        )
    _write(draw, caption, scale, picture.width, margin, header, size)
    if goal is not None:
        below = header + size + round(14 * scale)
        draw.text((2 * margin + size, below), "goal", FAINT, _fonts(scale)[1], anchor="lt")
    return np.asarray(picture)


def _fonts(scale: float) -> tuple[Any, Any]:
    """Large and small letters."""
    from PIL import ImageFont

    large, small = (ImageFont.load_default(round(points * scale)) for points in (24, 17))
    return large, small


def _write(draw: "ImageDraw", caption: Caption, scale: float, width: int, margin: int, header: int, size: int) -> None:
    large, small = _fonts(scale)
    draw.text((margin, header * 0.30), caption.title, INK, large, anchor="lm")
    draw.text((margin, header * 0.70), caption.detail, FAINT, small, anchor="lm")

    label = "success" if caption.success else "not yet"
    pad = round(14 * scale)
    box = (width - margin - draw.textlength(label, large) - 2 * pad, header * 0.14, width - margin, header * 0.76)
    draw.rounded_rectangle(box, radius=(box[3] - box[1]) / 2, fill=REACHED if caption.success else WAITING)
    draw.text(((box[0] + box[2]) / 2, (box[1] + box[3]) / 2), label, (255, 255, 255), large, anchor="mm")

    below = header + size + round(14 * scale)
    draw.text((margin, below), "view", FAINT, small, anchor="lt")
    bar = (margin + round(60 * scale), below + 4 * scale, margin + size - round(120 * scale), below + 11 * scale)
    draw.rectangle(bar, fill=(44, 50, 61))
    done = bar[0] + (bar[2] - bar[0]) * caption.step / max(caption.steps, 1)
    draw.rectangle((bar[0], bar[1], done, bar[3]), fill=REACHED if caption.success else (120, 150, 210))
    draw.text((margin + size, below), f"step {caption.step} of {caption.steps}", FAINT, small, anchor="rt")

"""The picture of what the model sees: input, mask, prediction and truth, in labelled columns."""

import textwrap
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from goalsight.base.errors import UserError

TILE = 128  # pixels on the side of a tile, roughly: small frames are enlarged by a whole factor
GAP = 4  # pixels between tiles
HEADER = 20  # pixels for the labels
PAPER, INK = (250, 250, 250), (40, 40, 40)


def enlarging(size: int) -> int:
    """How many times frames of so many pixels a side are enlarged."""
    return max(1, TILE // size)


def worded(sentences: Sequence[str], size: int) -> NDArray[np.uint8]:
    """Write each sentence into a picture as large as frames of a size are shown: (n, S, S, 3)."""
    side, font, pictures = size * enlarging(size), ImageFont.load_default(size=12), []
    for sentence in sentences:
        picture = Image.new("RGB", (side, side), PAPER)
        text = "\n".join(textwrap.wrap(sentence, max(side // 7, 1)))
        ImageDraw.Draw(picture).multiline_text((side / 2, side / 2), text, INK, font, anchor="mm", align="center")
        pictures.append(np.asarray(picture))
    return np.stack(pictures)


def picture_grid(columns: dict[str, NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Lay out named columns of frames side by side.

    Args:
        columns: name to (rows, H, W, 3) uint8, as many rows each; of one size, or enlarged already as they are shown.

    Returns:
        one (height, width, 3) uint8 image.

    Raises:
        UserError: what an objective of someone's own shows is none of these.
    """
    rows, size = len(next(iter(columns.values()))), min(frames.shape[1] for frames in columns.values())
    side = size * enlarging(size)
    for name, frames in columns.items():
        if frames.dtype != np.uint8 or frames.shape not in [(rows, size, size, 3), (rows, side, side, 3)]:
            got = f"{frames.dtype} {frames.shape}"
            raise UserError(
                f'what is shown must be frames (B, H, W, 3) uint8, as many in each column; "{name}" is {got}'
            )
    pitch = side + GAP
    image = Image.new("RGB", (len(columns) * pitch + GAP, rows * pitch + GAP + HEADER), PAPER)
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(size=12)
    for column, (name, frames) in enumerate(columns.items()):
        left = GAP + column * pitch
        draw.text((left + side / 2, HEADER / 2 + 1), name, INK, font, anchor="mm")
        for row, frame in enumerate(frames):
            scale = side // len(frame)
            tile = np.asarray(frame).repeat(scale, 0).repeat(scale, 1)
            image.paste(Image.fromarray(tile), (left, HEADER + GAP + row * pitch))
    return np.asarray(image)

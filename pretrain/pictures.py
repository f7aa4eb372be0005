"""The picture of what the model sees: input, mask, prediction and truth, in labelled columns."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from goalsight.base.errors import UserError

TILE = 128  # pixels on the side of a tile, roughly: small frames are enlarged by a whole factor
GAP = 4  # pixels between tiles
HEADER = 20  # pixels for the labels
PAPER, INK = (250, 250, 250), (40, 40, 40)


def picture_grid(columns: dict[str, NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Lay out named columns of frames side by side.

    Args:
        columns: name to (rows, H, W, 3) uint8, all of one shape.

    Returns:
        one (height, width, 3) uint8 image.

    Raises:
        UserError: what an objective of someone's own shows is none of these.
    """
    first = next(iter(columns.values())).shape
    for name, frames in columns.items():
        if frames.dtype != np.uint8 or frames.shape != first or frames.ndim != 4 or frames.shape[3] != 3:
            got = f"{frames.dtype} {frames.shape}"
            raise UserError(
                f'what is shown must be frames (B, H, W, 3) uint8, as many in each column; "{name}" is {got}'
            )
    rows, size = next(iter(columns.values())).shape[:2]
    scale = max(1, TILE // size)
    pitch = size * scale + GAP
    image = Image.new("RGB", (len(columns) * pitch + GAP, rows * pitch + GAP + HEADER), PAPER)
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(size=12)
    for column, (name, frames) in enumerate(columns.items()):
        left = GAP + column * pitch
        draw.text((left + size * scale / 2, HEADER / 2 + 1), name, INK, font, anchor="mm")
        for row, frame in enumerate(frames):
            tile = np.asarray(frame).repeat(scale, 0).repeat(scale, 1)
            image.paste(Image.fromarray(tile), (left, HEADER + GAP + row * pitch))
    return np.asarray(image)

"""Draw docs/media/variation.png: the same six starts of Push under each factor that changes how it looks."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
from PIL import Image, ImageDraw, ImageFont

from goalsight.envs.vector import GoalVectorEnv

ROWS = {
    "as it is": (),
    "colour": ("colour",),
    "table": ("table",),
    "light": ("light",),
    "camera": ("camera",),
    "distractors": ("distractors",),
    "all five": ("colour", "table", "light", "camera", "distractors"),
}
LABELS = 96  # pixels at the left, for the names of the rows
INK, PAPER = (32, 32, 32), (255, 255, 255)


@dataclass(frozen=True)
class Picture:
    """What is drawn."""

    starts: int = 6
    """Columns."""
    size: int = 96
    """Edge of each view [px]."""
    seed: int = 0
    """Of the first start."""
    out: Path = Path(__file__).parent / "media" / "variation.png"
    """The file."""


def main(config: Picture) -> None:
    """Draw it."""
    size = config.size
    sheet = Image.new("RGB", (LABELS + config.starts * size, len(ROWS) * size), PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=14)
    for row, (name, vary) in enumerate(ROWS.items()):
        env = GoalVectorEnv("push", num_envs=config.starts, obs="pixels", image_size=size, vary=vary)
        obs, _ = env.reset(seed=config.seed)
        env.close()
        sheet.paste(Image.fromarray(np.concatenate(list(obs["pixels"]), axis=1)), (LABELS, row * size))
        draw.text((LABELS - 8, (row + 0.5) * size), name, INK, font, anchor="rm")
    sheet.save(config.out)
    print(config.out)


if __name__ == "__main__":
    main(tyro.cli(Picture, description=__doc__))

"""`goalsight data`: look at data before anything is learnt from it."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from goalsight.base.errors import UserError
from goalsight.pretrain.data import CACHE


@dataclass(frozen=True)
class Data:
    """Say what data holds (info), or make a picture of it (show)."""

    do: Annotated[Literal["info", "show"], tyro.conf.Positional]
    """info: length, rates, sizes, columns, and frames of which nothing can be learnt; show: a contact sheet."""
    paths: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Videos, folders of videos or images, recorded play, frame stores, or LeRobot data sets."""
    image_size: int = 64
    """Side of the frames [pixels], as they would be learnt from."""
    fps: float = 10.0
    """Real video is thinned to about this rate [frames/s]; 0 keeps every frame."""
    episodes: int = 8
    """show: episodes, one a row, at most."""
    frames: int = 12
    """show: frames of each, at most."""
    out: Path | None = None
    """show: the picture; by default runs/contact-sheets/<name of the first path>.png."""
    cache: Path = CACHE
    """Folder in which decoded video is kept for the next time."""
    json: bool = False
    """info: print JSON."""

    def __post_init__(self) -> None:
        """Refuse what shows nothing."""
        for name in ("image_size", "episodes", "frames"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not self.fps >= 0:
            raise UserError(f"fps must not be negative, got {self.fps}")
        if self.out is not None and self.out.suffix.lower() not in (".png", ".jpg", ".jpeg", ".webp"):
            raise UserError(f"out must end in .png, .jpg or .webp, got {self.out}")


def data(config: Data) -> None:
    """Look at data.

    Raises:
        UserError: when it cannot be read, or the picture cannot be written.
    """
    from goalsight.pretrain.data.ingest import cached_ingest, find_sources
    from goalsight.pretrain.data.inspection import describe, in_words, show

    store = cached_ingest(config.paths, config.cache, config.image_size, fps=config.fps)
    if config.do == "show":
        out = config.out or Path("runs") / "contact-sheets" / f"{config.paths[0].resolve().stem}.png"
        show(store, out, config.episodes, config.frames)
        print(out)
        return
    found = describe(store, find_sources(config.paths, say=lambda line: None))
    print(json.dumps(found) if config.json else in_words(found))

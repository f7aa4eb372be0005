"""A folder of images in natural order is one episode."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

from PIL import ImageOps

from goalsight.pretrain.data.format import Column
from goalsight.pretrain.data.pictures import Frame, natural_order, opened, reason, square, warn
from goalsight.pretrain.data.readers.base import Reading, Recorded, at_least_two

IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")


class ImagesReader:
    """Images of any size; those that cannot be read are left out with a line each."""

    KIND: ClassVar = "a folder of images"
    APART: ClassVar = True
    OWNS_FOLDERS: ClassVar = False

    def detect(self, path: Path) -> bool:
        """An image, or a folder that holds some."""
        return bool(self.files(path))

    def files(self, path: Path) -> tuple[Path, ...]:
        """The images, in natural order."""
        entries = sorted(path.iterdir(), key=natural_order) if path.is_dir() else [path]
        return tuple(entry for entry in entries if _is_image(entry))

    def rate(self, path: Path, how: Reading) -> float:
        """Unknown: images do not say when they were taken."""
        return 0.0

    def size(self, path: Path) -> tuple[int, int] | None:
        """Of the first image that can be read."""
        for file in self.files(path):
            with suppress(Exception), opened(file) as image:  # said when it is read
                return image.height, image.width
        return None

    def columns(self, path: Path) -> dict[str, Column]:
        """None: images say nothing else."""
        return {}

    def episodes(self, path: Path, how: Reading) -> Iterator[Recorded]:
        """The one episode, with every image: how fast they follow each other nobody knows."""
        yield Recorded(at_least_two(path, read_images(self.files(path), how.image_size)), str(path))


def read_images(files: Iterable[Path], size: int) -> Iterator[Frame]:
    """Yield the images that can be read, (size, size, 3) uint8; the others get a line each on stderr."""
    for file in files:
        try:
            with opened(file) as image:
                image.verify()  # by the checksums of PNG, which decoding does not look at; it can be opened again then
            with opened(file) as image:
                frame = square(ImageOps.exif_transpose(image), size)
        except Exception as error:  # whatever a decoder raises on a damaged file
            warn(f"{file} left out: {reason(error)}")
        else:
            yield frame


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGES and not path.name.startswith(".") and path.is_file()

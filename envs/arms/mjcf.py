"""MJCF files: those that come with goalsight, and those of strangers, checked before MuJoCo opens what they name."""

from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING
from xml.parsers import expat

from goalsight.base.errors import UserError

if TYPE_CHECKING:
    import mujoco

SCENE = "scenes/tabletop.xml"  # in `goalsight.assets`
FOLDERS = ("meshdir", "texturedir", "assetdir")  # attributes of <compiler> in which files are looked for
MODELS = ("include", "model")  # elements that name further MJCF files

Elements = list[tuple[str, dict[str, str]]]


def load_asset(path: str) -> "mujoco.MjSpec":
    """Read an MJCF file of `goalsight.assets`."""
    import mujoco

    return mujoco.MjSpec.from_string(resources.files("goalsight.assets").joinpath(path).read_text())


def load_file(path: Path, folder: Path, *, trusted: bool = False) -> "mujoco.MjSpec":
    """Read an MJCF file of the user's.

    Args:
        path: of the file.
        folder: that neither it nor anything it names may leave.
        trusted: let it name files anywhere.

    Raises:
        UserError: it does not exist, is no MJCF, or names something outside the folder.
    """
    import mujoco

    if not trusted:
        check_references(path, folder)
    elif not path.is_file():
        raise UserError(f"there is no file {path}")
    try:
        return mujoco.MjSpec.from_file(str(path))
    except ValueError as error:
        raise UserError(f"{path}: {' '.join(str(error).split())}") from error


def check_references(path: Path, folder: Path) -> None:
    """Refuse an MJCF file that would make MuJoCo open anything outside a folder.

    Every attribute that names a file is followed from every folder that MuJoCo might look in, through links and
    through included files, whose <compiler> counts for all. Resource URLs and document types are refused as such.

    Raises:
        UserError: what leaves the folder, or cannot be read.
    """
    folder = folder.resolve()
    models: dict[Path, dict[Path, Elements]] = {}  # main file -> it and what it includes
    todo = [(path, path)]
    while todo:
        file, main = todo.pop()
        _check_inside(file, folder, f"{path}: {file}")
        included = models.setdefault(main.resolve(), {})
        if file.resolve() in included:
            continue
        included[file.resolve()] = _elements(file)
        # All over again: the file may have named a folder in which the others' files are looked for.
        for _, tag, name, places in _references(main.parent, included):
            there = [place for place in places if tag in MODELS and ":" not in name and place.is_file()]
            todo += [(place, main if tag == "include" else place) for place in there]
    for main, included in models.items():
        for file, tag, name, places in _references(main.parent, included):
            if ":" in name or "\\" in name:
                raise UserError(f'{file}: <{tag}> names "{name}", which is not a path inside {folder}')
            for place in places:
                _check_inside(place, folder, f'{file}: <{tag}> names "{name}", which')
            if tag in MODELS and not any(place.is_file() for place in places):
                raise UserError(f'{file}: <{tag}> names "{name}", which does not exist')


def _references(main: Path, included: dict[Path, Elements]) -> Iterator[tuple[Path, str, str, list[Path]]]:
    """What a model's files name, files and folders: in which file, by what element, the name, and where it may lie."""
    folders = [
        attributes[name]
        for elements in included.values()
        for _, attributes in elements
        for name in FOLDERS
        if name in attributes
    ]
    bases = [main, *(main / folder for folder in folders)]
    for file, elements in included.items():
        for tag, name in _named(elements):
            yield file, tag, name, [base / name for base in (*bases, file.parent)]


def _check_inside(path: Path, folder: Path, what: str) -> None:
    if not path.resolve().is_relative_to(folder):
        raise UserError(f"{what} lies outside {folder}; only files that are trusted may refer there")


def _named(elements: Elements) -> Iterator[tuple[str, str]]:
    """The elements that name files or folders, and what they name."""
    for tag, attributes in elements:
        for attribute, value in attributes.items():
            if attribute.startswith("file") or attribute in FOLDERS:
                yield tag, value


def _elements(file: Path) -> Elements:
    """The elements of an XML file and their attributes, in order."""
    found: Elements = []

    def refuse(name: str, *_: object) -> None:
        raise UserError(f"{file}: a document type ({name}) has no place in MJCF")

    parser = expat.ParserCreate()
    parser.StartElementHandler = lambda tag, attributes: found.append((tag, attributes))
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(file.read_bytes(), True)
    except OSError as error:
        raise UserError(f"{file}: {error.strerror}") from error
    except expat.ExpatError as error:
        raise UserError(f"{file} is no MJCF: {error}") from error
    return found

"""MJCF files: those that come with goalsight, and those of strangers, checked before MuJoCo opens what they name."""

from collections.abc import Iterator
from importlib import resources
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING
from xml.parsers import expat

from goalsight.base.errors import UserError
from goalsight.base.files import plain_bytes

if TYPE_CHECKING:
    import mujoco

SCENE = "scenes/tabletop.xml"  # in `goalsight.assets`
FOLDERS = ("meshdir", "texturedir", "assetdir")  # attributes of <compiler> in which files are looked for
MODELS = ("include", "model")  # elements that name further MJCF files
DEEPEST, MOST_FILES = 20, 200  # MJCF files that hold each other

# What a stranger's file can ask MuJoCo to make up: by element, numbers that multiply, and how many all of them may ask.
SAMPLES = (("nsample",), 100_000)  # of a delay, in actuators and sensors of any kind
MOST_COPIES = 500  # of what lies in <replicate>
MOST_ELEMENTS = 10_000  # in all files together; MuJoCo takes time by their square
FACES = 6  # of a texture that is not flat, as it is unless it says so
COPIES = "copies of all that it lies in"  # beside its attributes
AMOUNTS: dict[str, tuple[tuple[tuple[str, ...], int], ...]] = {
    "hfield": ((("nrow", "ncol"), 1 << 24),),
    "texture": ((("width", "height"), 1 << 26),),
    "flexcomp": ((("count",), 10_000),),
    "camera": ((("resolution",), 1 << 24),),
    "user": ((("dim",), 1_000_000),),
    "contact": ((("num",), 10_000),),
    "size": ((("memory",), 1 << 30),),
}
FINEST = 200  # each of the numbers by which a mesh is made up; vertices go by their product
PICTURES = {"texture": 1 << 26, "hfield": 1 << 24}  # pixels of one that is read from a file
PNG = b"\x89PNG\r\n\x1a\n"
UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40, "P": 1 << 50, "E": 1 << 60}  # of memory

Elements = list[tuple[str, dict[str, str]]]
Node = tuple[Path, Path]  # a main file, and it or one that it includes


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
        UserError: it does not exist, is no MJCF, names something outside the folder, itself, or what is no plain file.
    """
    import mujoco

    check_references(path, None if trusted else folder)
    try:
        return mujoco.MjSpec.from_file(str(path))
    except (ValueError, RuntimeError) as error:  # the latter where memory does not suffice
        raise UserError(f"{path}: {' '.join(str(error).split())}") from error


def check_references(path: Path, folder: Path | None) -> None:
    """Refuse an MJCF file that would make MuJoCo open anything outside a folder, hang, or never come to an end.

    Every attribute that names a file is followed from every folder that MuJoCo might look in, through links and
    through included files, whose <compiler> counts for all. Resource URLs and document types are refused as such.

    Args:
        path: of the file.
        folder: that nothing may leave; None trusts the file with that.

    Raises:
        UserError: what leaves the folder or cannot be read, is no plain file, or holds itself.
    """
    try:
        _check_references(path, folder)
    except (OSError, RuntimeError) as error:  # names too long, links in a circle
        raise UserError(f"{path}: {getattr(error, 'strerror', None) or error}") from error


def _check_references(path: Path, folder: Path | None) -> None:
    folder = None if folder is None else folder.resolve()
    models = _read_all(path, folder)
    if folder is not None:
        for included in models.values():
            _check_amounts(included)
    held: dict[Node, list[Node]] = {}
    for main, included in models.items():
        for file, tag, name, places in _references(main, included):
            if folder is not None and (":" in name or "\\" in name):
                raise UserError(f'{file}: <{tag}> names "{name}", which is not a path inside {folder}')
            for place in places:
                _check_inside(place, folder, f'{file}: <{tag}> names "{name}", which')
            if tag == "compiler":
                continue
            _check_plain(file, tag, name, places)
            if folder is not None and tag in PICTURES:
                _check_pixels(file, tag, name, places)
            there = [_located(place) for place in places if tag in MODELS and place.is_file()]
            if tag in MODELS and not there and folder is not None:
                raise UserError(f'{file}: <{tag}> names "{name}", which does not exist')
            held.setdefault((main, file), []).extend((main if tag == "include" else at, at) for at in there)
    _weigh((_located(path), _located(path)), held, (), {})


def _check_amounts(included: dict[Path, Elements]) -> None:
    """Refuse a model of which a few words would fill the memory: by one of them, or by all of a kind together."""
    totals: dict[tuple[str, ...], float] = {}
    for file, elements in included.items():
        for tag, attributes in elements:
            params = map(_amount, attributes.get("params", "").split() if tag == "mesh" else ())
            if (finest := max(params, default=0.0)) > FINEST:
                raise UserError(f"{file}: <mesh> asks for {finest:.3g} by params; at most {FINEST:,} may be")
            for names, most in (*AMOUNTS.get(tag, ()), SAMPLES):
                words = [word for name in names for word in attributes.get(name, "").split()]
                faces = FACES if tag == "texture" and attributes.get("type", "cube") != "2d" else 1
                total = totals.get(names, 0.0) + (faces * prod(map(_amount, words)) if words else 0.0)
                totals[names] = total
                if total > most:
                    raise UserError(
                        f"{file}: <{tag}> asks for {total:.3g} by {' x '.join(names)}, all of them together; "
                        f"at most {most:,} may be"
                    )
    if (count := sum(map(len, included.values()))) > MOST_ELEMENTS:
        raise UserError(f"{next(iter(included))}: it has {count:,} elements; at most {MOST_ELEMENTS:,} may be")
    copies = prod(max(1.0, _copies(elements)) for elements in included.values())  # one file may lie in another's copies
    if copies > MOST_COPIES:
        raise UserError(
            f"{next(iter(included))}: <replicate> asks for {copies:.3g} by count; at most {MOST_COPIES:,} may be"
        )


def _copies(elements: Elements) -> float:
    """How many copies a file's <replicate>s make: what lies within another is copied with it."""
    return sum(_amount(attributes[COPIES]) for tag, attributes in elements if tag == "replicate")


def _amount(word: str) -> float:
    """A number, of bytes perhaps; 1 where there is none: MuJoCo says what is wrong with it."""
    unit = UNITS.get(word[-1:].upper(), 1)
    try:
        return abs(float(word[:-1] if unit > 1 else word)) * unit
    except ValueError:
        return 1.0


def _read_all(path: Path, folder: Path | None) -> dict[Path, dict[Path, Elements]]:
    """The elements of a file and of all that it names: by the main file, of it and of what it includes."""
    models: dict[Path, dict[Path, Elements]] = {}
    todo = [(_located(path), _located(path))]
    while todo:
        file, main = todo.pop()
        _check_inside(file, folder, f"{path}: {file}")
        included = models.setdefault(main, {})
        if file in included:
            continue
        included[file] = _elements(file, trusted=folder is None)
        # All over again: the file may have named a folder in which the others' files are looked for.
        for _, tag, name, places in _references(main, included):
            there = [_located(place) for place in places if tag in MODELS and ":" not in name and place.is_file()]
            todo += [(at, main if tag == "include" else at) for at in there]
    return models


def _weigh(node: Node, held: dict[Node, list[Node]], above: tuple[Node, ...], known: dict[Node, int]) -> int:
    """How many files MuJoCo reads for a file and all that it holds, where what is held often is read as often.

    Raises:
        UserError: a file holds itself, or they are too many.
    """
    if node in above:
        raise UserError(f"{above[-1][1]}: it names {node[1]}, which holds it: MuJoCo would never come to an end")
    if node not in known:
        files = 1
        if len(above) < DEEPEST:
            files += sum(_weigh(each, held, (*above, node), known) for each in held.get(node, []))
        if files > MOST_FILES or len(above) >= DEEPEST:
            raise UserError(f"{node[1]}: more files hold each other than the {MOST_FILES} or {DEEPEST} deep that may")
        known[node] = files
    return known[node]


def _references(main: Path, included: dict[Path, Elements]) -> Iterator[tuple[Path, str, str, list[Path]]]:
    """What a model's files name, files and folders: in which file, by what element, the name, and where it may lie."""
    folders = [
        attributes[name]
        for elements in included.values()
        for _, attributes in elements
        for name in FOLDERS
        if name in attributes
    ]
    bases = [main.parent, *(main.parent / folder for folder in folders)]
    for file, elements in included.items():
        for tag, name in _named(elements):
            yield file, tag, name, [base / name for base in dict.fromkeys((*bases, file.parent))]


def _located(path: Path) -> Path:
    """Where a file lies, its folder without links: what it names is looked for there, even if it is a link itself."""
    return path.parent.resolve() / path.name


def _check_inside(path: Path, folder: Path | None, what: str) -> None:
    if folder is not None and not path.resolve().is_relative_to(folder):
        raise UserError(f"{what} lies outside {folder}; only files that are trusted may refer there")


def _check_plain(file: Path, tag: str, name: str, places: list[Path]) -> None:
    """Refuse what is there but no plain file: MuJoCo would hang at a pipe, and read some devices without end."""
    found = [place for place in places if place.exists() and not place.is_file()]
    # A folder of the file's name is no harm where the file itself is found elsewhere.
    if any(not place.is_dir() for place in found) or (found and not any(place.is_file() for place in places)):
        raise UserError(f'{file}: <{tag}> names "{name}", which is no plain file')


def _check_pixels(file: Path, tag: str, name: str, places: list[Path]) -> None:
    """Refuse a PNG that takes little on the disk and the whole memory when it is decoded."""
    for place in places:
        if place.is_file() and (head := place.open("rb").read(24)).startswith(PNG):
            width, height = (int.from_bytes(head[at : at + 4], "big") for at in (16, 20))
            if width * height > PICTURES[tag]:
                raise UserError(
                    f'{file}: <{tag}> names "{name}", a picture of {width} x {height} pixels; '
                    f"at most {PICTURES[tag]:,} may be"
                )


def _named(elements: Elements) -> Iterator[tuple[str, str]]:
    """The elements that name files or folders, and what they name."""
    for tag, attributes in elements:
        for attribute, value in attributes.items():
            if value and (attribute.startswith("file") or attribute in FOLDERS):
                yield tag, value


def _elements(file: Path, *, trusted: bool) -> Elements:
    """The elements of an XML file and their attributes, in order; of a trusted one as far as they can be read."""
    found: Elements = []
    above = [1.0]  # by what all that lies here is multiplied

    def begin(tag: str, attributes: dict[str, str]) -> None:
        above.append(above[-1] * (_amount(attributes.get("count", "1")) if tag == "replicate" else 1.0))
        found.append((tag, attributes | {COPIES: str(above[-1])} if tag == "replicate" else attributes))

    def refuse(name: str, *_: object) -> None:
        raise UserError(f"{file}: a document type ({name}) has no place in MJCF")

    parser = expat.ParserCreate()
    parser.StartElementHandler = begin
    parser.EndElementHandler = lambda tag: above.pop()
    if not trusted:
        parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(plain_bytes(file), True)
    except expat.ExpatError as error:
        if not trusted:  # MuJoCo takes more than this reader does
            raise UserError(f"{file} is no MJCF: {error}") from error
    return found

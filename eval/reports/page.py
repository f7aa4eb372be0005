"""Pieces of a page that needs nothing but itself: pictures, videos and tables as HTML, which Jinja2 escapes.

What a piece is given as plain text is shown as it stands; only what is `Markup` already is taken for HTML.
"""

import base64
import io
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
from markupsafe import Markup

import goalsight

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

KINDS = {".png": "image/png", ".gif": "image/gif", ".mp4": "video/mp4"}


@cache
def _templates() -> jinja2.Environment:
    folder = resources.files("goalsight.assets")
    return jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: folder.joinpath(name).read_text()),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )


def _piece(name: str, *values: Any) -> Markup:
    """A macro of pieces.html, with what it is given."""
    macro: Any = getattr(_templates().get_template("pieces.html").module, name)
    return Markup(macro(*values))


def whole(
    *,
    title: str,
    subtitle: str,
    cards: Iterable[tuple[str, str]],
    sections: Iterable[str],
    version: str = goalsight.__version__,
) -> str:
    """The page itself, as HTML text.

    Args:
        title: as plain text, as the subtitle is.
        subtitle: stands below it.
        cards: numbers and what they are.
        sections: empty ones are left out.
        version: of goalsight, by which it was made.
    """
    return (
        _templates()
        .get_template("report.html")
        .render(
            title=title,
            subtitle=subtitle,
            cards=Markup("\n").join(card(value, label) for value, label in cards),
            sections=Markup("\n").join(filter(None, sections)),
            footer=f"goalsight {version}; everything on this page is inside this one file.",
        )
    )


def join(*parts: str) -> Markup:
    """Parts, one after the other."""
    return Markup("").join(parts)


def data_uri(path: Path) -> str:
    """The file itself as a `data:` address."""
    return f"data:{KINDS[path.suffix]};base64,{base64.b64encode(path.read_bytes()).decode()}"


def png_uri(image: "NDArray[np.uint8]") -> str:
    """An image (H, W, 3) as a `data:` address."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(image).save(file, "png")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def section(title: str, explanation: str, *parts: str) -> Markup:
    """A titled part of the page; the explanation is plain text."""
    return _piece("section", title, explanation, join(*parts))


def heading(words: str) -> Markup:
    """A heading within a section."""
    return _piece("heading", words)


def paragraph(words: str) -> Markup:
    """A paragraph within a section."""
    return _piece("paragraph", words)


def alarm(words: str) -> Markup:
    """A paragraph that nobody should miss."""
    return _piece("alarm", words)


def lacking(sentences: Iterable[str]) -> Markup:
    """Sentences on what is not there, a line for each."""
    return _piece("lacking", list(sentences))


def card(value: str, label: str) -> Markup:
    """A number in large type over what it is."""
    return _piece("card", value, label)


def missing(what: str, command: str) -> Markup:
    """Say what is not there, and how to make it."""
    return _piece("missing", what, command)


def picture(path: Path, caption: str) -> Markup:
    """A picture inside the page."""
    return figure(_piece("image", data_uri(path), caption), caption)


def video(path: Path, caption: str) -> Markup:
    """A video that plays inside the page."""
    return figure(_piece("video", data_uri(path)), caption)


def figure(content: str, caption: str) -> Markup:
    """Anything that is seen, with a caption."""
    return _piece("figure", content, caption)


def pair(*parts: str) -> Markup:
    """Parts side by side where the window is wide enough."""
    return _piece("pair", parts)


def facts(rows: Mapping[str, Any]) -> Markup:
    """Names and values, nested ones by dotted names; what is None is left out."""
    return _piece("facts", list(_flat(rows)))


def _flat(rows: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    for name, value in rows.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        elif isinstance(value, list | tuple):
            yield prefix + name, ", ".join(map(str, value))
        elif value is not None:
            yield prefix + name, f"{value:g}" if isinstance(value, float) else str(value)


def grid(head: list[str], rows: Iterable[list[str]]) -> Markup:
    """A table whose first column names; columns that hold numbers are set to the right."""
    lines = list(rows)
    numbers = [place > 0 and any(map(_has_digit, column)) for place, column in enumerate(zip(*lines, strict=True))]
    return _piece("grid", head, lines, numbers or [False] * len(head))


def _has_digit(words: str) -> bool:
    return any(letter.isdigit() for letter in words)


def code(lines: Iterable[str]) -> Markup:
    """Commands to copy."""
    return _piece("code", "\n".join(lines))

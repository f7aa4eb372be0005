"""Pieces of a page that needs nothing but itself: pictures, videos and tables as HTML text."""

import base64
import io
from collections.abc import Iterable, Mapping
from html import escape
from importlib import resources
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

import goalsight

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

KINDS = {".png": "image/png", ".gif": "image/gif", ".mp4": "video/mp4"}


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
        title: escaped here, as the subtitle is.
        subtitle: stands below it.
        cards: numbers and what they are.
        sections: as HTML text; empty ones are left out.
        version: of goalsight, by which it was made.
    """
    return Template(resources.files("goalsight.assets").joinpath("report.html").read_text()).substitute(
        title=escape(title),
        subtitle=escape(subtitle),
        cards="\n".join(card(value, label) for value, label in cards),
        sections="\n".join(filter(None, sections)),
        footer=f"goalsight {version}; everything on this page is inside this one file.",
    )


def data_uri(path: Path) -> str:
    """The file itself as a `data:` address."""
    return f"data:{KINDS[path.suffix]};base64,{base64.b64encode(path.read_bytes()).decode()}"


def png_uri(image: "NDArray[np.uint8]") -> str:
    """An image (H, W, 3) as a `data:` address."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(image).save(file, "png")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def section(title: str, explanation: str, *parts: str) -> str:
    """A titled part of the page; the explanation is plain text."""
    return f"<section><h2>{escape(title)}</h2><p>{escape(explanation)}</p>{''.join(parts)}</section>"


def card(value: str, label: str) -> str:
    """A number in large type over what it is."""
    return f'<div class="card"><b>{escape(value)}</b><span>{escape(label)}</span></div>'


def missing(what: str, command: str) -> str:
    """Say what is not there, and how to make it."""
    return f'<p class="missing">{escape(what)} Make it with <code>{escape(command)}</code></p>'


def picture(path: Path, caption: str) -> str:
    """A picture inside the page."""
    return figure(f'<img src="{data_uri(path)}" alt="{escape(caption)}">', caption)


def video(path: Path, caption: str) -> str:
    """A video that plays inside the page."""
    return figure(f'<video src="{data_uri(path)}" controls autoplay loop muted playsinline></video>', caption)


def figure(content: str, caption: str) -> str:
    """Anything that is seen, with a caption."""
    return f"<figure>{content}<figcaption>{escape(caption)}</figcaption></figure>"


def pair(*parts: str) -> str:
    """Parts side by side where the window is wide enough."""
    return f'<div class="pair">{"".join(f"<div>{part}</div>" for part in parts)}</div>'


def facts(rows: Mapping[str, Any]) -> str:
    """Names and values, nested ones by dotted names; what is None is left out."""
    lines = (f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in _flat(rows))
    return f"<table>{''.join(lines)}</table>"


def _flat(rows: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    for name, value in rows.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        elif isinstance(value, list | tuple):
            yield prefix + name, ", ".join(map(str, value))
        elif value is not None:
            yield prefix + name, f"{value:g}" if isinstance(value, float) else str(value)


def grid(head: list[str], rows: Iterable[list[str]]) -> str:
    """A table whose first column names and whose others hold numbers."""
    top = "".join(f"<th{' class=number' if i else ''}>{escape(name)}</th>" for i, name in enumerate(head))
    body = "".join(
        "<tr>"
        + "".join(f"<td{' class=number' if i else ''}>{escape(cell)}</td>" for i, cell in enumerate(row))
        + "</tr>"
        for row in rows
    )
    return f"<table><tr>{top}</tr>{body}</table>"


def code(lines: Iterable[str]) -> str:
    """Commands to copy."""
    return f"<pre>{escape(chr(10).join(lines))}</pre>"

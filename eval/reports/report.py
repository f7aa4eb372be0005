"""One page per run that needs nothing but itself: what was seen, what was learnt, how well, and how to repeat it."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from goalsight.eval.reports import chapters, page
from goalsight.eval.reports.card import CARD, TAGS, card

if TYPE_CHECKING:
    from goalsight.base.runs import Run

REPORT = "report.html"  # in the run's folder


@dataclass(frozen=True)
class Report:
    """Write a run's report.html, and its model card, README.md."""

    run: Annotated[Path, tyro.conf.Positional]
    """A run of any kind: collect, pretrain or train."""
    out: Path | None = None
    """The file to write; report.html in the run's folder unless given."""


def report(config: Report) -> Path:
    """Write the page; what is missing is named on it, with the command that makes it.

    Args:
        config: which run.

    Returns:
        the file.

    Raises:
        UserError: if there is no such run, or the file cannot be written.
    """
    from goalsight.base.files import atomic_write_text
    from goalsight.base.runs import Run

    run = Run.open(config.run)
    path = config.out or run.path / REPORT
    atomic_write_text(path, render(run))
    if run.kind in TAGS:
        atomic_write_text(run.path / CARD, card(run))
    print(path)
    return path


def render(run: "Run") -> str:
    """The page as HTML text."""
    return page.whole(
        title=chapters.title(run),
        subtitle=chapters.subtitle(run),
        cards=chapters.headline(run),
        sections=(chapter(run) for chapter in chapters.CHAPTERS[run.kind]),
        version=run.manifest["versions"]["goalsight"],
    )

"""`goalsight new-task`: a plug-in package to begin from, which works as it is."""

import keyword
import os
import re
import shutil
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Annotated

import tyro

from goalsight.base.errors import UserError
from goalsight.base.files import writing

# What is written, and from which template.
FILES = {
    "{name}.py": "task.py.in",
    "test_{name}.py": "test_task.py.in",
    "pyproject.toml": "pyproject.toml.in",
    "README.md": "README.md.in",
}


@dataclass(frozen=True)
class NewTask:
    """Write a plug-in package with a task, its expert and its test, as a start for your own.

    Whatever its name, the task is to lift a cube, until you change it.
    """

    name: Annotated[str, tyro.conf.Positional]
    """Name of the task and of the package, such as turn_valve."""
    out: Path | None = None
    """The folder to make; by default one of that name here."""

    def __post_init__(self) -> None:
        from goalsight.envs.ids import TASK_NAME

        if keyword.iskeyword(self.name):
            raise UserError(f'"{self.name}" is a word of Python\'s own; choose another name')
        if not re.fullmatch(TASK_NAME, self.name):
            raise UserError(
                f'a task\'s name has small letters, digits and "_", and begins with a letter: "{self.name}"'
            )


def new_task(config: NewTask) -> Path:
    """Write the package; returns its folder.

    Raises:
        UserError: the folder holds something, or the name is one of a task or of an installed module.
    """
    from importlib.util import find_spec

    from goalsight.envs.ids import VERSION, camel
    from goalsight.envs.tasks import TASKS

    folder = config.out or Path(config.name)
    with writing(folder):
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            what = "is not empty" if folder.is_dir() else "is a file"
            raise UserError(f"{folder} {what}; choose another --out")
    if config.name in TASKS or find_spec(config.name) is not None:
        raise UserError(f'"{config.name}" is the name of a task or a module already; choose another')
    name = camel(config.name)
    words = {"@NAME@": config.name, "@CLASS@": name, "@CAMEL@": name, "@VERSION@": f"v{VERSION}"}
    texts = {}
    for file, template in FILES.items():
        text = resources.files("goalsight.assets").joinpath("plugin", template).read_text()
        for word, meaning in words.items():
            text = text.replace(word, meaning)
        texts[file.format(name=config.name)] = text
    _write(texts, folder)
    print(
        f"{folder} holds {', '.join(texts)}; the task is to lift a cube, until you change it\n"
        f"next: cd {folder}; pip install -e .; goalsight envs; see its README.md"
    )
    return folder


def _write(texts: dict[str, str], folder: Path) -> None:
    """Write files into a folder that is empty or absent: all of them, or none.

    Raises:
        UserError: the disk refuses.
    """
    folder = folder.absolute()
    beside = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    with writing(folder):
        try:
            beside.mkdir(parents=True)
            for file, text in texts.items():
                (beside / file).write_text(text)
            if folder.exists():
                folder.rmdir()
            beside.rename(folder)
        except BaseException:
            shutil.rmtree(beside, ignore_errors=True)
            raise

"""Give a run away on a model hub, where others name it hf://user/name."""

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from goalsight.base.errors import UserError

if TYPE_CHECKING:
    from goalsight.base.runs import Run

# Of a run's own files; a report is made of the same by whoever wants one.
GIVEN = ("*.json", "*.jsonl", "pictures/*.png", "videos/*.mp4")


@dataclass(frozen=True)
class Push:
    """Publish a run's weights, configuration, results, pictures and films on the Hugging Face hub."""

    run: Annotated[Path, tyro.conf.Positional]
    """A pretrain or train run."""
    name: Annotated[str, tyro.conf.Positional]
    """Where: user/name, or user/name@branch."""
    checkpoint: str = "best"
    """The weights: best, last, or a step."""
    private: bool = False
    """Others do not see it."""


def push(config: Push) -> str:
    """Publish a run.

    Args:
        config: which, and where.

    Returns:
        its address.

    Raises:
        UserError: the run has no weights or is still written, or the hub refuses.
    """
    from goalsight.base import hub
    from goalsight.base.runs import Run
    from goalsight.eval.reports.card import TAGS

    name = hub.HubName.parse(config.name)
    run = Run.open(config.run)
    if run.kind not in TAGS:
        raise UserError(f"{config.run} holds recorded play; give it away by goalsight export {config.run} --out FOLDER")
    if run.status == "running":
        raise UserError(f"run {config.run} still runs; publish it once it has ended")
    with tempfile.TemporaryDirectory() as folder:
        gather(run, config.checkpoint, Path(folder), str(name))
        address = hub.publish(Path(folder), name, private=config.private)
    print(f"{address}\neverywhere a run is named, it is now {name}")
    return address


def gather(run: "Run", which: str, folder: Path, name: str) -> None:
    """Copy what is given away of a run into a folder, which is then a run itself.

    What training would go on from, and which process on which machine it was, stay here.

    Args:
        run: to be given away.
        which: its checkpoint: "best", "last" or a step.
        folder: is empty.
        name: what others load it by.
    """
    from goalsight.base import checkpoints
    from goalsight.base.files import atomic_write_json, atomic_write_text
    from goalsight.base.run_folders import MANIFEST
    from goalsight.eval.reports.card import CARD, card

    tensors, meta = run.load(which)
    for file in (file for pattern in GIVEN for file in run.path.glob(pattern) if not file.is_symlink()):
        target = folder / file.relative_to(run.path)
        target.parent.mkdir(exist_ok=True)
        shutil.copyfile(file, target)
    published = checkpoints.publish(folder / "checkpoints", int(meta["step"]), tensors, meta, best=True)
    shutil.copyfile(published / checkpoints.WEIGHTS, folder / checkpoints.WEIGHTS)
    told = {key: value for key, value in run.manifest.items() if key not in ("process", "resumed")}
    atomic_write_json(folder / MANIFEST, {**told, "status": run.status if run.status != "killed" else "interrupted"})
    atomic_write_text(folder / CARD, card(run, name))

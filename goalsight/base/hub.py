"""Runs on a model hub: `hf://user/name` names one wherever a run or an encoder is named.

Needs the extra `hub`. What is fetched becomes a run folder under runs/ like any other, so whatever is done with it
(evaluations, films, reports) is kept there; it is JSON and safetensors, and nothing in it is executed.
"""

import contextlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from goalsight.base.errors import UserError, in_one_line

SCHEME = "hf://"
# What a run on the hub consists of; nothing else is fetched. Of the weights, hubs want to find a copy at the top.
PARTS = ("*.json", "*.jsonl", "README.md", "checkpoints/*", "pictures/*.png", "videos/*.mp4")
NAME = re.compile(r"(?!.*(--|\.\.))\w[\w.-]*/\w[\w.-]*", re.ASCII)


@dataclass(frozen=True)
class HubName:
    """A run on the hub."""

    repository: str  # user/name
    revision: str = "main"  # a branch, a tag or a commit

    @classmethod
    def parse(cls, text: str) -> "HubName":
        """Read `user/name` or `user/name@revision`, with or without the scheme before it.

        Raises:
            UserError: it is neither.
        """
        repository, at, revision = text.removeprefix(SCHEME).partition("@")
        if not NAME.fullmatch(repository) or (at and not revision):
            raise UserError(f"{text} names nothing on a hub; it should be user/name, or user/name@revision")
        return cls(repository, revision or "main")

    def __str__(self) -> str:
        return f"{SCHEME}{self.repository}" + ("" if self.revision == "main" else f"@{self.revision}")

    @property
    def folder(self) -> Path:
        """Where it is kept here."""
        at = "" if self.revision == "main" else f"@{self.revision.replace('/', '-')}"
        return Path("runs") / f"hf-{self.repository.replace('/', '--')}{at}"


def local(source: Path | str) -> Path:
    """Return the folder of a run, which is fetched first where `source` is `hf://user/name`.

    What was fetched before is fetched again only where it has changed, and taken as it is where there is no network.

    Raises:
        UserError: there is no such thing on the hub, it cannot be reached, or the package is missing.
    """
    if not str(source).startswith(SCHEME):
        return Path(source)
    name = HubName.parse(str(source))
    hub = _package()
    with _blaming(f"cannot fetch {name}"):
        hub.snapshot_download(name.repository, revision=name.revision, local_dir=name.folder, allow_patterns=PARTS)
    return name.folder


def with_local(words: Sequence[str]) -> list[str]:
    """Return words of a command line with folders in the place of names on the hub."""
    found = []
    for word in words:
        option, equals, value = word.rpartition("=") if word.startswith("--") else ("", "", word)
        found.append(f"{option}{equals}{local(value)}" if value.startswith(SCHEME) else word)
    return found


def publish(folder: Path, name: HubName, *, private: bool) -> str:
    """Send a folder's files to the hub, where they replace the parts of an earlier run.

    Args:
        folder: holds what is to be there.
        name: where; made if it is not there.
        private: only its owner sees it. What exists stays as open as it is, and an organisation may have its own usage.

    Returns:
        its address.

    Raises:
        UserError: the hub cannot be reached or refuses, or the package is missing.
    """
    hub = _package()
    with _blaming(f"cannot publish {name}"):
        api = hub.HfApi(library_name="goalsight")
        address = api.create_repo(name.repository, private=private or None, exist_ok=True)
        api.upload_folder(
            repo_id=name.repository,
            revision=name.revision,
            folder_path=folder,
            commit_message="A run of goalsight",
            delete_patterns=list(PARTS),
        )
    return str(address)


def _package() -> Any:
    try:
        import huggingface_hub
    except ImportError:
        raise UserError("runs on a hub need the package huggingface_hub: pip install 'goalsight[hub]'") from None
    return huggingface_hub


@contextlib.contextmanager
def _blaming(what: str) -> Iterator[None]:
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

    try:
        yield
    except HfHubHTTPError as error:
        status = error.response.status_code
        hint = "; log in by `hf auth login`, or set HF_TOKEN" if status in (401, 403) else ""
        said = error.server_message or f"the hub answers {status}"
        raise UserError(f"{what}: {' '.join(said.split())}{hint}") from error
    except LocalTokenNotFoundError as error:
        raise UserError(f"{what}: log in by `hf auth login`, or set HF_TOKEN") from error
    except Exception as error:  # of the network, of names, of disks: the package has many kinds, and httpx others
        raise UserError(f"{what}: {in_one_line(error)}") from error

"""The documentation says what the code does, and its tutorial runs word for word."""

import json
import re
import shlex
import subprocess
import sys
from dataclasses import fields
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any
from xml.etree import ElementTree

import pytest

from goalsight.agents.algorithms import ALGORITHMS
from goalsight.commands import cli
from goalsight.commands.cli import COMMANDS
from goalsight.envs.fingerprints import own_ids
from goalsight.envs.registration import make_vector
from goalsight.envs.variation import FACTORS
from goalsight.pretrain.objectives import OBJECTIVES

DOCS = Path(__file__).resolve().parents[1] / "docs"
PICTURE = re.compile(r"!\[[^]]*\]\((?!https?:)([^)]+)\)")


@pytest.fixture(scope="module")
def pages() -> ModuleType:
    spec = spec_from_file_location("make_pages", DOCS / "make_pages.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules["make_pages"] = module
    sys.path.insert(0, str(DOCS))  # as when it is run as a script
    spec.loader.exec_module(module)
    sys.path.remove(str(DOCS))
    return module


@pytest.mark.parametrize("env_id", [env_id for env_id in own_ids() if "Panda" in env_id])
def test_tables_cover_all_entries_of_observations_and_actions(pages: ModuleType, env_id: str) -> None:
    env = make_vector(env_id)
    last = pages.observation_table(env).splitlines()[-1].split("|")[1].split()[-1]
    assert int(last) + 1 == env.single_observation_space["observation"].shape[0]
    assert len(pages.action_table(env).splitlines()) - 2 == env.single_action_space.shape[0]


def test_every_marker_of_a_page_is_filled(pages: ModuleType) -> None:
    for page in (DOCS / "pages").glob("*.md"):
        filled = pages.fill(page.read_text())
        assert "<!--" not in filled
        assert "../../" not in filled
        shorter = 50 + 20 * page.read_text().count("../../")  # links into the repository, and markers
        assert len(filled) >= len(page.read_text()) - shorter


def test_pages_of_parts_and_of_one_environment_are_made_with_their_pictures(pages: ModuleType, tmp_path: Path) -> None:
    pages.main(pages.MakePages(out=tmp_path, size=32, clip_size=32, only=("goalsight/PandaReach-v1",)))
    page = (tmp_path / "environments" / "reach.md").read_text()
    shots = re.findall(r'src="\.\./(shots/[^"]+)"', page)
    assert len(shots) == 3
    for shot in shots:
        assert (tmp_path / "environments" / shot).stat().st_size > 100
    for command in COMMANDS:
        assert f"## {command}\n" in (tmp_path / "command_line.md").read_text()
    for folder, registry, own_names in (("objectives", OBJECTIVES, True), ("algorithms", ALGORITHMS, False)):
        for name in registry:
            page = (tmp_path / folder / f"{name}.md").read_text()
            for option in fields(registry.load(name).Options):
                before = f"{name}." if own_names else ""
                assert f"| `--{before}{option.name.replace('_', '-')}` |" in page
            for picture in PICTURE.findall(page):
                assert (tmp_path / folder / picture).stat().st_size > 100, picture


def test_what_the_page_about_observations_shows_runs() -> None:
    text = (DOCS / "pages" / "observing.md").read_text()
    (block,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    names: dict[str, Any] = {}
    exec(block, names)
    assert names["spec"].horizon == 50
    keys = set(re.findall(r"`(\w*(?:goal|pixels)\w*)`", text.partition("Each row is a goal channel")[0]))
    assert set(names["obs"]) == {"observation"} | keys
    assert dict(names["envs"].goal_keys) == {
        "desired_goal": "achieved_goal",
        "goal_pixels": "pixels",
        "goal_pixels_wrist": "pixels_wrist",
    }


@pytest.mark.parametrize("name", ["sb3", "sb3-pixels", "torchrl"])
def test_what_the_page_about_other_libraries_shows_runs(name: str) -> None:
    if name == "torchrl":
        pytest.importorskip("torchrl")
    text = (DOCS / "pages" / "libraries.md").read_text()
    block = re.search(rf'```python title="{name}"\n(.*?)```', text, re.DOTALL)
    assert block is not None
    known: dict[str, Any] = {}
    exec(block.group(1).replace("learn(2_000)", "learn(1_650)"), known)  # as far as the first gradient steps
    if name == "torchrl":
        assert known["rollout"].batch_size == (16, 60)
        assert known["rollout"]["next", "done"].sum() == 16
    else:
        assert known["model"].num_timesteps >= 1_650
        assert known["model"].actor.optimizer.state, "nothing was learnt from"


@pytest.mark.slow
@pytest.mark.parametrize(("page", "commands"), [("own_task", 7), ("parts", 3)])
def test_a_tutorial_runs_word_for_word(page: str, commands: int, tmp_path: Path) -> None:
    text = (DOCS / "pages" / f"{page}.md").read_text()
    blocks = re.findall(r'```(\w+)(?: title="([^"]+)")?\n(.*?)```', text, re.DOTALL)
    ran = 0
    for language, name, body in blocks:
        if language == "python":
            (tmp_path / name).write_text(body)
            continue
        for line in body.splitlines():
            command = [sys.executable, "-m", *shlex.split(line)]
            done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"{line}\n{done.stderr[-2000:]}"
            ran += 1
    assert ran == commands


def test_the_notebook_runs_from_its_first_cell_to_its_last(workplace: Path) -> None:
    cells = json.loads((DOCS.parent / "notebooks" / "quickstart.ipynb").read_text())["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    numbers = "FRAMES, PRETRAINING, TRAINING = 5_000, 150, 6_000"
    assert numbers in code[0]
    code[0] = code[0].replace(numbers, "FRAMES, PRETRAINING, TRAINING = 200, 2, 1_300")
    known: dict[str, Any] = {}
    for cell in code:
        exec(compile(cell, "quickstart.ipynb", "exec"), known)
    assert known["result"]["success"]["total"] == 20
    assert known["obs"]["pixels"].shape == (64, 64, 3)


PAGES = [DOCS.parent / "README.md", DOCS.parent / "CONTRIBUTING.md", *sorted((DOCS / "pages").glob("*.md"))]


def commands_of(page: Path) -> list[list[str]]:
    """The words of each goalsight command in the shell blocks of a page."""
    found = []
    for block in re.findall(r"```sh\n(.*?)```", page.read_text(), re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words[:1] == ["goalsight"]:
                found.append(words[1:])
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_every_command_that_a_page_shows_has_the_options_it_shows(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "with_local", list)  # nothing is fetched
    monkeypatch.setattr(cli, "_from_files", lambda arguments: cli._taken(arguments, "--config", "a file") and [])
    for words in commands_of(page):
        for option in ("--arm-file", "--import"):
            cli._taken(words, option, "its value")
        cli.read(words)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_the_pictures_of_a_page_are_there_and_browsers_can_show_them(page: Path) -> None:
    for name in PICTURE.findall(page.read_text()):
        file = page.parent / name
        assert file.stat().st_size > 100, name
        if file.suffix == ".svg":  # a browser shows one as a picture only if it says what it is
            assert ElementTree.parse(file).getroot().tag == "{http://www.w3.org/2000/svg}svg", name


@pytest.mark.slow
def test_the_task_that_the_readme_registers_keeps_the_contract_that_it_names(tmp_path: Path) -> None:
    text = (DOCS.parent / "README.md").read_text().partition("## Register a task")[2]
    (module,) = re.findall(r"```python\n# my_tasks\.py\n(.*?)```", text, re.DOTALL)
    (tmp_path / "my_tasks.py").write_text(module)
    line = next(line for line in text.splitlines() if line.startswith("goalsight check-task "))
    command = [sys.executable, "-m", *shlex.split(line, comments=True)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "FAILED" not in done.stdout


def test_the_page_of_factors_names_all_of_them() -> None:
    sentence = (DOCS / "pages" / "variation.md").read_text().partition("The factors are ")[2].partition(", or `all`")[0]
    assert set(re.findall(r"`(\w+)`", sentence)) == set(FACTORS)

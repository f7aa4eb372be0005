"""Who may know whom: the rooms' imports, what the package holds, and how little `import goalsight` loads."""

import ast
import json
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from goalsight.cli import COMMANDS

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("agents", "assets", "envs", "eval", "pretrain")
ROOM_PREFIXES = tuple(f"goalsight.{room}" for room in ROOMS)

# The rooms that each room may import.
ARROWS = {
    "assets": set(),
    "envs": {"assets"},
    "pretrain": set(),
    "agents": {"envs", "pretrain"},
    "eval": {"assets", "envs", "pretrain", "agents"},
}
# The front door's modules that know no room, and that rooms may therefore use.
LEAVES = {
    f"goalsight.{name}" for name in ("checkpoints", "errors", "files", "interruption", "machine", "memory", "runs")
}
DOORS = {
    "assets": set(),
    "envs": {"goalsight.errors", "goalsight.machine", "goalsight.memory"},
    "pretrain": LEAVES,
    "agents": LEAVES,
    "eval": LEAVES,
}
HEAVY = {
    "PIL",
    "av",
    "imageio",
    "mujoco",
    "mujoco_warp",
    "safetensors",
    "stable_baselines3",
    "tensorboard",
    "torch",
    "warp",
}


def sources(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def imported(tree: ast.AST) -> Iterator[str]:
    """Yield every module that is imported anywhere below `tree`, as a dotted name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield str(node.module)
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def module_level(tree: ast.Module) -> ast.Module:
    """Return the statements that run on import, without those for type checkers only."""

    def runs(node: ast.stmt) -> bool:
        for_checkers = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        return not (for_checkers or isinstance(node, ast.FunctionDef | ast.ClassDef))

    return ast.Module([node for node in tree.body if runs(node)], [])


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_the_rooms_it_may_know(room: str) -> None:
    wrong = []
    for path in sources(room):
        for name in imported(parse(path)):
            parts = name.split(".")
            if parts[0] != "goalsight":
                continue
            if len(parts) > 1 and parts[1] in ROOMS:
                allowed = parts[1] == room or parts[1] in ARROWS[room]
            else:
                allowed = name == "goalsight" or ".".join(parts[:2]) in DOORS[room]
            if not allowed:
                wrong.append(f"{path.relative_to(ROOT)} imports {name}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("name", sorted(LEAVES))
def test_what_every_room_may_use_knows_no_room(name: str) -> None:
    found = set(imported(parse(ROOT / f"{name.replace('.', '/')}.py")))
    assert not {module for module in found if module.startswith(ROOM_PREFIXES)}


@pytest.mark.parametrize("folder", [*ROOMS, "goalsight", "tests", "benchmarks"])
def test_nobody_imports_a_bare_room_or_torchvision(folder: str) -> None:
    for path in sources(folder):
        roots = {name.split(".")[0] for name in imported(parse(path))}
        assert not roots & {*ROOMS, "torchvision"}, path


@pytest.mark.parametrize("path", sources("goalsight"), ids=lambda path: path.stem)
def test_the_front_door_loads_nothing_heavy(path: Path) -> None:
    names = set(imported(module_level(parse(path))))
    assert not {name for name in names if name.split(".")[0] in HEAVY}
    rooms = {name for name in names if name.startswith(ROOM_PREFIXES)}
    # Ids must exist once the package is imported; the registration module is light.
    assert all(name.startswith("goalsight.envs.registration") for name in rooms)


def test_no_command_loads_anything_heavy_before_it_runs() -> None:
    modules = ["goalsight", "goalsight.cli", *(command.module for command in COMMANDS.values())]
    script = f"""
import importlib, json, sys
blame = {{}}
for name in {modules!r}:
    before = set(sys.modules)
    importlib.import_module(name)
    blame[name] = sorted((set(sys.modules) - before) & set({sorted(HEAVY)!r}))
print(json.dumps(blame))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    blame = json.loads(done.stdout)
    assert not {name: heavy for name, heavy in blame.items() if heavy}


def test_help_imports_no_command() -> None:
    script = """
import sys
from goalsight.cli import COMMANDS, run
assert run(["--help"]) == 0
print([command.module for command in COMMANDS.values() if command.module in sys.modules], "tyro" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[] False"


def project() -> dict[str, dict]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_the_package_holds_every_folder_with_code_or_data() -> None:
    files = (file for folder in ("goalsight", *ROOMS) for file in (ROOT / folder).rglob("*"))
    folders = {file.parent for file in files if file.suffix in (".html", ".in", ".py", ".toml", ".xml")}
    names = {str(folder.relative_to(ROOT)).replace("/", ".") for folder in folders}
    expected = {name if name == "goalsight" else f"goalsight.{name}" for name in names}
    assert set(project()["tool"]["setuptools"]["packages"]) == expected


def test_type_checkers_see_every_module() -> None:
    links = ROOT / ".typing" / "goalsight"
    expected = {path.name for path in (ROOT / "goalsight").iterdir() if path.is_file()} | set(ROOMS)
    assert {link.name for link in links.iterdir()} == expected
    for link in links.iterdir():
        origin = ROOT / link.name if link.name in ROOMS else ROOT / "goalsight" / link.name
        assert link.is_symlink(), link
        assert not link.readlink().is_absolute(), link
        assert link.resolve() == origin, link


def test_every_dependency_is_pinned_for_any_index() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [Requirement(line) for line in lines if not line.startswith("#")]
    pinned = {pin.name.lower().replace("_", "-"): str(pin.specifier) for pin in pins}
    assert all(version.startswith("==") and "+" not in version for version in pinned.values())
    assert "torchvision" not in pinned
    extras = project()["project"]["optional-dependencies"].values()
    wanted = [*project()["project"]["dependencies"], *(name for extra in extras for name in extra)]
    missing = {Requirement(line).name for line in wanted} - set(pinned)
    assert not missing

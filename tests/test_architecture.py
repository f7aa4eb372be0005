"""Who may know whom: the rooms' imports, what the package holds, and how little `import goalsight` loads."""

import ast
import json
import runpy
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from goalsight.commands.cli import COMMANDS

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("agents", "assets", "envs", "eval", "pretrain")

# The rooms that each room may import; all may import the ground, `goalsight.base`, and none the roof.
ARROWS: dict[str, set[str]] = {
    "assets": set(),
    "envs": {"assets"},
    "pretrain": set(),
    "agents": {"envs", "pretrain"},
    "eval": {"assets", "envs", "pretrain", "agents"},
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


def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name."""
    found = {}
    for folder in ("goalsight", *ROOMS):
        for path in sources(folder):
            parts = path.relative_to(ROOT).with_suffix("").parts
            parts = parts if folder == "goalsight" else ("goalsight", *parts)
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


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


def room_of(module: str) -> str:
    """The room a module lies in: one of `ROOMS`, "base", "commands", or "" for the front door itself."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in (*ROOMS, "base", "commands") else ""


@pytest.mark.parametrize("room", [*ROOMS, "base"])
def test_a_room_imports_only_the_rooms_it_may_know(room: str) -> None:
    allowed = {room, "base"} if room == "base" else {room, "base", *ARROWS[room]}
    wrong = [
        f"{module} imports {name}"
        for module, path in modules().items()
        if room_of(module) == room
        for name in imported(parse(path))
        if name.split(".")[0] == "goalsight" and room_of(name) not in allowed and name != "goalsight"
    ]
    assert not wrong, "\n".join(wrong)


def runtime_imports(module: str, path: Path, known: dict[str, Path]) -> set[str]:
    """The modules of ours that a module imports at any time, lazily too; not those for type checkers only."""
    tree = parse(path)
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = [ast.Pass()]
    found = set()
    for name in imported(tree):
        while name and name not in known:
            name = name.rpartition(".")[0]
        found |= {name} - {"", "goalsight", module}
    return found


def test_no_circle_of_imports_not_even_lazy_ones() -> None:
    known = modules()
    graph = {module: runtime_imports(module, path, known) for module, path in known.items()}
    # Whatever imports nothing that is left is taken away; what remains in the end lies on a circle or leads to one.
    while free := {module for module, names in graph.items() if not names & set(graph)}:
        graph = {module: names for module, names in graph.items() if module not in free}
    assert not {module: sorted(names & set(graph)) for module, names in graph.items()}


@pytest.mark.parametrize("room", ["goalsight.pretrain", "goalsight.pretrain.trainer", "goalsight.base.runs"])
def test_watching_loads_no_environment(room: str) -> None:
    script = f"""
import sys
import {room}
found = {{name.split(".")[0] for name in sys.modules}} & {{"gymnasium", "mujoco", "stable_baselines3"}}
print(sorted(found), [name for name in sys.modules if name.startswith(("goalsight.envs", "goalsight.agents"))])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[] []"


@pytest.mark.parametrize(
    "order", ["goalsight, gymnasium", "gymnasium, goalsight", "goalsight.envs.registration, gymnasium"]
)
def test_ids_exist_in_whatever_order_modules_are_imported(order: str) -> None:
    script = f"import {order}; print('goalsight/PandaPush-v1' in gymnasium.registry)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"


@pytest.mark.parametrize("folder", [*ROOMS, "goalsight", "tests", "benchmarks"])
def test_nobody_imports_a_bare_room_or_torchvision(folder: str) -> None:
    for path in sources(folder):
        roots = {name.split(".")[0] for name in imported(parse(path))}
        assert not roots & {*ROOMS, "torchvision"}, path


def test_the_front_door_loads_nothing_heavy() -> None:
    for module, path in modules().items():
        if room_of(module) in ("", "commands"):
            names = set(imported(module_level(parse(path))))
            assert not {name for name in names if name.split(".")[0] in HEAVY}, module
            # How an environment is made is told by a description that loads no environment.
            names = {name for name in names if not name.startswith("goalsight.envs.config")}
            assert {room_of(name) for name in names} <= {"", "base", "commands"}, module


def test_no_command_loads_anything_heavy_before_it_runs() -> None:
    modules = ["goalsight", "goalsight.commands.cli", *(command.module for command in COMMANDS.values())]
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
from goalsight.commands.cli import COMMANDS, run
assert run(["--help"]) == 0
print([command.module for command in COMMANDS.values() if command.module in sys.modules], "tyro" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[] False"


def project() -> dict[str, dict]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_the_package_holds_every_folder_with_code_or_data(monkeypatch: pytest.MonkeyPatch) -> None:
    files = (file for folder in ("goalsight", *ROOMS) for file in (ROOT / folder).rglob("*"))
    folders = {file.parent for file in files if file.suffix in (".html", ".in", ".py", ".toml", ".xml")}
    names = {str(folder.relative_to(ROOT)).replace("/", ".") for folder in folders}
    expected = {name if name.startswith("goalsight") else f"goalsight.{name}" for name in names}
    asked: dict[str, list[str]] = {}
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("setuptools.setup", lambda **given: asked.update(given))
    runpy.run_path("setup.py")
    assert {name for name in asked["packages"] if "__pycache__" not in name} == expected


def test_type_checkers_see_every_module() -> None:
    links = ROOT / ".typing" / "goalsight"
    expected = {path.name for path in (ROOT / "goalsight").iterdir() if path.name != "__pycache__"} | set(ROOMS)
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

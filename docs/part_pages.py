"""Pages of parts that are chosen by name, one for each objective and algorithm: what it is, options, and figures."""

import ast
import inspect
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from textwrap import dedent
from typing import Any

from goalsight.agents.algorithms import ALGORITHMS
from goalsight.base.registry import Registry
from goalsight.eval.objectives.analysis import DEFAULT, MEAN
from goalsight.eval.objectives.jobs import TOKENISERS
from goalsight.eval.objectives.page import UNLEARNT, control_plot, curves_plot
from goalsight.eval.objectives.wording import span
from goalsight.pretrain.objectives import OBJECTIVES

ROOT = Path(__file__).resolve().parents[1]
COMPARED = ROOT / "benchmarks" / "results" / "objectives.json"


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def what_fields_mean(kind: type) -> dict[str, str]:
    """What the source says below each field of a dataclass and of those that it extends."""
    found: dict[str, str] = {}
    for one in reversed(kind.__mro__[:-1]):
        (body,) = ast.parse(dedent(inspect.getsource(one))).body
        assert isinstance(body, ast.ClassDef)
        for field, text in zip(body.body, body.body[1:], strict=False):
            if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
                found[ast.unparse(field.target)] = " ".join(str(text.value.value).split())
    return found


def options_table(kind: type, before: str = "") -> str:
    """The options of a part, as the command line calls them.

    Args:
        kind: the dataclass that holds them.
        before: what their names begin with.
    """
    meanings = what_fields_mean(kind)
    rows = []
    for option in fields(kind):
        default = option.default_factory() if option.default_factory is not MISSING else option.default
        said = " ".join(map(str, default)) if isinstance(default, tuple) else str(default)
        rows.append([f"`--{before}{option.name.replace('_', '-')}`", said, meanings[option.name]])
    return markdown_table(["option", "default", "what"], rows) if rows else "None."


def about(kind: type) -> str:
    """What the module and the class say of themselves."""
    module = sys.modules[kind.__module__]
    source = Path(str(module.__file__)).resolve().relative_to(ROOT)
    return f"{inspect.getdoc(module)}\n\n{inspect.getdoc(kind)}\n\nSource: `{source}`"


def measured(result: Mapping[str, Any], name: str, plots: Path) -> list[str]:
    """What was measured of an objective beside the default, with plots, where it was."""
    curves = result["curves"]
    if name not in curves:
        return ["Not yet compared at equal FLOPs."]
    shown = dict.fromkeys((name, DEFAULT))
    control = result["control"]
    (plots / f"{name}-scores.svg").write_text(curves_plot({**result, "curves": {one: curves[one] for one in shown}}))
    judged = {point["flops"]: span(point) for point in control["curves"][name]}
    rows = [
        [f"{point['flops']:.0e}".replace("e+", "e"), span(point), judged.get(point["flops"], "")]
        for point in curves[name]
    ]
    rows.append([UNLEARNT, span(result["levels"][UNLEARNT]), span(control["random"])])
    few = {"curves": {one: control["curves"][one] for one in shown}, "random": control["random"]}
    (plots / f"{name}-control.svg").write_text(control_plot({"control": few}))
    asked = result["asked"]
    return [
        f"`{asked['size']}` encoders, {len(asked['seeds'])} seeds each, {result['date'][:10]}; the mean over all "
        "factors of R² on held-out episodes (of steps between frames, of the rank correlation), and the success of an "
        "actor that imitates 100 episodes from the frozen encoder, with 95% intervals. "
        f"{result['held_out']} [How, and beside all others](../objectives.md#which-objective).",
        f"![The {MEAN} after {name}, over FLOPs](../plots/{name}-scores.svg)",
        markdown_table(["FLOPs", MEAN, "success"], rows),
        f"![Success of imitation after {name}, over FLOPs](../plots/{name}-control.svg)",
    ]


def row_of(page: Path, name: str) -> list[str]:
    """The cells of a name's row in the first table of a page that has one."""
    line = next(line for line in page.read_text().splitlines() if line.startswith(f"| `{name}`"))
    return [cell.strip() for cell in line.strip("|").split(" | ")]


def objective_page(name: str, plots: Path) -> str:
    """The page of an objective."""
    kind = OBJECTIVES.load(name)
    _, predicted, after, alarm = row_of(ROOT / "docs" / "pages" / "objectives.md", name)
    needed = f" --tokeniser {TOKENISERS[name]}" if name in TOKENISERS else ""
    parts = [
        f"# {name}",
        f"Predicted: {predicted}. After {after}. Alarm: {alarm}.",
        f"```sh\ngoalsight pretrain --data runs/play --objective {name}{needed}\n```",
        about(kind),
        "## What was measured",
        *measured(json.loads(COMPARED.read_text()), name, plots),
        "## Options",
        options_table(kind.Options, f"{name}."),
    ]
    return "\n\n".join(parts) + "\n"


def algorithm_page(name: str) -> str:
    """The page of an algorithm."""
    kind = ALGORITHMS.load(name)
    measured = (ROOT / "benchmarks" / "results" / "algorithms.svg").exists()
    data = "" if kind.online else " --data runs/play"
    parts = [
        f"# {name}",
        f"```sh\ngoalsight train --env goalsight/PandaPush-v1 --obs state --algorithm {name}{data}\n```",
        about(kind),
        "![Success on Push from state, by algorithm](../plots/algorithms.svg)\n\n`python benchmarks/algorithms.py`"
        if measured
        else "Not yet compared with the others: `python benchmarks/algorithms.py`.",
        "## Options",
        options_table(kind.Options),
    ]
    return "\n\n".join(parts) + "\n"


def write_part_pages(out: Path, plots: Path) -> None:
    """Write a page for each objective and each algorithm, and a list of each.

    Args:
        out: the folder of all pages.
        plots: the folder of their plots.
    """
    pages: tuple[tuple[str, Registry, Any], ...] = (
        ("objectives", OBJECTIVES, lambda name: objective_page(name, plots)),
        ("algorithms", ALGORITHMS, algorithm_page),
    )
    for folder, registry, write in pages:
        (out / folder).mkdir(exist_ok=True)
        lines = []
        for name in registry:
            (out / folder / f"{name}.md").write_text(write(name))
            module = sys.modules[registry.load(name).__module__]
            lines.append(f"- [{name}]({name}.md): {str(inspect.getdoc(module)).splitlines()[0]}")
        (out / folder / "index.md").write_text(f"# {folder.capitalize()}\n\n" + "\n".join(lines) + "\n")

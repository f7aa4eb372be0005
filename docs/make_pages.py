"""Write the pages that MkDocs builds: tables of every environment from the code, pictures, and a gallery.

    python docs/make_pages.py && mkdocs build --strict --config-file docs/mkdocs.yml

The pages in pages/ are copied to build/pages/, their <!-- markers --> replaced by what the code says; the environments'
pages and pictures are made there. Pictures that exist already are kept.
"""

import html
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from inspect import getdoc
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import tyro
from gymnasium import spaces
from numpy.typing import NDArray
from part_pages import markdown_table, write_part_pages
from tqdm import tqdm

from goalsight.agents.policies import make_policy
from goalsight.agents.rollout import Moment, rollout
from goalsight.commands.cli import COMMANDS
from goalsight.envs.arms.catalogue import ARMS
from goalsight.envs.config import EnvConfig
from goalsight.envs.fingerprints import own_ids
from goalsight.envs.ids import camel, horizon_of, id_of
from goalsight.envs.making import make_vector
from goalsight.envs.simulation.control import TURN
from goalsight.envs.tasks import TASKS, Task
from goalsight.envs.variation import FACTORS
from goalsight.envs.vector import GoalVectorEnv

ROOT = Path(__file__).resolve().parents[1]
PAGES = ROOT / "docs" / "pages"
EXPERTS = ROOT / "benchmarks" / "results" / "experts.json"
MEDIA = ROOT / "docs" / "media"
# Steps per frame, steps shown after the goal is reached, frames per second, and frames for which the end stays.
CLIP_EVERY, CLIP_LATE, CLIP_FPS, CLIP_REST = 2, 6, 12, 8

# What the parts of an observation are, by how their names end; a thing's own name is its place.
UNITS = (
    ("_from_tool", "m", "place relative to the tool"),
    ("tool_velocity", "m/s", "of the tool"),
    ("tool", "m", "place of the point between the fingertips"),
    ("opening_velocity", "m/s", "of the gripper, per finger"),
    ("opening", "m", "of the gripper, per finger"),
    ("joint_velocities", "rad/s", "of the arm"),
    ("joints", "rad", "of the arm"),
    ("_joint_velocity", "m/s or rad/s", "of the part"),
    ("_joint", "m or rad", "where the part stands"),
    ("tool_angular_velocity", "rad/s", "of the tool, in the world"),
    ("_angular_velocity", "rad/s", "in its own frame"),
    ("_velocity", "m/s", "in the world"),
    ("_rotation", "", "first two columns of the rotation matrix"),
    ("", "m", "place; of a part that moves its handle's"),
)


@dataclass(frozen=True)
class MakePages:
    """Write the pages."""

    out: Path = ROOT / "build" / "pages"
    """Folder to write."""
    size: int = 256
    """Side of the pictures [pixels]."""
    clip_size: int = 160
    """Side of the clips [pixels]."""
    seed: int = 3
    """Seed of the episodes that are shown."""
    only: tuple[str, ...] = ()
    """Ids to make, to try something out; all unless given."""


def unit_of(part: str) -> tuple[str, str]:
    """Unit and meaning of a part of the state."""
    return next((unit, meaning) for end, unit, meaning in UNITS if part.endswith(end))


def observation_table(env: GoalVectorEnv) -> str:
    """What `observation` holds when `obs="state"`, entry by entry."""
    rows = []
    for name, part in env.state_layout().items():
        unit, meaning = unit_of(name)
        entries = f"{part.start}" if part.stop - part.start == 1 else f"{part.start} to {part.stop - 1}"
        rows.append([entries, f"`{name}`", unit, meaning])
    return markdown_table(["entries", "name", "unit", "what"], rows)


def action_table(env: GoalVectorEnv) -> str:
    """What the entries of an action do with `control="ee"`, all in [-1, 1]."""
    step = 100 * env.sim.control.step
    rows = [[str(i), f"tool along {axis}", f"{step:g} cm at full scale"] for i, axis in enumerate("xyz")]
    if env.task.turns:
        rows += [
            [str(3 + i), f"tool turned about {axis}", f"{TURN:g} rad at full scale"] for i, axis in enumerate("xyz")
        ]
    if env.task.uses_gripper:
        rows.append([str(len(rows)), "gripper", "-1 closes, 1 opens"])
    assert len(rows) == env.sim.action_size
    return markdown_table(["entry", "moves", "by"], rows)


def spaces_table(arm: str, name: str) -> str:
    """The shapes of observations and actions of each mode."""
    rows = []
    for obs, control in (("state", "ee"), ("pixels", "ee"), ("state", "joint")):
        env = make_vector(id_of(arm, TASKS[name]), obs=obs, control=control)
        observations = env.single_observation_space
        assert isinstance(observations, spaces.Dict)
        shapes = ", ".join(f"`{key}` {space.shape}" for key, space in observations.items())
        rows.append([f'`obs="{obs}", control="{control}"`', shapes, str(env.single_action_space.shape)])
        env.close()
    return markdown_table(["made with", "observations", "action"], rows)


def expert_table(env_ids: Sequence[str] | None = None) -> str:
    """How often the experts succeed, a line for each task, from the published result."""
    result = json.loads(EXPERTS.read_text())
    rates = {
        (row["task"], row["arm"]): f"{row['count'] / row['total']:.1%}"
        for row in result["rows"]
        if env_ids is None or row["env"] in env_ids
    }
    tasks = [task for task in TASKS if any(task == other for other, _ in rates)]
    rows = [[f"[{camel(task)}]({task}.md)", *(rates.get((task, arm), "") for arm in ARMS)] for task in tasks]
    about = f"Of {result['episodes']} fixed episodes each, {result['date'][:10]}, `{' '.join(result['command'])}`."
    return f"{about}\n\n{markdown_table(['task', *ARMS], rows)}" if rows else ""


def goal_facts(task: Task) -> str:
    """What a goal is, as a table."""
    named = ", ".join(f"`{name}`" for name in task.goals) or "none"
    facts = [
        ["numbers of a goal", f"{task.goal_size}"],
        ["reached within", f"{task.tolerance:g} {task.unit}"],
        ["for", f"{task.hold_steps} step{'s' if task.hold_steps > 1 else ''}"],
        *([["while the hand holds", f"`{task.grasped}`"]] if task.grasped else []),
        ["farther off at the start than", f"{task.least_distance:g} {task.unit}"],
        ["steps of an episode", f"{task.max_episode_steps} (40 ms each)"],
        ["gripper", "has an action" if task.uses_gripper else "stays closed"],
        ["named goals", named],
    ]
    return markdown_table(["", ""], facts)


def film(env_id: str, config: MakePages, folder: Path) -> None:
    """Picture an environment's start and goal, and film its expert, where that is not done yet."""
    name = env_id.rpartition("/")[2]
    files = [folder / f"{name}-{what}" for what in ("start.webp", "goal.webp", "expert.webp")]
    if all(file.exists() for file in files):
        return
    horizon = horizon_of(EnvConfig(env_id))
    env = make_vector(env_id, num_envs=1, max_episode_steps=horizon + 1)
    env.reset(seed=config.seed)
    for file, frames in ((files[0], env.render_frames), (files[1], env.goal_frames)):
        iio.imwrite(file, frames(size=config.size)[0], extension=".webp", quality=85)
    clip: list[NDArray[np.uint8]] = []
    late = 0  # steps since the goal was reached

    def take(moment: Moment) -> None:
        nonlocal late
        late += int(env.task.success(moment.obs["achieved_goal"], moment.obs["desired_goal"])[0])
        if moment.time % CLIP_EVERY == 0 and late <= CLIP_LATE:
            clip.append(env.render_frames(size=config.clip_size)[0])

    rollout(env, make_policy("expert"), episodes=1, seed=config.seed, steps=horizon, before_step=take)
    env.close()
    clip += [clip[-1]] * CLIP_REST
    iio.imwrite(files[2], np.stack(clip), extension=".webp", duration=1000 / CLIP_FPS, loop=0, quality=70)


def figure(env_id: str, above: str) -> str:
    """Start, goal and expert of an environment beside each other."""
    name = env_id.rpartition("/")[2]
    shots = "".join(
        f'<img src="{above}shots/{name}-{what}.webp" alt="{html.escape(env_id)}: {said}" title="{said}" loading="lazy">'
        for what, said in (("start", "start"), ("goal", "goal"), ("expert", "its expert"))
    )
    return f'<figure><div class="shots">{shots}</div><figcaption><code>{env_id}</code></figcaption></figure>'


def gallery(env_ids: Sequence[str], above: str) -> str:
    """Figures of environments."""
    return '<div class="gallery">\n' + "\n".join(figure(env_id, above) for env_id in env_ids) + "\n</div>"


def task_page(name: str, env_ids: Sequence[str]) -> str:
    """The page of a task."""
    task, arm = TASKS[name], next(arm for arm in ARMS if any(camel(arm) in env_id for env_id in env_ids))
    env = make_vector(id_of(arm, task))
    module = sys.modules[type(task).__module__]
    source = Path(str(module.__file__)).resolve().relative_to(ROOT)
    parts = [
        f"# {camel(name)}",
        str(getdoc(module)),
        gallery(env_ids, "../"),
        "Start, goal, and what the scripted expert does.",
        "## The goal",
        str(getdoc(type(task))),
        goal_facts(task),
        "## Actions",
        action_table(env),
        'With `control="joint"` the entries move the joints instead, 0.08 rad at full scale.',
        "## Observations",
        spaces_table(arm, name),
        'With `obs="state"`, `observation` holds:',
        observation_table(env),
        'With `obs="pixels"` it holds the first of these, up to the task\'s things, which are to be seen.',
        "## The expert",
        expert_table(env_ids),
        f"Source: `{source}`",
    ]
    env.close()
    return "\n\n".join(part for part in parts if part) + "\n"


def at_home(text: str) -> str:
    """A page with the docs' own plots for those of the repository; of links to its other files only the words stay."""
    text = re.sub(r"\(\.\./(?:media|\.\./benchmarks/results)/([^/)]+\.(?:svg|png|gif))\)", r"(plots/\1)", text)
    return re.sub(r"(?<!!)\[([^]]+)\]\(\.\./\.\./[^)]+\)", r"\1", text)


def factor_table() -> str:
    """The factors of variation and what each does."""
    rows = [[f"`{name}`", " ".join(str(getdoc(type(factor))).split())] for name, factor in FACTORS.items()]
    return markdown_table(["factor", "what varies"], rows)


def command_page() -> str:
    """The help of every command."""

    def help_of(command: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "goalsight", command, "--help"], capture_output=True, text=True, check=True
        )
        return f"## {command}\n\n{COMMANDS[command].summary}\n\n```text\n{done.stdout.strip()}\n```"

    with ThreadPoolExecutor(2) as pool:
        pages = list(pool.map(help_of, COMMANDS))
    return "\n\n".join(["# Command line", *pages]) + "\n"


def fill(text: str) -> str:
    """A page with its markers replaced, and its links into the repository."""

    def answer(found: re.Match[str]) -> str:
        tables = {"factors": factor_table, "experts": lambda: expert_table().replace("](", "](environments/")}
        return tables[found.group(1)]()

    return re.sub(r"<!-- (.+?) -->", answer, at_home(text))


def main(config: MakePages) -> None:
    """Write all pages."""
    env_ids = [env_id for env_id in own_ids() if not config.only or env_id in config.only]
    by_task = {name: ids for name in TASKS if (ids := [i for a in ARMS for i in env_ids if i == id_of(a, TASKS[name])])}
    folder = config.out / "environments"
    (folder / "shots").mkdir(parents=True, exist_ok=True)
    for env_id in tqdm(env_ids, unit="env", desc="pictures", disable=None):
        film(env_id, config, folder / "shots")
    for page in PAGES.iterdir():
        if page.suffix == ".md":
            (config.out / page.name).write_text(fill(page.read_text()))
        else:
            shutil.copy(page, config.out / page.name)
    plots = config.out / "plots"
    plots.mkdir(exist_ok=True)
    pictures = [file for file in MEDIA.rglob("*") if file.is_file()]
    for plot in (*EXPERTS.parent.glob("*.svg"), *EXPERTS.parent.glob("*.png"), *pictures):
        shutil.copy(plot, plots / plot.name)
    write_part_pages(config.out, plots)
    for name, ids in tqdm(by_task.items(), unit="task", desc="pages", disable=None):
        (folder / f"{name}.md").write_text(task_page(name, ids))
    lines = [f"- [{camel(name)}]({name}.md): {str(getdoc(type(TASKS[name]))).splitlines()[0]}" for name in by_task]
    (folder / "tasks.md").write_text("# Tasks\n\n" + "\n".join(lines) + "\n")
    about = "Every task with every arm that reaches it. The figures say how often the scripted expert succeeds."
    (folder / "index.md").write_text(f"# Environments\n\n{about}\n\n{expert_table(env_ids)}\n")
    pieces = [f"## {camel(name)}\n\n{gallery(ids, '../')}" for name, ids in by_task.items()]
    (folder / "gallery.md").write_text("\n\n".join(["# Gallery", "Start, goal, expert.", *pieces]) + "\n")
    (config.out / "command_line.md").write_text(command_page())
    print(config.out)


if __name__ == "__main__":
    main(tyro.cli(MakePages, description=__doc__))

"""Build a wheel, install it with all it needs into an empty environment, and use it from another folder."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("agents", "assets", "envs", "eval", "pretrain")

# Run inside the empty environment, so nothing of this folder can help.
TRIAL = """
import importlib.metadata, importlib.resources, sys
import gymnasium, numpy as np
import goalsight

assert "site-packages" in goalsight.__file__, goalsight.__file__
assert importlib.resources.files("goalsight.assets").joinpath("arms/panda.xml").is_file()
names = {name.lower() for name in importlib.metadata.packages_distributions()}
assert "torchvision" not in names

for task in ("Reach", "Push", "PickPlace"):
    env = gymnasium.make(f"goalsight:goalsight/Panda{task}-v1")
    obs, _ = env.reset(seed=0)
    obs, reward, *_ = env.step(env.action_space.sample())
    assert reward == env.unwrapped.compute_reward(obs["achieved_goal"], obs["desired_goal"], {})
    env.close()
env = gymnasium.make("goalsight/PandaReach-v1", obs="pixels")
obs, _ = env.reset(seed=0)
assert obs["pixels"].shape == obs["goal_pixels"].shape == (64, 64, 3) and obs["pixels"].std() > 5
print("the wheel's environments step and render")
"""


def run(command: list[str | Path], folder: Path) -> str:
    """Run a command with no way back to this checkout, and return what it printed."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    print("+", " ".join(map(str, command)).split("\n")[0], flush=True)
    return subprocess.run(command, cwd=folder, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout


def source_files() -> set[str]:
    """Return what the wheel must hold, as paths inside it."""

    def below(folder: str) -> Iterator[Path]:
        return (file for file in (ROOT / folder).rglob("*") if file.is_file() and "__pycache__" not in file.parts)

    files = {str(file.relative_to(ROOT)) for file in below("goalsight")}
    for room in ROOMS:
        files |= {f"goalsight/{file.relative_to(ROOT)}" for file in below(room)}
    return files


def build(folder: Path) -> Path:
    """Build the wheel from a copy, because a `build/` left here would slip old files into it."""
    copy = folder / "source"
    skip = shutil.ignore_patterns(".*", "runs", "build", "dist", "*.egg-info", "__pycache__", "MUJOCO_LOG.TXT")
    shutil.copytree(ROOT, copy, ignore=skip)
    run([sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, copy], folder)
    return next(folder.glob("goalsight-*.whl"))


def main() -> None:
    """Raise at the first thing that does not work."""
    with tempfile.TemporaryDirectory(prefix="goalsight-wheel-") as name:
        folder = Path(name)
        wheel = build(folder)
        missing = source_files() - set(zipfile.ZipFile(wheel).namelist())
        if missing:
            sys.exit(f"the wheel lacks {', '.join(sorted(missing))}; see setup.py")
        venv.create(folder / "env", with_pip=True)
        binaries, elsewhere = folder / "env" / "bin", folder / "elsewhere"
        elsewhere.mkdir()
        install = [
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--constraint",
            ROOT / "constraints.txt",
        ]
        run([binaries / "pip", *install, wheel], elsewhere)
        print(run([binaries / "python", "-c", TRIAL], elsewhere), end="")
        run([binaries / "goalsight", "--help"], elsewhere)
        # Python that is started in a checkout finds the front door there first, and must find the rooms too.
        run([binaries / "python", "-c", "import goalsight.envs.registration, goalsight.pretrain.train"], ROOT)
        listed = json.loads(run([binaries / "goalsight", "envs", "--json"], elsewhere))
        print(f"wheel check passed: {wheel.name}, {len(listed['ids'])} environments")


if __name__ == "__main__":
    main()

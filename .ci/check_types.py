"""Run mypy over the package, the benchmarks and the docs, and fail if it passed over a file of the package.

The package lies in several top-level folders and mypy sees it through the links under .typing/; a file that
is not linked, or a folder that is skipped, would silently go unchecked.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("agents", "assets", "envs", "eval", "pretrain")


def expected_modules() -> set[str]:
    """Return the dotted names of all modules of the package, from the folders themselves."""
    modules = set()
    for folder in ("goalsight", *ROOMS):
        for file in (ROOT / folder).rglob("*.py"):
            parts = list(file.relative_to(ROOT).with_suffix("").parts)
            if parts[0] != "goalsight":
                parts.insert(0, "goalsight")
            modules.add(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return modules


def main() -> int:
    """Return 0 if mypy read everything and found nothing."""
    with tempfile.TemporaryDirectory() as folder:
        # Without the cache, because the report lists only what was read this time.
        command = [sys.executable, "-m", "mypy", "--no-incremental", "--linecount-report", folder]
        status = subprocess.run([*command, "--package", "goalsight"], cwd=ROOT, check=False).returncode
        report = Path(folder) / "linecount.txt"
        read = {line.split()[-1] for line in report.read_text().splitlines()} if report.exists() else set()
    missed = expected_modules() - read
    for module in sorted(missed):
        print(f"mypy did not read {module}; is it linked under .typing/goalsight/ ?", file=sys.stderr)
    print(f"mypy read {len(expected_modules()) - len(missed)} of {len(expected_modules())} modules")
    scripts = [str(path) for folder in ("benchmarks", "docs") for path in sorted((ROOT / folder).glob("*.py"))]
    status = subprocess.run([sys.executable, "-m", "mypy", *scripts], cwd=ROOT, check=False).returncode or status
    return status or bool(missed)


if __name__ == "__main__":
    sys.exit(main())

"""Environment steps per second of goalsight beside its peers, each peer in a virtual environment of its own.

README.md says what is compared and how. A peer that cannot be installed or run is reported with its reason.
"""

import json
import os
import statistics
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from isolation import CommandError, Library, python_of, run_together
from peers_plot import plot
from reporting import RESULTS, markdown_table, provenance, significant, start

from goalsight.base.files import atomic_write_json, atomic_write_text
from goalsight.base.machine import usable_cores

WORKER = Path(__file__).resolve().with_name("stepping.py")
GOALSIGHT = Library("goalsight", ("goalsight", "mujoco", "mujoco-warp", "warp-lang", "gymnasium", "numpy"))
PEERS = {
    # The last release of MuJoCo that it works with.
    "FetchPush": Library(
        "gymnasium-robotics",
        ("gymnasium-robotics", "mujoco", "gymnasium", "numpy"),
        ("gymnasium-robotics==1.4.2", "mujoco==3.2.7", "gymnasium==1.4.0", "numpy==2.4.6", "pettingzoo==1.27.0"),
    ),
    "OGBench cube-single": Library(
        "ogbench",
        ("ogbench", "mujoco", "dm_control", "gymnasium", "numpy"),
        ("ogbench==1.2.2", "mujoco==4.0.0", "dm_control==1.0.50", "gymnasium==1.4.0", "numpy==2.4.6"),
    ),
    "Meta-World push": Library(
        "metaworld",
        ("metaworld", "mujoco", "gymnasium", "numpy"),
        (
            *("metaworld==3.1.1", "mujoco==3.3.0", "gymnasium==1.4.0", "numpy==2.4.6"),
            *("packaging==26.3", "imageio==2.38.1", "PyOpenGL==3.1.10"),
        ),
    ),
    "panda-gym Push": Library(
        "panda-gym",
        ("panda-gym", "pybullet", "gymnasium", "numpy"),
        ("panda-gym==3.0.7", "pybullet==3.2.7", "gymnasium==1.4.0", "numpy==2.4.6", "scipy==1.17.1"),
    ),
    # Likewise.
    "robosuite Lift": Library(
        "robosuite",
        ("robosuite", "mujoco", "numpy"),
        ("robosuite==1.5.2", "mujoco==3.3.0", "numpy==1.26.4", "numba==0.68.1", "PyOpenGL==3.1.10"),
    ),
}
OBS = ("state", "pixels")
BATCHES = (1, 32, 256, 4096)
STEPS_HEAD = ["environment", "obs", "envs", "processes", "env steps/s", "in each round", "per CPU second"]
RATIOS_HEAD = ["goalsight beside", "obs", "its processes", "faster", "with envs", "aim"]
# What is hoped for beside one process of the peer: (peer, obs) -> times faster.
AIMS = {("OGBench cube-single", "pixels"): 350, ("FetchPush", "pixels"): 25, ("FetchPush", "state"): 15}


@dataclass(frozen=True)
class Peers:
    """Measure environment steps per second beside other libraries."""

    venvs: Path = Path.home() / ".cache" / "goalsight-benchmarks"
    """Where the peers' virtual environments are kept."""
    seconds: float = 1.5
    """Least length of a window [s]."""
    windows: int = 3
    """Windows per measurement."""
    rounds: int = 2
    """Times that everything is measured, one thing after the other, so that the machine's drift shows."""
    longest: float = 6.0
    """Where a peer's window is cut even though its episode goes on [s]."""
    image_size: int = 64
    """Side of an image [pixels]; OGBench has 64 only."""
    gl: Literal["egl", "osmesa"] = "egl"
    """What draws the peers' images; goalsight uses its ray tracer."""
    seed: int = 0
    """Seed of the episodes and of the random actions."""
    out: Path = RESULTS / "peers.json"
    """The result; a Markdown table and a plot (SVG) are written beside it."""


@dataclass
class Row:
    """One thing to measure, and what came of it."""

    library: Library
    env: str
    obs: str
    num_envs: int = 1
    processes: int = 1  # run at the same time, their rates added
    windows: list[float] = field(default_factory=list)  # env steps per second in each
    rounds: list[float] = field(default_factory=list)  # the median of each round's windows
    cpu: list[float] = field(default_factory=list)  # env steps per second of CPU time, in each window
    failure: str | None = None

    @property
    def steps_per_second(self) -> float:
        """The median of all windows; 0 where there is no figure."""
        return statistics.median(self.windows) if self.windows and self.failure is None else 0.0

    @property
    def title(self) -> str:
        """What is measured, in words."""
        return f"{self.env}, {self.obs}, {self.num_envs} envs, {self.processes} processes"

    def as_json(self) -> dict[str, Any]:
        """Return the row without what only this script needs."""
        return {
            "env": self.env,
            "obs": self.obs,
            "num_envs": self.num_envs,
            "processes": self.processes,
            "steps_per_second": significant(self.steps_per_second, 4) or None,
            "rounds": [significant(rate, 4) for rate in self.rounds],
            "windows": [significant(rate, 4) for rate in self.windows],
            "steps_per_cpu_second": significant(statistics.median(self.cpu), 4) if self.cpu else None,
            "failure": self.failure,
        }


def planned() -> list[Row]:
    """Return all that is measured: the peers in one process, as they are used, ours, the peers on every core."""
    cores = usable_cores()
    alone = [Row(library, env, obs) for env, library in PEERS.items() for obs in OBS]
    own = [Row(GOALSIGHT, "goalsight Push", obs, num_envs) for obs in OBS for num_envs in BATCHES]
    crowds = [Row(row.library, row.env, row.obs, processes=cores) for row in alone if cores > 1]
    return alone + own + crowds


def measure(row: Row, config: Peers) -> dict[str, str]:
    """Measure a row once more and keep the rates in it; return the versions of what was measured.

    Raises:
        CommandError: when it cannot be installed or run.
    """
    spec = {
        "env": row.env,
        "obs": row.obs,
        "num_envs": row.num_envs,
        "image_size": config.image_size,
        "seed": config.seed,
        "seconds": config.seconds,
        "windows": config.windows,
        "longest": config.longest if row.library.pins else None,
        "packages": row.library.packages,
    }
    # Threads stay what each library and OpenGL choose, which is what their users get.
    env = {name: value for name, value in os.environ.items() if name not in ("MUJOCO_GL", "PYOPENGL_PLATFORM")}
    if row.library.pins:
        env["MUJOCO_GL"] = config.gl
    command = [str(python_of(row.library, config.venvs)), str(WORKER), json.dumps(spec)]
    outputs = run_together([command] * row.processes, env)
    rates = [sum(parts) for parts in zip(*(output["rates"] for output in outputs), strict=True)]
    row.windows += rates
    row.rounds.append(statistics.median(rates))
    row.cpu += [rate for output in outputs for rate in output["cpu_rates"]]
    versions: dict[str, str] = outputs[0]["versions"]
    return versions


def measure_all(rows: list[Row], config: Peers) -> dict[str, dict[str, str]]:
    """Measure all rows in turn, so many rounds; return the versions by library."""
    versions = {}
    for round_ in range(config.rounds):
        for row in rows:
            # One round is enough for the peers' second way of running.
            if row.failure is not None or (row.processes > 1 and round_ < config.rounds - 1):
                continue
            try:
                versions[row.library.name] = measure(row, config)
            except CommandError as error:
                row.failure = str(error)
            print(f"{row.title}: {row.failure or f'{row.rounds[-1]:,.0f} steps/s'}", file=sys.stderr)
    return versions


def ratios(rows: list[Row]) -> Iterator[dict[str, Any]]:
    """Say how many times faster goalsight is, with its best batch and with each, per peer and observation."""
    for peer in rows:
        own = {
            row.num_envs: row.steps_per_second
            for row in rows
            if row.library is GOALSIGHT and row.obs == peer.obs and row.steps_per_second
        }
        if peer.library is GOALSIGHT or not peer.steps_per_second or not own:
            continue
        best = max(own, key=lambda num_envs: own[num_envs])
        yield {
            "peer": peer.env,
            "obs": peer.obs,
            "peer_processes": peer.processes,
            "times_faster": significant(own[best] / peer.steps_per_second),
            "at_num_envs": best,
            "by_num_envs": {str(n): significant(rate / peer.steps_per_second) for n, rate in own.items()},
            "aim": AIMS.get((peer.env, peer.obs)) if peer.processes == 1 else None,
        }


def report(rows: list[Row], compared: list[dict[str, Any]]) -> str:
    """Return the rows and the ratios as Markdown."""
    steps = [
        [
            *(row.env, row.obs, str(row.num_envs), str(row.processes)),
            f"{row.steps_per_second:,.0f}" if row.steps_per_second else "failed",
            " / ".join(f"{rate:,.0f}" for rate in row.rounds),
            f"{statistics.median(row.cpu):,.0f}" if row.cpu else "",
        ]
        for row in rows
    ]
    times = [
        [
            *(one["peer"], one["obs"], str(one["peer_processes"]), f"{one['times_faster']:g}x"),
            *(str(one["at_num_envs"]), f"{one['aim']}x" if one["aim"] else ""),
        ]
        for one in compared
    ]
    parts = [
        markdown_table(STEPS_HEAD, steps),
        markdown_table(RATIOS_HEAD, times),
    ]
    parts += [f"Failed: {row.title}: {row.failure}" for row in rows if row.failure]
    return "\n\n".join(parts)


def main(config: Peers) -> None:
    """Measure, write and print."""
    result, rows = provenance(), planned()
    versions = measure_all(rows, config)
    compared = list(ratios(rows))
    result |= {
        "protocol": {
            **{name: value for name, value in asdict(config).items() if isinstance(value, int | float)},
            "peers_draw_with": config.gl,
            "threads": "not restricted: what each library takes by itself",
        },
        "library_versions": versions,
        "rows": [row.as_json() for row in rows],
        "ratios": compared,
    }
    table = report(rows, compared)
    config.out.parent.mkdir(parents=True, exist_ok=True)
    atomic_write_json(config.out, result)
    atomic_write_text(config.out.with_suffix(".md"), table + "\n")
    plot(result["rows"], config.out.with_suffix(".svg"))
    print(table)


if __name__ == "__main__":
    start(Peers, main)

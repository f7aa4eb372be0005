"""Training runs as a comparison takes them: what was asked for, and what they measured, in memory."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from goalsight.base.errors import UserError, choose
from goalsight.base.run_folders import ENCODER_PATH
from goalsight.envs.config import EnvConfig

if TYPE_CHECKING:
    from goalsight.base.runs import Run

# What says who ran and where the result went, and nothing of what was learnt.
PASSED_OVER = ("seed", "out", "track", "json")
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Member:
    """A training run of a comparison.

    Attributes:
        path: the folder.
        seed: its seed.
        settings: what was asked for, by the names of the command line; without the seed and folders.
        env: the environment's id.
        status: how far the run is.
        steps: its own step at each evaluation, (T,), rising.
        seconds: for how long it had worked by then, (T,) [s].
        flops: floating-point operations it had done by then, (T,); None where it did not count them.
        values: the metric, (T,).
        episodes: of an evaluation; None where the metric is no share of episodes.
        machine: what it ran on.
        versions: of the packages that it ran with.
        encoder: hash of its pretrained encoder; None where it has none.
        step_unit: what a step is.
        pretraining: what its encoder cost before it began, of "seconds" and "flops"; None where that is not known.
    """

    path: Path
    seed: int
    settings: Mapping[str, Any]
    env: str
    status: str
    steps: Floats
    seconds: Floats
    flops: Floats | None
    values: Floats
    episodes: int | None
    machine: str
    versions: Mapping[str, str]
    encoder: str | None
    step_unit: str
    pretraining: Mapping[str, float] | None

    @property
    def final(self) -> float:
        """The metric at the last evaluation."""
        return float(self.values[-1])


def read_members(paths: Sequence[Path], metric: str) -> list[Member]:
    """Read the runs, whatever the order they are named in, sorted by folder.

    Args:
        paths: their folders.
        metric: what is compared, as metrics.jsonl names it.

    Raises:
        UserError: there are fewer than two, one is no training run, has not measured the metric, is named twice, or
            they learn in different environments.
    """
    from goalsight.base.runs import Run

    folders = sorted(paths, key=lambda path: str(path.resolve()))
    for one, other in pairwise(folders):
        if one.resolve() == other.resolve():
            raise UserError(f"run {one} is named twice")
    if len(folders) < 2:
        raise UserError(f"needs at least two runs to compare, got {len(folders)}")
    runs = [Run.open(path) for path in folders]
    for run in runs:
        if run.kind != "train":
            raise UserError(f"{run.path} is a {run.kind} run; training runs are compared")
    _check_same_environment(runs)
    return [_member(run, metric) for run in runs]


def _check_same_environment(runs: "Sequence[Run]") -> None:
    ids = {run.path: _env_of(run) for run in runs}
    first = next(iter(ids))
    for path, env in ids.items():
        if env != ids[first]:
            raise UserError(
                f"success in different environments is not compared: {first} learnt in {ids[first]}, {path} in {env}"
            )


def _env_of(run: "Run") -> str:
    env = EnvConfig.recorded(run.config)
    return env.id if env else ""


def _member(run: "Run", metric: str) -> Member:
    rows = [row for row in run.metrics() if all(_is_number(row.get(name)) for name in ("step", "wall_s", metric))]
    if not rows:
        _refuse(run, metric)
    steps, sources = _column(rows, "step"), run.manifest.get("sources", {})
    # Of what was measured again, because a run went on from an earlier step, the later rows count.
    kept = steps < np.append(np.minimum.accumulate(steps[::-1])[::-1][1:], np.inf)
    counted = all(_is_number(row.get("flops")) for row in rows)
    return Member(
        path=run.path,
        seed=int(run.manifest.get("seed", 0)),
        settings=settings_of(run.config),
        env=_env_of(run),
        status=run.status,
        steps=steps[kept],
        seconds=_column(rows, "wall_s")[kept],
        flops=_column(rows, "flops")[kept] if counted else None,
        values=_column(rows, metric)[kept],
        episodes=_episodes(run.config) if metric == "eval/success" else None,
        machine=_machine(run.manifest),
        versions=run.manifest.get("versions", {}),
        encoder=sources.get("encoder") if ENCODER_PATH in sources else None,
        step_unit=step_unit(run.config),
        pretraining=_pretraining(run),
    )


def step_unit(config: Mapping[str, Any]) -> str:
    """What the steps of a training run count: "env steps", or "gradient steps" where a recording is learnt from."""
    return "gradient steps" if config.get("data") else "env steps"


def _refuse(run: "Run", metric: str) -> None:
    known = {name for row in run.metrics() for name in row} - {"step", "wall_s"}
    if not known:
        raise UserError(f"run {run.path} ({run.status}) has not measured anything yet")
    try:
        choose("metric", metric, known)
    except UserError as error:
        raise UserError(f"run {run.path} has {error}") from None
    raise UserError(f"run {run.path} ({run.status}) has no finite {metric} yet")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and bool(np.isfinite(value))


def _column(rows: Iterable[Mapping[str, float]], name: str) -> Floats:
    return np.array([row.get(name, np.nan) for row in rows], float)


def settings_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """What a run was asked for, flat, by the names of the command line; what was left to the task is filled in.

    Seed, folder, trackers and the form of the output are left out, and what is null.
    """
    resolved = dict(config.get("preset") or {})
    asked = {name: value for name, value in config.items() if name not in ("preset", *PASSED_OVER)}
    env = asked.pop("env", None)
    named = {"env": env.get("id"), **env} if isinstance(env, Mapping) else {"env": env}
    asked = {name: value for name, value in named.items() if name != "id"} | asked
    asked |= asked.pop("options", None) or {}
    return {name: value for name, value in _flat(asked | resolved) if value is not None}


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, tuple(value) if isinstance(value, list) else value


def _episodes(config: Mapping[str, Any]) -> int | None:
    found = (config.get("preset") or {}).get("eval_episodes") or config.get("eval_episodes")
    return int(found) if found else None


def _machine(manifest: Mapping[str, Any]) -> str:
    about = manifest.get("machine", {})
    moved = any(
        said.startswith("the machine's") for time in manifest.get("resumed", ()) for said in time["differences"]
    )
    return f"{about.get('cpu', 'unknown')} with {about.get('cores', '?')} cores{', then another' if moved else ''}"


def _pretraining(run: "Run") -> dict[str, float] | None:
    """What the encoder cost: nothing where none was pretrained, None where its run is gone or unfinished."""
    from goalsight.base.runs import Run

    named = run.manifest.get("sources", {}).get(ENCODER_PATH)
    if not named:
        return {"seconds": 0.0, "flops": 0.0}
    try:
        summary = Run.open(Path(named)).summary
    except UserError:
        return None
    return {"seconds": summary["seconds"], "flops": summary["flops"]} if {"seconds", "flops"} <= set(summary) else None

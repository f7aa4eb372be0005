"""`goalsight doctor`: what this machine can do, measured here and now."""

import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from goalsight.base.machine import describe_machine, versions

if TYPE_CHECKING:
    from goalsight.envs.rendering.report import RendererState

MATRIX_SIDE = 1024
MATRIX_SECONDS = 0.5
FEATURES = {"amx_bf16": "AMX", "avx512_bf16": "AVX-512", "bf16": "Arm"}  # that multiply in bf16


@dataclass(frozen=True)
class Doctor:
    """Say what this machine can do: versions, cores, matrix speed, renderers, disk."""

    runs: tyro.conf.Positional[Path] = Path("runs")
    """Folder that runs will be written to."""
    fingerprints: bool = False
    """Also check that each environment behaves here as it did when it was published."""
    json: bool = False
    """Print the findings as JSON."""


def doctor(config: Doctor) -> int:
    """Print the findings.

    They are "versions", "machine", "threads", "matrix" (GFLOP/s by type, and the type that training will use),
    "renderers" (state and frames/s of each), "runs" (whether the folder can be written, and its free disk) and, where
    asked for, "fingerprints" (in what each environment differs from what was published).

    Returns:
        1 when an environment differs, else 0.
    """
    from goalsight.envs.rendering.report import renderer_report

    findings: dict[str, Any] = {
        "versions": versions(),
        **_computing(),
        "renderers": renderer_report(),
        "runs": _disk(config.runs),
    }
    if config.fingerprints:
        from goalsight.envs.fingerprints import compare, own_ids

        findings["fingerprints"] = compare(own_ids())
    print(json.dumps(findings, indent=2) if config.json else _text(findings))
    return int(any(findings.get("fingerprints", {}).values()))


def _computing() -> dict[str, Any]:
    """Describe the machine and time matrix products on it."""
    import torch

    from goalsight.base.flops import matmul_peak
    from goalsight.base.precision import fast_dtype

    device = "cuda" if torch.cuda.is_available() else "cpu"
    peaks = {
        dtype: matmul_peak(dtype, device=device, size=MATRIX_SIDE, seconds=MATRIX_SECONDS)
        for dtype in (torch.float32, torch.bfloat16)
    }
    speeds = {str(dtype).removeprefix("torch."): round(peak / 1e9, 1) for dtype, peak in peaks.items()}
    chosen = str(fast_dtype(device)).removeprefix("torch.")
    return {
        "machine": describe_machine(),  # after torch is imported, so that it names the GPU
        "threads": torch.get_num_threads(),
        "matrix": {"device": device, "gflops": speeds, "training_uses": chosen},
    }


def _disk(folder: Path) -> dict[str, Any]:
    """Say whether `folder` could be written to, without leaving anything behind."""
    existing = folder.absolute()
    while not existing.is_dir():
        existing = existing.parent
    try:
        with tempfile.TemporaryFile(dir=existing) as file:
            file.write(b"\0" * 4096)
            file.flush()
        problem = ""
    except OSError as error:
        problem = error.strerror or str(error)
    free = shutil.disk_usage(existing).free
    return {"folder": str(folder), "writable": not problem, "problem": problem, "free_gb": round(free / 1e9, 1)}


def _fingerprints(compared: dict[str, list[str]]) -> dict[str, str]:
    if not compared:
        return {}
    changed = {f"{env_id} differs": ", ".join(found) for env_id, found in compared.items() if found}
    return {"fingerprints": f"{len(compared) - len(changed)} of {len(compared)} as published", **changed}


def _text(findings: dict[str, Any]) -> str:
    machine, matrix, runs = findings["machine"], findings["matrix"], findings["runs"]
    flags = machine["matrix_flags"]
    has = ", ".join(f"{name} {'yes' if flag in flags else 'no'}" for flag, name in FEATURES.items())
    speeds = ", ".join(f"{speed:,.0f} GFLOP/s in {name}" for name, speed in matrix["gflops"].items())
    writable = "can be written" if runs["writable"] else f"CANNOT be written: {runs['problem']}"
    rows = {
        "machine": f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB, {machine['system']}",
        "bf16 units": has,
        "threads": f"{findings['threads']} for matrix products",
        "matrix": f"{speeds} ({matrix['device']}); training uses {matrix['training_uses']}",
        **{f"renderer {state['name']}": _renderer(state) for state in findings["renderers"]},
        "runs": f"{runs['folder']} {writable}; {runs['free_gb']:g} GB free",
        **_fingerprints(findings.get("fingerprints", {})),
        **{f"version {name}": version for name, version in findings["versions"].items()},
    }
    width = max(map(len, rows))
    return "\n".join(f"{name:{width}}  {value}" for name, value in rows.items())


def _renderer(state: "RendererState") -> str:
    if not state["ok"]:
        return f"does not work here: {state['detail']}"
    return f"{state['fps']:,.0f} frames/s at 64x64 ({state['detail']})"

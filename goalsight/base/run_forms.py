"""What the files of a run hold that are read again; see `records` for how they are checked."""

from typing import Any, Literal, TypedDict

Status = Literal["running", "finished", "interrupted", "failed"]


class Manifest(TypedDict, total=False):
    """What a manifest holds; `NEEDED` of it is always there."""

    kind: str
    id: str
    status: Status
    seed: int
    started: str
    command: list[str]
    machine: dict[str, Any]
    versions: dict[str, str]
    sources: dict[str, str]
    process: dict[str, Any]
    asked: dict[str, Any]
    resumed: list[Any]
    error: str


class Asked(TypedDict, total=False):
    """What configurations of all kinds hold that is read again whatever the kind."""

    options: dict[str, Any] | None
    preset: dict[str, Any] | None


class Summary(TypedDict, total=False):
    """What summaries of runs of all kinds hold that is read again."""

    frames: int
    episodes: int
    moved_share: float | None
    frames_per_second: float
    episodes_by_behaviour: dict[str, int]
    seconds: float
    data: str
    alarms: dict[str, str]
    steps: int
    env_steps: int
    updates: int
    flops: float
    best_success: float | None
    last_success: float | None
    stage_seconds: dict[str, float]
    stage_flops: dict[str, float]
    watched_frames: int
    watched_episodes: int
    watched_skill: float | None
    watching: list[dict[str, Any]]


NEEDED = ("status", "seed", "started", "command", "machine", "versions", "sources")  # of a manifest, beside the kind

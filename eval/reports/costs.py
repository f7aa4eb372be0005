"""The chapter about what a training run cost, stage by stage."""

from typing import TYPE_CHECKING

from goalsight.base.tables import duration
from goalsight.eval.reports import page

if TYPE_CHECKING:
    from goalsight.base.runs import Run

STAGES = {
    "calibrating": "a short play at random, which shows the scales of what is seen",
    "playing": "own play and attempts, before the labels of a video",
    "seeing": "the state estimator's gradient steps",
    "reading": "looking at the video, and the inverse model's gradient steps",
    "imitating": "gradient steps of imitation before trial",
    "acting": "choosing actions",
    "stepping": "the environments' physics",
    "drawing": "the environments' images",
    "encoding": "images to features",
    "learning": "the algorithm's gradient steps",
    "waiting": "for steps that the environments had not finished",
    "evaluating": "evaluations on the way",
    "saving": "checkpoints",
}


def spent(run: "Run") -> str:
    """Where the time and the operations of a training run went; nothing for a run that did not count them."""
    summary = run.summary
    seconds, operations = summary.get("stage_seconds"), summary.get("stage_flops", {})
    if not seconds:
        return ""
    whole = summary["seconds"]
    rows = [
        [
            stage,
            what,
            duration(seconds.get(stage, 0.0)),
            f"{seconds.get(stage, 0.0) / whole:.0%}" if whole else "",
            f"{operations[stage]:.2g}" if operations.get(stage) else "",
        ]
        for stage, what in STAGES.items()
        if seconds.get(stage)
    ]
    return page.section(
        "What it cost",
        f"{duration(whole)} of wall-clock time and {summary['flops']:.2g} floating-point operations of matrix products "
        "and convolutions. The environments step, draw and encode beside the learning, so that shares can add up to "
        "more than 100%; the waiting is what of that was left over.",
        page.grid(["stage", "what it is", "time", "share of the time", "FLOPs"], rows),
    )

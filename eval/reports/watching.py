"""The chapter about the silent video that a training run learnt from."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from goalsight.eval.reports import page
from goalsight.eval.reports.labelled import LONGER, frame_sheet, labelled_sheet
from goalsight.eval.reports.plots import COLOURS, OTHERS, Series, line_plot, share_plot
from goalsight.eval.stats import Estimate, wilson

if TYPE_CHECKING:
    from goalsight.agents.watching.glimpse import Glimpse
    from goalsight.base.runs import Run

SUCCESS = "eval/success"  # the metric a training run logs at each of its evaluations
UNKNOWN = "-"
Round = Mapping[str, Any]


def silent_video(run: "Run") -> str:
    """What the video showed, what was read from it, and what that and trial came to; nothing where none was watched."""
    if not run.config.get("video"):
        return ""
    from goalsight.agents.watching.glimpse import Glimpse

    glimpse = Glimpse.kept_in(run.path)
    rounds = run.summary.get("watching", [])
    judged = {int(row["step"]): row[SUCCESS] for row in run.metrics() if SUCCESS in row}
    parts = [_shown(glimpse), _doubted(rounds)]
    if rounds:
        parts += [_rounds(rounds, judged), _trial(run, rounds[-1], judged)]
    return page.section("What was watched", _origin(run), *parts)


def _origin(run: "Run") -> str:
    """Which video it was, how much of it there is, and how often what it shows succeeds."""
    names = ", ".join(Path(video).name for video in run.config["video"])
    summary = run.summary
    if "watched_frames" not in summary:
        return f"The video is {names}. The run has not come to its end, so it has not counted what it watched."
    skill = summary["watched_skill"]
    ends = "whether they end in success is not known" if skill is None else f"{skill:.0%} of them end in success"
    return (
        f"{summary['watched_frames']:,} frames of silent video in {summary['watched_episodes']:,} episodes, from "
        f"{names}; {ends}. Actions in it: {summary['watched_actions']}."
    )


def _shown(glimpse: "Glimpse | None") -> str:
    """Frames of the video, and what was read in them."""
    if glimpse is None:
        return page.paragraph("The run has kept no frames of the video.")
    strip = page.figure(frame_sheet(glimpse), "Frames of the video's first episodes, a row for each episode.")
    read = page.paragraph("What was read is not drawn: the camera moves, or where things are is not read.")
    if any(math.isfinite(place) for place in glimpse.read.flat):
        caption = (
            f"What the last round read in each frame. An arrow shows where the action sends the tool, {LONGER:g} times "
            "as long."
        )
        if any(math.isfinite(place) for place in (*glimpse.true.flat, *glimpse.true_moves.flat)):
            caption += " What is true is known of audited episodes, which are not imitated."
        read = page.figure(labelled_sheet(glimpse), caption)
    showed, was_read = page.heading("What the video showed"), page.heading("What was read from it")
    return page.join(showed, strip, was_read, read, _misread(glimpse))


def _misread(glimpse: "Glimpse") -> str:
    """By how much places are misread."""
    if not len(glimpse.names):
        return ""
    head = ["misread by [cm]", "in own play held out", "in the video's audited episodes"]
    errors = zip(glimpse.names, glimpse.own_errors, glimpse.errors, strict=True)
    return page.grid(head, [[str(name), _in_cm(own), _in_cm(error)] for name, own, error in errors])


def _doubted(rounds: list[Round]) -> str:
    """Say what of the labels was not believed."""
    said = []
    for number, one in enumerate(rounds):
        unread = one.get("unread_actions", [])
        if "refused" in one:
            why = one["refused"]
            words = f"In round {number} the labels were not believed: {why}. The agent learnt by trial alone."
            said.append(page.alarm(words))
        elif unread:
            which = f"number{'s' * (len(unread) > 1)} {', '.join(map(str, unread))}"
            tried = ", and was explored in half of the attempts" if "attempts_success" in one else ""
            said.append(page.paragraph(f"In round {number} {which} of an action could not be read{tried}."))
    return page.join(*said)


def _rounds(rounds: list[Round], judged: Mapping[int, float]) -> str:
    """What each round measured, in numbers and over environment steps."""
    head = ["round", "env steps", "goal error [cm]", "own actions explained", "audited actions explained", "doubt"]
    rows = [
        [
            str(number),
            f"{one['env_steps']:,}",
            _in_cm(one["goal_error"]),
            _share(_explained(one, "own")),
            _share(_explained(one, "audited")),
            f"{one['doubt']:.2f}",
            _share(judged.get(one["env_steps"])),
            _share(one.get("attempts_success")),
        ]
        for number, one in enumerate(rounds)
    ]
    table = page.grid([*head, "success of imitation", "success of attempts"], rows)
    steps = [one["env_steps"] for one in rounds]
    lines = {
        "own actions explained": [_explained(one, "own") for one in rounds],
        "audited actions explained": [_explained(one, "audited") for one in rounds],
        "success of imitation": [judged.get(step) for step in steps],
    }
    shares = [
        Series(name, steps, [math.nan if share is None else max(share, 0.0) for share in line])
        for name, line in lines.items()
        if any(share is not None for share in line)
    ]
    plots = []
    if shares:
        plot = line_plot(shares, x_label="environment steps", y_label="share", percent=True)
        plots.append(page.figure(plot, "What is explained, and what its imitation reaches without any trial."))
    error = Series("goal error", steps, [100 * one["goal_error"] for one in rounds])
    plot = line_plot([error], x_label="environment steps", y_label="goal error [cm]")
    plots.append(page.figure(plot, "How exactly what is achieved is read, in own episodes held out."))
    return page.join(page.heading("What each round came to"), table, page.pair(*plots))


def _trial(run: "Run", last: Round, judged: Mapping[int, float]) -> str:
    """Success before any trial, and after all of it."""
    before, after = judged.get(last["env_steps"]), run.summary.get("last_success")
    if before is None or after is None:
        return ""
    episodes = run.config["preset"]["eval_episodes"]
    rows = {}
    for name, success in (("before trial", before), ("at its end", after)):
        row = wilson(round(success * episodes), episodes)
        rows[name] = Estimate(row.rate, row.low, row.high)
    plot = share_plot(
        rows,
        [OTHERS, COLOURS[0]],
        label=f"success in the same {episodes} episodes, 95% Wilson interval",
        title="success before trial and at its end",
    )
    steps, hold = run.summary["env_steps"] - last["env_steps"], run.config["watching"]["hold"]
    words = f"Success before trial, {before:.0%}, and after {steps:,} environment steps of it, {after:.0%}."
    if "refused" not in last and (held := min(hold, steps)):
        which = "all" if held == steps else f"the first {held:,}"
        words += f" In {which} of these steps the actor only rehearsed the video, while the critics learnt."
    return page.join(page.heading("What trial added"), page.figure(plot, words))


def _explained(one: Round, whose: str) -> float | None:
    found = one.get(f"{whose}_actions_explained")
    return None if found is None else _mean(found)


def _mean(numbers: list[float]) -> float:
    return sum(numbers) / len(numbers)


def _share(share: float | None) -> str:
    return UNKNOWN if share is None else f"{share:.0%}"


def _in_cm(metres: float) -> str:
    return f"{100 * metres:.1f}" if math.isfinite(metres) else UNKNOWN

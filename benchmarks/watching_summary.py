"""What the runs of `watching.py` say together: the comparison that was registered, its page, table and picture."""

from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from reporting import RESULTS, Rows, apart, markdown_table, shared_seeds
from watching_doses import DOSES, tables_of_doses

from goalsight.envs.ids import id_of
from goalsight.envs.tasks import TASKS
from goalsight.eval.comparing import wording
from goalsight.eval.comparing.comparison import Asked, Comparison, comparison_of
from goalsight.eval.comparing.groups import paired_seeds
from goalsight.eval.comparing.members import Member
from goalsight.eval.comparing.page import render
from goalsight.eval.reports.plots import Series, line_plot
from goalsight.eval.stats import bootstrap

GROUP = "agent="  # what the name of each group begins with
ASKED = Asked(reach=0.8, in_a_row=2, by=("agent",))  # as registered
NAMES = {
    "expert-2500": "watched 2,500 episodes",
    "expert-500": "watched 500 episodes",
    "expert-100": "watched 100 episodes",
    "expert-25": "watched 25 episodes",
    "no-video": "no video",
    "no-video-ten": "no video, ten critics",
    "expert-2500-often": "watched 2,500, read more often",
    "no-video-unfiltered": "no video, no filter of hindsight",
    "no-video-stricter": "no video, stricter filter of hindsight",
    "state-stricter": "no video, sees the state, stricter filter",
    "no-video-before": "no video, as first registered",
    "state": "no video, sees the state",
    "shuffled-500": "500, frames shuffled",
    "aimless-500": "500 of aimless behaviour",
    "true-2500": "2,500, true actions",
    "random-labels-500": "500, random actions",
    "other-task-500": "500 of another task",
    "other-arm-2500": "2,500 of another arm",
    "expert-10000": "watched 10,000 episodes",
    "points-1000": "pretrained on 1,000, then watched them",
    "random-1000": "watched 1,000, random encoder",
    "points-1000-varied": "pretrained on 1,000 of varied looks",
    "random-1000-varied": "watched 1,000 of varied looks, random encoder",
    "frozen-points-1000": "no video but for frozen points",
    "frozen-random": "no video, frozen random tokens",
    "points-1000-true": "pretrained on 1,000, true actions",
    "points-1000-random-labels": "pretrained on 1,000, random actions",
    "points-1000-shuffled": "pretrained on 1,000, frames shuffled",
    "points-1000-aimless": "pretrained on 1,000 of aimless behaviour",
    "points-1000-other-task": "pretrained on 1,000 of another task",
    "points-1000-ur5e": "pretrained on 1,000 of a UR5e",
    **{arm: f"pretrained on {episodes:,}, then trial" for arm, episodes in DOSES.items()},
    **{f"random-{episodes}": f"watched {episodes:,}, random encoder" for episodes in (100, 500, 2_500)},
}
WITHOUT = ("no-video", "no-video-ten", "no-video-unfiltered", "no-video-stricter", "no-video-before")
WATCHING = ("expert-2500-often", "expert-2500", "points-1000")  # agents that those without video are put beside
DRAWN = (*WATCHING, "random-1000", "expert-500", "no-video", "no-video-ten", "state")
LEAST_DRAWN = 3  # seeds
BESIDE = {  # the end of the names of two arms, one with a pretrained encoder and one with a random one: what they watch
    "1000": "1,000 episodes",
    "1000-varied": "1,000 episodes where colours, light, camera and distractors vary",
    **{str(episodes): f"{episodes:,} episodes" for episodes in (100, 500, 2_500)},
}
BEFORE = RESULTS / "watching-two-rounds.json"  # what was registered first, on Push
Table = list[dict[str, Any]]


def member_of(row: dict[str, Any]) -> Member:
    """Return a row as a comparison takes it."""
    evaluations = row["evaluations"]
    return Member(
        path=Path(f"{row['task']}-{row['arm']}-{row['seed']}"),
        seed=row["seed"],
        settings={"agent": NAMES[row["arm"]]},
        env=id_of("panda", TASKS[row["task"]]),
        status="finished",
        steps=np.array([one["env_steps"] for one in evaluations], float),
        seconds=np.array([one["wall_s"] for one in evaluations]),
        flops=None,
        values=np.array([one["success"] for one in evaluations]),
        episodes=row["asked"]["eval_episodes"],
        machine=f"{row['machine'].get('cpu')} with {row['machine'].get('cores')} cores",
        versions=row.get("versions", {}),
        encoder=None,
        step_unit="env steps",
        pretraining={"seconds": 0.0, "flops": 0.0},
    )


def comparison(rows: Table) -> Comparison:
    """Return the comparison that was registered, over all rows of one task."""
    return comparison_of([member_of(row) for row in rows], ASKED)


def write(rows: Table, out: Path) -> str:
    """Write page, picture and tables of a task beside `out`, and return the tables."""
    found = comparison(rows)
    tables = [
        "Success is that of the last evaluation; of env steps, those to the first of two evaluations in a row of at "
        "least 80%. Intervals are 95%, over seeds.",
        markdown_table(*wording.group_table(found)),
        markdown_table(*wording.pair_table(found)),
        "What imitation alone reaches, before any step of trial: the mean over seeds, and each seed's.",
        markdown_table(*watched_table(rows)),
    ]
    tables[1:1] = ratios(found)
    for end, watched in BESIDE.items():
        if lines := pretraining_table(rows, end):
            tables += [
                f"What an encoder pretrained on the same {watched} adds, before any trial: paired over seeds.",
                markdown_table(["own steps", "pretrained", "random", "difference [points]", "seeds"], lines),
            ]
    tables += tables_of_doses(rows, out.with_name(f"{out.stem}-doses.svg"))
    text = "\n\n".join(tables).replace(GROUP, "") + "\n"
    out.with_suffix(".md").write_text(text)
    out.with_suffix(".html").write_text(render(found).replace(GROUP, ""))
    out.with_suffix(".svg").write_text(picture(found))
    return text


def with_earlier(rows: Table, task: str) -> Table:
    """Return the rows of a task, and beside them the runs without video that were registered first."""
    ours = [row for row in rows if row["task"] == task]
    earlier = [row for row in Rows(BEFORE, "runs").rows if row["task"] == task and row["arm"] == "no-video"]
    return ours + [row | {"arm": "no-video-before"} for row in earlier]


def ratios(found: Comparison) -> list[str]:
    """Return the sentences of `ratio`: agents that watch, beside each kind of agent without video."""
    arms = {group.name.removeprefix(GROUP) for group in found.groups}
    usual = [arm for arm in WATCHING if NAMES[arm] in arms] or ["random-1000"]
    pairs = [(watching, without) for watching in usual for without in WITHOUT]
    return [sentence for ours, theirs in pairs if (sentence := ratio(found, ours, theirs)) is not None]


def ratio(found: Comparison, watching: str, without: str) -> str | None:
    """Return as a sentence how many times as many env steps the agent without video takes; None without a pair.

    A run without video that never reached the level counts at its last step, so that the ratio is a lower bound. Where
    one that watches never did, nothing is known of the ratio.
    """
    groups = {group.name.removeprefix(GROUP): group for group in found.groups}
    ours, theirs = groups.get(NAMES[watching]), groups.get(NAMES[without])
    if ours is None or theirs is None or not (seeds := paired_seeds(ours, theirs)):
        return None
    never = sum(found.reached[ours.name][ours.by_seed[seed]].censored for seed in seeds)
    if never:
        return (
            f'There is no ratio of "{NAMES[without]}" to "{NAMES[watching]}": {never} of the {len(seeds)} paired runs '
            "with video never came to 80%."
        )
    took = {
        group.name: np.array([found.reached[group.name][group.by_seed[seed]].at for seed in seeds])
        for group in (ours, theirs)
    }
    logs = np.log(took[theirs.name] / took[ours.name])
    found_ratio = bootstrap(lambda rows: rows.mean(axis=-1), logs, rng=np.random.default_rng(0))
    value, low, high, least = np.exp([found_ratio.value, found_ratio.low, found_ratio.high, logs.min()])
    censored = sum(found.reached[theirs.name][theirs.by_seed[seed]].censored for seed in seeds)
    takes = f"{'at least ' if censored else ''}{value:.1f} times as many env steps"
    words = (
        f'The ratio of "{NAMES[without]}" to "{NAMES[watching]}": without video the agent takes {takes} '
        f"to 80%, 95% interval {low:.1f} to {high:.1f} over {len(seeds)} paired seeds, "
        f"{least:.1f} in the least of them"
    )
    return words + (
        f"; {censored} of the runs without video never got there and count at their last step." if censored else "."
    )


def pretraining_table(rows: Table, end: str) -> list[list[str]]:
    """Return the paired difference between pretrained and random encoders after each round of watching.

    Args:
        rows: of one task.
        end: of the arms' names, one of `BESIDE`.
    """
    ours, theirs = shared_seeds(rows, (f"points-{end}", f"random-{end}"))
    if len(ours) < 2:
        return []
    lines = []
    for rounds in zip(*(row["watching"] for row in ours + theirs), strict=True):
        success = [[100 * one["success"] for one in some] for some in (rounds[: len(ours)], rounds[len(ours) :])]
        shown = (f"{mean(one):.0f}% ({' '.join(f'{each:.0f}%' for each in one)})" for one in success)
        seeds = " ".join(str(row["seed"]) for row in ours)
        lines.append([f"{rounds[0]['env_steps']:,}", *shown, apart(success[0], success[1]), seeds])
    return lines


def watched_table(rows: Table) -> tuple[list[str], list[list[str]]]:
    """Head and rows of each round of watching."""
    head = ["agent", "video's skill", "own steps", "success", "of each seed", "object within", "audited actions read"]
    lines = []
    for arm in NAMES:
        runs = sorted((row for row in rows if row["arm"] == arm and row.get("watching")), key=lambda row: row["seed"])
        for number in range(min((len(row["watching"]) for row in runs), default=0)):
            rounds = [row["watching"][number] for row in runs]
            skills = [row["watched_skill"] for row in runs if row.get("watched_skill") is not None]
            reached = [one["success"] for one in rounds if "success" in one]
            audited = [
                np.mean(one["audited_actions_explained"]) for one in rounds if "audited_actions_explained" in one
            ]
            lines.append(
                [
                    NAMES[arm],
                    f"{mean(skills):.0%}" if skills else "unknown",
                    f"{rounds[0]['env_steps']:,}",
                    f"{mean(reached):.0%}" if reached else "",
                    " ".join(f"{one:.0%}" for one in reached),
                    f"{100 * mean(one['goal_error'] for one in rounds):.1f} cm",
                    f"{mean(map(float, audited)):.2f}" if audited else "",
                ]
            )
    return head, lines


def picture(found: Comparison) -> str:
    """Return the learning curves as SVG, those of at least `LEAST_DRAWN` seeds."""
    curves, reach = found.curves["steps"], found.asked.reach
    seeds = {group.name: len(group.members) for group in found.groups}
    lines = [
        Series(NAMES[arm], list(curve.x), list(curve.mean), band=(list(curve.low), list(curve.high)))
        for arm in DRAWN
        if (curve := curves.get(GROUP + NAMES[arm])) and seeds[GROUP + NAMES[arm]] >= LEAST_DRAWN
    ]
    longest = max(curve.x[-1] for curve in curves.values())
    level = Series(f"{reach:.0%}", [0.0, longest], [reach, reach], dashed=True)
    return line_plot([*lines, level], x_label="env steps", y_label="success", percent=True, width=640, height=360)

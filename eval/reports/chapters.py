"""The chapters of a run's report. Each takes a run and gives HTML, also when what it tells of is not there yet."""

import inspect
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from goalsight.base.errors import UserError
from goalsight.base.run_folders import ENCODER_PATH
from goalsight.base.tables import duration
from goalsight.envs.config import EnvConfig
from goalsight.eval.comparing.members import step_unit
from goalsight.eval.probes import result
from goalsight.eval.probes.answers import ENCODER, RANDOM, SHOWN, answers_of, scores_by_factor
from goalsight.eval.reports import page
from goalsight.eval.reports.costs import spent
from goalsight.eval.reports.judged import checkpoint_of, judged, judgement, read_kept
from goalsight.eval.reports.plots import Series, dot_plot, line_plot
from goalsight.eval.reports.watching import SUCCESS, silent_video
from goalsight.eval.stats import Proportion

if TYPE_CHECKING:
    from goalsight.base.runs import Run

TITLES = {"collect": "Play", "pretrain": "Watching video", "train": "Reaching goals"}
MAX_VIDEO = 40_000_000  # a page with a longer video inside takes too long to open [bytes]


def title(run: "Run") -> str:
    """What the run was, in a few words."""
    env = EnvConfig.recorded(run.config)
    return f"{TITLES[run.kind]}: {env.id}" if env else TITLES[run.kind]


def subtitle(run: "Run") -> str:
    """The folder, when it ran, and whether it came to its end."""
    manifest = run.manifest
    return f"{run.path.name}, started {manifest['started']}, {run.status}, seed {manifest['seed']}"


def headline(run: "Run") -> list[tuple[str, str]]:
    """The numbers in large type: value and label."""
    metrics, found = run.metrics(), judgement(run)
    cards: list[tuple[str, str]] = []
    if found:
        success = Proportion.of(found["success"])
        interval = f"95% interval {success.low:.0%} to {success.high:.0%}"
        words = f"success of the checkpoint {checkpoint_of(found)} in {success.total} episodes, {interval}"
        cards.append((f"{success.rate:.0%}", words))
    if run.kind == "collect":
        summary = run.summary
        cards += [
            (f"{summary[key]:,}", label)
            for key, label in (("frames", "frames"), ("episodes", "episodes"))
            if key in summary
        ]
        if summary.get("moved_share") is not None:
            cards.append((f"{summary['moved_share']:.0%}", "of the frames show the object moved"))
        if "frames_per_second" in summary:
            cards.append((f"{summary['frames_per_second']:,.0f}", "frames recorded per second"))
    probed = read_kept(run.path / result.RESULT, result.Probed)
    worst = probed.get("worst", {})
    if scores := worst.get("scores"):
        words = f"R² of the worst factor, {worst['factor']}; random encoder {scores[RANDOM]:.2f}"
        cards.append((f"{scores[ENCODER]:.2f}", words))
    elif ENCODER in worst:  # of an earlier version, which asked for places alone
        words = f"error of the worst factor, {worst['factor']}; random encoder {worst[RANDOM]:.2f} cm"
        cards.append((f"{worst[ENCODER]:.2f} cm", words))
    if metrics:
        label = step_unit(run.config) if run.kind == "train" else "training steps"
        steps, seconds = _taken(run, metrics[-1])
        cards += [(f"{steps:,.0f}", label), (duration(seconds), "of wall-clock time")]
    return cards


def _taken(run: "Run", latest: dict[str, float]) -> tuple[float, float]:
    """The steps and seconds of a whole run: as it summed them up, or as its latest measurement says."""
    summary = run.summary
    counts = (summary.get(name) for name in ("env_steps", "steps", "updates"))
    steps = next((count for count in counts if count), latest["step"])
    return steps, summary.get("seconds", latest["wall_s"])


def watched(run: "Run") -> str:
    """What the encoder saw and what it made of it: the reconstruction grid, and the probe."""
    encoder = run if run.kind == "pretrain" else _encoder_run(run)
    if encoder is None:
        named = run.config.get("encoder")
        env = EnvConfig.recorded(run.config)
        if (env and env.obs == "state") or named in (None, "none"):
            words = "This agent saw the simulation's state, and no pictures: there was nothing to watch."
        elif named == "random":
            words = "The encoder kept its random weights and watched no video."
            if run.config.get("video") or run.config.get("eyes") == "estimates":
                words = (
                    "A state estimator, begun with a random encoder, learnt from the arm's own play to read off images "
                    "where things are."
                )
        else:
            words = f"The encoder's run {named} is not where it was, so its pictures cannot be shown."
        return page.section("What it saw", words)
    parts: list[str] = [page.alarm(f"Alarm: {alarm}.") for alarm in encoder.summary.get("alarms", {}).values()]
    for path in _latest_pictures(encoder):
        name, _, step = path.stem.rpartition("-")
        parts.append(page.picture(path, f"{name}, after {int(step):,} training steps of {encoder.path.name}"))
    if not _latest_pictures(encoder):
        parts.append(page.missing("The encoder's run has drawn no pictures yet.", "goalsight pretrain --data DATA"))
    probed = read_kept(encoder.path / result.RESULT, result.Probed)
    if probed:
        parts.append(_probe_table(probed, encoder))
    else:
        parts.append(page.missing("No probe yet.", f"goalsight probe {encoder.path} --data PLAY"))
    return page.section(
        "What it saw",
        f"{_objective(encoder)} Rows are examples.",
        *parts,
    )


def _objective(run: "Run") -> str:
    """What an encoder learnt from, in a sentence: what the objective's options say of it."""
    from goalsight.pretrain.objectives import OBJECTIVES

    name = run.config.get("objective", "masked")
    if name not in OBJECTIVES:
        return f"The encoder learnt from the objective {name}."
    words = inspect.getdoc(OBJECTIVES.load(name).Options) or ""
    return f"The encoder learnt from the objective {name}: {words.splitlines()[0]}"


def _probe_table(probed: dict[str, Any], encoder: "Run") -> str:
    factors = list(probed["errors_cm"]["encoder"])
    rows = [[name, *(f"{row[factor]:.2f}" for factor in factors)] for name, row in probed["errors_cm"].items()]
    words = "Where things are, read out of the features by ridge regression on held-out episodes: mean error in cm"
    parts = [page.heading(words), page.grid(["features", *factors], rows)]
    if answers := answers_of(probed.get("answers", [])):
        caption = "R² by ridge regression, factor by factor: 1 is everything, 0 a guess."
        parts.append(page.figure(dot_plot(scores_by_factor(answers, SHOWN)), caption))
    else:
        again = f"goalsight probe {encoder.path} --data PLAY"
        parts.append(page.missing("Factors are not shown, since an earlier version probed them.", again))
    return page.join(*parts)


def learnt(run: "Run") -> str:
    """Learning curves over steps and over time, with the baselines as levels."""
    rows = [row for row in run.metrics() if SUCCESS in row]
    if not rows:
        words = "This run has not evaluated itself yet, so there is no learning curve."
        return page.section("What it learnt", words)
    steps, seconds = [row["step"] for row in rows], [row["wall_s"] for row in rows]
    long = seconds[-1] > 180
    clock = [second / 60 if long else second for second in seconds]
    success = [row[SUCCESS] for row in rows]
    found = judgement(run)
    known = found.get("baselines", {})
    baselines = {key: known[key]["success"]["rate"] for key in ("expert", "random") if key in known}
    plots, unit = [], step_unit(run.config)
    for x, label, caption in (
        (steps, unit, f"over {unit}"),
        (clock, f"wall-clock time [{'min' if long else 's'}]", "over wall-clock time"),
    ):
        levels = [Series(key, [0, max(x)], [rate, rate], dashed=True) for key, rate in baselines.items()]
        plots.append(
            page.figure(
                line_plot([Series("agent", x, success), *levels], x_label=label, y_label="success", percent=True),
                f"Success at the run's own evaluations {caption}.",
            )
        )
    return page.section(
        "What it learnt",
        "These evaluations choose the best checkpoint; how well that one does is measured apart, on other seeds.",
        page.pair(*plots),
    )


def measured(run: "Run") -> str:
    """Every curve that a pretraining run logged; those of one family, such as psnr_next and psnr_self, together."""
    metrics = run.metrics()
    families: dict[str, list[Series]] = {}
    for name in sorted({name for row in metrics for name in row} - {"step", "wall_s"}):
        rows = [row for row in metrics if name in row]
        if len(rows) > 1:
            line = Series(name, [row["step"] for row in rows], [row[name] for row in rows])
            families.setdefault(name.split("_")[0], []).append(line)
    if not families:
        return page.section("What it learnt", "The run has logged no measurements yet.")
    plots = []
    for family, lines in sorted(families.items(), key=lambda item: not item[0].endswith("loss")):
        alone = len(lines) == 1
        shown = lines if alone else [replace(one, name=_within_family(one.name, family)) for one in lines]
        plots.append(line_plot(shown, x_label="training steps", y_label=lines[0].name if alone else family))
    return page.section("What it learnt", "What the run measured while it trained.", page.pair(*plots))


def _within_family(name: str, family: str) -> str:
    return name.removeprefix(family).strip("_").replace("_", " ") or family.rpartition("/")[2]


def filmed(run: "Run") -> str:
    """The newest video."""
    videos = sorted(_own_files(run, "videos/*.mp4"), key=lambda path: path.stat().st_mtime)
    heading = "Play" if run.kind == "collect" else "Video"
    if not videos:
        command = "goalsight collect" if run.kind == "collect" else f"goalsight record {run.path}"
        return page.section(heading, "The arm in motion.", page.missing("No video yet.", command))
    if videos[-1].stat().st_size > MAX_VIDEO:
        return page.section(heading, f"{videos[-1]} is too large to be shown inside this page.")
    if run.kind == "collect":
        words = "Episodes side by side, as they were recorded for an encoder to watch."
    else:
        words = "What the camera sees beside the goal image; the frame turns green where the goal is reached."
    return page.section(heading, words, page.video(videos[-1], videos[-1].name))


def behaved(run: "Run") -> str:
    """How much of the play each behaviour had."""
    counts = run.summary.get("episodes_by_behaviour")
    if not counts:
        return page.section("Behaviours", "The run has not finished, so nothing was counted.")
    rows = [[name, str(count)] for name, count in counts.items()]
    return page.section("Behaviours", "An episode follows one of these.", page.grid(["behaviour", "episodes"], rows))


def repeated(run: "Run") -> str:
    """Configuration, origin, versions and machine, and the commands to do it again."""
    manifest = run.manifest
    commands = [shlex.join(manifest["command"])]
    if run.kind == "train":
        commands += [f"goalsight {verb} {shlex.quote(str(run.path))}" for verb in ("eval", "record", "report")]
        encoder = _encoder_run(run)
        if encoder is not None:
            commands.insert(0, shlex.join(encoder.manifest["command"]))
    unique = list(dict.fromkeys(commands))
    origin = [page.heading("Made from"), page.facts(manifest["sources"])] if manifest["sources"] else []
    left = [page.heading("Configuration"), page.facts(run.config)]
    right = [*origin, page.heading("Machine"), page.facts(manifest["machine"])]
    right += [page.heading("Versions"), page.facts(manifest["versions"])]
    return page.section(
        "How to repeat it",
        "The same versions on the same kind of machine give the same run.",
        page.code(unique),
        page.pair(page.join(*left), page.join(*right)),
    )


CHAPTERS: dict[str, tuple[Callable[["Run"], str], ...]] = {
    "collect": (filmed, behaved, repeated),
    "pretrain": (watched, measured, repeated),
    "train": (filmed, judged, learnt, silent_video, watched, spent, repeated),
}


def _encoder_run(run: "Run") -> "Run | None":
    """The pretraining run that a training run's encoder came from, if it is still there."""
    from goalsight.base.runs import Run

    named = run.manifest["sources"].get(ENCODER_PATH)
    try:
        return Run.open(Path(named)) if named else None
    except UserError:
        return None


def _own_files(run: "Run", pattern: str) -> list[Path]:
    """Plain files of a run, without links that lead out of it: what is shown is inside the page, which people share."""
    own = run.path.resolve()
    return [path for path in run.path.glob(pattern) if path.is_file() and own in path.resolve().parents]


def _latest_pictures(run: "Run") -> list[Path]:
    """The newest picture of each name."""
    newest: dict[str, Path] = {}
    for path in sorted(_own_files(run, "pictures/*-[0-9]*.png")):
        newest[path.stem.rpartition("-")[0]] = path
    return list(newest.values())

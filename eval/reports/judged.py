"""The chapter about how well an agent does, and what else is said of that in reports and model cards."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from goalsight.base.files import read_json
from goalsight.eval import evaluate
from goalsight.eval.reports import page
from goalsight.eval.reports.plots import success_plot
from goalsight.eval.stats import Proportion

if TYPE_CHECKING:
    from goalsight.base.runs import Run


def judged(run: "Run") -> str:
    """Success beside the baselines."""
    found = judgement(run)
    if not found:
        return page.section(
            "How well it does",
            "Success beside the baselines: doing nothing, acting at random, and the scripted expert.",
            page.missing("Not evaluated yet.", f"goalsight eval {run.path}"),
        )
    rows = {found["subject"]["name"]: found, **found["baselines"]}
    words = f"{judged_how(found)} Success is that of the last step."
    seen = {key: value for key, value in found["subject"].items() if key != "name"}
    plot = success_plot({name: Proportion.of(row["success"]) for name, row in rows.items()})
    table = page.grid(
        ["policy", "successes", "mean return", "diverged"],
        [
            [
                name,
                f"{row['success']['count']} of {row['success']['total']}",
                f"{row['mean_return']:.1f}",
                str(row["diverged"]),
            ]
            for name, row in rows.items()
        ],
    )
    agent = page.join(page.heading("The agent"), page.facts(seen)) if seen else ""
    numbers = page.join(page.heading("In numbers"), table)
    return page.section("How well it does", words, plot, page.pair(numbers, agent))


def judgement(run: "Run") -> dict[str, Any]:
    """What `goalsight eval` found; empty where it has not been run. Earlier versions called baselines floors."""
    found = read_kept(run.path / evaluate.RESULT, evaluate.Result)
    return {"baselines": found["floors"], **found} if "floors" in found else found


def checkpoint_of(found: dict[str, Any]) -> str:
    """Which checkpoint was judged; earlier versions did not write it down."""
    return found.get("checkpoint") or "of unknown step"


def judged_how(found: dict[str, Any]) -> str:
    """Which checkpoint was judged in which episodes, in a sentence."""
    last = found["seed"] + found["episodes"] - 1
    return (
        f"The checkpoint {checkpoint_of(found)} in {found['episodes']} episodes, on seeds {found['seed']} to {last}, "
        "which are the same for the baselines."
    )


def read_kept(path: Path, form: Any) -> dict[str, Any]:
    """A result that another command left in the run; empty when there is none.

    Raises:
        UserError: it is damaged.
    """
    return read_json(path, form=form) if path.exists() else {}

"""`goalsight train`: an agent learns to reach the goals it is shown."""

import json
from dataclasses import asdict, dataclass, field, make_dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from goalsight.agents.plan import Plan
from goalsight.agents.watching.options import Watching
from goalsight.base.errors import UserError, choose
from goalsight.base.options import options_from
from goalsight.base.parts import changed, options_of
from goalsight.base.trackers import check_trackers
from goalsight.envs.config import EnvConfig

if TYPE_CHECKING:
    from goalsight.agents.algorithms.base import Options
    from goalsight.agents.learning import Learner
    from goalsight.base.runs import Run
    from goalsight.envs.tasks.shared.training import Training

CRITICS = ("state", "pixels")
EYES = ("tokens", "estimates")


@dataclass(frozen=True)
class Train:
    """Train an agent to reach goals it is shown."""

    env: tyro.conf.OmitArgPrefixes[EnvConfig] = EnvConfig("goalsight/PandaReach-v1", obs="pixels")
    """The environment to learn in, as the actor sees it."""
    algorithm: str = "sac"
    """How the agent learns: sac or td3 by trial, bc by imitation. The chosen algorithm's options are below."""
    data: tuple[Path, ...] = ()
    """Recordings to imitate, for bc: runs of goalsight collect; from state also data sets of Minari."""
    video: tuple[Path, ...] = ()
    """Silent video to learn from: videos, recordings, data sets; actions in them are ignored."""
    watching: Watching = field(default_factory=Watching)
    """How silent video is learnt from, and how the estimates of --eyes are learnt."""
    eyes: Literal["tokens", "estimates"] | None = None
    """What the actor gets from images: the encoder's tokens (of one that finds points, where these lie), or estimates
    of the state, learnt from its own play. Estimates with --video, otherwise tokens, unless given."""
    encoder: str | None = None
    """A pretraining run, "random" (untrained and frozen) or "none" (state only); "random" for pixels
    and "none" for state unless given."""
    critic: Literal["state", "pixels"] = "state"
    """What the critics see in training; the actor sees --obs and no more."""
    tune_blocks: int = 0
    """Last blocks of the encoder that the agent trains; 0 leaves it frozen."""
    seed: int = 0
    """Seed of everything random; the same seed gives the same weights."""
    options: tyro.conf.Suppress[Any] = None
    """Options of the algorithm; its own defaults unless given."""
    steps: int | None = None
    """Environment steps, or gradient steps with bc; the task's unless given."""
    num_envs: int | None = None
    """Environments at once; 32 unless given."""
    eval_every: int | None = None
    """Steps between evaluations; the task's unless given."""
    eval_episodes: int | None = None
    """Episodes per evaluation; 50 unless given."""
    target_success: float | None = None
    """Stop when the success of two evaluations in a row reaches this; 0.98 unless given, above 1 for never."""
    threads: int = 0
    """Threads that step the environments and, with --video, learn to see and to read it, 0 for one per CPU; agents are
    trained on one."""
    device: str = "cpu"
    """Device that computes the networks: cpu or cuda."""
    out: Path | None = None
    """Folder of the run; runs/train-<task>-<date> unless given."""
    track: tuple[str, ...] = ()
    """Trackers that measurements also go to: tensorboard, trackio, wandb, mlflow; metrics.jsonl is always written."""
    json: bool = False
    """Print the summary as JSON."""

    def __post_init__(self) -> None:
        check_trackers(self.track)
        choose("critic", self.critic, CRITICS)
        if self.eyes is not None:
            choose("eyes", self.eyes, EYES)
        if self.env.obs != "pixels" and (self.video or self.eyes):
            asked = "video is watched" if self.video else f"eyes {self.eyes} look"
            raise UserError(f"{asked} by an agent that sees pixels, got obs {self.env.obs}; choose --obs pixels")
        if self.env.obs != "pixels" and self.tune_blocks:
            raise UserError(f"an encoder's blocks are tuned from pixels, got obs {self.env.obs}; choose --obs pixels")
        if self.video and self.eyes == "tokens":
            raise UserError("video is read by estimates, got eyes tokens; choose --eyes estimates, or leave it out")
        if self.estimates and self.tune_blocks:
            raise UserError("estimates train the encoder's stem; choose tune_blocks 0, or eyes tokens")
        if self.estimates and len(self.env.cameras) > 1:
            raise UserError(f"estimates are read off one camera's images, got {', '.join(self.env.cameras)}")

    @property
    def estimates(self) -> bool:
        """Whether the actor sees by estimates of the state."""
        return bool(self.video) or self.eyes == "estimates"

    @classmethod
    def for_command_line(cls, arguments: list[str]) -> type["Train"]:
        """Return this class with the options of the algorithm that the arguments choose.

        Raises:
            UserError: if there is no such algorithm.
        """
        from goalsight.agents.algorithms import ALGORITHMS

        name = cls.algorithm
        for word, after in pairwise([*arguments, ""]):
            option, equals, value = word.partition("=")
            if option == "--algorithm":
                name = value if equals else after
        options = ALGORITHMS.load(name).Options
        shown = Annotated[tyro.conf.OmitArgPrefixes[options], tyro.conf.arg(name=name)]  # type: ignore[valid-type]
        own = [("options", shown, field(default=options()))]
        return make_dataclass("Train", own, bases=(cls,), frozen=True, namespace={"__doc__": cls.__doc__})

    @classmethod
    def recorded(cls, config: dict[str, Any]) -> "Train":
        """Return what a run's record says was asked for.

        Raises:
            UserError: if it says what cannot be asked for.
        """
        from goalsight.agents.algorithms import ALGORITHMS

        rest = {name: value for name, value in config.items() if name != "env" and value is not None}
        asked = options_from(cls, rest)
        env = EnvConfig.recorded(config) or cls.env
        return replace(asked, env=env, options=options_of(ALGORITHMS, asked.algorithm, asked.options))

    def plan(self, options: "Options", training: "Training") -> Plan:
        """Return the length of the training, and what was asked for in its place.

        Raises:
            UserError: if a number is out of range.
        """
        steps, eval_every = options.length(training, self.env.obs)
        plan = Plan(steps, eval_every, training.horizon)
        names = ("steps", "num_envs", "eval_every", "eval_episodes", "target_success")
        return replace(plan, **{name: getattr(self, name) for name in names if getattr(self, name) is not None})

    def refuse_idle_options(self, *, online: bool) -> None:
        """Refuse options that would do nothing.

        Args:
            online: whether the algorithm learns while the arm plays.

        Raises:
            UserError: naming the first one.
        """
        if not online and self.num_envs is not None:
            raise UserError(f"{self.algorithm} plays in no environments of its own; leave num_envs out")
        if self.critic != "state" and (self.env.obs == "state" or not online):
            why = "obs state shows no pixels" if online else f"{self.algorithm} has no critic"
            raise UserError(f"{why}; leave critic {self.critic} out")
        if not self.estimates and (given := changed(self.watching)):
            raise UserError(
                f"--watching.{given} is an option of learning from video; add --video PATH, or --eyes estimates"
            )

    @property
    def source(self) -> str:
        """The encoder that is meant: "none", "random", or a run's folder.

        Raises:
            UserError: if it does not go with the observations.
        """
        if self.env.obs == "state":
            if self.encoder not in (None, "none"):
                raise UserError(f"obs state needs no encoder, got {self.encoder}; choices: none, or obs pixels")
            return "none"
        if self.encoder == "none":
            raise UserError("obs pixels needs an encoder; choices: a pretraining run, random, or obs state")
        return self.encoder or "random"


def train(config: Train) -> Path:
    """Train, and return the run's folder.

    The run holds `last` and `best` checkpoints, metrics by step, and a summary. Ctrl-C and SIGTERM save and end it
    early; `resume` goes on.

    Raises:
        UserError: if something that was named does not exist or does not fit, or memory does not suffice.
    """
    from goalsight.agents.learning import Learner
    from goalsight.base.run_folders import check_free
    from goalsight.base.runs import Run

    check_free(config.out)

    with (
        Learner(config) as learner,
        Run.start(
            "train",
            {**asdict(config), **learner.found, "preset": learner.numbers},
            out=config.out,
            seed=config.seed,
            sources=learner.sources,
            name=learner.task,
        ) as run,
    ):
        _learn(learner, run)
    return run.path


def resume(run: "Run") -> Path:
    """Go on with a training where its newest checkpoint left it, and return the run's folder.

    On the CPU it ends as if it had never stopped.

    Args:
        run: held by `Run.resume`.

    Raises:
        UserError: if the run keeps nothing to go on from, or what it was made from has changed.
    """
    from goalsight.agents.learning import Learner
    from goalsight.base.run_folders import ENCODER_PATH

    with Learner(Train.recorded(run.config), run.load_state()) as learner:
        for name, value in run.manifest["sources"].items():
            # Where an encoder lies is of no account as long as it is the same.
            if name != ENCODER_PATH and learner.sources.get(name) != value:
                raise UserError(f"run {run.path} was made from {name} {value:.80}, which is another now; train anew")
        _learn(learner, run)
    return run.path


def _learn(learner: "Learner", run: "Run") -> None:
    summary: dict[str, Any] = learner.learn(run)
    run.finish(summary)
    if run.manifest["status"] == "finished":
        learner.keeper.clear()
    as_json = json.dumps({"run": str(run.path), **summary}) if learner.config.json else ""
    print(as_json or f"{learner.verdict(summary)}\n{run.path}")

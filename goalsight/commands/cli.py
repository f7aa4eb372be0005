"""The command line: finds the one room that a command lives in, and turns mistakes into one line.

Each command is a frozen dataclass and a function in its room; nothing of a room is imported before its
command is asked for, so `goalsight --help` is quick.
"""

import contextlib
import errno
import importlib
import io
import itertools
import math
import os
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, get_args

import goalsight
from goalsight.base.distributed import group
from goalsight.base.errors import UserError, choose
from goalsight.base.hub import with_local
from goalsight.base.interruption import asked_to_leave, forget_stop, interrupting, stopped_by
from goalsight.base.workers.job import prepare
from goalsight.commands.elsewhere import known_elsewhere


@dataclass(frozen=True)
class Command:
    """Where a command lives."""

    module: str  # holds the dataclass and the function
    config: str  # the frozen dataclass that tyro fills
    function: str  # called with it
    summary: str  # one line for `goalsight --help`


# What a full or protected disk answers, or a path that cannot be: the user's to mend, so one line and no traceback.
REFUSALS = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM),
    *(errno.ENOENT, errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP),
)
MOST_SEED = 2**31
TOGETHER = ("pretrain",)  # what several processes of torchrun do as one
OUTWARD = ("push",)  # to which a name on a hub says where to, not where from

KINDS = {"INT": "a whole number", "FLOAT": "a number", "STR": "text", "PATH": "a path"}  # as people call them

COMMANDS = {
    "demo": Command("goalsight.commands.demo", "Demo", "demo", "all in one: play, encoder, agent, evaluation, video"),
    "envs": Command("goalsight.commands.listing", "Envs", "list_envs", "list environment ids, arms and tasks"),
    "collect": Command(
        "goalsight.agents.collecting.collect", "Collect", "collect", "record play: frames, actions, a video"
    ),
    "data": Command("goalsight.pretrain.data_command", "Data", "data", "look at video and recordings: info, show"),
    "export": Command("goalsight.commands.export", "Export", "export", "write a recording as a LeRobot data set"),
    "pretrain": Command("goalsight.pretrain.train", "Pretrain", "pretrain", "train an encoder on video"),
    "train": Command("goalsight.agents.many", "TrainSeeds", "command", "train agents to reach goals they are shown"),
    "sweep": Command("goalsight.eval.tuning.sweep", "Sweep", "sweep", "tune the options of a training run"),
    "resume": Command("goalsight.commands.resume", "Resume", "resume", "go on with a run that was stopped or killed"),
    "eval": Command("goalsight.eval.evaluate", "Eval", "evaluate", "evaluate an agent beside the baselines"),
    "compare": Command(
        "goalsight.eval.comparing.compare", "Compare", "compare", "compare training runs, with intervals over seeds"
    ),
    "compare objectives": Command(
        "goalsight.eval.objectives.compare",
        "CompareObjectives",
        "compare_objectives",
        "pretrain by each objective, and compare what encoders know at equal FLOPs",
    ),
    "record": Command("goalsight.eval.films.record", "Record", "record", "record a video of an agent and its goal"),
    "probe": Command(
        "goalsight.eval.probes.probe", "Probe", "probe", "measure what an encoder knows, the worst factor first"
    ),
    "push": Command("goalsight.commands.push", "Push", "push", "publish a run on a model hub, as hf://user/name"),
    "new-task": Command(
        "goalsight.commands.new_task", "NewTask", "new_task", "write a plug-in package with a task of your own"
    ),
    "check-task": Command("goalsight.eval.check_task", "CheckTask", "check_task", "check an environment's contract"),
    "runs": Command("goalsight.commands.runs", "Runs", "list_runs", "list the runs in a folder, newest first"),
    "report": Command("goalsight.eval.reports.report", "Report", "report", "write a run's report.html"),
    "bench": Command("goalsight.commands.bench", "Bench", "bench", "measure steps per second"),
    "completion": Command(
        "goalsight.commands.completion", "Completion", "completion", "print a script by which a shell completes"
    ),
    "doctor": Command("goalsight.commands.doctor", "Doctor", "doctor", "say what this machine can do"),
}


def main(argv: Sequence[str] | None = None) -> None:
    """Run `goalsight` and exit: 0 done, 1 failed, 2 asked for wrongly, 130 interrupted."""
    with interrupting():
        code = run(list(sys.argv[1:] if argv is None else argv))
    sys.exit(code)


def run(arguments: list[str]) -> int:
    """Run one command and return its exit code."""
    try:
        return _run(arguments)
    except (Exception, KeyboardInterrupt) as error:
        # What a signal cut short, an import say, may raise whatever it likes.
        if isinstance(error, KeyboardInterrupt) or asked_to_leave():
            return _complain("interrupted", 130)
        raise


def _run(arguments: list[str]) -> int:
    """Run one command and return its exit code; what a user can mend is one line."""
    try:
        return _dispatch(arguments)
    except UserError as error:
        return _complain(str(error), 2)
    except BrokenPipeError:  # before OSError, which it is one of
        # The reader left, as `head` does. Python would complain once more while it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except MemoryError as error:
        return _complain(f"there is not enough memory: {error}", 2)
    except OSError as error:
        if error.errno not in REFUSALS:
            raise
        return _complain(f"the disk refuses: {error.strerror}: {error.filename or 'output'}", 2)


def _complain(message: str, code: int) -> int:
    if not group().leads:
        return code
    with contextlib.suppress(BrokenPipeError):
        print(f"goalsight: {' '.join(message.split())}", file=sys.stderr)
    return code


def _dispatch(arguments: list[str]) -> int:
    _extend(arguments)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(_overview())
        return 0
    if arguments[0] in ("-V", "--version"):
        print(f"goalsight {goalsight.__version__}")
        return 0
    name, config = read(arguments)
    if config is None:
        return 0
    forget_stop()
    command = COMMANDS[name]
    result = getattr(importlib.import_module(command.module), command.function)(config)
    sys.stdout.flush()
    if stopped_by():
        return _complain(f"{name} was stopped by {stopped_by()} and saved what it had", 130)
    # A command that judges, such as `doctor`, may say by an integer that the verdict is bad.
    return result if isinstance(result, int) else 0


def read(arguments: list[str]) -> tuple[str, Any]:
    """Return which command is asked for, and its filled dataclass, or None after printing its help.

    Args:
        arguments: the command's words and its options; files of options are taken out of them.

    Raises:
        UserError: there is no such command, or the options do not fit.
    """
    name = choose("command", arguments[0], COMMANDS)
    words = 1
    if (longer := " ".join(arguments[:2])) in COMMANDS:
        name, words = longer, 2
    if group().size > 1 and name not in TOGETHER:
        raise UserError(f"{name} works in one process; torchrun is for {', '.join(TOGETHER)}")
    # What is said on the command line comes later, and counts.
    asked = [*_from_files(arguments), *arguments[words:]]
    for before, word in itertools.pairwise((name, *asked)):
        if not word or (word.startswith("--") and word.endswith("=")):
            # As an unset variable of the shell leaves it; as a path it would be this folder.
            raise UserError(f"{word.removesuffix('=') or before} is given an empty word")
    if name not in OUTWARD:
        asked = with_local(asked)
    kind = getattr(importlib.import_module(COMMANDS[name].module), COMMANDS[name].config)
    if hasattr(kind, "for_command_line"):  # its options depend on what is chosen
        kind = kind.for_command_line(asked)
    config = _parse(kind, f"goalsight {name}", asked)
    if config is not None:
        _check_numbers(config)
    return name, config


def _check_numbers(config: Any, within: str = "") -> None:
    """Refuse numbers that no command can use, whatever the option.

    Raises:
        UserError: one is not finite, a seed or a number of threads out of range.
    """
    import tyro

    for option in fields(config):
        name, value = f"{within}{option.name}".replace("_", "-"), getattr(config, option.name)
        if is_dataclass(value):
            flat = tyro.conf.OmitArgPrefixes in get_args(option.type)  # its options go by their own names alone
            _check_numbers(value, within if flat else f"{name}.")
        if isinstance(value, float) and not math.isfinite(value):
            raise UserError(f"{name} must be a finite number, got {value}")
        if option.name == "seed" and isinstance(value, int) and not 0 <= value < MOST_SEED:
            raise UserError(f"{name} must lie in [0, {MOST_SEED:,}), got {value}")
        if option.name in ("threads", "num_threads") and isinstance(value, int) and value < 0:
            raise UserError(f"{name} must be at least 1, or 0 for every CPU, got {value}")


def _extend(arguments: list[str]) -> None:
    """Take what adds tasks and arms out of the arguments, wherever it stands, and add them, for workers' jobs too.

    Raises:
        UserError: a module or a file is not named, or does not load.
    """
    trusted = "--trust-arm-files" in arguments
    if trusted:
        arguments.remove("--trust-arm-files")
    for file in _taken(arguments, "--arm-file", "a file"):
        prepare("goalsight.envs.registration:register_arm_file", path=file, trusted=trusted)
    for module in _taken(arguments, "--import", "the name of a module"):
        prepare("goalsight.envs.plugins:import_tasks", module=module)


def _from_files(arguments: list[str]) -> list[str]:
    """Take files of options out of the arguments, and return the words that they stand for.

    Raises:
        UserError: a file is not named, or cannot be read.
    """
    words: list[str] = []
    for file in _taken(arguments, "--config", "a file"):
        from goalsight.commands.option_files import words_from

        words += words_from(Path(file))
    return words


def _taken(arguments: list[str], option: str, what: str) -> list[str]:
    """Take an option and its values out of the arguments, and return the values."""
    values = []
    for joined in [argument for argument in arguments if argument.startswith(f"{option}=")]:
        place = arguments.index(joined)
        arguments[place : place + 1] = [option, joined.removeprefix(f"{option}=")]
    while option in arguments:
        place = arguments.index(option)
        if place + 1 == len(arguments):
            raise UserError(f"{option} needs {what}")
        values.append(arguments[place + 1])
        del arguments[place : place + 2]
    return values


def _overview() -> str:
    width = max(map(len, COMMANDS))
    commands = "\n".join(f"  {name:{width}}  {command.summary}" for name, command in COMMANDS.items())
    return (
        f"{goalsight.__doc__}\n\nusage: goalsight COMMAND [options]\n\ncommands:\n{commands}\n\n"
        "`goalsight COMMAND --help` lists a command's options; `goalsight --version` names the version.\n"
        "With any command, `--import MODULE` imports a module that registers tasks, and\n"
        "`--arm-file FILE.toml` adds an arm (`--trust-arm-files` lets its files name others elsewhere), and\n"
        "`--config FILE.toml` takes options from a file."
    )


def _parse(config: type, program: str, arguments: list[str]) -> Any:
    """Return the filled dataclass, or None after printing the command's help.

    Raises:
        UserError: for options that do not fit, as one line.
    """
    import tyro

    asks_help = "-h" in arguments or "--help" in arguments
    complaint = io.StringIO()
    try:
        # tyro draws its errors in boxes; they are caught and folded into the one line that all errors are.
        with (
            contextlib.nullcontext() if asks_help else _columns(10_000),
            contextlib.redirect_stderr(complaint),
            _whole_numbers(),
        ):
            return tyro.cli(config, prog=program, args=arguments)
    except SystemExit as leaving:
        if not leaving.code:
            return None
        said = _unboxed(complaint.getvalue())
        raise UserError(f"{said}{known_elsewhere(said, lambda: _options_of(config))}; see `{program} --help`") from None


def _options_of(config: type) -> set[str]:
    """The names of a command's options, as its help shows them."""
    import tyro

    shown = io.StringIO()
    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(shown), _columns(10_000):
        tyro.cli(config, args=["--help"])
    return set(re.findall(r"--[\w.-]+", shown.getvalue()))


def _whole(number: float) -> int:
    if not number.is_integer():
        raise ValueError(number)
    return int(number)


@contextlib.contextmanager
def _whole_numbers() -> Iterator[None]:
    """Take 1e5 for an integer where one is asked for."""
    from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

    def whole(words: list[str]) -> int:
        with contextlib.suppress(ValueError, OverflowError):
            return int(words[0]) if words[0].strip("+-").isdigit() else _whole(float(words[0]))
        raise ValueError(f"{words[0]} is no whole number")

    registry = ConstructorRegistry()

    @registry.primitive_rule
    def _rule(kind: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[int] | None:
        if kind.type is not int:
            return None
        return PrimitiveConstructorSpec(
            nargs=1,
            metavar="INT",
            instance_from_str=whole,
            is_instance=lambda value: isinstance(value, int) and not isinstance(value, bool),
            str_from_instance=lambda value: [str(value)],
        )

    with registry:
        yield


@contextlib.contextmanager
def _columns(count: int) -> Iterator[None]:
    """Pretend that the terminal is `count` characters wide, so that no message is wrapped."""
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = str(count)
    try:
        yield
    finally:
        if before is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = before


def _unboxed(box: str) -> str:
    """Return what a box of tyro's says: its first section, and the nearest option where it names some.

    A box has a border of lines, or, where the terminal knows ASCII only, a title and rules of hyphens.
    """
    sections: list[list[str]] = [[]]
    for line in (line.strip("│ ") for line in box.splitlines() if line[:1] not in ("╭", "╰")):
        if line and not line.strip("─-"):
            sections.append([])
        elif line:
            sections[-1].append(line)
    body = sections if "│" in box else sections[1:]
    message = " ".join(body[0]) if body else " ".join(box.split())
    for section in body[1:]:
        if section[:1] == ["Perhaps you meant:"] and len(section) > 1:
            message += f"; did you mean {section[1].split()[0]}?"
    # Of an option that may be left out, each kind's own complaint follows; what was asked for and what came is enough.
    message = re.sub(
        r"^Error parsing (\S+): no type matching (?:\{None\}\|)?(\S+) could be instantiated from \['(.*?)'\].*",
        lambda found: f"{found[1]} takes {KINDS.get(found[2], found[2])}, got {found[3]}",
        message,
    )
    # A check of a whole dataclass names it, which means nothing to the user.
    return re.sub(r"^Error parsing \w+: ", "", message).rstrip(".")

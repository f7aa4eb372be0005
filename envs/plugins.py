"""Where environments of others come from: modules that are named, and installed packages that announce themselves."""

import contextlib
import faulthandler
import os
import sys
import threading
from collections.abc import Iterator
from functools import cache
from importlib.metadata import entry_points
from os import _exit
from typing import NoReturn

from goalsight.base.errors import UserError, blaming, in_one_line
from goalsight.base.imports import import_named

PLUGINS = "goalsight.tasks"  # the entry-point group by which installed packages add tasks
LONG, TOO_LONG = 10.0, 120.0  # after which a plug-in that still loads is named, and given up [s]


@cache
def load_plugins() -> dict[str, str]:
    """Let installed packages register their tasks, once; one that fails breaks nothing.

    An entry point of the group `goalsight.tasks` names a function, which is called, or a module, which is imported.

    Returns:
        why plug-ins failed, by their names.
    """
    failures = {}
    for entry in entry_points(group=PLUGINS):
        try:
            with _watched(f"the plug-in {entry.name}", "mend it, or uninstall its package"):
                plugin = entry.load()
                if callable(plugin):
                    plugin()
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # whatever a stranger's module raises; it may even try to exit
            failures[entry.name] = in_one_line(error)
    return failures


@contextlib.contextmanager
def _watched(name: str, advice: str) -> Iterator[None]:
    """Load a stranger's code: what it prints goes to stderr, and it cannot end or hold up the process in silence.

    Args:
        name: of the code, for a sentence.
        advice: to whoever waits in vain.
    """

    def say(words: str) -> None:
        print(f"goalsight: {name} {words}", file=sys.stderr, flush=True)

    def give_up() -> None:
        say(f"has not loaded within {TOO_LONG:g} s; {advice}")
        _exit(2)

    def refuse(status: int) -> NoReturn:
        raise SystemExit(f"it ends the process with code {status}")

    waiting = f"has been loading for {LONG:g} s; it is given up after {TOO_LONG:g} s"
    timers = [threading.Timer(LONG, say, [waiting]), threading.Timer(TOO_LONG, give_up)]
    traced, end, before = faulthandler.is_enabled(), os._exit, set(threading.enumerate())
    try:
        if not traced:
            with contextlib.suppress(OSError, ValueError, AttributeError):  # a stderr that is no file
                faulthandler.enable()  # says in which file it crashed, where it does
        os._exit = refuse
        for timer in timers:
            timer.daemon = True
            timer.start()
        with _printing_on_stderr():
            yield
        for thread in set(threading.enumerate()) - before:
            if not thread.daemon:
                say(f'has begun a thread, "{thread.name}", that is no daemon: this program ends when that does')
    finally:
        for timer in timers:
            timer.cancel()
        os._exit = end
        if not traced:
            faulthandler.disable()


@contextlib.contextmanager
def _printing_on_stderr() -> Iterator[None]:
    """Send to stderr what is written to stdout, by whatever way: by print, by its file descriptor, by a child."""
    sys.stdout.flush()
    try:
        kept = os.dup(1)
        os.dup2(2, 1)
    except OSError:  # one of them is closed
        kept = None
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        if sys.__stdout__ is not None:
            sys.__stdout__.flush()
        if kept is not None:
            os.dup2(kept, 1)
            os.close(kept)


def import_tasks(module: str) -> None:
    """Import a module that registers tasks, which the user has named; the current folder may hold it.

    Raises:
        UserError: it does not import; says why.
    """
    with blaming(f'module "{module}" does not import'), _watched(f'module "{module}"', "mend it"):
        found = import_named(module)
    if getattr(found, "__file__", None) is None and hasattr(found, "__path__"):
        folder = next(iter(found.__path__))
        raise UserError(f'"{module}" is a folder here, {folder}, and no module; go into it, or `pip install` it')

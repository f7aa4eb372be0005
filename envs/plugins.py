"""Where environments of others come from: modules that are named, and installed packages that announce themselves."""

from functools import cache
from importlib.metadata import entry_points

from goalsight.base.errors import UserError, blaming, in_one_line
from goalsight.base.imports import import_named

PLUGINS = "goalsight.tasks"  # the entry-point group by which installed packages add tasks


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
            plugin = entry.load()
            if callable(plugin):
                plugin()
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # whatever a stranger's module raises; it may even try to exit
            failures[entry.name] = in_one_line(error)
    return failures


def import_tasks(module: str) -> None:
    """Import a module that registers tasks, which the user has named; the current folder may hold it.

    Raises:
        UserError: it does not import; says why.
    """
    with blaming(f'module "{module}" does not import'):
        found = import_named(module)
    if getattr(found, "__file__", None) is None and hasattr(found, "__path__"):
        folder = next(iter(found.__path__))
        raise UserError(f'"{module}" is a folder here, {folder}, and no module; go into it, or `pip install` it')

"""A window that shows one simulation as it goes on: MuJoCo's own viewer."""

import time
from typing import Any

import mujoco

from goalsight.base.errors import UserError
from goalsight.envs.rendering.opengl import opens_windows
from goalsight.envs.simulation.batch import GuardedBatch

LONGEST_WAIT = 0.1  # for what comes next [s]; time may jump where an episode begins or is restored
INSTEAD = 'take render_mode="rgb_array", or film an agent with "goalsight record"'


class Window:
    """Shows the first simulation of a batch, which whoever looks can turn but not touch.

    It opens when something is first shown. Once somebody closes it, nothing is shown any more.
    """

    def __init__(self, batch: GuardedBatch) -> None:
        """Make sure that there is a display.

        Args:
            batch: what is shown.

        Raises:
            UserError: there is none.
        """
        if not opens_windows():
            raise UserError(f"there is no display here to open a window on: {INSTEAD}")
        self._batch = batch
        self._model, self._data = batch.get_model(0), batch.get_data(0)
        self._viewer: Any = None
        self._shown = self._data.time, time.monotonic()  # the time of what is shown, and of showing it [s]

    def show(self) -> None:
        """Show the simulation as it is now, waiting where it is ahead of the clock.

        Raises:
            UserError: the window does not open, or the simulation cannot be used any more.
        """
        self._batch.check()
        self._batch.get_model(0, self._model)  # things vary
        self._batch.get_data(0, self._data)
        mujoco.mj_forward(self._model, self._data)
        if self._viewer is None:
            self._viewer = self._open()
        if not self._viewer.is_running():
            return
        before, then = self._shown
        wait = self._data.time - before - (time.monotonic() - then)
        time.sleep(min(max(wait, 0.0), LONGEST_WAIT))
        self._viewer.sync()
        self._shown = self._data.time, time.monotonic()

    def close(self) -> None:
        """Close it, for good."""
        if self._viewer is not None:
            self._viewer.close()

    def _open(self) -> Any:
        try:
            from mujoco.viewer import launch_passive  # only here: it loads the window system

            return launch_passive(self._model, self._data, show_left_ui=False, show_right_ui=False)
        except (ImportError, RuntimeError) as error:  # on macOS it takes the interpreter mjpython
            raise UserError(f"no window opens ({error}): {INSTEAD}") from error

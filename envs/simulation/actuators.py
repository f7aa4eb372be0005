"""What actuators remember: activations that follow what they are told, and commands that take effect with a delay.

A servo with a time constant acts by its activation, one with a delay by what it was told before. A simulation that is
put somewhere at rest must find both as they would be had it always stood there, or it moves off by itself.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import mujoco

Floats = NDArray[np.floating[Any]]
Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class ActuatorMemory:
    """Where in the state of a model its actuators remember what they were told."""

    activations: Numbers  # those that settle at what is told, in `act`, (K,)
    told: Numbers  # by which entry of `ctrl` each, (K,)
    low: Floats  # what each may be, (K,)
    high: Floats  # (K,)
    past: Numbers  # earlier commands, in `history`, (H,)
    told_past: Numbers  # to which entry of `ctrl` each, (H,)

    @classmethod
    def of(cls, model: "mujoco.MjModel") -> "ActuatorMemory":
        """Find it in a model."""
        following = [i for i in range(model.nactuator) if follows(model, i) and model.actuator_actadr[i] >= 0]
        told = model.actuator_ctrladr[following].astype(np.int64)
        limits = [_limits(model, i) for i in following]
        past = [_past(model, i) for i in range(model.nactuator) if model.actuator_historyadr[i] >= 0]
        return cls(
            activations=model.actuator_actadr[following].astype(np.int64),
            told=told,
            low=np.array([low for low, _ in limits]),
            high=np.array([high for _, high in limits]),
            past=np.concatenate([np.empty(0, np.int64), *(places for places, _ in past)]),
            told_past=np.concatenate([np.empty(0, np.int64), *(told for _, told in past)]),
        )

    def settle(self, ctrl: Floats, act: Floats, history: Floats, ids: Numbers) -> None:
        """Let the actuators of simulations `ids` have been told for long what they are told now.

        Args:
            ctrl: what all simulations are told, (N, U).
            act: activations, written to, (N, A).
            history: earlier commands, written to, (N, H).
            ids: which simulations, (n,).
        """
        rows = ids[:, None]
        if len(self.activations):
            act[rows, self.activations] = np.clip(ctrl[rows, self.told], self.low, self.high)
        if len(self.past):
            history[rows, self.past] = ctrl[rows, self.told_past]


def follows(model: "mujoco.MjModel", actuator: int) -> bool:
    """Whether an actuator acts by what it is told, at once or in time, rather than by a sum or state of its own."""
    import mujoco

    kinds = mujoco.mjtDyn
    known = (kinds.mjDYN_NONE, kinds.mjDYN_FILTER, kinds.mjDYN_FILTEREXACT, kinds.mjDYN_MUSCLE)
    kind = kinds(model.actuator_dyntype[actuator])
    return kind in known and bool(model.actuator_plugin[actuator] < 0)


def lag(model: "mujoco.MjModel", actuator: int) -> float:
    """How late an actuator comes to what it is told: its time constant and its delay [s]."""
    import mujoco

    filters = (mujoco.mjtDyn.mjDYN_FILTER, mujoco.mjtDyn.mjDYN_FILTEREXACT)
    filtered = mujoco.mjtDyn(model.actuator_dyntype[actuator]) in filters
    return float(model.actuator_delay[actuator] + (model.actuator_dynprm[actuator, 0] if filtered else 0.0))


def _limits(model: "mujoco.MjModel", actuator: int) -> tuple[float, float]:
    """What an activation that follows a command may be."""
    import mujoco

    low, high = -np.inf, np.inf
    control = model.actuator_ctrladr[actuator]
    if model.actuator_dyntype[actuator] == mujoco.mjtDyn.mjDYN_MUSCLE:
        low, high = 0.0, 1.0
    if model.actuator_ctrllimited[control]:
        low, high = np.clip(model.actuator_ctrlrange[control], low, high)
    if model.actuator_actlimited[actuator]:
        low, high = np.clip((low, high), *model.actuator_actrange[actuator])
    return float(low), float(high)


def _past(model: "mujoco.MjModel", actuator: int) -> tuple[Numbers, Numbers]:
    """Where an actuator's earlier commands lie in `history`, and which entries of `ctrl` they were."""
    import mujoco

    count = int(model.actuator_ctrlnum[actuator])
    data = mujoco.MjData(model)
    before = data.history.copy()
    # Numbers that tell which one each is; what a reset writes there is 0.
    numbers = np.tile(np.arange(1.0, count + 1), model.actuator_history[actuator, 0])
    mujoco.mj_initCtrlHistory(model, data, actuator, None, numbers)
    places = np.flatnonzero(data.history != before)
    told = model.actuator_ctrladr[actuator] + data.history[places].astype(np.int64) - 1
    return places, told

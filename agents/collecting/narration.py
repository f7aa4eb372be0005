"""What has happened in an episode, as a sentence: from the behaviour and from where things went."""

import numpy as np
from numpy.typing import NDArray

Path = NDArray[np.float32]  # (T, 3) [m], x away from the arm, y to its left, z up

MOVED = 0.01  # a thing counts as moved when it is farther than this from where it began [m]
LIFTED = 0.03  # and as lifted when it is this much higher [m]
FALLEN = 0.1  # and as fallen off the table when it ends this much lower [m]
COLOURS = ("red", "green", "blue", "yellow", "purple", "orange")
WAYS = (("away from the arm", "towards the arm"), ("to the left", "to the right"), ("up", "down"))


def narrate(behaviour: str, paths: dict[str, Path]) -> str:
    """Say what the arm has done.

    Args:
        behaviour: what it played, one of `BEHAVIOURS`.
        paths: where "gripper" and the task's things were at each frame, finite.

    Returns:
        an instruction that the episode has carried out, such as "Push the object to the left."
    """
    things = {name: path for name, path in paths.items() if name != "gripper"}
    if not things:
        return "Move the arm about."
    done = [_done(behaviour, _named(name), path) for name, path in things.items() if was_moved(path).any()]
    if not done:
        what = "the object where it is" if len(things) == 1 else "everything where it is"
        return f"Move the arm about and leave {what}."
    told = " and ".join(done)
    return f"{told[0].upper()}{told[1:]}."


def was_moved(path: Path) -> NDArray[np.bool_]:
    """At which frames a thing is away from where it began, (T,)."""
    return np.asarray(np.linalg.norm(path - path[:1], axis=-1) > MOVED)


def _done(behaviour: str, name: str, path: Path) -> str:
    """What has been done with one thing."""
    shift, rise = path[-1] - path[0], path[:, 2] - path[0, 2]
    moved = np.linalg.norm(shift) > MOVED
    verb = "push" if behaviour == "push" else "move"
    if rise[-1] < -FALLEN:
        return f"{verb} {name} off the table"
    if rise.max() > LIFTED:
        if rise[-1] > LIFTED:
            return f"lift {name}"
        return f"lift {name} and put it down {_way(shift) if moved else 'where it was'}"
    return f"{verb} {name} {_way(shift)}" if moved else f"{verb} {name} and bring it back"


def _way(shift: NDArray[np.float32]) -> str:
    """The direction in which a shift (3,) is longest, as the arm sees it."""
    axis = int(np.abs(shift).argmax())
    return WAYS[axis][int(shift[axis] < 0)]


def _named(name: str) -> str:
    return f"the {name} object" if name in COLOURS else f"the {name.replace('_', ' ')}"

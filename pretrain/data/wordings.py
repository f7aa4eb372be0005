"""The same instruction in other words: some to learn from, and some that are kept to be understood unheard."""

from functools import cache

import numpy as np
from numpy.typing import NDArray

LONGEST = 96  # bytes of a sentence that are kept

FRAMES = ("{}", "please {}", "could you {}", "I want you to {}", "now {}", "your task is to {}")
# What a sentence of `goalsight collect` begins with, and other ways to say it; the longest beginning counts.
VERBS = {
    "push": ("push", "shove", "slide", "nudge"),
    "move": ("move", "shift", "carry", "bring"),
    "lift": ("lift", "raise", "hoist", "pick up"),
    "move the arm about": ("move the arm about", "wave the arm", "swing the arm around", "wander about with the arm"),
}
UNHEARD = 4  # of so many combinations of a frame and a verb one is kept


@cache
def wordings(sentence: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return other ways to say an instruction.

    Every frame and every verb is among those to learn from; kept are combinations of them.

    Args:
        sentence: such as "Push the object to the left."; of one that begins with no known verb the frames alone change.

    Returns:
        those to learn from, the sentence itself among them, and those that are kept.
    """
    plain = sentence.strip().rstrip(".")
    plain = plain[:1].lower() + plain[1:]
    begins = max((verb for verb in VERBS if f"{plain} ".startswith(f"{verb} ")), key=len, default="")
    rest = plain[len(begins) :]
    heard: list[str] = []
    kept: list[str] = []
    for first, frame in enumerate(FRAMES):
        for second, verb in enumerate(VERBS.get(begins, ("",))):
            said = frame.format(verb + rest)
            group = kept if (first + second) % UNHEARD == UNHEARD - 1 else heard
            group.append(f"{said[:1].upper()}{said[1:]}.")
    return tuple(heard), tuple(kept)


def as_bytes(sentence: str) -> NDArray[np.uint8]:
    """Return a sentence as UTF-8, cut off or filled up with zeros: (LONGEST,) uint8."""
    text = np.frombuffer(sentence.encode()[:LONGEST], np.uint8)
    return np.pad(text, (0, LONGEST - len(text)))


def from_bytes(text: NDArray[np.uint8]) -> str:
    """Return the sentence that `as_bytes` made (LONGEST,) uint8 of; a letter that was cut through is left out."""
    return text.tobytes().rstrip(b"\0").decode(errors="ignore")

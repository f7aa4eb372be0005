"""What learning a task takes, whatever learns it: as much a part of the task as its tolerance."""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Training:
    """How long, how far ahead and how exactly a task is practised."""

    steps: int  # environment steps from state, of all environments together
    steps_from_pixels: int | None = None  # the same from pixels; None takes as many as from state
    horizon: int | None = None  # steps of a training episode; None takes the task's own
    discount: float = 0.95  # of what is a step of 40 ms later
    action_entropy: float = 0.0  # that exploring actions keep [nats]; less where the task wants exact ones
    eval_every: int = 5_000  # environment steps between evaluations from state
    eval_every_from_pixels: int | None = None  # the same from pixels; None takes as many as from state

    def __post_init__(self) -> None:
        for name in ("steps", "steps_from_pixels", "horizon", "eval_every", "eval_every_from_pixels"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if not 0 <= self.discount < 1:
            raise ValueError(f"discount must lie in [0, 1), got {self.discount}")

    def length(self, obs: str) -> tuple[int, int]:
        """Environment steps of a training, and between its evaluations, for a kind of observation."""
        if obs != "pixels":
            return self.steps, self.eval_every
        return self.steps_from_pixels or self.steps, self.eval_every_from_pixels or self.eval_every


REACHING = Training(24_000, eval_every=1_600)
OPENING = Training(60_000)
PRESSING = Training(200_000, eval_every=10_000)
GRASPING = Training(250_000, eval_every=10_000, action_entropy=-2.0)
REARRANGING = replace(GRASPING, steps=500_000, eval_every=20_000)  # several things; untried
# Of a task from elsewhere: Push's numbers, which is neither the easiest nor the longest, in episodes of its own length.
UNTRIED = Training(180_000, 200_000, discount=0.97, eval_every_from_pixels=10_000)

"""Factors of variation: what may differ from one episode to the next beside the task's own starts and goals.

All are off unless named. Each simulation draws from a stream of its own, apart from that of starts and goals, so an
episode has the same start and goal with and without them.
"""

from collections.abc import Sequence

from goalsight.base.errors import UserError, choose
from goalsight.envs.variation.base import Cast, Factor
from goalsight.envs.variation.engine import Variation
from goalsight.envs.variation.feel import Friction, Latency, Mass, Noise, Size
from goalsight.envs.variation.looks import CameraPose, Colour, Distractors, Light, Table

ALL = "all"  # in place of names: every factor that has something to change

FACTORS: dict[str, Factor] = {
    factor.name: factor
    for factor in (
        Colour(),
        Size(),
        Mass(),
        Friction(),
        Table(),
        Light(),
        CameraPose(),
        Distractors(),
        Latency(),
        Noise(),
    )
}


def factors_of(names: str | Factor | Sequence[str | Factor]) -> tuple[Factor, ...]:
    """Factors by name, or as they are, for other ranges; "all" means every one, as it is unless one is given.

    Raises:
        UserError: there is no such factor, or one comes twice.
    """
    names = (names,) if isinstance(names, str | Factor) else tuple(names)
    factors = tuple(
        one if isinstance(one, Factor) else FACTORS[choose("factor of variation", one, (*FACTORS, ALL))]
        for one in names
        if one != ALL
    )
    if ALL in names:
        named = {one.name for one in factors}
        factors += tuple(factor for name, factor in FACTORS.items() if name not in named)
    twice = {one.name for one in factors if [other.name for other in factors].count(one.name) > 1}
    if twice:
        raise UserError(f'factor of variation "{min(twice)}" is named twice')
    return factors


def at_work(factors: Sequence[Factor], cast: Cast) -> list[Factor]:
    """Those that have something to change in a model; of "all" it may be only some.

    Raises:
        UserError: a factor that was named has nothing to change.
    """
    idle = [factor.name for factor in factors if not factor.concerns(cast)]
    if idle and len(factors) < len(FACTORS):
        raise UserError(f'factor of variation "{idle[0]}" has nothing to change in this task')
    return [factor for factor in factors if factor.concerns(cast)]


__all__ = [
    "FACTORS",
    "CameraPose",
    "Cast",
    "Colour",
    "Distractors",
    "Factor",
    "Friction",
    "Latency",
    "Light",
    "Mass",
    "Noise",
    "Size",
    "Table",
    "Variation",
    "at_work",
    "factors_of",
]

"""Algorithms: each is one file and one line here."""

from goalsight.base.registry import Registry

ALGORITHMS = Registry(
    "algorithm",
    {
        "sac": "goalsight.agents.algorithms.sac:SAC",
        "td3": "goalsight.agents.algorithms.td3:TD3",
        "bc": "goalsight.agents.algorithms.bc:BC",
    },
)

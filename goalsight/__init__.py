"""goalsight: a robot arm first watches video, then learns to reach goals it is shown."""

from goalsight.envs.registration import register_all

__version__ = "0.1.0"

register_all()

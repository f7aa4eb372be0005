"""goalsight: a robot arm first watches video, then learns to reach goals it is shown."""

from goalsight.envs.registration import register_all, register_task

__version__ = "0.1.0"
__all__ = ["register_task"]

# `gym.make("goalsight:goalsight/PandaPush-v1")` imports this module and expects its ids to exist then.
register_all()

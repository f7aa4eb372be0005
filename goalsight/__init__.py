"""goalsight: a robot arm first watches video, then learns to reach goals it is shown."""

__version__ = "0.1.0"

"""The UR5e as a stranger might have described it, in files."""

from importlib import resources
from pathlib import Path

from goalsight.envs.arms.catalogue import UR5E

SAID = """
mjcf = "arm.xml"
max_speed = 3.1416
mount = [-0.08, 0, 0]
start = [2.9, -1.5, 1.8, -1.9, -1.6, 2.9]

[tool]
body = "hand"
pos = [0, 0, 0.153]

[gripper]
actuators = "squeeze"
closed = 0
open = 0.0425
width = 0.085
"""
SERVO = """
[servo]
stiffness = [4500, 4500, 4500, 2000, 2000, 2000]
damping = [180, 180, 180, 70, 70, 70]
"""


def mjcf() -> str:
    """The built-in UR5e as a stranger might have drawn it: other names, no site, no gravity compensation."""
    text = resources.files("goalsight.assets").joinpath(UR5E.mjcf).read_text()
    text = text.replace('<site name="tool" pos="0 0 0.153" size="0.004" group="4"/>', "").replace(' gravcomp="1"', "")
    for joint in UR5E.joints:
        text = text.replace(f'<position name="{joint}" ', f'<position name="{joint}_motor" ')
    return text.replace('name="gripper"', 'name="squeeze"')


def strange_arm(path: Path) -> Path:
    """Make a folder that holds the arm's MJCF and what its user says of it."""
    path.mkdir()
    (path / "arm.xml").write_text(mjcf())
    (path / "arm.toml").write_text(SAID)
    return path

"""What furniture with a moving part has in common: how it touches, and the joint along which it gives way."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import mujoco

# Parts meet the arm and free objects, but neither each other nor the table.
TOUCHED = {"contype": 1, "conaffinity": 0}
SEEN = {"contype": 0, "conaffinity": 0}


def add_joint(
    body: "mujoco.MjsBody",
    name: str,
    axis: tuple[float, float, float],
    ends: tuple[float, float],
    *,
    damping: float,
    friction: float,
    hinge: tuple[float, float, float] | None = None,
) -> None:
    """Let a body slide along an axis, or turn about it.

    Args:
        body: what moves.
        name: of the joint.
        axis: direction, of length one.
        ends: where it stops [m, or rad].
        damping: [N s/m, or N m s/rad].
        friction: what it takes to move it at all [N, or N m].
        hinge: where in the body's frame the axis is that it turns about [m]; None lets it slide.
    """
    import mujoco

    body.add_joint(
        name=name,
        type=mujoco.mjtJoint.mjJNT_SLIDE if hinge is None else mujoco.mjtJoint.mjJNT_HINGE,
        pos=[0, 0, 0] if hinge is None else list(hinge),
        axis=list(axis),
        range=list(ends),
        limited=mujoco.mjtLimited.mjLIMITED_TRUE,
        damping=damping,
        frictionloss=friction,
    )


def add_box(body: "mujoco.MjsBody", name: str, pos: Sequence[float], size: Sequence[float], **options: Any) -> None:
    """Add a box that can be touched, at `pos` of the body's frame, of half edges `size` [m]; `options` as MJCF's."""
    import mujoco

    touch = TOUCHED | options
    body.add_geom(name=name, type=mujoco.mjtGeom.mjGEOM_BOX, pos=list(pos), size=list(size), **touch)
